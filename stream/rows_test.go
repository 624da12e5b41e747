package stream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// pairer emits two rows at a time. The one that waits is in list state, so
// that it is not lost with a failure nor when the parallelism changes.
type pairer struct {
	waiting *stream.ListState[int]
	closed  *int
}

func (p *pairer) Open(ctx *stream.RowContext[string]) (err error) {
	p.waiting, err = stream.NewListState[int](ctx, "waiting")
	return err
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

// TestListStateLosesNothing wants each row in one pair at most, and as few as
// possible in none.
func TestListStateLosesNothing(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	var numbers []int
	for i := range 200 {
		numbers = append(numbers, i)
	}
	closed := 0
	rows := stream.From(env, collection.Slice(numbers...).BatchRows(3), stream.UID("rows"))
	out := stream.ProcessRows(rows.Rebalance(), &pairer{closed: &closed}, stream.UID("pairs"))
	seen := make(map[string]int)
	for _, pair := range runDisturbed(t, env, out) {
		for _, v := range strings.Split(pair, "-") {
			seen[v]++
		}
	}
	for v, n := range seen {
		if n != 1 {
			t.Errorf("row %s is in %d pairs", v, n)
		}
	}
	// At the end at most one row waits in each of 7 subtasks, and those that
	// a restore brought together leave in one pair of more than two.
	if len(seen) < 200-2*7-1 {
		t.Errorf("%d rows of 200 came out", len(seen))
	}
	if closed == 0 {
		t.Error("no processor was closed")
	}
}

// offsets keeps a number under the name of each subtask in union state.
type offsets struct {
	all *stream.ListState[string]
}

func (o *offsets) Open(ctx *stream.RowContext[string]) (err error) {
	if o.all, err = stream.NewUnionState[string](ctx, "offsets"); err != nil {
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
	out := collection.NewCollector[string]()
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
