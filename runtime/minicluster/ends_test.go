package minicluster_test

import (
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
)

// A source has more subtasks than splits, so that some have reached their end
// in the checkpoint from which the job goes on after a failure. The others
// must still hear that no split follows, and end (FLINK-35522).
func TestSubtasksThatHadEndedDoNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{
		TaskManagers: 2, Slots: 4, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 2 * time.Second,
	})
	j := job{rows: 20_000, perSecond: 10_000, out: collection.NewCollector[total]()}
	id := submit(t, c, j, 6)
	for n := range 2 {
		await(t, c, id, func(v jobview.Job) bool {
			return v.State.Terminal() || v.State == jobview.JobRunning && v.Checkpoints.Completed >= 3*(n+1)
		})
		if ws := c.Workers(); len(ws) > 0 {
			_ = c.KillWorker(ws[n%len(ws)]) // it may have ended meanwhile
		}
	}
	await(t, c, id, finished)
	compare(t, counted(j.out.Rows()), j.expected())
}
