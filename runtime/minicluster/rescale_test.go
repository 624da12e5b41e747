package minicluster_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
)

func rescale(t *testing.T, c *minicluster.Cluster, id dataflow.JobID, r jobview.RescaleRequest) string {
	t.Helper()
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	op, err := control.Rescale(t.Context(), id, r)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// operation awaits the end of an operation.
func operation(t *testing.T, c *minicluster.Cluster, id dataflow.JobID, op string) (o jobview.Operation) {
	t.Helper()
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, id, func(v jobview.Job) bool {
		if o, err = control.Operation(id, op); err != nil {
			t.Fatal(err)
		}
		return o.Done || v.State.Terminal()
	})
	return o
}

func subtasksOf(v jobview.Job) (out []int) {
	for _, x := range v.Vertices {
		out = append(out, x.Parallelism)
	}
	return out
}

// TestRescaling: a job grows and shrinks while it runs, as a whole and one
// vertex alone, with workers killed and leaders changed on the way. No restart
// is counted for a change, and the output is whole.
func TestRescaling(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{
		TaskManagers: 3, Slots: 2, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 10 * time.Second,
	})
	j := job{rows: 240_000, perSecond: 20_000, out: collection.NewCollector(total{})}
	id := submit(t, c, j, 2)
	running := func(v jobview.Job) bool {
		return v.State.Terminal() || v.State == jobview.JobRunning && v.Checkpoints.Completed >= 1
	}
	await(t, c, id, running)
	for _, to := range []int{4, 1, 6} {
		o := operation(t, c, id, rescale(t, c, id, jobview.RescaleRequest{Parallelism: to}))
		if o.Failure != nil {
			t.Fatalf("rescaled to %d: %v", to, o.Failure)
		}
		v := await(t, c, id, running)
		if v.State.Terminal() {
			t.Fatal("the job ended before it was rescaled: too early to prove anything")
		}
		if got := subtasksOf(v); v.Parallelism != to || got[0] != to || v.Restarts != 0 {
			t.Fatalf("rescaled to %d: parallelism %d, vertices %v, %d restarts", to, v.Parallelism, got, v.Restarts)
		}
	}
	op := rescale(t, c, id, jobview.RescaleRequest{Vertices: map[string]jobview.Bounds{"totals": {Upper: 3}}})
	if o := operation(t, c, id, op); o.Failure != nil {
		t.Fatal(o.Failure)
	}
	v := await(t, c, id, running)
	if got := subtasksOf(v); got[0] != 6 || got[1] != 3 {
		t.Fatalf("vertices of %v subtasks, want 6 and 3", got)
	}
	c.Depose()
	v = await(t, c, id, running)
	if got := subtasksOf(v); got[0] != 6 || got[1] != 3 {
		t.Fatalf("under a new leader: vertices of %v subtasks, want 6 and 3", got)
	}
	if ws := c.Workers(); len(ws) > 0 {
		_ = c.KillWorker(ws[0]) // it may have ended meanwhile
	}
	v = await(t, c, id, finished)
	if got := subtasksOf(v); got[0] != 6 || got[1] != 3 {
		t.Fatalf("after a kill: vertices of %v subtasks, want 6 and 3", got)
	}
	compare(t, counted(j.out.Rows()), j.expected())
}

// TestRescalingWaitsForSlots: a job that is to grow beyond the slots runs on as
// it is and says what it waits for; a taskmanager that joins lets it grow.
func TestRescalingWaitsForSlots(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{TaskManagers: 1, Slots: 2, HeartbeatTimeout: 10 * time.Second})
	j := job{rows: 100_000, perSecond: 20_000, out: collection.NewCollector(total{})}
	id := submit(t, c, j, 2)
	await(t, c, id, func(v jobview.Job) bool { return v.State == jobview.JobRunning && v.Checkpoints.Completed >= 1 })
	first := rescale(t, c, id, jobview.RescaleRequest{Parallelism: 8})
	v := await(t, c, id, func(v jobview.Job) bool { return v.State.Terminal() || strings.Contains(v.StateReason, "needs 8") })
	if v.State != jobview.JobRunning || v.Attempt != 1 {
		t.Fatalf("a job that waits to grow is %s in attempt %d", v.State, v.Attempt)
	}
	second := rescale(t, c, id, jobview.RescaleRequest{Parallelism: 4})
	if o := operation(t, c, id, first); o.Failure == nil || o.Failure.Code != "LEAT4303" {
		t.Fatalf("the wish that was replaced: %+v", o.Failure)
	}
	if _, err := c.AddTaskManager(); err != nil {
		t.Fatal(err)
	}
	if o := operation(t, c, id, second); o.Failure != nil {
		t.Fatal(o.Failure)
	}
	if v := await(t, c, id, finished); v.Parallelism != 4 || v.Attempt != 2 {
		t.Fatalf("parallelism %d, attempt %d; want 4 and 2", v.Parallelism, v.Attempt)
	}
	compare(t, counted(j.out.Rows()), j.expected())
}

func TestRescalingIsRefused(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{TaskManagers: 1, Slots: 2, HeartbeatTimeout: 10 * time.Second})
	j := job{rows: 100_000, perSecond: 20_000, out: collection.NewCollector(total{})}
	id := submit(t, c, j, 2)
	await(t, c, id, func(v jobview.Job) bool { return v.State == jobview.JobRunning })
	if o := operation(t, c, id, rescale(t, c, id, jobview.RescaleRequest{Parallelism: 2})); o.Failure != nil {
		t.Errorf("the parallelism that it has: %+v", o.Failure)
	}
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var refused *jobview.Error
	if _, err := control.Rescale(t.Context(), id, jobview.RescaleRequest{Parallelism: 4096}); !errors.As(err, &refused) || refused.Code != "LEAT4302" || refused.Kind != jobview.KindInvalid {
		t.Errorf("more than the maximum parallelism: %v", err)
	}
	for name, b := range map[string]jobview.Bounds{"nowhere": {Upper: 2}, "totals": {Lower: 3, Upper: 2}, "orders": {Lower: -1, Upper: 2}} {
		if _, err := control.Rescale(t.Context(), id, jobview.RescaleRequest{Vertices: map[string]jobview.Bounds{name: b}}); err == nil {
			t.Errorf("vertex %s from %d to %d is taken", name, b.Lower, b.Upper)
		}
	}
	if v := await(t, c, id, finished); v.Attempt != 1 {
		t.Errorf("attempt %d after nothing but refusals", v.Attempt)
	}
}

// TestAutoParallelism: a job whose parallelism follows the slots takes all of
// them, grows and shrinks with the taskmanagers, and makes room for a job of
// fixed parallelism.
func TestAutoParallelism(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{
		TaskManagers: 2, Slots: 2, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 10 * time.Second,
	})
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for len(control.TaskManagers()) < 2 {
		<-ticker.C
	}
	j := job{rows: 600_000, perSecond: 20_000, out: collection.NewCollector(total{})}
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: c.AddProgram("auto", j.graph), Auto: true})
	if err != nil {
		t.Fatal(err)
	}
	at := func(p int) jobview.Job {
		t.Helper()
		return await(t, c, id, func(v jobview.Job) bool { return v.State == jobview.JobRunning && v.Parallelism == p })
	}
	if v := at(4); !v.Auto || v.Attempt != 1 {
		t.Errorf("a job of automatic parallelism begins in attempt %d (auto %v): want all slots at once", v.Attempt, v.Auto)
	}
	third, err := c.AddTaskManager()
	if err != nil {
		t.Fatal(err)
	}
	at(6)
	if err := c.KillTaskManager(third); err != nil {
		t.Fatal(err)
	}
	at(4)
	fixed := job{rows: 30_000, perSecond: 10_000, out: collection.NewCollector(total{})}
	other := submit(t, c, fixed, 1)
	at(3)
	await(t, c, other, finished)
	at(4)
	compare(t, counted(fixed.out.Rows()), fixed.expected())
	if o := operation(t, c, id, rescale(t, c, id, jobview.RescaleRequest{Parallelism: 2})); o.Failure != nil {
		t.Fatal(o.Failure)
	}
	if v := at(2); v.Auto {
		t.Error("a job that was given a parallelism follows the slots")
	}
	if err := control.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	await(t, c, id, func(v jobview.Job) bool { return v.State == jobview.JobCanceled })
}

// TestDraining: a taskmanager that is to end has its work moved first. That is
// no failure, nothing is computed twice, and when there is no room elsewhere it
// does not wait.
func TestDraining(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{
		TaskManagers: 3, Slots: 2, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 10 * time.Second,
	})
	var seen atomic.Int64
	j := job{rows: 120_000, perSecond: 20_000, out: collection.NewCollector(total{}), seen: &seen}
	id := submit(t, c, j, 2)
	at := func(tms int) jobview.Job {
		t.Helper()
		return await(t, c, id, func(v jobview.Job) bool {
			return v.State == jobview.JobRunning && v.Checkpoints.Completed >= 1 && len(taskManagersOf(v)) == tms
		})
	}
	first := at(1)
	if err := c.DrainTaskManager(taskManagersOf(first)[0]); err != nil {
		t.Fatal(err)
	}
	second := at(1)
	if second.Attempt != first.Attempt+1 || second.Restarts != 0 || taskManagersOf(second)[0] == taskManagersOf(first)[0] {
		t.Errorf("after a drain the job is in attempt %d after %d restarts, on %v", second.Attempt, second.Restarts, taskManagersOf(second))
	}
	// A change is refused until the one before has come to its end.
	await(t, c, id, func(v jobview.Job) bool { return v.Checkpoints.Completed > second.Checkpoints.Completed })
	o := operation(t, c, id, rescale(t, c, id, jobview.RescaleRequest{Parallelism: 4}))
	if o.Failure != nil {
		t.Fatal(o.Failure)
	}
	at(2)
	if got, want := seen.Load(), j.rows; got > want {
		t.Errorf("%d rows were seen before the end, there are %d", got, want)
	}
	// No room: it ends at once, and the job waits for slots.
	began := time.Now()
	if err := c.DrainTaskManager(taskManagersOf(second)[0]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a taskmanager whose work has no room elsewhere took %s to end", took)
	}
	before := seen.Load()
	await(t, c, id, func(v jobview.Job) bool { return strings.Contains(v.StateReason, "LEAT2101") })
	if _, err := c.AddTaskManager(); err != nil {
		t.Fatal(err)
	}
	await(t, c, id, finished)
	compare(t, counted(j.out.Rows()), j.expected())
	t.Logf("%d of %d rows were seen when the second taskmanager had ended, %d in all", before, j.rows, seen.Load())
}

// TestNothingIsComputedTwice: by a drain and by a change of the parallelism.
func TestNothingIsComputedTwice(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{TaskManagers: 2, Slots: 3, HeartbeatTimeout: 10 * time.Second})
	var seen atomic.Int64
	j := job{rows: 60_000, perSecond: 20_000, out: collection.NewCollector(total{}), seen: &seen}
	id := submit(t, c, j, 2)
	v := await(t, c, id, func(v jobview.Job) bool { return v.State == jobview.JobRunning && v.Checkpoints.Completed >= 1 })
	if o := operation(t, c, id, rescale(t, c, id, jobview.RescaleRequest{Parallelism: 3})); o.Failure != nil {
		t.Fatal(o.Failure)
	}
	if err := c.DrainTaskManager(taskManagersOf(v)[0]); err != nil {
		t.Fatal(err)
	}
	v = await(t, c, id, finished)
	if v.Attempt != 3 || v.Restarts != 0 {
		t.Errorf("attempt %d after %d restarts, want 3 and none", v.Attempt, v.Restarts)
	}
	if got := seen.Load(); got != j.rows {
		t.Errorf("%d rows were computed, there are %d", got, j.rows)
	}
	compare(t, counted(j.out.Rows()), j.expected())
}

func taskManagersOf(v jobview.Job) []string {
	var out []string
	for _, x := range v.Vertices {
		for _, s := range x.Subtasks {
			if s.TaskManager != "" && !slices.Contains(out, s.TaskManager) {
				out = append(out, s.TaskManager)
			}
		}
	}
	return out
}
