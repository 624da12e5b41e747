package state

import (
	"io"

	"github.com/leatstream/leat/dataflow"
)

// Incremental is implemented by backends whose snapshots can be written in
// part, as Delta.
type Incremental interface {
	// Committed says that the checkpoint is committed and its files stay: later
	// deltas may add to it. It is called on the task's goroutine, in any order,
	// and not for savepoints, whose files nothing may refer to. Numbers that no
	// snapshot had, or that are older than one known to be committed, change
	// nothing.
	//
	// What was restored counts as committed under the number of its last file
	// if it was the one chain of an old subtask with the same key groups.
	Committed(cp dataflow.CheckpointID)
}

// Delta is implemented by snapshots of such backends.
type Delta interface {
	Snapshot
	// Base is the committed checkpoint that WriteDelta adds to, as of when the
	// snapshot was taken; 0 when there is none, and WriteTo has to be used.
	Base() dataflow.CheckpointID
	// WriteDelta writes what changed since Base, and all of the key groups in
	// whole, which may be empty: a file that restores after those of Base. It
	// may run on another goroutine, like WriteTo. What did not change may be
	// written again.
	WriteDelta(w io.Writer, whole dataflow.KeyGroupRange) (int64, error)
}
