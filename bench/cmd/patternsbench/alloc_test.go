package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/stream"
)

// A whole chain allocates next to nothing for a row: what there is, is for
// batches and pages of state. The tests are not parallel: the process's
// allocations are counted, and those of the test's own source are among them.
func TestChainsDoNotAllocate(t *testing.T) {
	window := func(a stream.WindowAssigner) func(*stream.Env, *funcs, []*stream.DataStream[row]) error {
		return func(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
			return buildWindow(f, stream.Map(in[0].Filter(f.keep), func(r row) row { return r }), a)
		}
	}
	for _, c := range []struct {
		name        string
		parallelism int
		turns       bool
		limit       float64
		build       func(*stream.Env, *funcs, []*stream.DataStream[row]) error
	}{
		{"filter, map", 1, false, 0.001, buildFilterMap},
		{"filter, map, exchange of text keys, count", 2, false, 0.001, buildCount},
		{"filter, map, exchange of text keys, tumbling window", 2, false, 0.001, window(stream.Tumbling(10 * time.Second))},
		{"filter, map, exchange of text keys, sliding window", 2, false, 0.002, window(stream.Sliding(20*time.Second, 5*time.Second))},
		{"exchange of text keys, sessions", 2, true, 0.005, buildSession},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rows = 5 << 18
			p := pattern{keys: 10_000, perSecond: 100_000, total: rows, warm: 1 << 19, turns: c.turns}
			got, err := allocations(t, p, c.parallelism, c.build)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.5f allocations for each row, %d results", got.perRow, got.Results)
			if got.Results == 0 || got.perRow > c.limit {
				t.Errorf("%.5f allocations for each row, at most %v wanted; %d results", got.perRow, c.limit, got.Results)
			}
		})
	}
}

type allocated struct {
	cost
	perRow float64
}

func allocations(t *testing.T, p pattern, parallelism int, build func(*stream.Env, *funcs, []*stream.DataStream[row]) error) (allocated, error) {
	t.Helper()
	var c allocated
	m := &meter{}
	in := p.feeds()[0]
	env := stream.NewEnv(stream.NoCheckpoints())
	source := stream.From(env, collection.Slice[row](), stream.UID("source"), stream.Watermarks(stream.Monotonous()), stream.Parallelism(1))
	if err := build(env, newFuncs(&c.cost), []*stream.DataStream[row]{source}); err != nil {
		return c, err
	}
	g, err := env.Graph()
	if err != nil {
		return c, err
	}
	for _, n := range g.Nodes {
		if n.Op == "sink" { // one, since it counts
			n.Parallelism = 1
		}
	}
	r, err := newRig(g, parallelism, map[string]operators.Factory{"source": newFeeder(in, m)})
	if err != nil {
		return c, fmt.Errorf("rig: %w", err)
	}
	if err := r.run(t.Context()); err != nil {
		return c, err
	}
	m.stop(&c.cost)
	c.perRow = float64(c.Mallocs) / float64(in.total-in.warm)
	return c, nil
}
