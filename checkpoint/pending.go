package checkpoint

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/checkpoint/retention"
	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

type phase uint8

const (
	phaseCollecting phase = iota
	phaseWriting
	phaseMoving
	phaseMoveRetry
	phaseReading
	phaseReadRetry
)

// transitions holds the legal ones; committed and aborted are not phases,
// since a checkpoint is then no longer pending.
var transitions = [...][]phase{
	phaseCollecting: {phaseWriting},
	phaseWriting:    {phaseMoving},
	phaseMoving:     {phaseMoveRetry, phaseReading},
	phaseMoveRetry:  {phaseMoving},
	phaseReading:    {phaseReadRetry, phaseMoving},
	phaseReadRetry:  {phaseReading},
}

// String implements fmt.Stringer.
func (p phase) String() string {
	return [...]string{"collecting", "writing", "moving", "move retry", "reading", "read retry"}[p]
}

// pending is the checkpoint under way.
type pending struct {
	id      dataflow.CheckpointID
	kind    Kind
	op      operation
	attempt *attempt
	dir     string // relative to the job's prefix
	phase   phase

	triggered time.Time
	ended     time.Time
	// deadline is the time-out while collecting and the next try in the two
	// retry phases; zero otherwise.
	deadline time.Time

	acked            map[Subtask]bool
	finished         map[Subtask]bool
	handles          []*controlv1.StateHandle
	wantCoordinators bool
	coordinators     []*controlv1.CoordinatorState
	stats            Summary

	manifest *checkpointv1.Manifest
	entry    Entry
	// next is the pointer to be stored, stays and removals what retention
	// says once it is.
	next     Pointer
	stays    []retention.Checkpoint
	removals []retention.Removal
	tries    int
	// doubt is set once a pointer move had an unknown result: from then on the
	// checkpoint may be committed.
	doubt bool
}

func (p *pending) enter(to phase) {
	for _, legal := range transitions[p.phase] {
		if legal == to {
			p.phase, p.deadline = to, time.Time{}
			return
		}
	}
	panic(fmt.Sprintf("checkpoint %d cannot go from %v to %v", p.id, p.phase, to))
}

func (p *pending) complete() bool {
	return len(p.acked) == len(p.attempt.placed) && !p.wantCoordinators
}

func (p *pending) summary() Summary {
	s := p.stats
	s.ID, s.Kind, s.Operation = p.id, p.kind, p.op.Operation
	s.Triggered, s.Ended = p.triggered, p.ended
	s.Acked, s.Subtasks = len(p.acked), len(p.attempt.placed)
	for _, w := range p.attempt.Workers {
		if len(s.Waiting) < WaitingMax && p.waitsFor(w) {
			s.Waiting = append(s.Waiting, w.ID)
		}
	}
	return s
}

func (p *pending) waitsFor(w Worker) bool {
	for _, s := range w.Subtasks {
		if !p.acked[s] {
			return true
		}
	}
	return p.wantCoordinators && w.ID == p.attempt.CoordinatorWorker
}

// takes reports whether an answer of a worker is for the checkpoint under
// way, in the current attempt, from a worker that exists.
func (c *Coordinator) takes(a dataflow.Attempt, worker string, id int64) (bool, error) {
	if !c.current(a) {
		return false, nil
	}
	if err := c.knownWorker(worker); err != nil {
		return false, err
	}
	if dataflow.CheckpointID(id) >= c.next {
		return false, fmt.Errorf("worker %q answers checkpoint %d, which was never triggered", worker, id)
	}
	p := c.active
	return p != nil && p.id == dataflow.CheckpointID(id) && p.phase == phaseCollecting, nil
}

func (c *Coordinator) onAck(e Ack) error {
	ok, err := c.takes(e.Attempt, e.Worker, e.Ack.GetId())
	if err != nil {
		return err
	}
	if !ok {
		c.discardLate(dataflow.CheckpointID(e.Ack.GetId()))
		return nil
	}
	p := c.active
	if err := c.checkAck(p, e); err != nil {
		c.abort(CauseInvalid, fmt.Sprintf("worker %q: %v", e.Worker, err))
		return nil
	}
	for _, s := range e.Ack.GetSubtasks() {
		p.addSubtask(s, c.cfg.Prefix)
	}
	p.stats.Bytes += e.Ack.GetBytes()
	c.collected()
	return nil
}

func (p *pending) addSubtask(s *controlv1.SubtaskSnapshot, prefix string) {
	at := subtaskOf(s.GetSubtask())
	if p.acked[at] {
		return
	}
	p.acked[at] = true
	if s.GetFinished() {
		if p.finished == nil {
			p.finished = map[Subtask]bool{}
		}
		p.finished[at] = true
	}
	for _, h := range s.GetHandles() {
		if h.GetObject() != "" {
			h.Object = prefix + h.GetObject()
		}
		p.handles = append(p.handles, h)
		p.stats.StateBytes += h.GetLength()
		if h.GetKind() == controlv1.StateKind_STATE_KIND_CHANNEL {
			p.stats.InFlightBytes += h.GetLength()
		}
	}
	st := &p.stats
	st.AlignmentMax = max(st.AlignmentMax, time.Duration(s.GetAlignmentNanos()))
	st.SyncMax = max(st.SyncMax, time.Duration(s.GetSyncNanos()))
	st.AsyncMax = max(st.AsyncMax, time.Duration(s.GetAsyncNanos()))
	st.StartDelayMax = max(st.StartDelayMax, time.Duration(s.GetStartDelayNanos()))
}

func (c *Coordinator) onSnapshot(e Snapshot) error {
	ok, err := c.takes(e.Attempt, e.Worker, e.Snapshot.GetId())
	if err != nil || !ok {
		return err
	}
	if e.Worker != c.attempt.CoordinatorWorker {
		return fmt.Errorf("worker %q sent a snapshot of the source coordinators, which run in %q", e.Worker, c.attempt.CoordinatorWorker)
	}
	if c.active.wantCoordinators {
		c.active.wantCoordinators = false
		c.active.coordinators = e.Snapshot.GetCoordinators()
	}
	c.collected()
	return nil
}

func (c *Coordinator) onDecline(e Decline) error {
	ok, err := c.takes(e.Attempt, e.Worker, e.Decline.GetId())
	if err != nil || !ok {
		return err
	}
	where := e.Decline.GetSubtask()
	c.abort(CauseDeclined, fmt.Sprintf("worker %q, subtask %d/%d: %s", e.Worker, where.GetVertex(), where.GetSubtask(), e.Decline.GetReason()))
	return nil
}

func subtaskOf(r *controlv1.SubtaskRef) Subtask {
	return Subtask{Vertex: int(r.GetVertex()), Index: int(r.GetSubtask())}
}
