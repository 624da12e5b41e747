package stream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// pairer emits two rows at a time. The one that waits is in list state, so
// that it is not lost with a failure nor when the parallelism changes.
type pairer struct {
	waiting stream.ListState[int]
	closed  *int
}

func (p *pairer) Open(ctx *stream.RowContext[string]) error {
	return p.waiting.Open(ctx, "waiting")
}

func (p *pairer) Process(ctx *stream.RowContext[string], v int) error {
	p.waiting.Add(v)
	if p.waiting.Len() < 2 {
		return nil
	}
	var text string
	for w := range p.waiting.All() {
		text += fmt.Sprint("-", w)
	}
	p.waiting.Clear()
	ctx.Emit(text[1:])
	return nil
}

func (p *pairer) Close() error {
	if p.closed != nil {
		*p.closed++
	}
	return nil
}

func ExampleProcessRows() {
	env := stream.NewEnv()
	rows := stream.From(env, collection.Slice(1, 2, 3, 4), stream.UID("rows"))
	show(env, stream.ProcessRows(rows, &pairer{}, stream.UID("pairs")))
	// Output:
	// 1-2
	// 3-4
}

// TestListStateLosesNothing changes the parallelism again and again, and in the
// end brings all rows that wait together: each has come out once.
func TestListStateLosesNothing(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(streamtest.Seed(t), 0))
	env := stream.NewEnv()
	closed := 0
	rows := stream.From(env, streamtest.Source(0), stream.UID("rows"))
	stream.ProcessRows(rows.Rebalance(), &pairer{closed: &closed}, stream.UID("pairs")).To(streamtest.Sink(""), stream.UID("out"))
	d := streamtest.NewDriver(t, env)
	in, out := streamtest.Input(d, "rows", 0), streamtest.Output(d, "out", "")
	pushed := 0
	push := func() {
		in.Push(pushed)
		pushed++
	}
	for range 60 {
		d.Rescale(1 + rng.IntN(7))
		for range rng.IntN(8) {
			push()
		}
	}
	d.Rescale(1)
	seen := make(map[string]int)
	for push(); ; push() {
		for _, group := range out.Take() {
			for _, v := range strings.Split(group, "-") {
				seen[v]++
			}
		}
		if seen[fmt.Sprint(pushed-1)] > 0 {
			break // none waits
		}
	}
	for i := range pushed {
		if n := seen[fmt.Sprint(i)]; n != 1 {
			t.Errorf("row %d came out %d times", i, n)
		}
	}
	if closed == 0 {
		t.Error("no processor was closed")
	}
}

// offsets keeps a number under the name of each subtask in union state.
type offsets struct {
	all stream.ListState[string]
}

func (o *offsets) Open(ctx *stream.RowContext[string]) error {
	if err := o.all.OpenUnion(ctx, "offsets"); err != nil {
		return err
	}
	if o.all.Len() == 0 {
		o.all.Add(fmt.Sprint("subtask ", ctx.Info().Subtask))
	}
	return nil
}

func (o *offsets) Process(ctx *stream.RowContext[string], _ int) error {
	for v := range o.all.All() {
		ctx.Emit(v)
	}
	return nil
}

// TestUnionStateGivesAllToEach restores two subtasks' elements to one.
func TestUnionStateGivesAllToEach(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	rows := stream.From(env, collection.Slice(1, 2, 3, 4, 5, 6).BatchRows(1), stream.UID("rows"), stream.Parallelism(1))
	out := collection.NewCollector("")
	stream.ProcessRows(rows.Global(), &offsets{}, stream.UID("offsets")).To(out, stream.UID("out"))
	_, err := streamtest.Run(context.Background(), env, streamtest.Options{Parallelism: []int{2, 1}, CheckpointEvery: 2, CrashEvery: 3})
	if err != nil {
		t.Fatal(err)
	}
	both := 0
	for _, r := range out.Rows() {
		if r == "subtask 1" {
			both++
		}
	}
	if both == 0 {
		t.Errorf("the first subtask never saw what the second had: %v", out.Rows())
	}
}
