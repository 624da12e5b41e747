package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/cep"
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
		{"filter, map, exchange of text keys, sliding window", 2, false, 0.001, window(stream.Sliding(20*time.Second, 5*time.Second))},
		{"exchange of text keys, sessions", 2, true, 0.001, buildSession},
		{"exchange of text keys, interval join", 2, false, 0.001, buildShortJoin},
		{"exchange of text keys, interval join of minutes", 2, false, 0.001, buildJoin},
		{"exchange of text keys, pattern", 2, false, 0.001, buildPattern},
		{"exchange of text keys, rolling windows", 2, false, 0.001, window(stream.Rolling(time.Second))},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rows = 5 << 18
			p := pattern{keys: 10_000, perSecond: 100_000, total: rows, warm: 1 << 19, turns: c.turns, inputs: 1}
			if strings.Contains(c.name, "join") {
				p.inputs = 2
			}
			if strings.Contains(c.name, "minutes") { // of event time: a namespace of state is one, too
				p.keys, p.perSecond, p.total = 100_000, 2000, 2*rows
			}
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

// buildShortJoin joins with rows no more than half a second away.
func buildShortJoin(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	s, err := sinkOf(f.takePair)
	within := stream.Between(-100*time.Millisecond, 100*time.Millisecond)
	stream.IntervalJoin(stream.KeyBy(in[0], f.key), stream.KeyBy(in[1], f.key), within, stream.Inner(f.join), stream.UID("join")).To(s)
	return err
}

// buildPattern finds a rare row followed by another within two seconds.
func buildPattern(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	s, err := sinkOf(f.takePair)
	rare := func(r row) bool { return r.A&255 == 0 }
	often := func(r row) bool { return r.A&15 == 1 }
	found := cep.Detect(stream.KeyBy(in[0], f.key), cep.Begin("rare", rare).FollowedBy("often", often).Within(2*time.Second))
	cep.Select(found, func(m cep.Match[row]) pair { return f.join(m.Last("rare"), m.Last("often")) }, stream.UID("pattern")).To(s)
	return err
}

type allocated struct {
	cost
	perRow float64
}

func allocations(t *testing.T, p pattern, parallelism int, build func(*stream.Env, *funcs, []*stream.DataStream[row]) error) (allocated, error) {
	t.Helper()
	var c allocated
	m := &meter{}
	env := stream.NewEnv(stream.NoCheckpoints())
	feeds := map[string]operators.Factory{}
	var ins []*stream.DataStream[row]
	for i, in := range p.feeds() {
		uid := fmt.Sprintf("source-%d", i)
		feeds[uid] = newFeeder(in, m)
		ins = append(ins, stream.From(env, collection.Slice[row](), stream.UID(uid), timesAreFed(), stream.Watermarks(stream.Monotonous()), stream.Parallelism(1)))
	}
	if err := build(env, newFuncs(&c.cost), ins); err != nil {
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
	r, err := newRig(g, parallelism, feeds)
	if err != nil {
		return c, fmt.Errorf("rig: %w", err)
	}
	if err := r.run(t.Context()); err != nil {
		return c, err
	}
	m.stop(&c.cost)
	c.perRow = float64(c.Mallocs) / float64(int64(p.inputs)*(p.total-p.warm))
	return c, nil
}
