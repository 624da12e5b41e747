package streamtest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

type sale struct {
	Shop   string
	Amount int64
	Millis int64
}

type total struct {
	Shop  string
	Start int64
	Sum   int64
}

type sumSales struct{}

func (sumSales) Add(sum *int64, s sale)  { *sum += s.Amount }
func (sumSales) Result(sum *int64) int64 { return *sum }
func shop(s sale) string                 { return s.Shop }
func rowOf(shop string, w stream.Window, sum int64) total {
	return total{shop, w.StartMillis(), sum}
}

func randomSales(rng *rand.Rand, n int, disorder int64) []sale {
	out := make([]sale, n)
	for i := range out {
		out[i] = sale{string(rune('a' + rng.IntN(5))), rng.Int64N(100), int64(i)*20 + rng.Int64N(disorder+1)}
	}
	return out
}

func perSecond(d *stream.DataStream[sale]) *stream.WindowedStream[string, sale] {
	return stream.KeyBy(d, shop).Window(stream.Tumbling(time.Second))
}

// TestCheckOnTime runs windows over splits that go ahead as they like.
func TestCheckOnTime(t *testing.T) {
	t.Parallel()
	seed := Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	at := func(s sale) int64 { return s.Millis }
	a, b := randomSales(rng, 80, 500), randomSales(rng, 50, 500)
	sums := make(map[total]int64)
	for _, s := range slices.Concat(a, b) {
		sums[total{Shop: s.Shop, Start: s.Millis - s.Millis%1000}] += s.Amount
	}
	var want []total
	for id, sum := range sums {
		id.Sum = sum
		want = append(want, id)
	}
	Check(t, Case{Seed: seed, Build: func(bench *Bench) {
		in := From(bench, "sales", Timed(at, a...).WatermarkEach(500*time.Millisecond), Timed(at, b...).WatermarkEach(500*time.Millisecond), Rows[sale]())
		Expect(bench, "sums", stream.AggregateWindow(perSecond(in), sumSales{}, rowOf, stream.UID("window")), want)
	}})
}

// TestCheckLate shows that the same rows are late in every way in order.
func TestCheckLate(t *testing.T) {
	t.Parallel()
	seed := Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	sales := randomSales(rng, 120, 3000)
	at := func(s sale) int64 { return s.Millis }
	var late []sale
	wm := int64(-1)
	for _, s := range sales {
		if s.Millis-s.Millis%1000+999 <= wm {
			late = append(late, s)
		}
		wm = max(wm, s.Millis-1)
	}
	if len(late) == 0 {
		t.Fatal("no row is late")
	}
	Check(t, Case{Seed: seed, Timing: InOrder, Build: func(b *Bench) {
		in := From(b, "sales", Timed(at, sales...).WatermarkEach(0))
		win := perSecond(in)
		sums := stream.AggregateWindow(win, sumSales{}, rowOf, stream.UID("window"))
		ExpectSame(b, "sums", sums)
		Expect(b, "late", win.Late(), late)
	}})
}

type running struct {
	sum  state.Value[int64]
	left int64 // kept in a field: wrong
	bad  bool
}

func (r *running) Open(ctx *stream.ProcessContext[string, total]) error {
	return r.sum.Open(ctx.State(), "sum")
}

func (r *running) Process(ctx *stream.ProcessContext[string, total], s sale) error {
	n, _ := r.sum.Get()
	n += s.Amount
	r.sum.Set(n)
	r.left += s.Amount
	if r.bad {
		n = r.left
	}
	ctx.Emit(total{Shop: s.Shop, Start: s.Millis, Sum: n})
	return nil
}

func runningCase(sales []sale, bad bool, want []total) Case {
	c := Case{Build: func(b *Bench) {
		in := From(b, "sales", Rows(sales...))
		out := stream.Process(stream.KeyBy(in, shop), &running{bad: bad}, stream.UID("running"))
		key := func(t total) string { return t.Shop }
		ExpectInOrder(b, "all", out, key, want)
		last := make(map[string]total)
		for _, w := range want {
			last[w.Shop] = w
		}
		var left []total
		for _, w := range last {
			if w.Sum%2 == 0 {
				left = append(left, w)
			}
		}
		ExpectTable(b, "table", out, key, func(t total) bool { return t.Sum%2 != 0 }, left)
	}}
	c.ensureDefaults()
	return c
}

func runningWant(sales []sale) []total {
	sums := make(map[string]int64)
	var want []total
	for _, s := range sales {
		sums[s.Shop] += s.Amount
		want = append(want, total{s.Shop, s.Millis, sums[s.Shop]})
	}
	return want
}

func TestCheckInOrderOfKeys(t *testing.T) {
	t.Parallel()
	seed := Seed(t)
	sales := randomSales(rand.New(rand.NewPCG(seed, 0)), 60, 0)
	c := runningCase(sales, false, runningWant(sales))
	c.Seed = seed
	Check(t, c)
}

// failures runs a case all ways and returns the texts of those that failed.
func failures(t *testing.T, c Case) map[string]string {
	t.Helper()
	out := make(map[string]string)
	var first []expected
	for _, w := range c.ways(rand.New(rand.NewPCG(1, 0)), true) {
		b, err := c.run(t.Context(), w, 1)
		if first == nil {
			first = b.outputs
		}
		if err == nil {
			err = b.compare(first)
		}
		if err != nil {
			out[w.String()] = err.Error()
		}
	}
	return out
}

// TestCheckFindsStateInFields proves that the ways differ: a sum in a field
// over all keys is right only for one key that is never restored.
func TestCheckFindsStateInFields(t *testing.T) {
	t.Parallel()
	sales := randomSales(rand.New(rand.NewPCG(3, 0)), 30, 0)
	for i := range sales {
		sales[i].Shop = "a"
	}
	c := runningCase(sales, true, runningWant(sales))
	c.Backends = []Backend{Memory()}
	got := failures(t, c)
	for w := range got {
		if strings.Contains(w, "/calm/") {
			t.Errorf("%s failed: %s", w, got[w])
		}
	}
	for _, d := range []disturbance{restoring, rescaling, crashing} {
		for _, batch := range []string{"batch=1/", "batch=3/"} {
			if !slices.ContainsFunc(keys(got), func(w string) bool { return strings.HasPrefix(w, batch) && strings.Contains(w, d.String()) }) {
				t.Errorf("state in a field was not noticed with %s and %s", batch, d)
			}
		}
	}
}

func keys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, cmp.Compare)
	return out
}

// TestCheckTellsWhatIsWrong shows each comparison's message.
func TestCheckTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	sales := []sale{{"a", 2, 1}, {"a", 4, 2}, {"b", 1, 3}}
	want := runningWant(sales)
	for name, c := range map[string]struct {
		build func(b *Bench)
		text  string
	}{
		"missing and more": {func(b *Bench) { Expect(b, "out", From(b, "in", Rows(1, 2, 2)), []int{1, 2, 3}) }, "got 3 rows, want 3\n1 not wanted:\n  2\n1 missing:\n  3"},
		"order of a key": {func(b *Bench) {
			in := From(b, "in", Rows(want...))
			ExpectInOrder(b, "out", in, func(t total) string { return t.Shop }, []total{want[1], want[0], want[2]})
		}, "key a: the order is wrong"},
		"table": {func(b *Bench) {
			in := From(b, "in", Rows(want...))
			ExpectTable(b, "out", in, func(t total) string { return t.Shop }, nil, want)
		}, "got 2 rows, want 3"},
		"nothing to compare": {func(b *Bench) { ExpectSame(b, "out", From[int](b, "in")) }, "the first way gave no rows"},
		"no output":          {func(b *Bench) { From(b, "in", Rows(1)) }, "the case has no output"},
		"fault": {func(b *Bench) {
			Expect(b, "out", From(b, "in", Rows(1)), nil)
			Expect(b, "out", From(b, "in2", Rows(1)), nil)
		}, `two operators have UID "out"`},
		"panic": {func(b *Bench) {
			Expect(b, "out", stream.Map(From(b, "in", Rows(1, 0)), func(n int) int { return 10 / n }, stream.UID("divide")), nil)
		}, `operator "divide", subtask 0, at "`},
		"place of a panic": {func(b *Bench) {
			Expect(b, "out", stream.Map(From(b, "in", Rows(1, 0)), func(n int) int { return 10 / n }, stream.UID("divide")), nil)
		}, "panic at streamtest/check_test.go:"},
	} {
		one := Case{Build: c.build, Backends: []Backend{Memory()}}
		one.ensureDefaults()
		got := failures(t, one)
		if len(got) == 0 {
			t.Errorf("%s: nothing failed", name)
		}
		for w, text := range got {
			if !strings.Contains(text, c.text) {
				t.Errorf("%s: %s says %q, want %q in it", name, w, text, c.text)
			}
		}
	}
}

// TestSampleCoversEveryValue reads the sample's ways for many seeds.
func TestSampleCoversEveryValue(t *testing.T) {
	t.Parallel()
	c := Case{Backends: []Backend{{Name: "one"}, {Name: "two"}}}
	c.ensureDefaults()
	for seed := range uint64(50) {
		seen := make(map[any]bool)
		sample := c.ways(rand.New(rand.NewPCG(seed, 0)), false)
		for _, w := range sample[1:] {
			for _, v := range []any{w.disturb, w.backend.Name, struct{ batch int }{w.batch}, w.parallelism[0]} {
				seen[v] = true
			}
		}
		if len(seen) != int(disturbances)+2+3+3 || len(sample) > 6 {
			t.Fatalf("seed %d: %d ways show %v", seed, len(sample), seen)
		}
	}
	if n := len(c.ways(rand.New(rand.NewPCG(1, 0)), true)); n != 1+2*4*3*3 {
		t.Fatalf("the full matrix has %d ways", n)
	}
}

// TestInOrderMergesInputs: rows of two inputs meet by event time, those of a
// split in their own order, and a watermark right behind its row.
func TestInOrderMergesInputs(t *testing.T) {
	t.Parallel()
	text := func(prefix string) func(int) string {
		return func(n int) string { return fmt.Sprint(prefix, n) }
	}
	Check(t, Case{Timing: InOrder, Build: func(b *Bench) {
		left := From(b, "left", At(1, 1).At(5, 5).At(2, 2).At(9, 9), At(2, 22))
		right := From(b, "right", At(1, 1).At(4, 4).Watermark(4).At(5, 5))
		both := stream.CoMap(stream.Connect(left.Global(), right.Global()), text("l"), text("r"), stream.UID("both"))
		ExpectInOrder(b, "out", both, func(string) bool { return true }, []string{"l1", "r1", "l22", "r4", "l5", "l2", "r5", "l9"})
	}})
}

// TestFeedMerges reads what the subtasks of a source know of three splits.
func TestFeedMerges(t *testing.T) {
	t.Parallel()
	f := newFeed("in", 3, false)
	f.splits[0].wm, f.splits[1].wm, f.splits[2].wm = 10, 20, 30
	f.splits[0].idle = true
	know := func(subtask, of int) string {
		wm, idle, ended := f.merged(subtask, of)
		return fmt.Sprint(wm, idle, ended)
	}
	for _, c := range []struct {
		whole       bool
		subtask, of int
		want        string
	}{
		{false, 0, 1, "20 false false"},
		{false, 0, 2, "30 false false"}, // splits 0 and 2
		{false, 0, 3, "10 true false"},
		{false, 3, 7, fmt.Sprint(dataflow.TimeMin, true, true)}, // has none
		{true, 0, 3, "20 false false"},
		{true, 6, 7, "20 false false"},
	} {
		f.whole = c.whole
		if got := know(c.subtask, c.of); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
