package checkpoint

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// passTime does what is due at c.now.
func (c *Coordinator) passTime() {
	var queue []operation
	for _, op := range c.queue {
		if op.deadline.IsZero() || c.now.Before(op.deadline) {
			queue = append(queue, op)
			continue
		}
		c.operationFailed(op.Request, fmt.Sprintf("it waited %v for its turn", c.cfg.SavepointTimeout))
	}
	c.queue = queue
	p := c.active
	if p == nil || p.deadline.IsZero() || c.now.Before(p.deadline) {
		return
	}
	p.deadline = time.Time{}
	switch p.phase {
	case phaseCollecting:
		s := p.summary()
		c.abort(CauseExpired, fmt.Sprintf("not acknowledged within %v: %d of %d subtasks did, workers %v did not",
			c.timeoutOf(p.kind), s.Acked, s.Subtasks, s.Waiting))
	case phaseMoveRetry:
		c.movePointer()
	case phaseReadRetry:
		p.enter(phaseReading)
		c.command(ReadPointer{ID: p.id})
	}
}

func (c *Coordinator) timeoutOf(k Kind) time.Duration {
	if k.Savepoint() {
		return c.cfg.SavepointTimeout
	}
	return c.cfg.Timeout
}

func (c *Coordinator) canTrigger() bool { return c.attempt != nil && c.active == nil && !c.ended }

// periodicDue returns when the next periodic checkpoint is due, zero: never.
func (c *Coordinator) periodicDue() time.Time {
	if c.attempt == nil || c.Ending() {
		return time.Time{}
	}
	hastened := c.hastened == c.attempt.Attempt
	if c.cfg.Interval <= 0 && !hastened {
		return time.Time{}
	}
	due := c.lastTrigger.Add(c.cfg.Interval)
	if hastened {
		due = c.lastTrigger
	}
	if pause := c.lastEnd.Add(c.cfg.MinPause); !c.lastEnd.IsZero() && pause.After(due) {
		due = pause
	}
	return due
}

// triggerDue returns when maybeTrigger has something to do, zero: never.
func (c *Coordinator) triggerDue() time.Time {
	due := c.periodicDue()
	if len(c.queue) > 0 {
		due = c.queue[0].notBefore
	} else if due.IsZero() {
		return due
	}
	if c.reserve.retryAt.After(due) {
		return c.reserve.retryAt
	}
	return due
}

// maybeTrigger starts the next checkpoint if one is wanted: requests in their
// order first, then the periodic one.
func (c *Coordinator) maybeTrigger() {
	if !c.canTrigger() {
		return
	}
	op := operation{Request: Request{Kind: KindPeriodic}}
	switch {
	case len(c.queue) > 0:
		if op = c.queue[0]; c.now.Before(op.notBefore) {
			return
		}
	default:
		if due := c.periodicDue(); due.IsZero() || c.now.Before(due) {
			return
		}
	}
	if !c.reserved() {
		return
	}
	if len(c.queue) > 0 {
		c.queue = c.queue[1:]
	}
	c.trigger(op)
}

// reserved reports whether the next id may be used, and asks for more if not.
func (c *Coordinator) reserved() bool {
	if c.next <= c.pointer.Reserved {
		return true
	}
	if c.reserve.inFlight || c.now.Before(c.reserve.retryAt) {
		return false
	}
	p := c.pointer.clone()
	p.Reserved = c.next + reserveBlock - 1
	c.reserve = reservation{inFlight: true}
	c.command(ReserveIDs{Through: p.Reserved, Pointer: p})
	return false
}

func (c *Coordinator) onReserved(e IDsReserved) error {
	if !c.reserve.inFlight {
		return fmt.Errorf("ids up to %d were reserved, which nobody asked for", e.Through)
	}
	c.reserve = reservation{}
	c.pointer.Reserved = max(c.pointer.Reserved, e.Through)
	return nil
}

func (c *Coordinator) trigger(op operation) {
	id := c.next
	c.next++
	c.lastTrigger, c.hastened = c.now, 0
	dir := ObjectDir(op.Kind.Savepoint(), id)
	p := &pending{id: id, kind: op.Kind, op: op, attempt: c.attempt, dir: dir, phase: phaseCollecting,
		triggered: c.now, deadline: c.now.Add(c.timeoutOf(op.Kind)), acked: map[Subtask]bool{},
		wantCoordinators: c.attempt.CoordinatorWorker != ""}
	c.active = p
	c.command(Trigger{Attempt: c.attempt.Attempt, To: c.workers(), Summary: p.summary(), Message: &controlv1.TriggerCheckpoint{
		Id: int64(id), TimestampMillis: c.now.UnixMilli(), Savepoint: op.Kind.Savepoint(),
		Stop: op.Kind == KindStop || op.Kind == KindDrain, Drain: op.Kind == KindDrain, Final: op.Kind == KindFinal,
		Pause: op.Kind == KindHandover, ObjectDir: dir,
	}})
}

// abort gives up the active checkpoint. Its objects are deleted at once, and
// again after the next commit, since uploads may still be under way.
func (c *Coordinator) abort(cause Cause, reason string) {
	p := c.active
	c.active, c.lastEnd = nil, c.now
	if cause.Counts() {
		c.failures++
	}
	var to []string
	if c.attempt == p.attempt {
		to = c.workers()
	}
	p.ended = c.now
	c.command(Abort{Attempt: p.attempt.Attempt, To: to, ID: p.id, Cause: cause, Reason: reason, Summary: p.summary()})
	d := Discard{ID: p.id, Prefix: c.cfg.Prefix + p.dir}
	c.command(d)
	if len(c.leftovers) == leftoversMax {
		c.leftovers = append(c.leftovers[:0], c.leftovers[1:]...)
	}
	c.leftovers = append(c.leftovers, d)
	c.afterAbort(p, reason)
}

// afterAbort answers the request of an aborted checkpoint. The final one has
// no other way to end the job and is tried again.
func (c *Coordinator) afterAbort(p *pending, reason string) {
	switch {
	case p.kind == KindPeriodic:
	case p.kind == KindFinal && c.attempt == p.attempt:
		op := p.op
		op.notBefore = c.now.Add(max(c.cfg.RetryPause, c.cfg.MinPause))
		op.deadline = time.Time{}
		c.queue = append([]operation{op}, c.queue...)
	default:
		c.operationFailed(p.op.Request, reason)
	}
}

// discardLate deletes what a worker uploaded for a checkpoint after it was
// aborted.
func (c *Coordinator) discardLate(id dataflow.CheckpointID) {
	for _, d := range c.leftovers {
		if d.ID == id {
			c.command(d)
		}
	}
}
