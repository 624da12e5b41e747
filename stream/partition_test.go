package stream_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// The highest of what each subtask has, when the input has ended.
func ExampleMapPartition() {
	env := stream.NewEnv()
	rows := stream.From(env, collection.Slice(3, 1, 4, 1, 5), stream.UID("rows"))
	best := stream.MapPartition(rows.Global(), func(rows []int, emit func(string)) {
		if len(rows) > 0 {
			emit(fmt.Sprint("the highest of ", len(rows), " is ", slices.Max(rows)))
		}
	}, stream.UID("best"))
	show(env, best)
	// Output: the highest of 5 is 5
}

// The rows of each key in order, when the input has ended.
func ExampleOnEnd() {
	env := stream.NewEnv()
	words := stream.From(env, collection.Slice("pear", "plum", "fig", "apple", "fir"), stream.UID("words"))
	byLetter := stream.KeyBy(words, func(w string) string { return w[:1] })
	all := byLetter.Window(stream.GlobalWindows(), stream.Trigger(stream.OnEnd()))
	show(env, stream.ProcessWindow(all, func(letter string, _ stream.Window, words []string, emit func(string)) {
		slices.Sort(words)
		emit(letter + ": " + strings.Join(words, " "))
	}, stream.UID("letters")))
	// Output:
	// a: apple
	// f: fig fir
	// p: pear plum
}

// TestPartitionsAndKeysAtTheEnd runs both steps many ways: every row comes out
// of a partition once, and each key has its sum.
func TestPartitionsAndKeysAtTheEnd(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(streamtest.Seed(t), 0))
	var in []int
	keys := make(map[int]int)
	for range 200 {
		v := rng.IntN(1000)
		in = append(in, v)
		keys[v%7] += v
	}
	var sums []string
	for k, sum := range keys {
		sums = append(sums, fmt.Sprint(k, " ", sum))
	}
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		rows := streamtest.From(b, "rows", streamtest.Timed(func(int) int64 { return 0 }, in...))
		sorted := stream.MapPartition(rows.Rebalance(), func(rows []int, emit func(int)) {
			slices.Sort(rows)
			for _, v := range rows {
				emit(v)
			}
		}, stream.UID("sorted"))
		streamtest.Expect(b, "all", sorted, in)
		byKey := stream.KeyBy(rows, func(v int) int { return v % 7 }).Window(stream.GlobalWindows(), stream.Trigger(stream.OnEnd()))
		streamtest.Expect(b, "by key", stream.ProcessWindow(byKey, func(k int, _ stream.Window, rows []int, emit func(string)) {
			sum := 0
			for _, v := range rows {
				sum += v
			}
			emit(fmt.Sprint(k, " ", sum))
		}, stream.UID("sums")), sums)
	}})
}

// TestPartitionsAfterARestore: at the same parallelism rows stay with those
// that they came to, and what waits in a snapshot comes out at the end, once.
func TestPartitionsAfterARestore(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	rows := stream.From(env, streamtest.Source(0), stream.UID("rows"))
	odd := rows.Partition(func(v, parallelism int) int { return v % parallelism })
	stream.MapPartition(odd, func(rows []int, emit func(string)) { emit(fmt.Sprint(rows)) }, stream.UID("lists")).
		To(streamtest.Sink(""), stream.UID("out"))
	d := streamtest.NewDriver(t, env)
	in, out := streamtest.Input(d, "rows", 0), streamtest.Output(d, "out", "")
	d.Rescale(2)
	expect := func(when string, want ...string) {
		t.Helper()
		got := out.Take()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	in.Push(1, 3, 5, 7, 2)
	open := d.Snapshot()
	d.EndInput()
	expect("at the end", "[1 3 5 7]", "[2]")
	d.Restore(open)
	expect("at the restore")
	in.Push(4, 9)
	d.EndInput()
	expect("at the end after a restore", "[1 3 5 7 9]", "[2 4]")
}

// unfinished fails at the end of its input.
type unfinished struct{}

func (*unfinished) Open(*stream.RowContext[int]) error { return nil }

func (*unfinished) Process(ctx *stream.RowContext[int], v int) error {
	ctx.Emit(v)
	return nil
}

func (*unfinished) Finish(ctx *stream.RowContext[int]) error {
	ctx.Emit(-1)
	return errors.New("no good end")
}

// TestFaultsAtTheEnd: they fail the job, or are set aside with what was emitted.
func TestFaultsAtTheEnd(t *testing.T) {
	t.Parallel()
	run := func(opts ...stream.Option) ([]int, error) {
		env, out := stream.NewEnv(), collection.NewCollector(0)
		rows := stream.From(env, collection.Slice(1, 2), stream.UID("rows"))
		stream.ProcessRows(rows, &unfinished{}, append(opts, stream.UID("x"))...).To(out, stream.UID("out"))
		_, err := streamtest.Run(t.Context(), env, streamtest.Options{})
		return out.Rows(), err
	}
	if _, err := run(); err == nil || !strings.Contains(err.Error(), "no good end") {
		t.Errorf("error %v", err)
	}
	if got, err := run(stream.OnError(stream.SkipRecord)); err != nil || !slices.Equal(got, []int{1, 2}) {
		t.Errorf("rows %v, error %v", got, err)
	}
	env := stream.NewEnv()
	rows := stream.From(env, collection.Slice(1), stream.UID("rows"))
	stream.MapPartition[int, int](rows, nil, stream.UID("x"))
	if _, err := env.Graph(); err == nil || !strings.Contains(err.Error(), "MapPartition is given a nil function") {
		t.Errorf("error %v", err)
	}
}
