package chain_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// world is state of some groups: each has a version, and a file holds versions
// of the groups that it has all of, or that changed since its base.
type world struct {
	groups  dataflow.KeyGroupRange
	now     map[dataflow.KeyGroup]int
	history map[dataflow.CheckpointID]map[dataflow.KeyGroup]int
	content map[int64]map[dataflow.KeyGroup]int // by the checkpoint that wrote it
}

func (w *world) write(c *chain.Chain, cp, base dataflow.CheckpointID, bytes int64) (files []*controlv1.StateHandle, full bool) {
	plan := c.Plan(base)
	h := &controlv1.StateHandle{KeyGroupFirst: uint32(w.groups.First), KeyGroupLast: uint32(w.groups.Last), Written: int64(cp), Length: bytes}
	holds := make(map[dataflow.KeyGroup]int)
	if !plan.Full {
		h.Base, h.WholeFirst, h.WholeLast = int64(base), uint32(plan.Whole.First), uint32(plan.Whole.Last)
		h.Length = 0
	}
	for g, v := range w.now {
		if plan.Full || plan.Whole.Contains(g) || v != w.history[base][g] {
			holds[g] = v
			if !plan.Full {
				h.Length += bytes / int64(len(w.now))
			}
		}
	}
	w.content[int64(cp)] = holds
	w.history[cp] = maps.Clone(w.now)
	return c.Written(cp, plan, h), plan.Full
}

// restore reads a chain as it is meant to be read.
func (w *world) restore(files []*controlv1.StateHandle) map[dataflow.KeyGroup]int {
	got := make(map[dataflow.KeyGroup]int)
	for i, ranges := range chain.Read(files, w.groups) {
		for g, v := range w.content[files[i].GetWritten()] {
			if slices.ContainsFunc(ranges, func(r dataflow.KeyGroupRange) bool { return r.Contains(g) }) {
				got[g] = v
			}
		}
	}
	return got
}

// TestEveryChainIsTheState draws histories of commits, late commits and aborts;
// each chain gives what the state was, and no chain grows without end.
func TestEveryChainIsTheState(t *testing.T) {
	t.Parallel()
	deltas, resumed := 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		w := &world{
			groups: dataflow.KeyGroupRange{First: 10, Last: dataflow.KeyGroup(10 + rng.IntN(130))}, now: make(map[dataflow.KeyGroup]int),
			history: make(map[dataflow.CheckpointID]map[dataflow.KeyGroup]int), content: make(map[int64]map[dataflow.KeyGroup]int),
		}
		for g := w.groups.First; g <= w.groups.Last; g++ {
			w.now[g] = 0
		}
		c := chain.New(w.groups)
		bytes := int64(1) << (10 + rng.IntN(20))
		change := 1 + rng.IntN(max(1, w.groups.Len()/8))
		var base dataflow.CheckpointID // what the backend was told last
		var late []dataflow.CheckpointID
		var committed []*controlv1.StateHandle
		for cp := dataflow.CheckpointID(1); cp < 300; cp++ {
			for range change {
				w.now[w.groups.First+dataflow.KeyGroup(rng.IntN(w.groups.Len()))]++
			}
			files, full := w.write(c, cp, base, bytes)
			if !full {
				deltas++
			}
			what := fmt.Sprintf("seed %d, checkpoint %d of %d files", seed, cp, len(files))
			if g, missing := chain.Missing(files, w.groups); missing {
				t.Fatalf("%s: group %d has no base", what, g)
			}
			if got := w.restore(files); !maps.Equal(got, w.history[cp]) {
				t.Fatalf("%s: restored %v, want %v", what, got, w.history[cp])
			}
			if len(files) > 65 {
				t.Fatalf("%s: too many", what)
			}
			switch rng.IntN(10) {
			case 0:
				// given up
				if rng.IntN(4) > 0 || len(committed) == 0 {
					break
				}
				// A new attempt begins with what was committed last.
				c, late, base = chain.New(w.groups), nil, dataflow.CheckpointID(committed[len(committed)-1].GetWritten())
				c.Resume(committed)
				if w.now = maps.Clone(w.history[base]); !c.Plan(base).Full {
					resumed++
				}
			case 1, 2:
				late = append(late, cp)
			default:
				for _, id := range append(late, cp) {
					c.Committed(id)
					base = id
				}
				late, committed = nil, files
			}
		}
	}
	if deltas < 3000 || resumed < 50 {
		t.Errorf("only %d checkpoints were written in part, and only %d chains resumed", deltas, resumed)
	}
}

func handle(cp, base int64, length int64, first, last uint32) *controlv1.StateHandle {
	return &controlv1.StateHandle{Written: cp, Base: base, Length: length, KeyGroupLast: 99, WholeFirst: first, WholeLast: last}
}

// TestWhenAFullFileIsDue: at first, when the state is small, when the base is
// not known or not in the chain, when too much changes.
func TestWhenAFullFileIsDue(t *testing.T) {
	t.Parallel()
	groups := dataflow.KeyGroupRange{Last: 99}
	with := func(lengths ...int64) *chain.Chain {
		c := chain.New(groups)
		for i, n := range lengths {
			base := int64(i)
			c.Written(dataflow.CheckpointID(i+1), chain.Plan{Full: base == 0}, handle(int64(i+1), base, n, 1, 0))
			c.Committed(dataflow.CheckpointID(i + 1))
		}
		return c
	}
	const mib = 1 << 20
	for name, x := range map[string]struct {
		c    *chain.Chain
		base dataflow.CheckpointID
		full bool
	}{
		"at first":           {with(), 0, true},
		"small":              {with(255 << 10), 1, true},
		"large":              {with(mib), 1, false},
		"base not known":     {with(mib), 0, true},
		"base not committed": {with(mib), 2, true},
		"an older base":      {with(mib, mib/10), 1, false},
		"much changes":       {with(mib, mib/2+1), 2, true},
		"it adds up":         {with(mib, mib/2, mib/2, mib/2, 1), 5, true},
		"it does not yet":    {with(mib, mib/2, mib/2, mib/2), 4, false},
	} {
		if got := x.c.Plan(x.base).Full; got != x.full {
			t.Errorf("%s: full %t", name, got)
		}
	}
}

// TestSlicesCoverAllGroups: after as many checkpoints as there are slices all
// has been written once more, whether there are many groups or few.
func TestSlicesCoverAllGroups(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 7, 64, 100, 1024} {
		c := chain.New(dataflow.KeyGroupRange{First: 5, Last: dataflow.KeyGroup(4 + n)})
		h := &controlv1.StateHandle{Written: 1, Length: 100 << 20, KeyGroupFirst: 5, KeyGroupLast: uint32(4 + n)}
		c.Written(1, c.Plan(0), h)
		c.Committed(1)
		seen := make(map[dataflow.KeyGroup]int)
		var files []*controlv1.StateHandle
		for cp := int64(2); cp < 66; cp++ {
			p := c.Plan(dataflow.CheckpointID(cp - 1))
			for g := range p.Whole.Len() {
				seen[p.Whole.First+dataflow.KeyGroup(g)]++
			}
			files = c.Written(dataflow.CheckpointID(cp), p, &controlv1.StateHandle{
				Written: cp, Base: cp - 1, Length: 1000, KeyGroupFirst: 5, KeyGroupLast: uint32(4 + n), WholeFirst: uint32(p.Whole.First), WholeLast: uint32(p.Whole.Last),
			})
			c.Committed(dataflow.CheckpointID(cp))
		}
		if len(seen) != n || slices.Max(slices.Collect(maps.Values(seen))) != 1 || files[0].GetWritten() == 1 {
			t.Errorf("%d groups: %d written again; the first file is needed still: %t", n, len(seen), files[0].GetWritten() == 1)
		}
	}
}

// TestNoChainResumes from a savepoint, from other key groups, or from a part.
func TestNoChainResumes(t *testing.T) {
	t.Parallel()
	full, next := handle(7, 0, 1<<20, 0, 0), handle(8, 7, 1<<10, 0, 6)
	full.FullLength, next.FullLength = 1<<20, 1<<20
	plan := func(files ...*controlv1.StateHandle) chain.Plan {
		c := chain.New(dataflow.KeyGroupRange{Last: 99})
		c.Resume(files)
		return c.Plan(8)
	}
	if p := plan(full, next); p.Full || p.Whole.First > 7 || p.Whole.Last < 7 {
		t.Errorf("a chain goes on with %+v, not with the slice that is due", p)
	}
	other := handle(8, 7, 1<<10, 0, 6)
	other.KeyGroupLast = 98
	for name, files := range map[string][]*controlv1.StateHandle{
		"nothing": nil, "a savepoint": {{Length: 1 << 20, KeyGroupLast: 99}}, "other key groups": {full, other}, "no base": {next},
	} {
		if !plan(files...).Full {
			t.Errorf("%s: a chain goes on", name)
		}
	}
}

// TestMissing finds chains that are not whole.
func TestMissing(t *testing.T) {
	t.Parallel()
	groups := dataflow.KeyGroupRange{First: 0, Last: 99}
	if g, missing := chain.Missing([]*controlv1.StateHandle{handle(5, 4, 1, 0, 49), handle(6, 5, 1, 60, 99)}, groups); !missing || g != 50 {
		t.Errorf("group %d, %t", g, missing)
	}
	if _, missing := chain.Missing([]*controlv1.StateHandle{handle(5, 4, 1, 0, 49), handle(6, 5, 1, 50, 99)}, groups); missing {
		t.Error("all groups have a base")
	}
	if _, missing := chain.Missing([]*controlv1.StateHandle{handle(5, 4, 1, 0, 49)}, dataflow.KeyGroupRange{First: 10, Last: 20}); missing {
		t.Error("all groups that are asked for have a base")
	}
}
