// Package retention decides which objects of a job's checkpoints may be
// deleted. It is pure: it looks at manifests' contents that the caller has
// read and deletes nothing itself. Savepoints and objects outside the job's
// own checkpoint directories are never named for deletion.
package retention

import (
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
)

// Checkpoint is a committed automatic checkpoint, or what is left of one.
type Checkpoint struct {
	ID dataflow.CheckpointID
	// Dir is the directory of its own objects, with a final slash. Nothing
	// but this checkpoint ever wrote into it.
	Dir string
	// Objects are the keys of all objects that it needs, in whichever
	// directory; for one that is Gone, those left in Dir.
	Objects []string
	// Unknown says that its manifest could not be read: it may need any object.
	Unknown bool
	// Gone says that it was removed before and only objects that others need
	// are left.
	Gone bool
}

// Removal says what may go: everything under Dir except Keep.
type Removal struct {
	ID   dataflow.CheckpointID
	Dir  string
	Keep []string // sorted
}

// Input is what Plan looks at.
type Input struct {
	// Completed in ascending order of ids.
	Completed []Checkpoint
	// Retain is how many of those that are not gone are kept; at least 1.
	Retain int
	// Pinned are being restored, or needed for another reason: they and their
	// objects stay.
	Pinned []dataflow.CheckpointID
	// Needed are further objects that must stay.
	Needed []string
}

// Plan returns what stays, in ascending order, for the next call, and what
// may be deleted once the pointer says so too. While a checkpoint that stays
// is Unknown nothing is removed, since it may need any object.
func Plan(in Input) (stays []Checkpoint, removals []Removal) {
	retained := retainedOf(in)
	needed := map[string]bool{}
	for _, key := range in.Needed {
		needed[key] = true
	}
	blind := false
	for _, c := range in.Completed {
		if !retained[c.ID] {
			continue
		}
		blind = blind || c.Unknown
		for _, key := range c.Objects {
			needed[key] = true
		}
	}
	if blind {
		return slices.Clone(in.Completed), nil
	}
	for _, c := range in.Completed {
		if retained[c.ID] {
			stays = append(stays, c)
			continue
		}
		keep := keptIn(c.Dir, needed)
		if !c.Gone || len(keep) < len(c.Objects) {
			removals = append(removals, Removal{ID: c.ID, Dir: c.Dir, Keep: keep})
		}
		if len(keep) > 0 {
			stays = append(stays, Checkpoint{ID: c.ID, Dir: c.Dir, Objects: keep, Gone: true})
		}
	}
	return stays, removals
}

// retainedOf returns the ids that stay whole: the newest Retain and the pinned.
func retainedOf(in Input) map[dataflow.CheckpointID]bool {
	retained := map[dataflow.CheckpointID]bool{}
	left := max(1, in.Retain)
	for _, c := range slices.Backward(in.Completed) {
		if c.Gone {
			continue
		}
		if left > 0 || slices.Contains(in.Pinned, c.ID) {
			retained[c.ID] = true
			left--
		}
	}
	return retained
}

func keptIn(dir string, needed map[string]bool) []string {
	var keep []string
	for key := range needed {
		if strings.HasPrefix(key, dir) {
			keep = append(keep, key)
		}
	}
	slices.Sort(keep)
	return keep
}
