//go:build e2e

package chaos

import (
	"context"
	"testing"
	"time"
)

// explain says where the job is, and makes the cluster's processes write what
// their goroutines do into their logs.
func (x *run) explain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	j, err := x.Job(ctx, x.id)
	t.Logf("the job is %s (%s), attempt %d, failure %v: %v", j.State, j.StateReason, j.Attempt, j.Failure, err)
	for _, v := range j.Vertices {
		t.Logf("  %s: %v", v.Name, v.Tasks)
	}
	if s, err := x.CheckpointHistory(ctx, x.id); err == nil {
		for _, c := range s.History[:min(len(s.History), 5)] {
			t.Logf("  checkpoint %d %s", c.ID, c.Status)
		}
	}
	if err := x.Dump(ctx); err != nil {
		t.Log(err)
	}
}
