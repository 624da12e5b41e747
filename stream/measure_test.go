package stream_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// sizes measures lines on their way.
type sizes struct {
	lines   *stream.IntCounter
	longest *stream.FloatAccumulator
	bytes   *stream.Histogram
	rate    *stream.Meter
}

func (s *sizes) Open(ctx *stream.RowContext[string]) error {
	s.lines = ctx.IntCounter("lines")     // total over all subtasks, in the job's result
	s.longest = ctx.Maximum("longest")    // as well
	s.bytes = ctx.Histogram("line-bytes") // of the latest lines
	s.rate = ctx.Meter("lines-per-second")
	return nil
}

func (s *sizes) Process(ctx *stream.RowContext[string], line string) error {
	s.lines.Add(1)
	s.longest.Add(float64(len(line)))
	s.bytes.Update(float64(len(line)))
	s.rate.Mark(1)
	info := ctx.Info()
	ctx.Emit(fmt.Sprintf("%s/%d of %d, attempt %d: %s", info.JobName, info.Subtask, info.Parallelism, info.Attempt, line))
	return nil
}

func ExampleRowContext() {
	env := stream.NewEnv(stream.JobName("measured"))
	lines := stream.From(env, collection.Slice("to be", "or not"), stream.UID("lines"))
	show(env, stream.ProcessRows(lines, &sizes{}, stream.UID("sizes")))
	// Output:
	// measured/0 of 1, attempt 1: or not
	// measured/0 of 1, attempt 1: to be
}

func TestAccumulatorsAreCounters(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	lines := stream.From(env, collection.Slice("a", "bb", "ccc"), stream.UID("lines"))
	stream.ProcessRows(lines, &sizes{}, stream.UID("sizes")).To(collection.NewCollector(""), stream.UID("out"))
	f, err := streamtest.Run(context.Background(), env, streamtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := f.Counters["sizes/accumulator.LongCounter.lines"]; n != 3 {
		t.Errorf("counters %v", f.Counters)
	}
}
