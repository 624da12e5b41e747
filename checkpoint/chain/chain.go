// Package chain decides how much of a subtask's keyed state each checkpoint
// writes, and which files of earlier checkpoints it needs beside: a chain. It
// does not write, and knows nothing of what is in a file.
package chain

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

const (
	// sliceBytes is the least size of a slice, the part of the state of which a
	// file holds everything: less is not worth a file of its own.
	sliceBytes = 64 << 10
	// slicesMin: state of fewer slices is written whole each time, which costs
	// less than a chain's handles.
	slicesMin = 4
	// slicesMax bounds the files of a chain, less one.
	slicesMax = 64
	// pendingMax bounds the checkpoints of which it is not known how they end.
	pendingMax = 16
)

// Chain is that of one operator's subtask. It is safe for concurrent use: the
// task plans and hears of commits, the worker books what was written.
type Chain struct {
	groups dataflow.KeyGroupRange

	mu      sync.Mutex
	now     link   // of the last committed checkpoint
	pending []link // written and not yet committed, if ever; oldest first
}

// link is the chain as of one checkpoint.
type link struct {
	id    dataflow.CheckpointID
	files []*controlv1.StateHandle // oldest first
	// size is that of the last full file, slices in how many checkpoints all
	// of the state is written once more, and step the next of them.
	size         int64
	slices, step int
}

// New returns the chain of a subtask that owns groups, without files.
func New(groups dataflow.KeyGroupRange) *Chain { return &Chain{groups: groups} }

// Resume goes on with the files that a restore read, oldest first, the last of
// which is of the checkpoint that was restored. Without files, or when one of
// them is of no chain, as those of savepoints, the next file is a full one.
func (c *Chain) Resume(files []*controlv1.StateHandle) {
	if !resumable(files, c.groups) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := files[len(files)-1]
	c.now = link{id: dataflow.CheckpointID(last.GetWritten()), files: slices.Clone(files), size: last.GetFullLength(), slices: slicesOf(last.GetFullLength())}
	if last.GetBase() != 0 && c.now.slices > 0 {
		c.now.step = stepAfter(c.groups, dataflow.KeyGroup(last.GetWholeLast()), c.now.slices)
	}
}

func resumable(files []*controlv1.StateHandle, groups dataflow.KeyGroupRange) bool {
	for _, f := range files {
		if f.GetWritten() == 0 || f.GetKeyGroupFirst() != uint32(groups.First) || f.GetKeyGroupLast() != uint32(groups.Last) {
			return false
		}
	}
	_, missing := Missing(files, groups)
	return len(files) > 0 && !missing
}

// slicesOf returns in how many slices state of size bytes is written.
func slicesOf(size int64) int { return int(min(size/sliceBytes, slicesMax)) }

// stepAfter returns the slice that begins after the group done, of n.
func stepAfter(groups dataflow.KeyGroupRange, done dataflow.KeyGroup, n int) int {
	next := done + 1
	for i := range n {
		if s := slice(groups, i, n); s.Len() > 0 && s.Last >= next {
			return i
		}
	}
	return 0
}

// Plan is what a checkpoint writes.
type Plan struct {
	// Full: everything, in a file that needs no other.
	Full bool
	// Whole are the groups of which all is written, beside what has changed.
	Whole dataflow.KeyGroupRange

	step int
}

// Plan says what is to be written when what has changed since the committed
// checkpoint base is known; base is 0 when that is not known.
func (c *Chain) Plan(base dataflow.CheckpointID) Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	// What changed since an older checkpoint holds what did since a newer one.
	if base == 0 || c.now.id < base || c.now.slices < slicesMin || c.now.heavy() {
		return Plan{Full: true}
	}
	return Plan{Whole: slice(c.groups, c.now.step, c.now.slices), step: c.now.step}
}

// slice returns the i-th of n parts of the groups, which may be empty.
func slice(groups dataflow.KeyGroupRange, i, n int) dataflow.KeyGroupRange {
	from, to := groups.Len()*i/n, groups.Len()*(i+1)/n
	if from == to {
		return dataflow.KeyGroupRange{First: 1, Last: 0}
	}
	return dataflow.KeyGroupRange{First: groups.First + dataflow.KeyGroup(from), Last: groups.First + dataflow.KeyGroup(to-1)}
}

// heavy reports whether a full file costs less than the chain is worth: most of
// the state changes from one checkpoint to the next, or a restore reads much
// more than there is.
func (l *link) heavy() bool {
	if len(l.files) == 0 {
		return true
	}
	var sum int64
	for _, f := range l.files {
		sum += f.GetLength()
	}
	last := l.files[len(l.files)-1]
	return last.GetBase() != 0 && last.GetLength() > l.size/2 || sum > l.size*5/2
}

// Written books what checkpoint id wrote by plan p and returns the chain that
// it consists of, oldest file first, h last, as copies. h has a base, and the
// groups of which it holds everything, unless it is full; its FullLength is set.
func (c *Chain) Written(id dataflow.CheckpointID, p Plan, h *controlv1.StateHandle) []*controlv1.StateHandle {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := link{id: id, files: []*controlv1.StateHandle{h}, size: h.GetLength(), slices: slicesOf(h.GetLength())}
	if !p.Full {
		l.files = c.needed(append(slices.Clip(c.now.files), h))
		l.size, l.slices, l.step = c.now.size, c.now.slices, (p.step+1)%max(1, c.now.slices)
	}
	h.FullLength = l.size
	if len(c.pending) == pendingMax {
		c.pending = c.pending[1:]
	}
	c.pending = append(c.pending, l)
	out := make([]*controlv1.StateHandle, len(l.files))
	for i, f := range l.files {
		out[i] = proto.Clone(f).(*controlv1.StateHandle)
	}
	return out
}

// Placed says in which object the file of a checkpoint lies, once that is
// known: before the checkpoint is committed.
func (c *Chain) Placed(id dataflow.CheckpointID, object string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.pending {
		if l.id == id {
			l.files[len(l.files)-1].Object = object
		}
	}
}

// Committed says that a checkpoint is, and those before it are committed or
// given up. It returns false for one that is not of the chain, as a savepoint.
func (c *Chain) Committed(id dataflow.CheckpointID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, l := range c.pending {
		if l.id == id {
			c.now, c.pending = l, slices.Clone(c.pending[i+1:])
			return true
		}
	}
	return false
}

// needed leaves out files from the front that a restore does not read.
func (c *Chain) needed(files []*controlv1.StateHandle) []*controlv1.StateHandle {
	bases := Bases(files, c.groups)
	return files[slices.Min(bases):]
}

// Whole returns the groups of which a file holds everything.
func Whole(h *controlv1.StateHandle) dataflow.KeyGroupRange {
	if h.GetBase() == 0 {
		return dataflow.KeyGroupRange{First: dataflow.KeyGroup(h.GetKeyGroupFirst()), Last: dataflow.KeyGroup(h.GetKeyGroupLast())}
	}
	return dataflow.KeyGroupRange{First: dataflow.KeyGroup(h.GetWholeFirst()), Last: dataflow.KeyGroup(h.GetWholeLast())}
}

// Bases returns for each of the groups the newest file of a chain that holds
// all of it, as its place in files; 0 when none does, which Missing finds.
func Bases(files []*controlv1.StateHandle, groups dataflow.KeyGroupRange) []int {
	bases := make([]int, groups.Len())
	for i, f := range files {
		r := Whole(f).Intersect(groups)
		for g := range r.Len() {
			bases[int(r.First-groups.First)+g] = i
		}
	}
	return bases
}

// Missing reports whether there is a group of which no file holds everything,
// so that what they hold is not the state.
func Missing(files []*controlv1.StateHandle, groups dataflow.KeyGroupRange) (g dataflow.KeyGroup, missing bool) {
	if len(files) == 0 {
		return 0, false
	}
	held := dataflow.KeyGroupRange{First: dataflow.KeyGroup(files[0].GetKeyGroupFirst()), Last: dataflow.KeyGroup(files[0].GetKeyGroupLast())}.Intersect(groups)
	for i, base := range Bases(files, held) {
		if g = held.First + dataflow.KeyGroup(i); base == 0 && !Whole(files[0]).Contains(g) {
			return g, true
		}
	}
	return 0, false
}

// Read returns the groups to be read of each file, as ranges: those whose base
// is the file or an older one.
func Read(files []*controlv1.StateHandle, groups dataflow.KeyGroupRange) [][]dataflow.KeyGroupRange {
	bases := Bases(files, groups)
	out := make([][]dataflow.KeyGroupRange, len(files))
	for i := range files {
		for g, base := range bases {
			if base > i {
				continue
			}
			at := groups.First + dataflow.KeyGroup(g)
			if n := len(out[i]); n > 0 && out[i][n-1].Last+1 == at {
				out[i][n-1].Last = at
			} else {
				out[i] = append(out[i], dataflow.KeyGroupRange{First: at, Last: at})
			}
		}
	}
	return out
}
