package rest

import (
	"testing"

	"github.com/leatstream/leat/runtime/jobview"
)

// TestSizesOfACheckpoint: what was written, what it consists of, and the rows
// on their way in it are three figures.
func TestSizesOfACheckpoint(t *testing.T) {
	t.Parallel()
	cp := jobview.Checkpoint{Status: "COMPLETED", Bytes: 10, StateBytes: 100, InFlightBytes: 5}
	got := checkpointOf(cp)
	if got.CheckpointedSize != 10 || got.StateSize != 100 || got.PersistedData != 5 || got.Type != "UNALIGNED_CHECKPOINT" {
		t.Errorf("%+v", got)
	}
	if s := summary([]jobview.Checkpoint{cp}); s.Size.Max != 10 || s.StateSize.Max != 100 || s.PersistedData.Max != 5 {
		t.Errorf("summary %+v", s)
	}
	cp.InFlightBytes = 0
	if got := checkpointOf(cp); got.Type != "CHECKPOINT" {
		t.Errorf("without rows on their way: %s", got.Type)
	}
	cp.Savepoint = true
	if got := checkpointOf(cp); got.Type != "SAVEPOINT" {
		t.Errorf("a savepoint: %s", got.Type)
	}
}
