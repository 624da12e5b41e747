package stream_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestWindowFaults has one fault of each kind that a window may have.
type windowFault struct {
	want  string
	build func(k *stream.KeyedStream[string, click])
}

func TestWindowFaults(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(assignerFaults(), triggerFaults(), functionFaults()) {
		env := stream.NewEnv()
		c.build(byUser(env))
		_, err := env.Graph()
		if err == nil {
			t.Errorf("no error where one says %q", c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "stream/window_kinds_test.go:") {
			t.Errorf("error %q\nwant one that says %q", err, c.want)
		}
	}
}

func assignerFaults() []windowFault {
	return []windowFault{
		{"window of -1s is negative", windowing(stream.Tumbling(-time.Second))},
		{"window of 1.5ms is no whole number of milliseconds", windowing(stream.Tumbling(1500 * time.Microsecond))},
		{"is longer than 876000h0m0s: for windows without an end use GlobalWindows", windowing(stream.Tumbling(1_000_000 * time.Hour))},
		{"slide 2m0s is longer than the window of 1m0s", windowing(stream.Sliding(time.Minute, 2*time.Minute))},
		{"slide of 0s is shorter than a millisecond", windowing(stream.Sliding(time.Minute, 0))},
		{"is made of 86400000 panes, at most 100000: choose a slide that divides the size", windowing(stream.Sliding(24*time.Hour, 7*time.Millisecond+time.Second))},
		{"step 7s does not divide the window of 1m0s", windowing(stream.Cumulative(time.Minute, 7*time.Second))},
		{"step 2m0s is longer than the window of 1m0s", windowing(stream.Cumulative(time.Minute, 2*time.Minute))},
		{"the location of In is nil", windowing(stream.Tumbling(time.Minute, stream.In(nil)))},
		{"In is for tumbling windows, not sliding", windowing(stream.Sliding(time.Minute, time.Second, stream.In(time.UTC)))},
		{"window of 7h0m0s in a time zone neither divides a day", windowing(stream.Tumbling(7*time.Hour, stream.In(time.UTC)))},
		{"offset 1µs is no whole number of milliseconds", windowing(stream.Tumbling(time.Minute, stream.Offset(time.Microsecond)))},
		{"an option of the window (tumbling 1m0s) is nil", windowing(stream.Tumbling(time.Minute, nil))},
		{"allowed lateness 1000000h0m0s is longer than", func(k *stream.KeyedStream[string, click]) {
			k.Window(stream.Tumbling(time.Minute), stream.AllowedLateness(1_000_000*time.Hour))
		}},
		{"the function of ReduceWindow is nil", func(k *stream.KeyedStream[string, click]) {
			stream.ReduceWindow(k.Window(stream.Tumbling(time.Minute)), nil, stream.UID("x"))
		}},
		{"gap of 0s is shorter than a millisecond", windowing(stream.Session(0))},
		{"gap of -1m0s is negative", windowing(stream.Session(-time.Minute))},
		{"the function of SessionBy is nil", windowing(stream.SessionBy[click](nil))},
		{"the function of the window (session with a gap by row offset 0ms) does not take stream_test.click", windowing(stream.SessionBy(func(int) time.Duration { return 1 }))},
		{"the function of CustomWindows is nil", windowing(stream.CustomWindows[click](nil))},
		{"window of 0 rows: give it at least one", windowing(stream.Count(0))},
		{"a result every 0 rows", windowing(stream.CountSliding(3, 0))},
		{"would leave rows out: use every of at most 3", windowing(stream.CountSliding(3, 4))},
		{"GlobalWindows never have a result by themselves: add stream.Trigger", windowing(stream.GlobalWindows())},
		{"no row is late in a window without event time", windowing(stream.Count(3), stream.AllowedLateness(time.Second))},
		{"no row is late in a window without event time", windowing(stream.Tumbling(time.Second, stream.ByProcessingTime()), stream.AllowedLateness(time.Second))},
		{"rolling window of -1s is negative", windowing(stream.Rolling(-time.Second))},
		{"a rolling window (rolling 1s of processing time offset 0ms) is of event time", windowing(stream.Rolling(time.Second, stream.ByProcessingTime()))},
		{"takes no trigger but OnCount(1) and OnClose, not OnCount(2): use Sliding", windowing(stream.Rolling(time.Second), stream.Trigger(stream.OnCount(2)))},
		{"takes no trigger but OnCount(1) and OnClose, not Purging OnCount(1)", windowing(stream.Rolling(time.Second), stream.Trigger(stream.Purging(stream.OnCount(1))))},
		{"has 2 triggers: a window has one", windowing(stream.Rolling(time.Second), stream.Trigger(stream.OnCount(1)), stream.Trigger(stream.OnClose()))},
		{"a rolling window (rolling 1s offset 0ms) takes no evictor", windowing(stream.Rolling(time.Second), stream.Evictor(stream.KeepLast(1)))},
		{"GlobalWindows never close", windowing(stream.GlobalWindows(), stream.Trigger(stream.OnClose()))},
		{"trigger OnClose waits for event time in a window of processing time", windowing(stream.Tumbling(time.Second, stream.ByProcessingTime()), stream.Trigger(stream.OnClose()))},
		{"ProcessWindowWith keeps windows one by one, which rolling windows (rolling 1s offset 0ms) are not", func(k *stream.KeyedStream[string, click]) {
			stream.ProcessWindowWith(k.Window(stream.Rolling(time.Second)), &changes{}, stream.UID("x"))
		}},
		{"Offset is for tumbling, sliding and cumulative windows, not session", windowing(stream.Session(time.Second, stream.Offset(time.Second)))},
	}
}

func triggerFaults() []windowFault {
	return []windowFault{
		{"has 2 triggers (OnCount(3), EarlyEvery(1s)): a window has one", windowing(stream.Tumbling(time.Second), stream.Trigger(stream.OnCount(3)), stream.EarlyEvery(time.Second))},
		{"has a trigger of its own: use GlobalWindows with OnCount(2)", windowing(stream.Count(3), stream.Trigger(stream.OnCount(2)))},
		{"trigger OnCount(0): give it at least one row", windowing(stream.GlobalWindows(), stream.Trigger(stream.OnCount(0)))},
		{"trigger EarlyCount(-1): give it at least one row", windowing(stream.Tumbling(time.Second), stream.EarlyCount(-1))},
		{"trigger EarlyEvery(0s): the time is not between 1ms and", windowing(stream.Tumbling(time.Second), stream.EarlyEvery(0))},
		{"trigger OnDelta(1): the function is nil", windowing(stream.GlobalWindows(), stream.Trigger(stream.OnDelta[click](1, nil)))},
		{"trigger OnDelta(-1): the threshold is not a number from 0", windowing(stream.GlobalWindows(), stream.Trigger(stream.OnDelta(-1, func(a, b click) float64 { return 0 })))},
		{"trigger OnDelta(1) does not take stream_test.click", windowing(stream.GlobalWindows(), stream.Trigger(stream.OnDelta(1, func(a, b int) float64 { return 0 })))},
		{"has no method OnMerge, which windows that merge (session gap 1s offset 0ms) need", windowing(stream.Session(time.Second), stream.Trigger(stream.CustomTrigger(big{})))},
		{"waits for event time in a window of processing time", windowing(stream.Tumbling(time.Second, stream.ByProcessingTime()), stream.Trigger(stream.OnEventTime()))},
		{"the trigger of CustomTrigger is nil", windowing(stream.GlobalWindows(), stream.Trigger(stream.CustomTrigger[click](nil)))},
		{"OnEnd is for GlobalWindows, not for a window that ends by itself (tumbling 1s", windowing(stream.Tumbling(time.Second), stream.Trigger(stream.OnEnd()))},
		{"the trigger is empty", windowing(stream.GlobalWindows(), stream.Trigger(stream.TriggerSpec{}))},
		{"the evictor is empty", windowing(stream.Tumbling(time.Second), stream.Evictor(stream.EvictorSpec{}))},
		{"evictor KeepLast(0): give it at least one row", windowing(stream.Tumbling(time.Second), stream.Evictor(stream.KeepLast(0)))},
		{"evictor KeepRecent(0s): the time is shorter than a millisecond", windowing(stream.Tumbling(time.Second), stream.Evictor(stream.KeepRecent(0)))},
		{"the function of evictor KeepNear is nil", windowing(stream.Tumbling(time.Second), stream.Evictor(stream.KeepNear[click](1, nil)))},
		{"the function of CustomEvictor is nil", windowing(stream.Tumbling(time.Second), stream.Evictor(stream.CustomEvictor[click](nil)))},
		{"the evictor does not take stream_test.click", windowing(stream.Tumbling(time.Second), stream.Evictor(stream.KeepNear(1, func(a, b int) float64 { return 0 })))},
		{"has 2 evictors", windowing(stream.Tumbling(time.Second), stream.Evictor(stream.KeepLast(1)), stream.Evictor(stream.KeepLast(2)))},
		{"has an evictor of its own", windowing(stream.CountSliding(3, 1), stream.Evictor(stream.KeepLast(1)))},
	}
}

func functionFaults() []windowFault {
	return []windowFault{
		{"the function of ProcessWindow is nil", func(k *stream.KeyedStream[string, click]) {
			stream.ProcessWindow[string, click, int](k.Window(stream.Tumbling(time.Minute)), nil, stream.UID("x"))
		}},
		{"the function of AggregateWindow that makes rows is nil", func(k *stream.KeyedStream[string, click]) {
			stream.AggregateWindow[string, click, int64, int64, int](k.Window(stream.Tumbling(time.Minute)), sumN{}, nil, stream.UID("x"))
		}},
		{"the aggregator is nil", func(k *stream.KeyedStream[string, click]) {
			stream.Aggregate[string, click, int64, int64](k.Window(stream.Tumbling(time.Minute)), nil, stream.UID("x"))
		}},
		{"is no pointer to a struct", func(k *stream.KeyedStream[string, click]) {
			stream.ProcessWindowWith[string, click, string](k.Window(stream.Tumbling(time.Minute)), (*changes)(nil), stream.UID("x"))
		}},
		{"rows are held back for 0s, which is not between 1ms and", func(k *stream.KeyedStream[string, click]) {
			stream.SuppressFor(k, 0, stream.BufferUnbounded(), stream.UID("x"))
		}},
		{"a buffer of 0 rows: give it at least one, or use BufferUnbounded", func(k *stream.KeyedStream[string, click]) {
			stream.SuppressForProcessingTime(k, time.Second, stream.BufferRows(0), stream.UID("x"))
		}},
		{"an option of the window (tumbling 1m0s offset 0ms) is nil", windowing(stream.Tumbling(time.Minute), nil)},
	}
}

func windowing(a stream.WindowAssigner, opts ...stream.WindowOption) func(*stream.KeyedStream[string, click]) {
	return func(k *stream.KeyedStream[string, click]) {
		stream.ReduceWindow(k.Window(a, opts...), func(_, b click) click { return b }, stream.UID("x"))
	}
}

// markSums adds up N.
type markSums struct{}

func (markSums) Add(t *tally, m mark)    { t.Count++; t.Sum += m.N }
func (markSums) Result(t *tally) tally   { return *t }
func (markSums) Merge(into, from *tally) { into.Count += from.Count; into.Sum += from.Sum }

func markResult(k string, w stream.Window, t tally) markTotal {
	return markTotal{k, w.StartMillis(), w.EndMillis(), t.Count, t.Sum}
}

// slideSpans and stepSpans are sliding and cumulative windows of a second, every quarter.
func slideSpans(at int64) (all []span) {
	for start := int64(-10*250 + 30); start <= at; start += 250 {
		if at < start+1000 {
			all = append(all, span{start, start + 1000})
		}
	}
	return all
}

func stepSpans(at int64) (all []span) {
	start := at / 1000 * 1000
	for end := start + 250; end <= start+1000; end += 250 {
		if at < end {
			all = append(all, span{start, end})
		}
	}
	return all
}

// unmerged hides Merge.
type unmerged struct{ of markSums }

func (u unmerged) Add(t *tally, m mark)  { u.of.Add(t, m) }
func (u unmerged) Result(t *tally) tally { return u.of.Result(t) }

type markWindows = stream.WindowedStream[string, mark]

// markWays are the functions, which keep different things.
func markWays() map[string]func(*markWindows) *stream.DataStream[markTotal] {
	return map[string]func(*markWindows) *stream.DataStream[markTotal]{
		"merged": func(w *markWindows) *stream.DataStream[markTotal] {
			return stream.AggregateWindow(w, markSums{}, markResult, stream.UID("sums"))
		},
		"unmerged": func(w *markWindows) *stream.DataStream[markTotal] {
			return stream.AggregateWindow(w, unmerged{}, markResult, stream.UID("sums"))
		},
		"rows": func(w *markWindows) *stream.DataStream[markTotal] {
			return stream.ProcessWindow(w, func(k string, win stream.Window, rows []mark, emit func(markTotal)) {
				var t tally
				for _, m := range rows {
					markSums{}.Add(&t, m)
				}
				emit(markResult(k, win, t))
			}, stream.UID("sums"))
		},
	}
}

// TestWindowsManyWays runs each kind of window with each kind of function in
// the matrix.
func TestWindowsManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	marks := randomMarks(rand.New(rand.NewPCG(seed, 11)), 60)
	slide, step := wantMarks(marks, slideSpans), wantMarks(marks, stepSpans)
	for name, c := range map[string]struct {
		assign stream.WindowAssigner
		want   []markTotal
		ways   []string
	}{
		"sliding":    {stream.Sliding(time.Second, 250*time.Millisecond, stream.Offset(30*time.Millisecond)), slide, []string{"merged", "rows"}},
		"cumulative": {stream.Cumulative(time.Second, 250*time.Millisecond), step, []string{"merged", "unmerged"}},
		"session":    {stream.Session(90 * time.Millisecond), sessionMarks(marks, 90), []string{"merged", "rows"}},
		"rolling":    {stream.Rolling(90 * time.Millisecond), rollingMarks(marks, 90), []string{"merged", "unmerged", "rows"}},
		"custom": {stream.CustomWindows(func(dst []stream.Window, _ mark, at int64) []stream.Window {
			for _, s := range stepSpans(at) {
				dst = append(dst, stream.WindowOf(s.start, s.end))
			}
			return dst
		}), step, []string{"merged"}},
	} {
		for way, function := range markWays() {
			if !slices.Contains(c.ways, way) {
				continue
			}
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
					k := stream.KeyBy(scripted(b, "marks", marks), markKey)
					streamtest.Expect(b, "results", function(k.Window(c.assign)), c.want)
				}})
			})
		}
	}
}

// rollingMarks makes a window that ends with each mark, and one after it, and
// keeps those that are not empty.
func rollingMarks(marks []mark, apart int64) []markTotal {
	starts := make(map[span]bool)
	for _, m := range marks {
		for _, start := range []int64{m.Millis - apart, m.Millis + 1} {
			starts[span{start, start + apart + 1}] = true
		}
	}
	all := wantMarks(marks, func(at int64) (in []span) {
		for s := range starts {
			if s.start <= at && at < s.end {
				in = append(in, s)
			}
		}
		return in
	})
	// A window is made by a mark of its key.
	return slices.DeleteFunc(all, func(w markTotal) bool {
		return !slices.ContainsFunc(marks, func(m mark) bool {
			return m.Key == w.Key && (m.Millis == w.End-1 || m.Millis == w.Start-1)
		})
	})
}

// sessionMarks sorts the marks of each key and cuts where there is a gap.
func sessionMarks(marks []mark, gap int64) (want []markTotal) {
	sorted := slices.Clone(marks)
	slices.SortFunc(sorted, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Millis, b.Millis))
	})
	for i, m := range sorted {
		if i == 0 || sorted[i-1].Key != m.Key || m.Millis > sorted[i-1].Millis+gap {
			want = append(want, markTotal{Key: m.Key, Start: m.Millis})
		}
		last := &want[len(want)-1]
		last.End = m.Millis + gap
		last.Count++
		last.Sum += m.N
	}
	return want
}

// TestSuppressManyWays holds back sums as they grow.
func TestSuppressManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	// In order, so that which is the last of a span does not depend on the way.
	var marks []mark
	rng := rand.New(rand.NewPCG(seed, 12))
	for i := range 80 {
		marks = append(marks, mark{string(rune('a' + rng.IntN(4))), int64(i), int64(i) * 40})
	}
	var want []mark
	held := make(map[string]int64) // when it is due
	last := make(map[string]mark)
	for _, m := range marks {
		for k, due := range held {
			if due < m.Millis {
				want = append(want, last[k])
				delete(held, k)
			}
		}
		if _, ok := held[m.Key]; !ok {
			held[m.Key] = m.Millis + 300
		}
		last[m.Key] = m
	}
	for k := range held {
		want = append(want, last[k])
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "marks", streamtest.Timed(markMillis, marks...).WatermarkEach(time.Millisecond))
		k := stream.KeyBy(in, markKey)
		streamtest.Expect(b, "held", stream.SuppressFor(k, 300*time.Millisecond, stream.BufferUnbounded(), stream.UID("thin")), want)
	}})
}

// span is a window of the reference.
type span struct{ start, end int64 }

// markTotal is a result with both ends of its window.
type markTotal struct {
	Key        string
	Start, End int64
	Count, Sum int64
}

// wantMarks keeps every window apart.
func wantMarks(marks []mark, windows func(at int64) []span) (want []markTotal) {
	sums := make(map[markTotal]tally)
	for _, m := range marks {
		for _, w := range windows(m.Millis) {
			id := markTotal{Key: m.Key, Start: w.start, End: w.end}
			sums[id] = tally{sums[id].Count + 1, sums[id].Sum + m.N}
		}
	}
	for id, t := range sums {
		id.Count, id.Sum = t.Count, t.Sum
		want = append(want, id)
	}
	return want
}
