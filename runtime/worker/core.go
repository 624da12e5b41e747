package worker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/task"
)

// phase is where a worker stands.
//
//	waiting ──deploy──▶ deploying ──all open──▶ deployed ──start──▶ running
//	   │                    │                       │                  │
//	   └────────────────────┴────────cancel─────────┴──────────────────┴──▶ cancelling ──all closed──▶ over
type phase uint8

const (
	phaseWaiting phase = iota
	phaseDeploying
	phaseDeployed
	phaseRunning
	phaseCancelling
)

// event is one input of the core; one field is set.
type event struct {
	command  *controlv1.WorkerCommand
	linkLost error
	tick     bool
	built    *built
	task     *taskEvent
	uploaded *uploaded
	failed   *controlv1.Failure // of the coordinator or the worker itself
}

// built says that the tasks were made, or why not.
type built struct {
	tasks   []*controlv1.SubtaskRef
	failure *controlv1.Failure
}

// taskEvent is what a task tells.
type taskEvent struct {
	task      int
	opened    bool
	closed    bool
	finished  bool
	failure   *controlv1.Failure // with closed
	snapshot  *task.Snapshot
	declined  dataflow.CheckpointID
	reason    string
	committed dataflow.CheckpointID
}

// uploaded says that a checkpoint's object was written, or why not.
type uploaded struct {
	id  dataflow.CheckpointID
	err error
}

// action is one output of the core; one field is set.
type action struct {
	send      *controlv1.WorkerEvent
	deploy    *controlv1.Deploy
	start     bool
	trigger   *task.Trigger
	abort     dataflow.CheckpointID
	commit    dataflow.CheckpointID
	operator  *controlv1.OperatorEvent
	upload    *gathered
	cancel    bool
	report    bool // metrics
	over      bool
	err       error                 // with over
	snapshots dataflow.CheckpointID // of the coordinators
	read      *controlv1.StateQuery
	void      *voided
	resend    bool // of what operators said
}

// voided are the checkpoints after one id up to another.
type voided struct{ after, through dataflow.CheckpointID }

func (v voided) has(id dataflow.CheckpointID) bool { return id > v.after && id <= v.through }

// core decides what a worker does. It does no I/O and never blocks.
type core struct {
	fingerprint string
	phase       phase
	coordinator bool
	tasks       []taskView
	opened      int
	closed      int
	gathers     map[dataflow.CheckpointID]*gathered
	settled     []dataflow.CheckpointID // acknowledged, declined or aborted
	voided      voided                  // given up when a new leader took over
	ending      bool                    // sources were told to stop
	failure     *controlv1.Failure      // the first that was sent
	commits     map[dataflow.CheckpointID]map[int]bool
	actions     []action
}

type taskView struct {
	ref      *controlv1.SubtaskRef
	finished bool
	status   *controlv1.TaskStatus // the last that was sent
}

const (
	// settledMax bounds the checkpoints whose late snapshots are recognised.
	settledMax = 64
	// gathersMax bounds the checkpoints under way; the oldest is declined.
	gathersMax = 16
)

func newCore(fingerprint string) *core {
	return &core{
		fingerprint: fingerprint, gathers: make(map[dataflow.CheckpointID]*gathered),
		commits: make(map[dataflow.CheckpointID]map[int]bool),
	}
}

// step applies one event. The actions are valid until the next call.
func (c *core) step(ev event) []action {
	c.actions = c.actions[:0]
	switch {
	case ev.command != nil:
		c.onCommand(ev.command)
	case ev.linkLost != nil:
		c.act(action{over: true, err: fmt.Errorf("worker: link to the taskmanager lost: %w", ev.linkLost)})
	case ev.tick:
		c.act(action{report: true})
	case ev.built != nil:
		c.onBuilt(ev.built)
	case ev.task != nil:
		c.onTask(ev.task)
	case ev.uploaded != nil:
		c.onUploaded(ev.uploaded)
	case ev.failed != nil:
		c.fail(ev.failed)
	}
	return c.actions
}

func (c *core) act(a action) { c.actions = append(c.actions, a) }

func (c *core) send(ev *controlv1.WorkerEvent) { c.act(action{send: ev}) }

func (c *core) fail(f *controlv1.Failure) {
	if c.phase == phaseCancelling {
		return
	}
	if c.failure == nil {
		c.failure = f
	}
	c.send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Failed{Failed: &controlv1.WorkerFailed{Failure: f}}})
}

func (c *core) onCommand(cmd *controlv1.WorkerCommand) {
	switch b := cmd.GetBody().(type) {
	case *controlv1.WorkerCommand_Deploy:
		c.onDeploy(b.Deploy)
	case *controlv1.WorkerCommand_Start:
		if c.phase == phaseDeployed {
			c.phase = phaseRunning
			c.act(action{start: true})
			c.statusAll(controlv1.TaskState_TASK_STATE_RUNNING)
		}
	case *controlv1.WorkerCommand_TriggerCheckpoint:
		c.onTrigger(b.TriggerCheckpoint)
	case *controlv1.WorkerCommand_CheckpointCommitted:
		c.onCommitted(dataflow.CheckpointID(b.CheckpointCommitted.GetId()))
	case *controlv1.WorkerCommand_CheckpointAborted:
		id := dataflow.CheckpointID(b.CheckpointAborted.GetId())
		c.settle(id)
		c.act(action{abort: id})
	case *controlv1.WorkerCommand_Adopt:
		c.onAdopt(b.Adopt)
	case *controlv1.WorkerCommand_Cancel:
		c.onCancel()
	case *controlv1.WorkerCommand_OperatorEvent:
		c.act(action{operator: b.OperatorEvent})
	case *controlv1.WorkerCommand_StateQuery:
		c.act(action{read: b.StateQuery})
	}
}

func (c *core) onDeploy(d *controlv1.Deploy) {
	if c.phase != phaseWaiting {
		c.fail(plainFailure(fmt.Errorf("a second deployment was received in phase %d", c.phase), true))
		return
	}
	c.phase = phaseDeploying
	if want := d.GetFingerprint(); want != c.fingerprint {
		c.fail(plainFailure(fmt.Errorf(
			"the program built another graph here (fingerprint %s) than when it was submitted (%s): build the graph from arguments and properties alone, not from time, environment or files",
			c.fingerprint, want), true))
		return
	}
	c.coordinator = d.GetCoordinator()
	c.act(action{deploy: d})
}

func (c *core) onBuilt(b *built) {
	if b.failure != nil {
		c.fail(b.failure)
		return
	}
	for _, ref := range b.tasks {
		c.tasks = append(c.tasks, taskView{ref: ref})
	}
	c.statusAll(controlv1.TaskState_TASK_STATE_INITIALIZING)
	c.deployedIfOpen()
}

func (c *core) deployedIfOpen() {
	if c.phase == phaseDeploying && c.opened == len(c.tasks) {
		c.phase = phaseDeployed
		c.send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Deployed{Deployed: &controlv1.Deployed{}}})
	}
}

func (c *core) onTrigger(tr *controlv1.TriggerCheckpoint) {
	id := dataflow.CheckpointID(tr.GetId())
	if c.phase != phaseRunning {
		c.decline(id, nil, "the worker is not running")
		return
	}
	c.ending = c.ending || tr.GetStop()
	if c.coordinator {
		c.act(action{snapshots: id})
	}
	if g := c.gather(id); g != nil {
		g.dir = strings.TrimSuffix(tr.GetObjectDir(), "/")
		g.triggered = true
	}
	c.act(action{trigger: &task.Trigger{
		Barrier: exchange.Barrier{
			ID: id, TimestampMillis: tr.GetTimestampMillis(),
			Savepoint: tr.GetSavepoint(), Stop: tr.GetStop(), Final: tr.GetFinal(),
		},
		Drain: tr.GetDrain(), Pause: tr.GetPause(),
	}})
	c.completeIfAll(id)
}

func (c *core) onTask(ev *taskEvent) {
	switch {
	case ev.opened:
		c.opened++
		c.deployedIfOpen()
	case ev.closed:
		c.onClosed(ev)
	case ev.finished:
		c.tasks[ev.task].finished = true
		c.act(action{report: true}) // the last figures: accumulators are read when the job is over
		c.status(ev.task, controlv1.TaskState_TASK_STATE_FINISHED, nil)
	case ev.snapshot != nil:
		c.onSnapshot(ev.task, ev.snapshot)
	case ev.declined != 0:
		c.decline(ev.declined, c.tasks[ev.task].ref, ev.reason)
	case ev.committed != 0:
		c.onConfirmed(ev.task, ev.committed)
	}
}

func (c *core) onClosed(ev *taskEvent) {
	c.closed++
	switch {
	case ev.failure != nil:
		c.status(ev.task, controlv1.TaskState_TASK_STATE_FAILED, ev.failure)
	case c.tasks[ev.task].finished: // stays so
	default:
		c.status(ev.task, controlv1.TaskState_TASK_STATE_CANCELED, nil)
	}
	c.overIfClosed()
}

func (c *core) onCancel() {
	if c.phase == phaseCancelling {
		return
	}
	if c.phase == phaseWaiting {
		c.act(action{over: true})
	}
	c.phase = phaseCancelling
	c.act(action{cancel: true})
	c.overIfClosed()
}

// overIfClosed ends the worker once it was cancelled and its tasks are closed.
func (c *core) overIfClosed() {
	if c.phase == phaseCancelling && c.closed == len(c.tasks) {
		c.act(action{over: true})
	}
}

func (c *core) statusAll(s controlv1.TaskState) {
	for i := range c.tasks {
		c.status(i, s, nil)
	}
}

func (c *core) status(i int, s controlv1.TaskState, f *controlv1.Failure) {
	c.tasks[i].status = &controlv1.TaskStatus{Subtask: c.tasks[i].ref, State: s, Failure: f}
	c.send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_TaskStatus{TaskStatus: c.tasks[i].status}})
}

// onAdopt goes on under a new leader: what the former one had under way is
// void, and the new one is told all that it may not know.
func (c *core) onAdopt(a *controlv1.Adopt) {
	c.voided = voided{after: dataflow.CheckpointID(a.GetCommitted()), through: dataflow.CheckpointID(a.GetVoidThrough())}
	for id := range c.gathers {
		if c.voided.has(id) {
			delete(c.gathers, id)
		}
	}
	c.act(action{void: &c.voided})
	c.act(action{resend: true})
	st := &controlv1.Standing{Epoch: a.GetEpoch(), Running: c.phase == phaseRunning, Ending: c.ending, Failure: c.failure}
	for _, t := range c.tasks {
		if t.status != nil {
			st.Tasks = append(st.Tasks, t.status)
		}
	}
	c.send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Standing{Standing: st}})
}

// onCommitted tells the tasks and awaits their confirmations.
func (c *core) onCommitted(id dataflow.CheckpointID) {
	waiting := make(map[int]bool, len(c.tasks))
	for i := range c.tasks {
		waiting[i] = true
	}
	c.commits[id] = waiting
	c.act(action{commit: id})
	if len(c.commits) > gathersMax {
		delete(c.commits, slices.Min(keys(c.commits))) // a later one says more
	}
	c.confirmIfAll(id)
}

// onConfirmed books that a task has nothing uncommitted up to id.
func (c *core) onConfirmed(task int, id dataflow.CheckpointID) {
	ids := keys(c.commits)
	slices.Sort(ids)
	for _, x := range ids {
		if x <= id {
			delete(c.commits[x], task)
			c.confirmIfAll(x)
		}
	}
}

func (c *core) confirmIfAll(id dataflow.CheckpointID) {
	if len(c.commits[id]) > 0 {
		return
	}
	delete(c.commits, id)
	done := &controlv1.CommitDone{Id: int64(id)}
	for _, t := range c.tasks {
		done.Subtasks = append(done.Subtasks, t.ref)
	}
	c.send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CommitDone{CommitDone: done}})
}

func keys[V any](m map[dataflow.CheckpointID]V) []dataflow.CheckpointID {
	out := make([]dataflow.CheckpointID, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

func plainFailure(err error, fatal bool) *controlv1.Failure {
	return &controlv1.Failure{Error: task.ErrorInfo(err), Fatal: fatal}
}
