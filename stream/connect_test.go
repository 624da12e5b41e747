package stream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func ExampleCoMap() {
	env := stream.NewEnv()
	names := stream.From(env, collection.Slice("ann", "bob"), stream.UID("names"))
	both := stream.Connect(from(env), names)
	show(env, stream.CoMap(both,
		func(c click) string { return fmt.Sprintf("click %s %02d", c.User, c.N) },
		func(name string) string { return "name " + name }))
	// Output:
	// click ann 01
	// click ann 04
	// click ann 08
	// click ann 32
	// click bob 02
	// click bob 16
	// name ann
	// name bob
}

func ExampleCoFlatMap() {
	env := stream.NewEnv()
	lines := stream.From(env, collection.Slice("to be", "or not"), stream.UID("lines"))
	both := stream.Connect(lines, lines)
	show(env, stream.CoFlatMap(both,
		func(line string, emit func(string)) {
			for _, w := range strings.Fields(line) {
				emit(w)
			}
		},
		func(line string, emit func(string)) { emit(strings.ToUpper(line)) }))
	// Output:
	// OR NOT
	// TO BE
	// be
	// not
	// or
	// to
}

// tagger numbers the rows of either input, for the life of the subtask.
type tagger struct{ n int }

func (t *tagger) Open(*stream.RowContext[string]) error { return nil }

func (t *tagger) ProcessFirst(ctx *stream.RowContext[string], v string) error {
	t.n++
	ctx.Emit("first " + v)
	return nil
}

func (t *tagger) ProcessSecond(ctx *stream.RowContext[string], v int) error {
	t.n++
	ctx.Emit(fmt.Sprint("second ", v))
	return nil
}

func ExampleCoProcessRows() {
	env := stream.NewEnv()
	names := stream.From(env, collection.Slice("ann", "bob"), stream.UID("names"))
	ages := stream.From(env, collection.Slice(30, 40), stream.UID("ages"))
	show(env, stream.CoProcessRows(stream.Connect(names, ages), &tagger{}, stream.UID("tagger")))
	// Output:
	// first ann
	// first bob
	// second 30
	// second 40
}

type limit struct {
	User string
	Most int64
}

// overLimit emits the sum of a user's clicks at the end of the hour, if it is
// above the user's limit: both streams share the key's state.
type overLimit struct {
	sum, most state.Value[int64]
}

func (o *overLimit) Open(ctx *stream.ProcessContext[string, string]) error {
	if err := o.sum.Open(ctx.State(), "sum"); err != nil {
		return err
	}
	return o.most.Open(ctx.State(), "most")
}

func (o *overLimit) ProcessFirst(ctx *stream.ProcessContext[string, string], c click) error {
	sum, _ := o.sum.Get()
	o.sum.Set(sum + c.N)
	ctx.SetTimer(c.At.Truncate(time.Hour).Add(time.Hour))
	return nil
}

func (o *overLimit) ProcessSecond(_ *stream.ProcessContext[string, string], l limit) error {
	o.most.Set(l.Most)
	return nil
}

func (o *overLimit) OnTimer(ctx *stream.ProcessContext[string, string], t stream.Timer) error {
	sum, _ := o.sum.Get()
	if most, ok := o.most.Get(); ok && sum > most {
		ctx.Emit(fmt.Sprintf("%s %s: %d is above %d", t.At.Format("15:04"), ctx.Key(), sum, most))
	}
	return nil
}

func ExampleCoProcess() {
	env := stream.NewEnv()
	// Limits without event time hold no watermark back once they have ended.
	limits := stream.From(env, collection.Slice(limit{"ann", 10}, limit{"bob", 3}), stream.UID("limits"))
	both := stream.ConnectKeyed(
		stream.KeyBy(from(env), func(c click) string { return c.User }),
		stream.KeyBy(limits, func(l limit) string { return l.User }))
	show(env, stream.CoProcess(both, &overLimit{}, stream.UID("over-limit")))
	// Output:
	// 01:00 ann: 45 is above 10
	// 01:00 bob: 18 is above 3
}

// pairs counts, for each key, the rows of both inputs, and tells both numbers
// when event time has ended.
type pairs struct {
	counts state.Map[string, int64]
}

func (p *pairs) Open(ctx *stream.ProcessContext[int64, string]) error {
	return p.counts.Open(ctx.State(), "counts")
}

func (p *pairs) count(ctx *stream.ProcessContext[int64, string], side string) error {
	n, _ := p.counts.Get(side)
	p.counts.Put(side, n+1)
	ctx.SetTimer(time.UnixMilli(1 << 40))
	return nil
}

func (p *pairs) ProcessFirst(ctx *stream.ProcessContext[int64, string], _ int64) error {
	return p.count(ctx, "first")
}

func (p *pairs) ProcessSecond(ctx *stream.ProcessContext[int64, string], _ string) error {
	return p.count(ctx, "second")
}

func (p *pairs) OnTimer(ctx *stream.ProcessContext[int64, string], _ stream.Timer) error {
	a, _ := p.counts.Get("first")
	b, _ := p.counts.Get("second")
	ctx.Emit(fmt.Sprint(ctx.Key(), " ", a, " ", b))
	return nil
}

// TestCoProcessAgainstReference counts random rows of two streams, with
// crashes and other parallelisms in the middle.
func TestCoProcessAgainstReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var a []int64
		var b []string
		counts := make(map[int64][2]int)
		for range 300 {
			k := rng.Int64N(20)
			c := counts[k]
			if rng.IntN(2) == 0 {
				a = append(a, k)
				c[0]++
			} else {
				b = append(b, fmt.Sprint(k))
				c[1]++
			}
			counts[k] = c
		}
		var want []string
		for k, c := range counts {
			want = append(want, fmt.Sprint(k, " ", c[0], " ", c[1]))
		}
		size := []int{1, 3, 1024}[seed%3]
		env := stream.NewEnv()
		first := stream.From(env, collection.Slice(a...).BatchRows(size), stream.UID("first"))
		second := stream.From(env, collection.Slice(b...).BatchRows(size), stream.UID("second"))
		both := stream.ConnectKeyed(
			stream.KeyBy(first, func(v int64) int64 { return v }),
			stream.KeyBy(second, func(v string) int64 { var k int64; fmt.Sscan(v, &k); return k }))
		got := runDisturbed(t, env, stream.CoProcess(both, &pairs{}, stream.UID("pairs")))
		if !sameLines(got, want) {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
	}
}

// runDisturbed runs a job with crashes and changing parallelism, and returns
// what it committed.
func runDisturbed[T any](t *testing.T, env *stream.Env, out *stream.DataStream[T]) []string {
	t.Helper()
	rows := collection.NewCollector(*new(T))
	out.To(rows, stream.UID("out"))
	_, err := streamtest.Run(context.Background(), env, streamtest.Options{
		Parallelism: []int{2, 7, 1, 3}, CheckpointEvery: 5, CrashEvery: 13,
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range rows.Rows() {
		lines = append(lines, fmt.Sprint(r))
	}
	return lines
}

func sameLines(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// TestStreamMeetsItself unites and connects a stream with itself.
func TestStreamMeetsItself(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := stream.From(env, collection.Slice(1, 2, 3).BatchRows(1), stream.UID("src"))
	twice := src.Union(src)
	double := stream.CoMap(stream.Connect(twice, src), func(v int) int { return v }, func(v int) int { return 10 * v })
	got := runDisturbed(t, env, double)
	if want := []string{"1", "1", "2", "2", "3", "3", "10", "20", "30"}; !sameLines(got, want) {
		t.Fatalf("rows %v, want %v", got, want)
	}
}

func TestConnectFaults(t *testing.T) {
	t.Parallel()
	env, other := stream.NewEnv(), stream.NewEnv()
	src := stream.From(env, collection.Slice(1), stream.UID("src"))
	far := stream.From(other, collection.Slice(1), stream.UID("src"))
	stream.Connect(src, far)
	stream.CoMap(stream.Connect(src, src), func(v int) int { return v }, nil)
	stream.CoFlatMap(stream.Connect(src, src), nil, func(v int, emit func(int)) {})
	stream.CoProcessRows(stream.Connect(src, src), stream.CoRowProcessor[int, int, int](noPointer{}), stream.UID("co"))
	stream.BroadcastProcessRows(src, far, (*adder)(nil), stream.UID("add"))
	key := func(v int) int { return v }
	stream.CoProcess(stream.ConnectKeyed(stream.KeyBy(src, key), stream.KeyBy(far, key)), stream.CoProcessor[int, int, int, int](nil), stream.UID("keyed"))
	wantFaults(t, "connect_test.go", env,
		"Connect has inputs of two environments",
		"CoMap is given a nil function",
		"CoFlatMap is given a nil function",
		"processor stream_test.noPointer is no pointer to a struct",
		"BroadcastProcessRows has inputs of two environments",
		"processor *stream_test.adder is no pointer to a struct",
		"ConnectKeyed has inputs of two environments",
		"processor <nil> is no pointer to a struct",
	)
}

type noPointer struct{}

func (noPointer) Open(*stream.RowContext[int]) error               { return nil }
func (noPointer) ProcessFirst(*stream.RowContext[int], int) error  { return nil }
func (noPointer) ProcessSecond(*stream.RowContext[int], int) error { return nil }
