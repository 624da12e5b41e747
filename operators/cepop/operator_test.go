package cepop_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/cepop"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/state"
)

// keyed is an event with a key.
type keyed struct {
	Key  string
	Name string
	Time int64
	Seq  int64
}

func keyOf(e keyed) string { return e.Key }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// lift makes steps over ev steps over keyed.
func lift(steps []cepop.Step[ev]) (out []cepop.Step[keyed]) {
	cond := func(c cepop.Cond[ev]) cepop.Cond[keyed] {
		if c == nil {
			return nil
		}
		return func(e *keyed, _ cepop.Match[keyed]) bool { return c(&ev{Name: e.Name}, cepop.Match[ev]{}) }
	}
	for _, s := range steps {
		out = append(out, cepop.Step[keyed]{
			Name: s.Name, After: s.After, Not: s.Not, When: cond(s.When), Group: lift(s.Group), Min: s.Min, Max: s.Max,
			Inner: s.Inner, Optional: s.Optional, Greedy: s.Greedy, Until: cond(s.Until), Gap: s.Gap,
		})
	}
	return out
}

func automaton(t testing.TB, shape string) *cepop.Automaton[keyed] {
	t.Helper()
	p := pattern(t, shape)
	a, faults := cepop.Compile(cepop.Pattern[keyed]{Steps: lift(p.Steps), Within: p.Within, Skip: p.Skip})
	if len(faults) > 0 {
		t.Fatalf("%s: %v", shape, faults)
	}
	return a
}

func tell(m cepop.Match[keyed]) string {
	var names []string
	for _, e := range m.All() {
		names = append(names, e.Name)
	}
	return m.First("a").Key + ": " + strings.Join(names, " ")
}

func factory(t testing.TB, shape string) *cepop.Factory[string, keyed, string] {
	return &cepop.Factory[string, keyed, string]{Config: cepop.Config[string, keyed, string]{
		Key: keyOf, Hasher: must(columnar.HasherOf(keyOf)), KeyCodec: must(codec.Of[string]()), Rows: must(codec.Of[keyed]()),
		Automaton: automaton(t, shape),
		Compare:   func(a, b keyed) int { return cmp.Compare(a.Seq, b.Seq) },
		Select:    func(m cepop.Match[keyed], emit func(string)) { emit(tell(m)) },
		TimedOut:  cepop.TimedOutTo(func(m cepop.Match[keyed]) string { return tell(m) }),
	}}
}

func harness(t testing.TB, f operators.Factory, cfg operatortest.Config) *operatortest.Harness {
	cfg.Factory, cfg.Rows, cfg.Key = f, must(columnar.TypeOf[keyed]()), must(columnar.HasherOf(keyOf))
	cfg.Sides = []string{dataflow.SideLate, cepop.SideTimedOut}
	return operatortest.New(t, cfg)
}

// expected gives the rows that are not late to a matcher of their key, sorted.
func expected(t *testing.T, shape string, in []keyed) (matches, timedOut []string) {
	t.Helper()
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b keyed) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Seq, b.Seq)) })
	c := must(codec.Of[keyed]())
	byKey := make(map[string]*cepop.Matcher[keyed])
	for _, e := range in {
		if byKey[e.Key] == nil {
			byKey[e.Key] = cepop.NewMatcher(automaton(t, shape), c, 1<<20, cepop.Sink[keyed]{
				Found:    func(m cepop.Match[keyed]) { matches = append(matches, tell(m)) },
				TimedOut: func(m cepop.Match[keyed]) { timedOut = append(timedOut, tell(m)) },
			})
		}
		if err := byKey[e.Key].Step(&e, c.Append(nil, &e), e.Time); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range byKey {
		if err := m.Advance(dataflow.TimeMax); err != nil {
			t.Fatal(err)
		}
		if err := m.Finish(dataflow.TimeMax); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(matches)
	slices.Sort(timedOut)
	return matches, timedOut
}

// TestOperatorAgainstSortedRows gives rows out of order, with restores at other
// parallelisms in between, and compares with the rows in order.
func TestOperatorAgainstSortedRows(t *testing.T) {
	t.Parallel()
	shapes := []string{
		"a >> b; within 40", "a > b+/strict > c", "a >>> b{2} >> c; within 60 skip past", "a >> !b; within 30",
		"a+/greedy >> b >> !c >> d; within 100", "a > b > !c; skip next", "a >> b*/any >> c/gap=30",
		"a > !b >>> c >> d; within 100",
	}
	for seed := range uint64(32) {
		rng := rand.New(rand.NewPCG(seed, 3))
		shape := shapes[seed%uint64(len(shapes))]
		h := harness(t, factory(t, shape), operatortest.Config{
			Parallelism: 1 + rng.IntN(3), MaxParallelism: 8, BatchRows: []int{1, 3, 1024}[rng.IntN(3)], NotReady: []int{0, 2, 3}[rng.IntN(3)],
		})
		var in []keyed
		wm := int64(0)
		for range 30 {
			var batch []keyed
			var times []int64
			for range rng.IntN(12) {
				e := keyed{Key: fmt.Sprint("k", rng.IntN(5)), Time: wm + 1 + rng.Int64N(60), Seq: int64(len(in) + len(batch))}
				if rng.IntN(20) == 0 {
					e.Time = wm - rng.Int64N(20)
				}
				e.Name = fmt.Sprintf("%c%d", 'a'+rune(rng.IntN(4)), e.Seq)
				batch, times = append(batch, e), append(times, e.Time)
			}
			in = append(in, batch...)
			if len(batch) > 0 {
				h.Feed(columnar.NewBatch(batch, times))
			}
			wm += rng.Int64N(30)
			h.Watermark(wm)
			if rng.IntN(4) == 0 {
				h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 1+rng.IntN(3))
			}
		}
		h.End()
		compareOutputs(t, shape, seed, h, in)
		checkEmpty(t, shape, h)
	}
}

func compareOutputs(t *testing.T, shape string, seed uint64, h *operatortest.Harness, in []keyed) {
	t.Helper()
	late := make(map[int64]bool)
	for _, e := range operatortest.Rows[keyed](h, dataflow.SideLate) {
		late[e.Seq] = true
	}
	if len(late) == 0 {
		t.Errorf("%s, seed %d: nothing was late", shape, seed)
	}
	onTime := slices.DeleteFunc(in, func(e keyed) bool { return late[e.Seq] })
	matches, timedOut := expected(t, shape, onTime)
	got, gotOut := operatortest.Rows[string](h, ""), operatortest.Rows[string](h, cepop.SideTimedOut)
	slices.Sort(got)
	slices.Sort(gotOut)
	if !slices.Equal(got, matches) {
		t.Errorf("%s, seed %d: matches\n%q, want\n%q", shape, seed, got, matches)
	}
	if !slices.Equal(gotOut, timedOut) {
		t.Errorf("%s, seed %d: timed out\n%q, want\n%q", shape, seed, gotOut, timedOut)
	}
}

// checkEmpty wants no state where time or the end has ended all that was partly
// matched.
func checkEmpty(t *testing.T, shape string, h *operatortest.Harness) {
	t.Helper()
	if !strings.Contains(shape, "within") {
		return
	}
	for _, s := range h.Subs {
		if keys := keysOf(t, s.State); keys != 0 {
			t.Errorf("%s: %d keys have partial matches at the end", shape, keys)
		}
	}
}

// keysOf returns the number of keys that have state, of any kind.
func keysOf(t *testing.T, b state.Backend) (n int) {
	t.Helper()
	c := must(codec.Of[keyed]())
	for _, d := range []state.Descriptor{
		{Name: "pending", Schema: "waiting rows 1 of " + c.Schema()},
		{Name: "timers/event-timers", Schema: "timers 1: per key and 1024 ms, ascending pairs of time and namespace, int64 each"},
	} {
		n += must(b.Table(d)).Len()
	}
	for _, shape := range []string{"a >> b; within 40", "a >>> b{2} >> c; within 60 skip past", "a >> !b; within 30", "a+/greedy >> b >> !c >> d; within 100", "a > !b >>> c >> d; within 100"} {
		schema := "partial matches 1 of " + automaton(t, shape).String() + " over " + c.Schema()
		if table, err := b.Table(state.Descriptor{Name: "partials", Schema: schema}); err == nil {
			n += table.Len()
		}
	}
	return n
}

// TestByTheClock takes rows as they come, and measures Within by the clock.
func TestByTheClock(t *testing.T) {
	t.Parallel()
	f := factory(t, "a >> b; within 5000")
	f.Processing = true
	h := harness(t, f, operatortest.Config{})
	feed := func(names ...string) {
		for _, n := range names {
			// Event time runs backwards: it is of no meaning.
			h.Feed(columnar.NewBatch([]keyed{{Key: n[:1], Name: n[1:]}}, []int64{1000 - int64(len(h.Out))}))
		}
	}
	feed("ka1", "ja1", "kb1")
	h.Advance(4 * time.Second)
	feed("ka2")
	h.Advance(2 * time.Second)
	h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 2)
	feed("jb1", "kb2")
	feed("ia1")
	h.End()
	if got, want := operatortest.Rows[string](h, ""), []string{"k: a1 b1", "k: a2 b2"}; !slices.Equal(got, want) {
		t.Errorf("matches %q, want %q", got, want)
	}
	if got, want := operatortest.Rows[string](h, cepop.SideTimedOut), []string{"j: a1", "i: a1"}; !slices.Equal(got, want) {
		t.Errorf("timed out %q, want %q", got, want)
	}
	if got := operatortest.Times[string](h, ""); !slices.Equal(got, []int64{1000, 998}) {
		t.Errorf("times of matches are %v, not those of the rows that made them whole", got)
	}
	if got := operatortest.Times[string](h, cepop.SideTimedOut); got[0] != dataflow.TimeNone {
		t.Errorf("a partial match that timed out by the clock has time %d", got[0])
	}
}

// TestTimesOfMatches wants times that are not behind the watermark.
func TestTimesOfMatches(t *testing.T) {
	t.Parallel()
	h := harness(t, factory(t, "a >> !b; within 10"), operatortest.Config{})
	h.Feed(columnar.NewBatch([]keyed{{Key: "k", Name: "a1", Time: 5}, {Key: "k", Name: "a2", Time: 8}}, []int64{5, 8}))
	h.Watermark(14)
	if len(h.Out) > 0 {
		t.Fatal("a match came before its time was up")
	}
	h.Watermark(100)
	if got := operatortest.Times[string](h, ""); !slices.Equal(got, []int64{15, 18}) {
		t.Errorf("times of matches %v, want 15 and 18", got)
	}
}

// TestTimerAtTheTimeOfARow shows that nothing is left of a match, and that a
// row which waits for the moment at which the match would have run out is not
// forgotten with it.
func TestTimerAtTheTimeOfARow(t *testing.T) {
	t.Parallel()
	h := harness(t, factory(t, "a >> b; within 40"), operatortest.Config{})
	feed := func(name string, at int64) {
		h.Feed(columnar.NewBatch([]keyed{{Key: "k", Name: name, Time: at}}, []int64{at}))
	}
	feed("a1", 1)
	feed("b1", 5)
	h.Watermark(1)
	h.Watermark(6)
	if keys := keysOf(t, h.Subs[0].State); keys != 0 {
		t.Errorf("%d keys have state after the match", keys)
	}
	feed("a2", 10)
	feed("b2", 11)
	h.Watermark(10)
	feed("a3", 50)
	h.Watermark(11)
	h.Watermark(90)
	if got, want := operatortest.Rows[string](h, ""), []string{"k: a1 b1", "k: a2 b2"}; !slices.Equal(got, want) {
		t.Errorf("matches %q, want %q", got, want)
	}
	if got, want := operatortest.Rows[string](h, cepop.SideTimedOut), []string{"k: a3"}; !slices.Equal(got, want) {
		t.Errorf("timed out %q, want %q", got, want)
	}
}

func TestHeldBackMatchesComeAtTheEnd(t *testing.T) {
	t.Parallel()
	h := harness(t, factory(t, "a >> b > c; skip past"), operatortest.Config{})
	in := []keyed{{Key: "k", Name: "a1"}, {Key: "j", Name: "a1"}, {Key: "j", Name: "b1"}}
	in = append(in, keyed{Key: "k", Name: "a2"}, keyed{Key: "k", Name: "x"})
	times := []int64{1, 2, 3, 4, 5}
	h.Feed(columnar.NewBatch(in, times))
	h.End()
	if len(operatortest.Rows[string](h, "")) > 0 {
		t.Errorf("matches %v of nothing", h.Out)
	}
	h = harness(t, factory(t, "a >> b? >> c; skip past"), operatortest.Config{})
	in = nil
	for i, n := range strings.Fields("a1 d a2 c1") {
		in = append(in, keyed{Key: "k", Name: n, Time: int64(i)})
	}
	h.Feed(columnar.NewBatch(in, []int64{1, 2, 3, 4}))
	h.Watermark(4)
	h.End()
	if got, want := operatortest.Rows[string](h, ""), []string{"k: a1 c1"}; !slices.Equal(got, want) {
		t.Errorf("matches %q, want %q", got, want)
	}
}

// process gives one batch to the operator, for its error.
func process(h *operatortest.Harness, in []keyed, times []int64) error {
	if err := h.Subs[0].Operator.Process(0, columnar.NewBatch(in, times)); err != nil {
		return err
	}
	_, err := h.Subs[0].Operator.(operators.WatermarkHandler).Watermark(dataflow.TimeMax)
	return err
}

func TestErrorsNameKeyAndPattern(t *testing.T) {
	t.Parallel()
	f := factory(t, "a+/any >> b")
	f.PartialsMax = 2
	h := harness(t, f, operatortest.Config{})
	err := process(h, []keyed{{Key: "ann", Name: "a1"}, {Key: "ann", Name: "a2"}, {Key: "ann", Name: "a3"}}, []int64{1, 2, 3})
	if want := `key ann, pattern "a"{1,}combinations >> "b": too many partial matches: more than 2`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if got := h.Subs[0].Operator.(operators.Positioner).Position(); got != "key ann, event of 1970-01-01T00:00:00.002Z" {
		t.Errorf("position %q", got)
	}
	h = harness(t, factory(t, "a >> b"), operatortest.Config{})
	if err := process(h, []keyed{{Key: "ann", Name: "a1"}}, nil); err == nil || !strings.Contains(err.Error(), "record without event time in a pattern") {
		t.Errorf("a row without event time: %v", err)
	}
	if got := h.Subs[0].Operator.(operators.Positioner).Position(); got != "key ann, event time none" {
		t.Errorf("position %q", got)
	}
}

// TestAnotherPatternIsRefused restores the state of one pattern with another.
func TestAnotherPatternIsRefused(t *testing.T) {
	t.Parallel()
	h := harness(t, factory(t, "a >> b"), operatortest.Config{})
	h.Feed(columnar.NewBatch([]keyed{{Key: "k", Name: "a1"}}, []int64{1}))
	h.Watermark(1)
	s := h.Subs[0]
	ctx := &operators.Context{State: s.State, Metrics: operatortest.NewMetrics()}
	err := factory(t, "a > b").New().Open(ctx)
	if err == nil || !strings.Contains(err.Error(), `state table "partials" holds values of schema "partial matches 1 of \"a\" >> \"b\" over`) {
		t.Errorf("error %v", err)
	}
}
