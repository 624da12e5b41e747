package minicluster_test

import (
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
)

// TestANewLeaderTakesTheAttemptOver: however often the leader changes while a
// job runs, its first attempt runs to the end, and the output is whole.
func TestANewLeaderTakesTheAttemptOver(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{
		TaskManagers: 2, Slots: 2, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 10 * time.Second,
	})
	j := job{rows: 160_000, perSecond: 20_000, out: collection.NewCollector(total{})}
	id := submit(t, c, j, 3)
	for n := range 6 {
		seen := -1
		v := await(t, c, id, func(v jobview.Job) bool {
			if seen < 0 {
				seen = v.Checkpoints.Completed
			}
			return v.State.Terminal() || v.State == jobview.JobRunning && v.Checkpoints.Completed >= seen+1+n%3
		})
		if v.State.Terminal() {
			t.Fatalf("the job ended after %d changes of the leader: too early to prove anything", n)
		}
		c.Depose()
	}
	v := await(t, c, id, finished)
	if v.Attempt != 1 || v.Restarts != 0 {
		t.Errorf("the job ended in attempt %d after %d restarts, want the first and none: %+v", v.Attempt, v.Restarts, v.Exceptions)
	}
	compare(t, counted(j.out.Rows()), j.expected())
}

// TestAWorkerThatDiesWithTheLeader: a worker that ends while nobody leads is
// missed by the next leader, and the job goes on with another attempt.
func TestAWorkerThatDiesWithTheLeader(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{
		TaskManagers: 2, Slots: 2, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 10 * time.Second,
	})
	j := job{rows: 80_000, perSecond: 20_000, out: collection.NewCollector(total{})}
	id := submit(t, c, j, 3)
	for n := range 3 {
		attempt := int64(0)
		await(t, c, id, func(v jobview.Job) bool {
			if attempt == 0 {
				attempt = int64(v.Attempt)
			}
			return v.State.Terminal() || v.State == jobview.JobRunning && v.Checkpoints.Completed >= 2
		})
		c.Depose()
		if ws := c.Workers(); len(ws) > 0 {
			_ = c.KillWorker(ws[n%len(ws)]) // it may have ended meanwhile
		}
		await(t, c, id, func(v jobview.Job) bool { return v.State.Terminal() || int64(v.Attempt) > attempt })
	}
	await(t, c, id, finished)
	compare(t, counted(j.out.Rows()), j.expected())
}
