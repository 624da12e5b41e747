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
	j := job{rows: 20_000, perSecond: 10_000, out: collection.NewCollector(total{})}
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

// A drained job has fired all its windows. One that starts from its savepoint
// counts what comes later into windows of its own: no row is late, and each is
// counted once, in the one job or the other.
func TestWhatFollowsADrainIsCounted(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{TaskManagers: 1, Slots: 3})
	j := job{rows: 20_000, perSecond: 20_000, out: collection.NewCollector(total{})}
	id := submit(t, c, j, 2)
	await(t, c, id, func(v jobview.Job) bool { return v.Checkpoints.Completed >= 4 })
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Stop(t.Context(), id, jobview.StopRequest{Stop: true, Drain: true}); err != nil {
		t.Fatal(err)
	}
	drained := await(t, c, id, finished)
	first := rowsIn(j.out.Rows())
	if first == 0 || first == j.rows {
		t.Fatalf("the drained job has counted %d of %d rows: want some", first, j.rows)
	}
	after := j
	after.out = collection.NewCollector(total{}) // each takes the commits of one job
	next, err := control.Submit(t.Context(), jobview.Submission{
		BundleSHA: c.AddProgram("totals", after.graph), Parallelism: 3, FromSavepoint: drained.Checkpoints.LastSavepoint.Path, AllowDrained: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, next, finished)
	if n := rowsIn(after.out.Rows()); first+n != j.rows {
		t.Errorf("%d rows are counted before the drain and %d after it; want %d together", first, n, j.rows)
	}
}

func rowsIn(ts []total) (n int64) {
	for _, t := range ts {
		n += t.Count
	}
	return n
}
