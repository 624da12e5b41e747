package retention

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
)

func chk(id int, objects ...string) Checkpoint {
	return Checkpoint{ID: dataflow.CheckpointID(id), Dir: fmt.Sprintf("j/chk-%d/", id), Objects: objects}
}

func TestSharedObjectsOutliveTheCheckpointThatWroteThem(t *testing.T) {
	t.Parallel()
	stays, removals := Plan(Input{Retain: 1, Completed: []Checkpoint{
		chk(1, "j/chk-1/a", "j/chk-1/b"), chk(2, "j/chk-1/a", "j/chk-2/c"),
	}})
	want := []Removal{{ID: 1, Dir: "j/chk-1/", Keep: []string{"j/chk-1/a"}}}
	if fmt.Sprint(removals) != fmt.Sprint(want) {
		t.Fatalf("removals %v, want %v", removals, want)
	}
	if len(stays) != 2 || !stays[0].Gone {
		t.Fatalf("stays %v", stays)
	}
	// Unchanged: nothing more to delete.
	stays, removals = Plan(Input{Retain: 1, Completed: append(stays, chk(3, "j/chk-1/a"))})
	if len(removals) != 1 || removals[0].ID != 2 || removals[0].Keep != nil {
		t.Fatalf("removals %v", removals)
	}
	// The last reference goes.
	stays, removals = Plan(Input{Retain: 1, Completed: append(stays, chk(4, "j/chk-4/x"))})
	if len(removals) != 2 || removals[0].ID != 1 || removals[0].Keep != nil || len(stays) != 1 {
		t.Fatalf("removals %v, stays %v", removals, stays)
	}
}

func TestPinnedAndNeededStay(t *testing.T) {
	t.Parallel()
	_, removals := Plan(Input{Retain: 1, Pinned: []dataflow.CheckpointID{1}, Needed: []string{"j/chk-2/x"}, Completed: []Checkpoint{
		chk(1, "j/chk-1/a"), chk(2, "j/chk-2/x", "j/chk-2/y"), chk(3, "j/chk-3/z"),
	}})
	want := []Removal{{ID: 2, Dir: "j/chk-2/", Keep: []string{"j/chk-2/x"}}}
	if fmt.Sprint(removals) != fmt.Sprint(want) {
		t.Fatalf("removals %v, want %v", removals, want)
	}
}

func TestNothingGoesWhileAManifestIsUnknown(t *testing.T) {
	t.Parallel()
	unknown := chk(2)
	unknown.Unknown = true
	in := Input{Retain: 2, Completed: []Checkpoint{chk(1, "j/chk-1/a"), unknown, chk(3, "j/chk-3/a")}}
	stays, removals := Plan(in)
	if removals != nil || len(stays) != 3 {
		t.Fatalf("removals %v, stays %v", removals, stays)
	}
	// Once it is not retained any more its own directory goes as well.
	_, removals = Plan(Input{Retain: 1, Completed: stays})
	if len(removals) != 2 {
		t.Fatalf("removals %v", removals)
	}
}

// Over random histories of shared objects: no object that a retained
// checkpoint needs is ever deleted, no foreign object is, and what nobody
// needs is gone.
func TestExactlyTheUnreferencedGoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		objects := map[string]bool{"foreign/savepoint-9/s": true, "j/savepoint-4/s": true}
		var list []Checkpoint
		retain := 1 + r.IntN(4)
		for id := 1; id < 30; id++ {
			c := chk(id, "foreign/savepoint-9/s", "j/savepoint-4/s")
			for i := range r.IntN(3) {
				key := fmt.Sprintf("%s%d", c.Dir, i)
				objects[key] = true
				c.Objects = append(c.Objects, key)
			}
			if n := len(list); n > 0 && !list[n-1].Gone {
				for _, key := range list[n-1].Objects {
					if r.IntN(3) > 0 && !slices.Contains(c.Objects, key) {
						c.Objects = append(c.Objects, key)
					}
				}
			}
			var removals []Removal
			list, removals = Plan(Input{Retain: retain, Completed: append(list, c)})
			for _, rem := range removals {
				for key := range objects {
					if strings.HasPrefix(key, rem.Dir) && !slices.Contains(rem.Keep, key) {
						delete(objects, key)
					}
				}
			}
			checkReferences(t, list, objects)
		}
	}
}

func checkReferences(t *testing.T, list []Checkpoint, objects map[string]bool) {
	needed := map[string]bool{"foreign/savepoint-9/s": true, "j/savepoint-4/s": true}
	for _, c := range list {
		if c.Gone {
			continue
		}
		for _, key := range c.Objects {
			if !objects[key] {
				t.Fatalf("checkpoint %d needs %s, which was deleted", c.ID, key)
			}
			needed[key] = true
		}
	}
	for key := range objects {
		if !needed[key] {
			t.Fatalf("%s is needed by nobody and still there", key)
		}
	}
}
