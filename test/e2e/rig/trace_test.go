package rig

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/leatstream/leat/internal/fault"
)

// TestWindowAt follows two sinks through a checkpoint.
func TestWindowAt(t *testing.T) {
	t.Parallel()
	life := []struct {
		point fault.Point
		want  Window
	}{
		{fault.KafkaSinkBeforeFlush, Preparing},
		{fault.KafkaSinkAfterFlush, Preparing},
		{fault.KafkaSinkAfterSeal, Prepared},
		{fault.KafkaSinkBeforeFlush, Prepared}, // the second sink is behind
		{fault.KafkaSinkAfterSeal, Prepared},
		{fault.WorkerBeforeAck, Prepared},
		{fault.JobmasterBeforeManifest, Prepared},
		{fault.JobmasterBeforePointer, Written},
		{fault.JobmasterAfterPointer, Moved},
		{fault.KafkaSinkBeforeCommit, Committing},
		{fault.KafkaSinkBeforeCommit, Committing},
		{fault.KafkaSinkAfterCommit, Committing},
		{fault.KafkaSinkBetweenCommits, Committing},
		{fault.KafkaSinkAfterCommit, Between},
		{fault.KafkaSinkBeforeReuse, Between},
		{fault.KafkaSinkBeforeRecover, Recovering},
		{fault.KafkaSinkRecommitted, Recovering},
		{fault.KafkaSinkAfterFence, Between},
	}
	var hits []Hit
	if w := WindowAt(nil, time.Unix(1, 0)); w != Between {
		t.Errorf("at the start: %s", w)
	}
	for i, step := range life {
		at := time.Unix(int64(i), 0)
		hits = append(hits, Hit{At: at, Point: step.point})
		later := Hit{At: at.Add(time.Second), Point: fault.JobmasterBeforePointer}
		if w := WindowAt(append(hits[:i+1:i+1], later), at); w != step.want {
			t.Errorf("after step %d, %s: %s, want %s", i, step.point, w, step.want)
		}
	}
}

// TestHitsSkipsCutLines reads what a killed process may leave.
func TestHitsSkipsCutLines(t *testing.T) {
	t.Parallel()
	tr, err := newTrace(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if hits, err := tr.Hits(); err != nil || hits != nil {
		t.Fatalf("before the first: %v, %v", hits, err)
	}
	if err := os.WriteFile(filepath.Join(tr.dir, "trace"), []byte("1 2 worker.before-ack\n3 4 work"), 0o600); err != nil {
		t.Fatal(err)
	}
	hits, err := tr.Hits()
	if err != nil || len(hits) != 1 || hits[0].PID != 2 || hits[0].Point != fault.WorkerBeforeAck {
		t.Errorf("%v, %v", hits, err)
	}
}
