package statetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// link is a file of a chain.
type link struct {
	cp    dataflow.CheckpointID
	whole dataflow.KeyGroupRange // of which it holds all
	file  []byte
}

// links are the files of one subtask, oldest first.
type links struct {
	groups dataflow.KeyGroupRange
	files  []link
}

// base returns the newest file that is whole for a key group.
func (l links) base(g dataflow.KeyGroup) int {
	for i := len(l.files) - 1; i >= 0; i-- {
		if l.files[i].whole.Contains(g) {
			return i
		}
	}
	return -1
}

// prune drops the files that no key group needs.
func (l links) prune() links {
	oldest := len(l.files)
	for g := int(l.groups.First); g <= int(l.groups.Last); g++ {
		oldest = min(oldest, l.base(dataflow.KeyGroup(g)))
	}
	return links{l.groups, l.files[min(oldest, max(0, len(l.files)-1)):]}
}

// parts says for each file what a backend reads of it.
func (l links) parts() []state.RestorePart {
	parts := make([]state.RestorePart, len(l.files))
	for i := range parts {
		parts[i] = state.RestorePart{Follows: i > 0, Groups: []dataflow.KeyGroupRange{}}
		for g := int(l.groups.First); g <= int(l.groups.Last); g++ {
			if one := dataflow.KeyGroup(g); l.base(one) <= i {
				parts[i].Groups = append(parts[i].Groups, dataflow.KeyGroupRange{First: one, Last: one})
			}
		}
	}
	return parts
}

// into restores all files that have something for a backend.
func (l links) into(b state.Backend) error {
	begun := false
	for i, p := range l.parts() {
		wants := false
		for _, g := range p.Groups {
			wants = wants || g.Intersect(b.KeyGroups()).Len() > 0
		}
		if !wants {
			continue
		}
		p.Follows = begun
		begun = true
		if err := b.Restore(bytes.NewReader(l.files[i].file), p); err != nil {
			return fmt.Errorf("file %d of %d: %w", i, len(l.files), err)
		}
	}
	return nil
}

// chains keep the files of all subtasks, by checkpoint.
type chains struct {
	tb     testing.TB
	rnd    *rand.Rand
	slices int // into which the key groups are cut
	turn   int
	by     map[dataflow.CheckpointID][]links
	deltas int
	wholes int
}

func newChains(tb testing.TB, rnd *rand.Rand) *chains {
	return &chains{tb: tb, rnd: rnd, slices: 1 + rnd.IntN(12), by: map[dataflow.CheckpointID][]links{}}
}

// open makes backends of a parallelism out of the files of a checkpoint.
func (c *chains) open(cp dataflow.CheckpointID, f Factory, parallelism int) (bs []state.Backend) {
	c.tb.Helper()
	for i := range parallelism {
		b := f(dataflow.KeyGroupsOf(i, suiteGroups, parallelism), suiteGroups)
		for _, l := range c.by[cp] {
			if err := l.into(b); err != nil {
				c.tb.Fatalf("checkpoint %d at parallelism %d: %v", cp, parallelism, err)
			}
		}
		bs = append(bs, b)
	}
	return bs
}

// take freezes the backends and writes the files of a checkpoint while they go
// on; what it returns waits for that.
func (c *chains) take(cp dataflow.CheckpointID, bs []state.Backend) (written func()) {
	c.tb.Helper()
	var ss []state.Snapshot
	for _, b := range bs {
		s, err := b.Snapshot(cp)
		if err != nil {
			c.tb.Fatal(err)
		}
		ss = append(ss, s)
	}
	full := c.rnd.IntN(50) == 0
	whole := c.slice()
	var all []links
	var writing sync.WaitGroup
	writing.Go(func() {
		for i, s := range ss {
			all = append(all, c.write(cp, bs[i].KeyGroups(), s, whole, full))
			s.Release()
		}
	})
	return func() {
		writing.Wait()
		c.by[cp] = all
	}
}

// slice returns the key groups whose turn it is.
func (c *chains) slice() dataflow.KeyGroupRange {
	c.turn++
	if c.rnd.IntN(8) == 0 {
		return noGroups()
	}
	return dataflow.KeyGroupsOf(c.turn%c.slices, suiteGroups, c.slices)
}

func (c *chains) write(cp dataflow.CheckpointID, groups dataflow.KeyGroupRange, s state.Snapshot, whole dataflow.KeyGroupRange, full bool) links {
	var file bytes.Buffer
	d, ok := s.(state.Delta)
	if ok {
		for _, l := range c.by[d.Base()] {
			if d.Base() == 0 || l.groups != groups || full {
				continue
			}
			n, err := d.WriteDelta(&file, whole)
			if err != nil || n != int64(file.Len()) {
				c.tb.Errorf("a delta of %d bytes says %d, %v", file.Len(), n, err)
			}
			c.deltas++
			add := link{cp, whole, file.Bytes()}
			return links{groups, append(l.files[:len(l.files):len(l.files)], add)}.prune()
		}
	}
	if _, err := s.WriteTo(&file); err != nil {
		c.tb.Error(err)
	}
	c.wholes++
	return links{groups, []link{{cp, groups, file.Bytes()}}}
}

// committed tells the backends, and forgets the files of older checkpoints.
func (c *chains) committed(cp dataflow.CheckpointID, bs []state.Backend) {
	for _, b := range bs {
		if i, ok := b.(state.Incremental); ok {
			i.Committed(cp)
		}
	}
	for old := range c.by {
		if old < cp {
			delete(c.by, old)
		}
	}
}
