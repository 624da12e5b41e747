package cases_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// suppressPrograms count in windows, with each row and when they close.
func suppressPrograms() map[string]program {
	return map[string]program{
		"sliding-aggregate-updates":    rollingUpdates,
		"suppress-sliding":             suppressRolling,
		"suppress-session":             suppressSession,
		"suppress-tumbling-large-jump": suppressTumbling,
	}
}

// hit is a record of a key, at a time in milliseconds.
type hit struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	TS    int64  `json:"ts"`
}

func (h hit) key() string { return h.Key }

// tallied is what came into a window: how many rows, and the first and the
// last of their times.
type tallied struct{ N, First, Last int64 }

type tallyHits struct{}

func (tallyHits) Add(t *tallied, h hit) { tallyHits{}.Merge(t, &tallied{1, h.TS, h.TS}) }

func (tallyHits) Merge(into, from *tallied) {
	if into.N > 0 {
		from.First, from.Last = min(into.First, from.First), max(into.Last, from.Last)
	}
	*into = tallied{into.N + from.N, from.First, from.Last}
}

func (tallyHits) Result(t *tallied) tallied { return *t }

// counted is a result of a window: it is none when N is null.
type counted struct {
	Window [3]any `json:"window"`
	N      *int64 `json:"count"`
	TS     int64  `json:"ts"`
}

// countedRow is counted as a row of a stream.
type countedRow struct {
	Key        string
	Start, End int64
	N          int64
	Gone       bool
	TS         int64
}

func (r countedRow) row() counted {
	c := counted{Window: [3]any{r.Key, r.Start, r.End}, TS: r.TS}
	if !r.Gone {
		c.N = &r.N
	}
	return c
}

// bothIn prints a window with both ends inside.
func bothIn(k string, w stream.Window, t tallied) countedRow {
	return countedRow{Key: k, Start: w.StartMillis(), End: w.EndMillis() - 1, N: t.N, TS: t.Last}
}

// endOut prints a window whose end is outside.
func endOut(k string, w stream.Window, t tallied) countedRow {
	return countedRow{Key: k, Start: w.StartMillis(), End: w.EndMillis(), N: t.N, TS: t.Last}
}

// pushed is a program that takes all records, and then tells what came out, by
// section.
type pushed struct {
	build func(env *stream.Env)
	// outs read what came into the sink of each section.
	outs map[string]func(d *streamtest.Driver) func() []any
}

// run pushes the records of input.jsonl, whose event time goes with each of
// them: undisturbed, and with a restore and a change of parallelism after each.
func (p pushed) run(t *testing.T, c *file) {
	t.Helper()
	hits := objects[hit](t, c, "input.jsonl")
	for name, parallelism := range map[string][]int{"calm": nil, "restore": {1}, "rescale": {2, 7, 1}} {
		t.Run(name, func(t *testing.T) {
			env := stream.NewEnv(stream.MaxParallelism(16))
			p.build(env)
			d := streamtest.NewDriver(t, env)
			in := streamtest.Input(d, "in", hit{})
			got := make(map[string]func() []any)
			rows := make(map[string][]any)
			for section, open := range p.outs {
				got[section] = open(d)
			}
			var now int64
			for i, h := range hits {
				in.PushAt(time.UnixMilli(h.TS), h)
				now = max(now, h.TS)
				// More of the same time may come.
				in.Watermark(time.UnixMilli(now - 1))
				for section, take := range got {
					rows[section] = append(rows[section], take()...)
				}
				if len(parallelism) > 0 {
					d.Rescale(parallelism[i%len(parallelism)])
				}
			}
			for section, all := range rows {
				want := json.RawMessage("[" + strings.Join(c.lines(t, section), ",") + "]")
				ordered := strings.Contains(c.header["compare"], "in order") && name != "rescale"
				if err := sameJSON(all, want, ordered); err != nil {
					t.Errorf("%s: %v", section, err)
				}
			}
		})
	}
}

// countedIn reads a sink of counted rows.
func countedIn(uid string) func(d *streamtest.Driver) func() []any {
	return func(d *streamtest.Driver) func() []any {
		out := streamtest.Output(d, uid, countedRow{})
		return func() (all []any) {
			for _, r := range out.Take() {
				all = append(all, r.row())
			}
			return all
		}
	}
}

func hitsByKey(env *stream.Env) *stream.KeyedStream[string, hit] {
	return stream.KeyBy(stream.From(env, streamtest.Source(hit{}), stream.UID("in"), streamtest.ExplicitWatermarks()), hit.key)
}

// joinedText folds values to a text.
type joinedText struct{}

type textAt struct {
	Text string
	Last int64
}

func (joinedText) Add(t *textAt, h hit) {
	t.Text, t.Last = t.Text+"+"+h.Value, max(t.Last, h.TS)
}

func (joinedText) Result(t *textAt) textAt { return textAt{"0" + t.Text, t.Last} }

type textOf struct {
	Start int64  `json:"start"`
	Value string `json:"value"`
	TS    int64  `json:"ts"`
}

func rollingUpdates(t *testing.T, c *file) {
	pushed{
		build: func(env *stream.Env) {
			w := hitsByKey(env).Window(stream.Rolling(10*time.Millisecond),
				stream.AllowedLateness(50*time.Millisecond), stream.Trigger(stream.OnCount(1)))
			stream.AggregateWindow(w, joinedText{}, func(_ string, win stream.Window, t textAt) textOf {
				return textOf{win.StartMillis(), t.Text, t.Last}
			}, stream.UID("texts")).To(streamtest.Sink(textOf{}), stream.UID("out"))
		},
		outs: map[string]func(d *streamtest.Driver) func() []any{"expect.jsonl": func(d *streamtest.Driver) func() []any {
			out := streamtest.Output(d, "out", textOf{})
			return func() (all []any) {
				for _, r := range out.Take() {
					all = append(all, r)
				}
				return all
			}
		}},
	}.run(t, c)
}

func suppressRolling(t *testing.T, c *file) {
	pushed{
		build: func(env *stream.Env) {
			w := hitsByKey(env).Window(stream.Rolling(5*time.Millisecond),
				stream.AllowedLateness(15*time.Millisecond), stream.Trigger(stream.OnClose()))
			stream.AggregateWindow(w, tallyHits{}, bothIn, stream.UID("counts")).
				To(streamtest.Sink(countedRow{}), stream.UID("out"))
		},
		outs: map[string]func(d *streamtest.Driver) func() []any{"suppressed.jsonl": countedIn("out")},
	}.run(t, c)
}

func suppressTumbling(t *testing.T, c *file) {
	pushed{
		build: func(env *stream.Env) {
			byKey := hitsByKey(env)
			window := func(uid string, trigger stream.TriggerSpec) {
				w := byKey.Window(stream.Tumbling(2*time.Millisecond), stream.AllowedLateness(2*time.Millisecond), stream.Trigger(trigger))
				stream.AggregateWindow(w, tallyHits{}, endOut, stream.UID(uid+" counts")).
					To(streamtest.Sink(countedRow{}), stream.UID(uid))
			}
			window("raw", stream.OnCount(1))
			window("suppressed", stream.OnClose())
		},
		outs: map[string]func(d *streamtest.Driver) func() []any{
			"raw.jsonl": countedIn("raw"), "suppressed.jsonl": countedIn("suppressed"),
		},
	}.run(t, c)
}

// sessionChanges shows sessions as they grow: the row of the session that was
// is taken back before that of the one that is.
type sessionChanges struct {
	shown *state.Map[int64, countedRow] // by start
}

func (s *sessionChanges) Open(ctx *stream.WindowContext[string, countedRow]) (err error) {
	s.shown, err = state.NewMap[int64, countedRow](ctx.State(), "shown")
	return err
}

func (s *sessionChanges) Process(ctx *stream.WindowContext[string, countedRow], rows []hit) error {
	s.takeBack(ctx, ctx.Emit)
	var t tallied
	for _, h := range rows {
		tallyHits{}.Add(&t, h)
	}
	now := countedRow{Key: ctx.Key(), Start: t.First, End: t.Last, N: t.N, TS: t.Last}
	s.shown.Put(now.Start, now)
	ctx.Emit(now)
	return nil
}

// Clear forgets a session that is over.
func (s *sessionChanges) Clear(ctx *stream.WindowContext[string, countedRow]) error {
	s.takeBack(ctx, func(countedRow) {})
	return nil
}

// takeBack forgets what was shown of the rows of the window.
func (s *sessionChanges) takeBack(ctx *stream.WindowContext[string, countedRow], tell func(countedRow)) {
	var gone []countedRow
	for _, r := range s.shown.All() {
		if ctx.Window().StartMillis() <= r.Start && r.Start < ctx.Window().EndMillis() {
			gone = append(gone, r)
		}
	}
	for _, r := range gone {
		s.shown.Delete(r.Start)
		r.Gone, r.N = true, 0
		tell(r)
	}
}

func suppressSession(t *testing.T, c *file) {
	pushed{
		build: func(env *stream.Env) {
			byKey := hitsByKey(env)
			sessions := stream.Session(5 * time.Millisecond)
			stream.ProcessWindowWith(byKey.Window(sessions, stream.Trigger(stream.OnCount(1))), &sessionChanges{}, stream.UID("changes")).
				To(streamtest.Sink(countedRow{}), stream.UID("raw"))
			stream.AggregateWindow(byKey.Window(sessions), tallyHits{}, func(k string, _ stream.Window, t tallied) countedRow {
				return countedRow{Key: k, Start: t.First, End: t.Last, N: t.N, TS: t.Last}
			}, stream.UID("counts")).To(streamtest.Sink(countedRow{}), stream.UID("suppressed"))
		},
		outs: map[string]func(d *streamtest.Driver) func() []any{
			"raw.jsonl": countedIn("raw"), "suppressed.jsonl": countedIn("suppressed"),
		},
	}.run(t, c)
}
