package dispatcher_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

// A job whose graph cannot be read is not started from nothing; it says what
// it waits for, goes on once it can, and may be cancelled meanwhile.
func TestJobThatCannotBeRecoveredWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 2)
		lost, healed := c.submit(jobview.Submission{}), c.submit(jobview.Submission{})
		c.until(lost, jobview.JobRunning)
		c.until(healed, jobview.JobRunning)
		c.halt()
		saved := make(map[dataflow.JobID][]byte)
		for _, id := range []dataflow.JobID{lost, healed} {
			key := jobmaster.ObjectPrefix(id) + "graph.json"
			r, err := c.store.Get(t.Context(), key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			saved[id], _ = io.ReadAll(r)
			if err := c.store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		c.lead()
		<-c.d.Ready()
		seconds(3)
		if j := c.job(lost); j.State != jobview.JobReconciling || !strings.Contains(j.StateReason, "graph.json") {
			t.Fatalf("job is %s: %q", j.State, j.StateReason)
		}
		if _, err := c.d.Checkpoint(t.Context(), lost); !hasCode(err, "LEAT0501") {
			t.Fatalf("checkpoint of a job that is recovered: %v", err)
		}
		c.join("tm-1", 2)
		seconds(1)
		ran := tm.running(healed)
		if len(tm.running(lost)) != 1 || len(ran) != 1 {
			t.Fatal("workers of jobs that are being recovered do not go on")
		}
		if err := c.d.Cancel(t.Context(), lost); err != nil {
			t.Fatal(err)
		}
		if j := c.job(lost); j.State != jobview.JobCanceled || !strings.Contains(j.StateReason, "unconfirmed") {
			t.Fatalf("job is %s: %q", j.State, j.StateReason)
		}
		b := saved[healed]
		if err := c.store.Put(t.Context(), jobmaster.ObjectPrefix(healed)+"graph.json", bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		seconds(6)
		if j := c.until(healed, jobview.JobRunning); j.Attempt != 1 || tm.running(healed)[0].start.WorkerId != ran[0].start.WorkerId {
			t.Fatalf("the recovered job runs in attempt %d", j.Attempt)
		}
		if n := len(tm.running(lost)); n != 0 {
			t.Fatalf("%d workers of the cancelled job run", n)
		}
		if free := c.d.TaskManagers()[0].SlotsFree; free != 1 {
			t.Fatalf("%d slots are free, want that of the cancelled job", free)
		}
	})
}

// A stop with drain is refused as a start unless it is allowed.
func TestDrainedSavepoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		op, err := c.d.Stop(t.Context(), id, jobview.StopRequest{Stop: true, Drain: true})
		if err != nil {
			t.Fatal(err)
		}
		o := c.operation(id, op)
		if o.Failure != nil {
			t.Fatal(o.Failure)
		}
		c.until(id, jobview.JobFinished)
		from := jobview.Submission{BundleSHA: "b1", FromSavepoint: o.Path}
		if _, err := c.d.Submit(t.Context(), from); !hasCode(err, "LEAT4203") {
			t.Fatalf("start from a drained savepoint: %v", err)
		}
		from.AllowDrained = true
		second := c.submit(from)
		c.until(second, jobview.JobRunning)
		if _, err := c.d.Submit(t.Context(), jobview.Submission{BundleSHA: "b1", FromSavepoint: "s3://elsewhere/x"}); !hasCode(err, "LEAT4208") && !hasCode(err, "LEAT4207") {
			t.Fatalf("start from a foreign place: %v", err)
		}
	})
}

// Slots are offered only when the workers of old attempts are gone, and the
// order to end them is repeated.
func TestSlotsWaitForOldWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		tm.set(func(tm *fakeTM) { tm.stubborn = true })
		tm.disconnect(false)
		synctest.Wait()
		c.join("tm-1", 1)
		seconds(4)
		if cl := c.d.Cluster(); cl.TaskManagers != 1 || cl.Slots != 0 {
			t.Fatalf("%d slots of %d taskmanagers are offered while an old worker lives", cl.Slots, cl.TaskManagers)
		}
		if j := c.job(id); j.State != jobview.JobRestarting || j.Attempt != 1 {
			t.Fatalf("job is %s in attempt %d", j.State, j.Attempt)
		}
		tm.set(func(tm *fakeTM) { tm.stubborn = false })
		seconds(6)
		if j := c.until(id, jobview.JobRunning); j.Attempt != 2 || c.d.Cluster().Slots != 1 {
			t.Fatalf("attempt %d, %d slots", j.Attempt, c.d.Cluster().Slots)
		}
	})
}

// A taskmanager opens a new session before the leader has seen the end of the
// old one: that end must not hit the new one.
func TestSessionReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		tm.mu.Lock()
		old := tm.session
		tm.mu.Unlock()
		c.join("tm-1", 1)
		synctest.Wait()
		select {
		case <-old.closed:
		default:
			t.Fatal("the old session was not closed")
		}
		seconds(5)
		if got := c.d.TaskManagers(); len(got) != 1 {
			t.Fatalf("%d taskmanagers are registered, want 1", len(got))
		}
		tm.disconnect(true)
		synctest.Wait()
		if got := c.d.TaskManagers(); len(got) != 0 {
			t.Fatal("the end of the second session was not seen")
		}
	})
}

// A worker that does not end although it is told to: its taskmanager is cut
// off after 30 s.
func TestStubbornWorkerCostsTheSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.join("tm-1", 1), c.join("tm-2", 1)
		id := c.submit(jobview.Submission{Parallelism: 2})
		c.until(id, jobview.JobRunning)
		b.set(func(tm *fakeTM) { tm.stubborn = true })
		a.kill(a.running(id)[0])
		seconds(20)
		if j := c.job(id); j.State != jobview.JobRestarting || len(c.d.TaskManagers()) != 2 {
			t.Fatalf("job is %s, %d taskmanagers", j.State, len(c.d.TaskManagers()))
		}
		seconds(12)
		if got := c.d.TaskManagers(); len(got) != 1 || got[0].ID != "tm-1" {
			t.Fatalf("taskmanagers %v, want tm-1 alone", got)
		}
		b.set(func(tm *fakeTM) { tm.stubborn = false })
		c.join("tm-2", 1)
		seconds(40)
		if j := c.until(id, jobview.JobRunning); j.Attempt != 2 {
			t.Fatalf("attempt %d", j.Attempt)
		}
	})
}
