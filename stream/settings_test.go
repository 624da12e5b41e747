package stream_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestSettingsReachTheGraph: what a program sets is what the cluster reads,
// and differs from the default.
func TestSettingsReachTheGraph(t *testing.T) {
	t.Parallel()
	var defaults graph.Config
	defaults.EnsureDefaults()
	for name, c := range map[string]struct {
		option stream.EnvOption
		read   func(graph.Config) any
		want   any
	}{
		"no checkpoints":       {stream.NoCheckpoints(), func(c graph.Config) any { return c.CheckpointInterval < 0 }, true},
		"retained checkpoints": {stream.CheckpointsRetained(7), func(c graph.Config) any { return c.CheckpointsRetained }, 7},
		"buffer time-out":      {stream.BufferTimeout(3 * time.Millisecond), func(c graph.Config) any { return c.BufferTimeout }, 3 * time.Millisecond},
	} {
		env := stream.NewEnv(c.option)
		stream.From(env, collection.Slice(1), stream.UID("in")).To(collection.NewCollector(0), stream.UID("out"))
		g, err := env.Graph()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		config := g.Config
		config.EnsureDefaults()
		if got := c.read(config); got != c.want || c.read(defaults) == c.want {
			t.Errorf("%s: %v, want %v; the default is %v", name, got, c.want, c.read(defaults))
		}
	}
}

func TestNoChainingSplitsTheVertex(t *testing.T) {
	t.Parallel()
	vertices := func(opts ...stream.Option) (names []string) {
		env := stream.NewEnv()
		in := stream.From(env, collection.Slice(1), stream.UID("in"))
		opts = append(opts, stream.UID("double"))
		stream.Map(in, func(i int) int { return 2 * i }, opts...).To(collection.NewCollector(0), stream.UID("out"))
		g, err := env.Graph()
		if err != nil {
			t.Fatal(err)
		}
		plan, err := graph.Build(g, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range plan.Vertices {
			uids := ""
			for _, n := range v.Nodes {
				uids += n.UID + " "
			}
			names = append(names, uids)
		}
		return names
	}
	if got := vertices(); !slices.Equal(got, []string{"in double out "}) {
		t.Errorf("chained: %q", got)
	}
	if got := vertices(stream.NoChaining()); !slices.Equal(got, []string{"in ", "double ", "out "}) {
		t.Errorf("not chained: %q", got)
	}
}

// TestFutureMax: a record dated two hours ahead moves the watermark, and makes
// what follows late, unless it is too far ahead of the clock.
func TestFutureMax(t *testing.T) {
	t.Parallel()
	const hour = 3_600_000
	now := int64(1_767_225_600_000) // streamtest's clock at the start of a run
	for name, c := range map[string]struct {
		most time.Duration
		late int
	}{"an hour": {time.Hour, 0}, "a day": {24 * time.Hour, 1}, "no bound": {-1, 1}, "the default": {0, 1}} {
		env := stream.NewEnv()
		times := stream.From(env, collection.Slice(now, now+2*hour, now+1).BatchRows(1), stream.UID("in"), stream.WatermarkInterval(time.Nanosecond),
			stream.TimestampMillis(func(at int64) int64 { return at }), stream.Watermarks(stream.Monotonous().WithFutureMax(c.most)))
		win := stream.KeyBy(times, func(int64) string { return "all" }).Window(stream.Tumbling(time.Second))
		counts, late := collection.NewCollector(""), collection.NewCollector(int64(0))
		stream.AggregateWindow(win, countInt64{}, func(_ string, w stream.Window, n int64) string {
			return fmt.Sprintf("+%d ms: %d", w.StartMillis()-now, n)
		}, stream.UID("counts")).To(counts, stream.UID("out"))
		win.Late().To(late, stream.UID("late"))
		if _, err := streamtest.Run(t.Context(), env, streamtest.Options{}); err != nil {
			t.Fatal(err)
		}
		if got := len(late.Rows()); got != c.late {
			t.Errorf("%s: %d records are late, want %d; windows %q", name, got, c.late, counts.Rows())
		}
	}
}

type countInt64 struct{}

func (countInt64) Add(n *int64, _ int64) { *n++ }
func (countInt64) Result(n *int64) int64 { return *n }
