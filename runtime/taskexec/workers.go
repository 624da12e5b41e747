package taskexec

import (
	"cmp"
	"fmt"
	"time"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Reasons of WorkerExited.
const (
	ReasonStopped     = "stopped"     // the jobmanager asked for it
	ReasonExited      = "exited"      // by itself, with code 0
	ReasonCrash       = "crash"       // by itself, with another code or a signal
	ReasonOOM         = "oom"         // it held more memory than its share
	ReasonTaskManager = "taskmanager" // the taskmanager ends
	ReasonAway        = "no-leader"   // no jobmanager for too long
	ReasonUnknown     = "unknown"     // no such worker runs here
	reasonNoHello     = "no-hello"    // main never called launch.Main, or hangs before it
	reasonLinkLost    = "link-lost"   // the worker does not listen any more
	reasonRelayFull   = "relay-full"  // it said more than can be kept for the jobmanager
)

// Codes of start failures.
const (
	CodeNoSlots    = "LEAT2202"
	CodeStart      = "LEAT2203"
	CodeStaleEpoch = "LEAT2204"
	CodeEnding     = "LEAT2205"
)

type phase int

const (
	phaseStarting phase = iota
	phaseRunning
	phaseStopping
)

// workerState is one worker, from StartWorker to its end.
type workerState struct {
	start  *controlv1.StartWorker
	phase  phase
	pid    int64
	share  int64 // bytes it may hold
	memory int64 // last sample
	// reason is why it was told to end; empty while it was not.
	reason string
	note   string // goes before the stderr tail
	// killAt is when SIGKILL follows; zero: never.
	killAt time.Time
	killed bool
	// helloBy is when it must be attached.
	helloBy  time.Time
	attached bool
	pending  []*controlv1.WorkerCommand // before it attaches; at most pendingMax
}

// start admits a worker, or says at once why not.
func (c *core) start(s *controlv1.StartWorker) {
	if w := c.workers[s.GetWorkerId()]; w != nil {
		if w.pid != 0 { // asked again: the first answer may be lost
			c.report(startedMessage(w))
		}
		return
	}
	free := c.cfg.slots - c.slotsUsed()
	switch {
	case c.ending || c.draining():
		c.refuseStart(s, CodeEnding, "the taskmanager is shutting down", "")
		return
	case s.GetEpoch() != 0 && s.GetEpoch() < c.leader.epochMax:
		c.refuseStart(s, CodeStaleEpoch, "the start was ordered by a jobmanager that leads no more",
			fmt.Sprintf("its epoch is %d, the leader's %d", s.GetEpoch(), c.leader.epochMax))
		return
	case s.GetSlots() < 1 || int(s.GetSlots()) > free:
		c.refuseStart(s, CodeNoSlots, fmt.Sprintf("the worker needs %d slots, %d of %d are free", s.GetSlots(), max(free, 0), c.cfg.slots), "")
		return
	}
	w := &workerState{start: s, share: c.cfg.memoryBytes * int64(s.GetSlots()) / int64(c.cfg.slots)}
	c.workers[s.GetWorkerId()] = w
	delete(c.left, s.GetJobId())
	cpus := max(1, (c.cfg.cpus*int(s.GetSlots())+c.cfg.slots-1)/c.cfg.slots)
	c.do(cmdStart{start: s, memory: w.share, cpus: cpus})
}

func (c *core) refuseStart(s *controlv1.StartWorker, code, what, why string) {
	c.report(startFailedMessage(s, &controlv1.ErrorInfo{Code: code, What: what, Why: why}))
}

func (c *core) started(e evStarted) {
	w := c.workers[e.worker]
	if w == nil {
		return
	}
	w.pid = e.pid
	if w.phase == phaseStarting {
		w.phase = phaseRunning
		w.helloBy = c.now.Add(c.cfg.helloMax)
	}
	c.report(startedMessage(w))
	if w.reason != "" { // told to end while it started
		c.kill(w, w.reason)
	}
}

func (c *core) startFailed(e evStartFailed) {
	w := c.workers[e.worker]
	if w == nil {
		return
	}
	if w.reason != "" {
		c.gone(w, Exit{})
		return
	}
	delete(c.workers, e.worker)
	c.leave(w.start.GetJobId())
	c.report(startFailedMessage(w.start, e.err))
	c.do(cmdForget{worker: e.worker})
}

func (c *core) exited(e evExited) {
	if w := c.workers[e.worker]; w != nil {
		c.gone(w, e.exit)
	}
}

// gone reports a worker's end; nothing about it follows.
func (c *core) gone(w *workerState, exit Exit) {
	id := w.start.GetWorkerId()
	delete(c.workers, id)
	c.leave(w.start.GetJobId())
	reason := w.reason
	switch {
	case reason != "":
	case exit.Code == 0 && exit.Signal == "":
		reason = ReasonExited
	default:
		reason = ReasonCrash
	}
	c.exits[reason]++
	tail := exit.StderrTail
	if w.note != "" {
		tail = w.note + "\n" + tail
	}
	c.report(&controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerExited{WorkerExited: &controlv1.WorkerExited{
		JobId: w.start.GetJobId(), Attempt: w.start.GetAttempt(), WorkerId: id,
		ExitCode: exit.Code, Signal: exit.Signal, Reason: reason, StderrTail: tail,
	}}})
	c.do(cmdForget{worker: id})
}

// stop obeys StopWorker; for a worker that is not here the answer is its end,
// since the jobmaster may be waiting for it.
func (c *core) stop(s *controlv1.StopWorker) {
	w := c.workers[s.GetWorkerId()]
	if w == nil {
		c.report(&controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerExited{WorkerExited: &controlv1.WorkerExited{
			JobId: s.GetJobId(), Attempt: s.GetAttempt(), WorkerId: s.GetWorkerId(), ExitCode: -1, Reason: ReasonUnknown,
		}}})
		return
	}
	c.terminate(w, ReasonStopped, time.Duration(s.GetGraceMillis())*time.Millisecond)
}

// terminate asks a worker to end and kills it after grace. Asked again, the
// earlier deadline holds.
func (c *core) terminate(w *workerState, reason string, grace time.Duration) {
	if grace <= 0 {
		c.kill(w, reason)
		return
	}
	if w.reason == "" {
		w.reason = reason
	}
	if w.phase == phaseStarting {
		c.do(cmdCancelStart{worker: w.start.GetWorkerId()})
		return
	}
	if at := c.now.Add(grace); w.killAt.IsZero() || at.Before(w.killAt) {
		w.killAt = at
	}
	if w.phase == phaseRunning {
		w.phase = phaseStopping
		c.do(cmdSignal{worker: w.start.GetWorkerId()})
	}
}

func (c *core) kill(w *workerState, reason string) {
	if w.reason == "" || reason == ReasonOOM {
		w.reason = reason
	}
	if w.phase == phaseStarting {
		c.do(cmdCancelStart{worker: w.start.GetWorkerId()})
		return
	}
	w.phase = phaseStopping
	if !w.killed {
		w.killed = true
		c.do(cmdSignal{worker: w.start.GetWorkerId(), kill: true})
	}
}

// overdue acts on what a worker failed to do in time.
func (c *core) overdue(w *workerState) {
	switch {
	case !w.killAt.IsZero() && !c.now.Before(w.killAt):
		c.kill(w, cmp.Or(w.reason, reasonLinkLost))
	case !w.attached && !w.helloBy.IsZero() && !c.now.Before(w.helloBy):
		w.note = fmt.Sprintf("the program did not reach launch.Main's worker role within %s", c.cfg.helloMax)
		c.kill(w, reasonNoHello)
	}
}

func (c *core) attached(id string) {
	w := c.workers[id]
	if w == nil {
		return
	}
	w.attached = true
	w.helloBy = time.Time{}
	for _, cmd := range w.pending {
		c.do(cmdDeliver{worker: id, c: cmd})
	}
	w.pending = nil
}

// detached: a worker without a session ends by itself, or is helped.
func (c *core) detached(id string) {
	w := c.workers[id]
	if w == nil {
		return
	}
	if at := c.now.Add(c.cfg.detachGrace); w.killAt.IsZero() || at.Before(w.killAt) {
		w.killAt = at
	}
}

func (c *core) deliver(e *controlv1.WorkerCommandEnvelope) {
	w := c.workers[e.GetWorkerId()]
	if w == nil || w.start.GetAttempt() != e.GetAttempt() || w.reason != "" {
		return // of an attempt that is over
	}
	if w.attached {
		c.do(cmdDeliver{worker: e.GetWorkerId(), c: e.GetCommand()})
		return
	}
	if len(w.pending) >= pendingMax {
		c.kill(w, reasonLinkLost)
		return
	}
	w.pending = append(w.pending, e.GetCommand())
}

// workerSaid relays an event, unread but for its kind: figures are not kept.
func (c *core) workerSaid(e evWorker) {
	w := c.workers[e.worker]
	if w == nil {
		return
	}
	m := &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerEvent{WorkerEvent: &controlv1.WorkerEventEnvelope{
		JobId: w.start.GetJobId(), Attempt: w.start.GetAttempt(), WorkerId: e.worker, Event: e.ev,
	}}}
	if e.ev.GetMetrics() != nil {
		if c.leader.up { // the next report holds the same sums
			c.do(cmdSend{m: m})
		}
		return
	}
	if c.relay.full() {
		w.note = "no jobmanager took its messages: the queue for them is full"
		c.kill(w, reasonRelayFull)
		return
	}
	c.report(m)
}

func startedMessage(w *workerState) *controlv1.TaskManagerMessage {
	return &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerStarted{WorkerStarted: &controlv1.WorkerStarted{
		JobId: w.start.GetJobId(), Attempt: w.start.GetAttempt(), WorkerId: w.start.GetWorkerId(), Pid: w.pid,
	}}}
}

func startFailedMessage(s *controlv1.StartWorker, e *controlv1.ErrorInfo) *controlv1.TaskManagerMessage {
	return &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_StartWorkerFailed{StartWorkerFailed: &controlv1.StartWorkerFailed{
		JobId: s.GetJobId(), Attempt: s.GetAttempt(), WorkerId: s.GetWorkerId(), Error: e,
	}}}
}
