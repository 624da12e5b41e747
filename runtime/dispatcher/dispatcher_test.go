package dispatcher_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/dispatcher"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/memha"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

func TestBoundedJobFinishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		id := c.submit(jobview.Submission{Parallelism: 2})
		synctest.Wait()
		if j := c.job(id); j.State != jobview.JobCreated || j.StateReason == "" {
			t.Fatalf("without a taskmanager the job is %s, reason %q", j.State, j.StateReason)
		}
		for _, name := range []string{"tm-1", "tm-2"} {
			tm := c.join(name, 1)
			tm.set(func(tm *fakeTM) { tm.bounded = true })
		}
		j := c.until(id, jobview.JobFinished)
		if j.Checkpoints.Completed != 1 || j.Attempt != 1 || j.Name != "wordcount" {
			t.Fatalf("%d checkpoints, attempt %d, name %q; want 1, 1, wordcount", j.Checkpoints.Completed, j.Attempt, j.Name)
		}
		if cl := c.d.Cluster(); cl.SlotsFree != 2 || cl.Finished != 1 {
			t.Fatalf("%d slots free, %d finished; want 2, 1", cl.SlotsFree, cl.Finished)
		}
		for _, tm := range c.tms {
			if w := tm.running(id); len(w) > 0 {
				t.Fatalf("worker %s is left on %s", w[0].start.WorkerId, tm.id)
			}
		}
	})
}

// seconds lets the bubble's clock advance.
func seconds(n int) { clock.Real{}.Sleep(time.Duration(n) * time.Second) }

// moment is a tenth of a second.
func moment() { clock.Real{}.Sleep(100 * time.Millisecond) }

func TestWorkerCrashRestartsFromTheLatestCheckpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 2)
		id := c.submit(jobview.Submission{Parallelism: 2})
		c.until(id, jobview.JobRunning)
		w := tm.running(id)[0]
		if w.deploy.Restore != nil {
			t.Fatalf("a fresh job restores checkpoint %d", w.deploy.Restore.CheckpointId)
		}
		if got := w.deploy.Pools; len(got) != 1 || got[0].Size != 12 {
			t.Fatalf("pools %v, want one of 12", got)
		}
		seconds(5)
		w = tm.running(id)[0]
		last := w.committed[len(w.committed)-1]
		if last < 4 {
			t.Fatalf("%d checkpoints in 5 s, want at least 4", last)
		}
		tm.kill(w)
		seconds(1)
		j := c.until(id, jobview.JobRunning)
		if j.Attempt != 2 || j.Restarts != 1 || int64(j.RestoredFrom) != last {
			t.Fatalf("attempt %d, %d restarts, restored from %d; want 2, 1, %d", j.Attempt, j.Restarts, j.RestoredFrom, last)
		}
		if e := j.Exceptions[0]; !e.Restarted || e.Error.Code != "LEAT2103" || e.TaskManager != "tm-1" {
			t.Fatalf("exception %+v", e)
		}
		seconds(3)
		w2 := tm.running(id)[0]
		if w2.deploy.Restore.GetCheckpointId() != last || len(w2.deploy.Restore.Handles) != 4 || w2.deploy.Restore.FromSavepoint {
			t.Fatalf("restore %v", w2.deploy.Restore)
		}
		if w2.deploy.Incarnation != w.deploy.Incarnation {
			t.Fatal("a recovery must keep the incarnation")
		}
		if w2.committed[0] != last {
			t.Fatalf("the new attempt hears first of commit %d, want %d again", w2.committed[0], last)
		}
		if w2.triggered[0] <= last {
			t.Fatalf("checkpoint id %d is used again", w2.triggered[0])
		}
	})
}

func TestSilentTaskManagerIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		tm.set(func(tm *fakeTM) { tm.mute = true })
		seconds(4)
		j := c.job(id)
		if j.State != jobview.JobRestarting || j.Exceptions[0].Error.Code != "LEAT2102" {
			t.Fatalf("job is %s after its taskmanager went silent, exceptions %v", j.State, j.Exceptions)
		}
		if got := c.d.TaskManagers(); len(got) != 0 {
			t.Fatalf("taskmanagers %v are still registered", got)
		}
		// Another one takes over.
		c.join("tm-2", 1)
		seconds(2)
		if j := c.until(id, jobview.JobRunning); j.Vertices[0].Subtasks[0].TaskManager != "tm-2" {
			t.Fatalf("runs on %s", j.Vertices[0].Subtasks[0].TaskManager)
		}
	})
}

// A session that breaks while the taskmanager and its workers live: the
// workers are ended before the slots are used again.
func TestReconnectEndsWorkersOfTheOldAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		old := tm.running(id)[0].start.WorkerId
		tm.disconnect(false)
		synctest.Wait()
		c.join("tm-1", 1)
		seconds(2)
		j := c.until(id, jobview.JobRunning)
		ws := tm.running(id)
		if len(ws) != 1 || ws[0].start.WorkerId == old || j.Attempt != 2 {
			t.Fatalf("attempt %d runs %d workers, the first %s", j.Attempt, len(ws), ws[0].start.WorkerId)
		}
	})
}

func TestLeaderChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{RequestID: "r1"})
		c.until(id, jobview.JobRunning)
		seconds(3)
		old := tm.running(id)[0]
		last := old.committed[len(old.committed)-1]
		triggered, told := len(old.triggered), len(old.committed)
		c.halt()
		synctest.Wait()
		if got := tm.running(id); len(got) != 1 {
			t.Fatal("the end of a leader touched a worker")
		}
		c.lead()
		synctest.Wait()
		if j := c.job(id); j.State != jobview.JobReconciling {
			t.Fatalf("job is %s under the new leader, want RECONCILING", j.State)
		}
		if again := c.submit(jobview.Submission{RequestID: "r1"}); again != id {
			t.Fatalf("the repeated submission made job %s", again)
		}
		c.join("tm-1", 1)
		j := c.until(id, jobview.JobRunning)
		w := tm.running(id)
		if len(w) != 1 || w[0].start.WorkerId != old.start.WorkerId || j.Attempt != 1 {
			t.Fatalf("%d workers, attempt %d; want the one that ran and the first attempt", len(w), j.Attempt)
		}
		if a := w[0].adopted; len(a) != 1 || a[0].Committed != last || a[0].VoidThrough < last {
			t.Fatalf("the worker was taken over by %v, committed is %d", a, last)
		}
		seconds(2)
		w = tm.running(id)
		if got := w[0].committed[told]; got != last {
			t.Fatalf("the new leader tells that %d is committed, want %d again", got, last)
		}
		if got := w[0].triggered[triggered]; got <= w[0].adopted[0].VoidThrough {
			t.Fatalf("checkpoint id %d is used, although all up to %d are void", got, w[0].adopted[0].VoidThrough)
		}
		if free := c.d.TaskManagers()[0].SlotsFree; free != 0 {
			t.Fatalf("%d slots are free on a taskmanager whose only slot is used", free)
		}
		if j := c.job(id); j.Name != "wordcount" || j.Checkpoints.Latest == nil {
			t.Fatalf("name %q, latest checkpoint %v", j.Name, j.Checkpoints.Latest)
		}
	})
}

// A worker that runs while nobody leads, of a job that is cancelled under the
// next leader before its taskmanager is back, is ended.
func TestCancelWhileAWorkerIsLookedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		c.halt()
		synctest.Wait()
		c.lead()
		synctest.Wait()
		if err := c.d.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		seconds(1)
		c.join("tm-1", 1)
		c.until(id, jobview.JobCanceled)
		seconds(1)
		if w := tm.running(id); len(w) != 0 {
			t.Fatalf("%d workers of a cancelled job run", len(w))
		}
	})
}

// A job like another has its parallelism, also what it was rescaled to since.
func TestLikeKeepsTheParallelism(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.join("tm-1", 8)
		id := c.submit(jobview.Submission{Parallelism: 2})
		c.until(id, jobview.JobRunning)
		for _, r := range []jobview.RescaleRequest{{Parallelism: 3}, {Vertices: map[string]jobview.Bounds{"out": {Upper: 1}}}} {
			if _, err := c.d.Rescale(t.Context(), id, r); err != nil {
				t.Fatal(err)
			}
			seconds(5)
		}
		first := c.job(id)
		second := c.job(c.submit(jobview.Submission{Like: id}))
		seconds(5)
		second = c.job(second.ID)
		for i, v := range first.Vertices {
			if w := second.Vertices[i]; v.Parallelism != w.Parallelism {
				t.Errorf("vertex %s has parallelism %d, that of the first job %d", v.Name, w.Parallelism, v.Parallelism)
			}
		}
		if last := first.Vertices[len(first.Vertices)-1]; first.Parallelism != 3 || last.Parallelism != 1 {
			t.Errorf("the first job has parallelism %d, its last vertex %d; want 3 and 1", first.Parallelism, last.Parallelism)
		}
	})
}

// Jobs whose parallelism follows the slots share them evenly, and leave those
// that a job of fixed parallelism holds or waits for.
func TestSlotsAreSharedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.join("tm-1", 7)
		first := c.submit(jobview.Submission{Auto: true})
		c.until(first, jobview.JobRunning)
		if j := c.job(first); j.Parallelism != 7 {
			t.Fatalf("the first job has parallelism %d, want all slots", j.Parallelism)
		}
		second := c.submit(jobview.Submission{Auto: true})
		seconds(10)
		if a, b := c.job(first), c.job(second); a.Parallelism != 4 || b.Parallelism != 3 || b.State != jobview.JobRunning {
			t.Fatalf("two jobs have parallelism %d and %d (%s), want 4 and 3", a.Parallelism, b.Parallelism, b.State)
		}
		fixed := c.submit(jobview.Submission{Parallelism: 3})
		seconds(10)
		if a, b, f := c.job(first), c.job(second), c.job(fixed); a.Parallelism != 2 || b.Parallelism != 2 || f.State != jobview.JobRunning {
			t.Fatalf("beside a job of 3 (%s) they have %d and %d, want 2 and 2", f.State, a.Parallelism, b.Parallelism)
		}
		if _, err := c.d.Submit(t.Context(), jobview.Submission{BundleSHA: "b1", Auto: true, Parallelism: 3}); !hasCode(err, "LEAT2004") {
			t.Fatalf("3 and auto: %v", err)
		}
	})
}

// A leader that takes over while the job waits for its next attempt knows how
// often it was restarted.
func TestRestartsOutliveTheLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		for restarts := 1; restarts <= 2; restarts++ {
			c.until(id, jobview.JobRunning)
			tm.kill(tm.running(id)[0])
			synctest.Wait()
			if j := c.job(id); j.State != jobview.JobRestarting || j.Restarts != restarts {
				t.Fatalf("after crash %d the job is %s with %d restarts", restarts, j.State, j.Restarts)
			}
			c.halt()
			synctest.Wait()
			c.lead()
			synctest.Wait()
			c.join("tm-1", 1)
			if j := c.until(id, jobview.JobRunning); j.Restarts != restarts || len(tm.running(id)) != 1 {
				t.Fatalf("under the next leader %d restarts, want %d; %d workers", j.Restarts, restarts, len(tm.running(id)))
			}
		}
	})
}

// Whatever becomes of single commits, ids grow, the job goes on, and a
// restart starts from what the store says is the latest.
func TestCommitsWithUnknownResults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		rng := rand.New(rand.NewPCG(7, 7))
		var mu sync.Mutex
		c.service.SetFaults(func(dataflow.Epoch, []ha.Write) memha.Fault {
			mu.Lock()
			defer mu.Unlock()
			return []memha.Fault{memha.FaultNone, memha.FaultRefused, memha.FaultLost, memha.FaultUnanswered}[rng.IntN(4)]
		})
		tm := c.join("tm-1", 1)
		var id dataflow.JobID
		for err := errors.New("not yet"); err != nil; {
			id, err = c.d.Submit(t.Context(), jobview.Submission{BundleSHA: "b1", RequestID: "x"})
		}
		for range 5 {
			c.until(id, jobview.JobRunning)
			seconds(10)
			w := tm.running(id)
			if len(w) != 1 {
				t.Fatalf("%d workers run", len(w))
			}
			stored, err := jobmaster.ReadStoredPointer(t.Context(), c.leader, jobmaster.PointerKey(id))
			if err != nil || stored == nil || stored.Latest == nil {
				t.Fatalf("stored pointer %v, error %v", stored, err)
			}
			told := w[0].committed[len(w[0].committed)-1]
			if int64(stored.Latest.ID) < told {
				t.Fatalf("workers were told that %d is committed, the store has %d", told, stored.Latest.ID)
			}
			tm.kill(w[0])
			seconds(1)
		}
	})
}

func TestLostLeadershipStopsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		c.service.SetFaults(func(dataflow.Epoch, []ha.Write) memha.Fault { return memha.FaultDeposed })
		seconds(2)
		select {
		case err := <-c.ended:
			if !errors.Is(err, ha.ErrFenced) {
				t.Fatalf("Run returned %v, want ErrFenced", err)
			}
			c.ended <- err
		default:
			t.Fatal("a deposed leader still runs")
		}
		if len(tm.running(id)) != 1 {
			t.Fatal("a deposed leader touched a worker")
		}
		if _, err := c.d.Submit(t.Context(), jobview.Submission{BundleSHA: "b1"}); err == nil {
			t.Fatal("a deposed leader accepted a job")
		}
	})
}

// operation waits for the end of an operation.
func (c *cluster) operation(id dataflow.JobID, op string) jobview.Operation {
	c.t.Helper()
	for range 600 {
		o, err := c.d.Operation(id, op)
		if err != nil {
			c.t.Fatal(err)
		}
		if o.Done {
			return o
		}
		moment()
	}
	c.t.Fatal("the operation does not end")
	return jobview.Operation{}
}

func TestStopWithSavepointAndStartFromIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 2)
		first := c.submit(jobview.Submission{Parallelism: 1})
		c.until(first, jobview.JobRunning)
		seconds(2)
		w := tm.running(first)[0]
		op, err := c.d.Stop(t.Context(), first, jobview.StopRequest{Stop: true})
		if err != nil {
			t.Fatal(err)
		}
		done := c.operation(first, op)
		if done.Failure != nil || done.Path == "" {
			t.Fatalf("stop: %+v", done)
		}
		c.until(first, jobview.JobFinished)
		sps, err := c.d.Savepoints(t.Context(), first)
		if err != nil || len(sps) != 1 || sps[0].Path != done.Path {
			t.Fatalf("savepoints %v, error %v; want one at %s", sps, err, done.Path)
		}
		second := c.submit(jobview.Submission{Parallelism: 2, FromSavepoint: done.Path})
		c.until(second, jobview.JobRunning)
		d := tm.running(second)[0].deploy
		if !d.Restore.GetFromSavepoint() || len(d.Restore.Handles) != 2 || d.Parallelism != 2 {
			t.Fatalf("deploy %v", d)
		}
		if d.Incarnation == w.deploy.Incarnation {
			t.Fatal("a start from a savepoint must have a new incarnation")
		}
		// Until it has a checkpoint of its own, the savepoint is needed.
		if _, err := c.d.DeleteSavepoint(t.Context(), done.Path); err == nil {
			t.Fatal("a savepoint was deleted that a job recovers from")
		}
		seconds(3)
		if freed, err := c.d.DeleteSavepoint(t.Context(), done.Path); err != nil || freed.Objects == 0 || freed.Bytes == 0 {
			t.Fatal(freed, err)
		}
		if _, err := c.d.Submit(t.Context(), jobview.Submission{BundleSHA: "b1", FromSavepoint: done.Path}); !hasCode(err, "LEAT4208") {
			t.Fatalf("start from a deleted savepoint: %v", err)
		}
	})
}

func hasCode(err error, code string) bool {
	var e *jobview.Error
	return errors.As(err, &e) && e.Code == code
}

// A stop whose savepoint is committed, but whose effects are not confirmed
// when the worker dies, settles them and does not run again.
func TestStopSettlesAfterACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		seconds(2)
		tm.set(func(tm *fakeTM) { tm.silent = true })
		op, err := c.d.Stop(t.Context(), id, jobview.StopRequest{Stop: true})
		if err != nil {
			t.Fatal(err)
		}
		seconds(1)
		w := tm.running(id)[0]
		started := false
		tm.set(func(tm *fakeTM) { tm.onStart = func(*fakeWorker) bool { started = true; return true } })
		tm.kill(w)
		c.until(id, jobview.JobFinished)
		if started {
			t.Fatal("the job ran on after its stop")
		}
		if o := c.operation(id, op); o.Failure != nil || o.Path == "" {
			t.Fatalf("operation %+v", o)
		}
	})
}

func TestCancelWaitsForSideEffects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		seconds(2)
		tm.set(func(tm *fakeTM) { tm.silent = true })
		seconds(2)
		if err := c.d.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		seconds(5)
		if j := c.job(id); j.State != jobview.JobCancelling {
			t.Fatalf("job is %s while commits are unconfirmed, want CANCELLING", j.State)
		}
		w := tm.running(id)[0]
		w.say(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CommitDone{CommitDone: &controlv1.CommitDone{Id: w.committed[len(w.committed)-1]}}})
		if j := c.until(id, jobview.JobCanceled); j.StateReason != "" {
			t.Fatalf("reason %q, want none", j.StateReason)
		}
		if err := c.d.Cancel(t.Context(), id); !hasCode(err, "LEAT4106") {
			t.Fatalf("cancelling an ended job: %v", err)
		}
		// An ended job survives the leader as archive.
		c.halt()
		c.lead()
		synctest.Wait()
		if j := c.job(id); j.State != jobview.JobCanceled || j.Plan == nil || len(j.Vertices) != 2 {
			t.Fatalf("archived job: %s, plan %v, %d vertices", j.State, j.Plan != nil, len(j.Vertices))
		}
	})
}

func TestSavepointIntoADirectory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		c.until(id, jobview.JobRunning)
		op, err := c.d.Stop(t.Context(), id, jobview.StopRequest{Savepoint: "backup/daily"})
		if err != nil {
			t.Fatal(err)
		}
		o := c.operation(id, op)
		if o.Failure != nil || !strings.HasPrefix(o.Path, "mem:backup/daily/savepoint-") {
			t.Fatalf("operation %+v", o)
		}
		if j := c.job(id); j.State != jobview.JobRunning || j.Checkpoints.LastSavepoint == nil {
			t.Fatalf("job is %s after a savepoint", j.State)
		}
		second := c.submit(jobview.Submission{FromSavepoint: o.Path})
		seconds(1)
		if j := c.job(second); !strings.Contains(j.StateReason, "LEAT2101") || !strings.Contains(j.StateReason, "wordcount 1") {
			t.Fatalf("a job without slots says %q", j.StateReason)
		}
		if err := c.d.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		c.until(second, jobview.JobRunning)
		if len(tm.running(second)) != 1 {
			t.Fatal("the second job does not run")
		}
	})
}

func TestPlansThatDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.builds(func(n int) *graph.JobGraph {
			g := wordCount(n)
			g.Nodes[1].Detail = fmt.Sprint(n)
			return g
		})
		c.join("tm-1", 1)
		id := c.submit(jobview.Submission{})
		j := c.until(id, jobview.JobFailed)
		if e := j.Exceptions[0].Error; e.Code != "LEAT1207" || !strings.Contains(e.Where, `"out"`) {
			t.Fatalf("exception %+v", e)
		}
		if _, err := c.d.PlanBundle(t.Context(), jobview.Submission{BundleSHA: "b1"}); !hasCode(err, "LEAT1207") {
			t.Fatalf("plan: %v", err)
		}
		c.builds(wordCount)
		p, err := c.d.PlanBundle(t.Context(), jobview.Submission{BundleSHA: "b1", Parallelism: 3})
		if err != nil || p.Slots() != 3 {
			t.Fatalf("plan %v, error %v", p, err)
		}
		c.builds(func(int) *graph.JobGraph { return nil })
		if _, err := c.d.PlanBundle(t.Context(), jobview.Submission{BundleSHA: "b1"}); !hasCode(err, "LEAT1218") {
			t.Fatalf("plan: %v", err)
		}
	})
}

func TestLogsAndNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		<-c.d.Ready()
		c.join("tm-1", 1)
		b, size, err := c.d.Log(t.Context(), "tm-1", "", "", -100, 50)
		if err != nil || string(b) != "log of tm-1" || size != 100 {
			t.Fatalf("log %q of %d, error %v", b, size, err)
		}
		if _, _, err := c.d.Log(t.Context(), "tm-9", "", "", 0, 0); !hasCode(err, "LEAT2002") {
			t.Fatalf("log of an unknown taskmanager: %v", err)
		}
		other := &fakeTM{c: c, id: "tm-1", instance: 99, workers: map[string]*fakeWorker{}}
		if err := other.connect(); err == nil {
			t.Fatal("two taskmanagers with one name were admitted")
		}
		if _, err := c.d.Job("nope"); !hasCode(err, "LEAT2001") {
			t.Fatalf("unknown job: %v", err)
		}
		if _, err := c.d.Submit(t.Context(), jobview.Submission{BundleSHA: "zz"}); !hasCode(err, "LEAT1213") {
			t.Fatalf("unknown bundle: %v", err)
		}
	})
}

// Jobs that have ended are kept up to a limit, the oldest go first.
func TestEndedJobsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 1)
		tm.set(func(tm *fakeTM) { tm.bounded = true })
		var first dataflow.JobID
		for i := range dispatcher.JobsEndedMax + 3 {
			id := c.submit(jobview.Submission{})
			if i == 0 {
				first = id
			}
			c.until(id, jobview.JobFinished)
		}
		synctest.Wait()
		if n := len(c.d.Jobs()); n != dispatcher.JobsEndedMax {
			t.Fatalf("%d jobs are kept, want %d", n, dispatcher.JobsEndedMax)
		}
		if _, err := c.d.Job(first); !hasCode(err, "LEAT2001") {
			t.Fatalf("the oldest job: %v", err)
		}
		stored, err := c.leader.Load(t.Context(), jobmaster.RecordKey(first))
		if err != nil || len(stored) != 0 {
			t.Fatalf("record of the oldest job: %v, error %v", stored, err)
		}
	})
}
