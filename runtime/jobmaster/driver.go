package jobmaster

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/slots"
)

// tickMin is the least time between two ticks, so that a due time in the past
// cannot make the loop spin.
const tickMin = time.Millisecond

// Cluster is what a job needs of the dispatcher. It has more than five
// methods because it is the whole of the job's outside, and one value
// implements it. No method blocks; answers come as posted events, also from
// within the call.
type Cluster interface {
	// Send sends to a taskmanager; one that is gone is no error.
	Send(taskManager string, m *controlv1.JobManagerMessage)
	// Drop ends a taskmanager's session.
	Drop(taskManager, reason string)
	// AcquireSlots is answered by SlotsGranted or SlotsShort, and by
	// SlotsGranted later.
	AcquireSlots(job dataflow.JobID, n int)
	ReleaseSlots(job dataflow.JobID)
	// ReserveSlots is answered by SlotsReserved, after any ReserveShort. What
	// the job holds it keeps.
	ReserveSlots(job dataflow.JobID, n int)
	// KeepSlots gives back all slots but these, and ends a ReserveSlots.
	KeepSlots(job dataflow.JobID, shares []slots.Share)
	// FollowSlots has the job told of AutoSlots, now and at each change, or not.
	FollowSlots(job dataflow.JobID, on bool)
	// Disown: no worker of a former leader's attempt is taken over any more.
	Disown(job dataflow.JobID)
	// RequestPlan is answered by PlanReady or PlanFailed, after any PlanWaits.
	RequestPlan(job dataflow.JobID, r Record)
	// JobEnded tells that the job has ended for good.
	JobEnded(job dataflow.JobID, s jobview.JobState)
}

// Journal is what a job writes its record and pointer to; ha.Leadership is
// one.
type Journal interface {
	Load(ctx context.Context, prefix string) (map[string][]byte, error)
	Commit(ctx context.Context, writes []ha.Write) error
}

// DriverConfig is what a Driver works with.
type DriverConfig struct {
	Core    CoreConfig
	Cluster Cluster
	Journal Journal
	Store   store.Store
	Clock   clock.Clock
	Log     *slog.Logger
}

// Driver runs one job. Post, View and the other readers are safe for
// concurrent use; Run is called once.
type Driver struct {
	cfg  DriverConfig
	box  *mailbox
	mu   sync.Mutex
	core *Core // guarded by mu; changed only by Run's goroutine
	// accepted are operations the core may not have seen yet; guarded by mu,
	// at most OperationsMax.
	accepted []string
	files    files

	records, objects, garbage *executor
}

// NewDriver returns the driver of a job.
func NewDriver(cfg DriverConfig) (*Driver, error) {
	core, err := NewCore(cfg.Core, cfg.Clock.Now())
	if err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: cfg, core: core, box: newMailbox(),
		files:   files{store: cfg.Store},
		records: newExecutor(), objects: newExecutor(), garbage: newExecutor(),
	}
	d.box.post(Begin{})
	return d, nil
}

// Post queues an event; it never blocks.
func (d *Driver) Post(ev Event) { d.box.post(ev) }

// Deliver queues a message of a taskmanager. It waits while too much is
// queued; figures are dropped instead.
func (d *Driver) Deliver(ctx context.Context, ev FromTaskManager) {
	if ev.Message.GetWorkerEvent().GetEvent().GetMetrics() != nil {
		d.box.offer(ev)
		return
	}
	d.box.deliver(ctx, ev)
}

// Run leads the job until it has ended, ctx ends or the leadership is lost;
// it returns when none of its goroutines is left. Workers are left alone
// unless the job has ended.
func (d *Driver) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer d.box.close()
	var wg sync.WaitGroup
	for _, x := range []*executor{d.records, d.objects, d.garbage} {
		wg.Go(func() { x.run(ctx) })
	}
	d.loop(ctx)
	if !d.done() {
		cancel()
	}
	for _, x := range []*executor{d.records, d.objects, d.garbage} {
		x.close()
	}
	wg.Wait()
}

func (d *Driver) loop(ctx context.Context) {
	timer := d.cfg.Clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for _, ev := range d.box.take() {
			d.step(ev)
		}
		if d.done() {
			return
		}
		d.arm(timer)
		select {
		case <-ctx.Done():
			return
		case <-d.box.notify:
		case <-timer.C():
			d.step(Tick{})
		}
	}
}

func (d *Driver) arm(t clock.Timer) {
	d.mu.Lock()
	next := d.core.Next()
	d.mu.Unlock()
	if next.IsZero() {
		t.Stop()
		return
	}
	t.Reset(max(tickMin, -d.cfg.Clock.Since(next)))
}

func (d *Driver) done() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.core.Done() || d.core.fenced
}

// step applies one event and carries out what follows from it.
func (d *Driver) step(ev Event) {
	d.mu.Lock()
	before, faults := d.core.State(), d.core.faults
	cmds := d.core.Step(d.cfg.Clock.Now(), ev)
	after, reason, attempt := d.core.State(), d.core.Reason(), d.core.sched.Attempt()
	if d.core.faults > faults {
		d.cfg.Log.Warn("impossible event", "job", d.core.rec.ID, "fault", d.core.lastFault)
	}
	d.mu.Unlock()
	if after != before {
		d.cfg.Log.Info("job changed its state", "job", d.cfg.Core.Record.ID, "name", d.cfg.Core.Record.Name,
			"from", before, "to", after, "attempt", attempt, "reason", reason)
	}
	for _, cmd := range cmds {
		d.perform(cmd)
	}
}

func (d *Driver) perform(cmd Command) {
	job := d.cfg.Core.Record.ID
	switch cmd := cmd.(type) {
	case Send:
		d.cfg.Cluster.Send(cmd.TaskManager, cmd.Message)
	case DropTaskManager:
		d.cfg.Cluster.Drop(cmd.TaskManager, cmd.Reason)
	case AcquireSlots:
		d.cfg.Cluster.AcquireSlots(job, cmd.N)
	case ReleaseSlots:
		d.cfg.Cluster.ReleaseSlots(job)
	case ReserveSlots:
		d.cfg.Cluster.ReserveSlots(job, cmd.N)
	case KeepSlots:
		d.cfg.Cluster.KeepSlots(job, cmd.Shares)
	case FollowSlots:
		d.cfg.Cluster.FollowSlots(job, cmd.On)
	case Disown:
		d.cfg.Cluster.Disown(job)
	case RequestPlan:
		d.cfg.Cluster.RequestPlan(job, d.cfg.Core.Record)
	case Ended:
		d.cfg.Cluster.JobEnded(job, cmd.State)
	case Discard, Sweep:
		// What does not fit is found by a later sweep.
		d.garbage.try(func(ctx context.Context) { d.collect(ctx, cmd) })
	case WriteRecord, MovePointer, ReserveIDs, ReadPointer:
		d.records.do(func(ctx context.Context) { d.write(ctx, cmd) })
	default:
		d.objects.do(func(ctx context.Context) { d.access(ctx, cmd) })
	}
}

// View returns what people see of the job.
func (d *Driver) View() jobview.Job {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.core.View()
}

// Summary is View without vertices and exceptions.
func (d *Driver) Summary() jobview.Job {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.core.Summary()
}

// Request posts a request for a checkpoint; Operation knows it from now on.
func (d *Driver) Request(ev TakeCheckpoint) {
	d.accept(ev.Operation)
	d.box.post(ev)
}

// Rescale posts a request for another parallelism; Operation knows it from now
// on.
func (d *Driver) Rescale(ev RescaleJob) {
	d.accept(ev.Operation)
	d.box.post(ev)
}

// accept remembers an operation that the core may not have seen yet.
func (d *Driver) accept(operation string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepted = append(d.accepted, operation)
	d.accepted = d.accepted[max(0, len(d.accepted)-OperationsMax):]
}

// Operation returns the state of an operation.
func (d *Driver) Operation(id string) (jobview.Operation, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if op, ok := d.core.Operation(id); ok {
		return op, true
	}
	op := jobview.Operation{ID: id}
	if d.core.Done() {
		op.Done, op.Failure = true, &jobview.Error{Code: "LEAT4106", Kind: jobview.KindConflict, What: "the job has ended"}
	}
	return op, slices.Contains(d.accepted, id)
}

// State returns the job's state as people see it.
func (d *Driver) State() jobview.JobState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.core.State()
}

// Name returns the job's name: the program's once it is planned.
func (d *Driver) Name() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.core.rec.Name
}

// Record returns the job's record.
func (d *Driver) Record() Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.core.Record()
}
