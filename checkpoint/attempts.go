package checkpoint

import (
	"fmt"

	"github.com/leatstream/leat/dataflow"
)

func (c *Coordinator) onAttemptStarted(e AttemptStarted) error {
	if c.attempt != nil {
		return fmt.Errorf("attempt %d starts while attempt %d has not ended", e.Attempt, c.attempt.Attempt)
	}
	if !c.Settled() {
		return fmt.Errorf("attempt %d starts while the commit of checkpoint %d is not settled", e.Attempt, c.active.id)
	}
	if l := c.pointer.Latest; l != nil && e.Restored != l.ID {
		return fmt.Errorf("attempt %d starts from checkpoint %d although %d is committed", e.Attempt, e.Restored, l.ID)
	}
	a := &attempt{AttemptStarted: e, placed: map[Subtask]string{}, confirmed: map[string]dataflow.CheckpointID{}}
	known := map[string]bool{}
	for _, w := range e.Workers {
		if known[w.ID] {
			return fmt.Errorf("attempt %d names worker %q twice", e.Attempt, w.ID)
		}
		known[w.ID] = true
		for _, s := range w.Subtasks {
			if other, taken := a.placed[s]; taken {
				return fmt.Errorf("attempt %d places subtask %d/%d on workers %q and %q", e.Attempt, s.Vertex, s.Index, other, w.ID)
			}
			a.placed[s] = w.ID
		}
	}
	if len(a.placed) == 0 {
		return fmt.Errorf("attempt %d has no subtasks", e.Attempt)
	}
	if cw := e.CoordinatorWorker; cw != "" && !known[cw] {
		return fmt.Errorf("attempt %d has no worker %q for the source coordinators", e.Attempt, cw)
	}
	c.attempt, c.lastTrigger, c.ended = a, c.now, false
	if e.Restored > 0 {
		c.command(NotifyCommitted{Attempt: e.Attempt, To: c.workers(), ID: e.Restored})
	}
	return nil
}

// onAttemptEnded settles what cannot go on without the attempt. Waiting
// requests stay for the next one, except a final one, whose reason is gone.
func (c *Coordinator) onAttemptEnded(e AttemptEnded) error {
	if !c.current(e.Attempt) {
		return nil
	}
	reason := fmt.Sprintf("attempt %d ended: %s", e.Attempt, e.Reason)
	unconfirmed := c.unconfirmedAll()
	c.attempt = nil
	if c.active != nil && c.active.phase == phaseCollecting {
		c.abort(CauseAttemptEnded, reason)
	}
	var queue []operation
	for _, op := range c.queue {
		if op.Kind == KindFinal {
			c.operationFailed(op.Request, reason)
			continue
		}
		queue = append(queue, op)
	}
	c.queue = queue
	var confirm []confirming
	for _, w := range c.confirm {
		if !w.Kind.Ending() {
			confirm = append(confirm, w)
			continue
		}
		c.operationDone(w, OutcomeUnconfirmed, reason, unconfirmed(w.entry.ID))
	}
	c.confirm = confirm
	return nil
}

// unconfirmedAll returns a function that names the workers of the present
// attempt whose side effects up to an id are not confirmed.
func (c *Coordinator) unconfirmedAll() func(dataflow.CheckpointID) []string {
	a := c.attempt
	return func(id dataflow.CheckpointID) []string {
		var names []string
		if a == nil {
			return names
		}
		for _, w := range a.Workers {
			if a.confirmed[w.ID] < id {
				names = append(names, w.ID)
			}
		}
		return names
	}
}

func (c *Coordinator) onCommitDone(e CommitDone) error {
	if !c.current(e.Attempt) {
		return nil
	}
	if err := c.knownWorker(e.Worker); err != nil {
		return err
	}
	if l := c.pointer.Latest; l == nil || e.ID > l.ID {
		return fmt.Errorf("worker %q confirms checkpoint %d, which is not committed", e.Worker, e.ID)
	}
	c.attempt.confirmed[e.Worker] = max(c.attempt.confirmed[e.Worker], e.ID)
	c.finishConfirmed()
	return nil
}

// finishConfirmed completes the operations all of whose side effects are
// confirmed by all workers of the current attempt.
func (c *Coordinator) finishConfirmed() {
	if c.attempt == nil {
		return
	}
	unconfirmed := c.unconfirmedAll()
	var confirm []confirming
	for _, w := range c.confirm {
		if len(unconfirmed(w.entry.ID)) > 0 {
			confirm = append(confirm, w)
			continue
		}
		c.ended = c.ended || w.Kind.Ending()
		c.operationDone(w, OutcomeCompleted, "", nil)
	}
	c.confirm = confirm
	if c.ended {
		c.failQueue("the job has ended")
	}
}

func (c *Coordinator) onRequest(e Request) error {
	switch {
	case e.Kind <= KindPeriodic || e.Kind > KindFinal:
		return fmt.Errorf("request %q for a checkpoint of kind %d", e.Operation, e.Kind)
	case c.Ending() && (e.Kind != KindFinal || !c.stopAhead()):
		c.operationFailed(e, "the job is already ending with a checkpoint")
		return nil
	case len(c.queue) >= OperationsMax:
		c.operationFailed(e, fmt.Sprintf("%d requests wait already: try again later", OperationsMax))
		return nil
	case e.Kind == KindFinal && c.attempt == nil:
		c.operationFailed(e, "no attempt is running")
		return nil
	}
	op := operation{Request: e}
	if e.Kind != KindFinal { // without it the job would never end
		op.deadline = c.now.Add(c.cfg.SavepointTimeout)
	}
	c.queue = append(c.queue, op)
	return nil
}

// stopAhead reports whether a stop or drain waits or is under way. It may come
// to nothing, and then a final checkpoint is needed all the same.
func (c *Coordinator) stopAhead() bool {
	if c.active != nil && c.active.kind.Ending() && c.active.kind != KindFinal {
		return true
	}
	for _, op := range c.queue {
		if op.Kind.Ending() && op.Kind != KindFinal {
			return true
		}
	}
	return false
}

func (c *Coordinator) failQueue(reason string) {
	for _, op := range c.queue {
		c.operationFailed(op.Request, reason)
	}
	c.queue = nil
}

func (c *Coordinator) operationFailed(r Request, reason string) {
	c.command(OperationDone{Operation: r.Operation, Kind: r.Kind, Outcome: OutcomeFailed, Target: r.Target, Reason: reason})
}

func (c *Coordinator) operationDone(w confirming, o Outcome, reason string, unconfirmed []string) {
	c.command(OperationDone{Operation: w.Operation, Kind: w.Kind, Outcome: o, ID: w.entry.ID, Manifest: w.entry.Manifest,
		Target: w.Target, Reason: reason, Unconfirmed: unconfirmed})
}

// current reports whether an event belongs to the running attempt, and counts
// it if not.
func (c *Coordinator) current(a dataflow.Attempt) bool {
	if c.attempt != nil && c.attempt.Attempt == a {
		return true
	}
	c.stale++
	return false
}

func (c *Coordinator) knownWorker(id string) error {
	for _, w := range c.attempt.Workers {
		if w.ID == id {
			return nil
		}
	}
	return fmt.Errorf("attempt %d has no worker %q", c.attempt.Attempt, id)
}
