package checkpoint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leatstream/leat/checkpoint/retention"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// checkAck refuses what a worker must not say: workers are not trusted.
func (c *Coordinator) checkAck(p *pending, e Ack) error {
	for _, s := range e.Ack.GetSubtasks() {
		at := subtaskOf(s.GetSubtask())
		if w, ok := p.attempt.placed[at]; !ok || w != e.Worker {
			return fmt.Errorf("it acknowledges subtask %d/%d, which is placed on %q", at.Vertex, at.Index, w)
		}
		for _, h := range s.GetHandles() {
			if err := c.checkHandle(p, h); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Coordinator) checkHandle(p *pending, h *controlv1.StateHandle) error {
	key := h.GetObject()
	if key == "" {
		return nil
	}
	if h.GetOffset() < 0 || h.GetLength() < 0 || h.GetOffset()+h.GetLength() < 0 {
		return fmt.Errorf("state of operator %s lies at %d, length %d, of %q", h.GetOperatorId(), h.GetOffset(), h.GetLength(), key)
	}
	if strings.HasPrefix(key, p.dir) && cleanKey(key) && key != p.dir+ManifestName {
		return nil
	}
	if p.kind.Savepoint() {
		return fmt.Errorf("state of operator %s lies in %q, outside the savepoint's directory %q", h.GetOperatorId(), key, p.dir)
	}
	for _, done := range c.completed {
		if !done.Gone && slices.Contains(done.Objects, c.cfg.Prefix+key) {
			return nil
		}
	}
	return fmt.Errorf("state of operator %s lies in %q, which is neither in %q nor of a retained checkpoint", h.GetOperatorId(), key, p.dir)
}

func cleanKey(key string) bool {
	for seg := range strings.SplitSeq(key, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return false
		}
	}
	return true
}

// collected goes on to the manifest once everything was acknowledged.
func (c *Coordinator) collected() {
	p := c.active
	if !p.complete() {
		return
	}
	p.entry = Entry{ID: p.id, Savepoint: p.kind.Savepoint(), Manifest: c.cfg.Prefix + p.dir + ManifestName}
	p.manifest = c.buildManifest(p)
	p.enter(phaseWriting)
	c.command(WriteManifest{ID: p.id, Key: p.entry.Manifest, Manifest: p.manifest, Target: p.op.Target})
}

func (c *Coordinator) buildManifest(p *pending) *checkpointv1.Manifest {
	m := &checkpointv1.Manifest{
		JobId: string(c.cfg.Job), JobName: c.cfg.JobName, Incarnation: string(c.cfg.Incarnation),
		CheckpointId: int64(p.id), Kind: p.kind.stored(), Drained: p.kind == KindDrain, Final: p.kind == KindFinal,
		GraphFingerprint: c.cfg.Fingerprint, MaxParallelism: int32(c.cfg.MaxParallelism),
		CreatedMillis: p.triggered.UnixMilli(), Attempt: int64(p.attempt.Attempt), EngineVersion: c.cfg.EngineVersion,
		Handles: p.handles, Coordinators: p.coordinators,
	}
	slices.SortFunc(m.Handles, func(a, b *controlv1.StateHandle) int {
		return cmp.Or(cmp.Compare(a.GetOperatorId(), b.GetOperatorId()), cmp.Compare(a.GetKind(), b.GetKind()),
			cmp.Compare(a.GetSubtask(), b.GetSubtask()), cmp.Compare(a.GetWritten(), b.GetWritten()), cmp.Compare(a.GetKeyGroupFirst(), b.GetKeyGroupFirst()),
			cmp.Compare(a.GetObject(), b.GetObject()), cmp.Compare(a.GetOffset(), b.GetOffset()))
	})
	for _, o := range p.attempt.Operators {
		m.Operators = append(m.Operators, &checkpointv1.Operator{Id: string(o.ID), Uid: o.UID, Name: o.Name,
			Parallelism: int32(o.Parallelism), Finished: p.vertexFinished(o)})
	}
	sizes := map[string]int64{}
	for _, h := range m.Handles {
		if h.GetObject() != "" {
			sizes[h.GetObject()] = max(sizes[h.GetObject()], h.GetOffset()+h.GetLength())
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sizes)) {
		m.Objects = append(m.Objects, &checkpointv1.Object{Key: key, Size: sizes[key]})
	}
	return m
}

func (p *pending) vertexFinished(o Operator) bool {
	for i := range o.Parallelism {
		if !p.finished[Subtask{Vertex: o.Vertex, Index: i}] {
			return false
		}
	}
	return o.Parallelism > 0
}

// applyAnswer handles the answers to the commands of a commit.
func (c *Coordinator) applyAnswer(body Body) error {
	p := c.active
	expect := func(id any, want phase) error {
		if p == nil {
			return fmt.Errorf("%T for checkpoint %v, but none is under way", body, id)
		}
		if id != p.id || p.phase != want {
			return fmt.Errorf("%T for checkpoint %v while %d is %v", body, id, p.id, p.phase)
		}
		return nil
	}
	switch e := body.(type) {
	case ManifestWritten:
		if err := expect(e.ID, phaseWriting); err != nil {
			return err
		}
		c.preparePointer(p)
		c.movePointer()
	case ManifestFailed:
		if err := expect(e.ID, phaseWriting); err != nil {
			return err
		}
		c.abort(CauseManifest, e.Reason)
	case PointerMoved:
		if err := expect(e.ID, phaseMoving); err != nil {
			return err
		}
		c.committed()
	case PointerFailed:
		if err := expect(e.ID, phaseMoving); err != nil {
			return err
		}
		c.pointerFailed(e.Reason)
	case PointerUnknown:
		if err := expect(e.ID, phaseMoving); err != nil {
			return err
		}
		p.doubt = true
		p.enter(phaseReading)
		c.command(ReadPointer{ID: p.id})
	case PointerRead:
		if err := expect(e.ID, phaseReading); err != nil {
			return err
		}
		c.pointerRead(e.Pointer)
	case PointerUnread:
		if err := expect(e.ID, phaseReading); err != nil {
			return err
		}
		p.enter(phaseReadRetry)
		p.deadline = c.now.Add(c.cfg.RetryPause)
	default:
		return fmt.Errorf("unknown event %T", body)
	}
	return nil
}

// preparePointer decides what is retained once this checkpoint is committed.
func (c *Coordinator) preparePointer(p *pending) {
	all := slices.Clone(c.completed)
	if !p.entry.Savepoint {
		done := CompletedOf(p.entry, p.manifest)
		all = append(all, retention.Checkpoint{ID: p.id, Dir: done.Dir, Objects: done.Objects})
	}
	p.stays, p.removals = retention.Plan(retention.Input{Completed: all, Retain: c.cfg.Retain})
	next := c.pointer.clone()
	entry := p.entry
	next.Latest, next.Retained = &entry, nil
	for _, s := range p.stays {
		if !s.Gone {
			next.Retained = append(next.Retained, Entry{ID: s.ID, Manifest: s.Dir + ManifestName})
		}
	}
	if next.Reserved < p.id+reserveBlock/2 {
		next.Reserved = p.id + reserveBlock
	}
	p.next = next
}

func (c *Coordinator) movePointer() {
	p := c.active
	p.tries++
	p.enter(phaseMoving)
	c.command(MovePointer{ID: p.id, Pointer: p.next.clone()})
}

// pointerFailed: this try wrote nothing. If one before it is in doubt the
// checkpoint may be committed all the same, so it cannot be given up.
func (c *Coordinator) pointerFailed(reason string) {
	p := c.active
	if !p.doubt && p.tries >= c.cfg.PointerAttemptsMax {
		c.abort(CausePointer, fmt.Sprintf("%s (tried %d times)", reason, p.tries))
		return
	}
	p.enter(phaseMoveRetry)
	p.deadline = c.now.Add(c.cfg.RetryPause)
}

// pointerRead: if ours is not there the move is made again, which is safe,
// because the leader's commits are ordered: once a later one has succeeded an
// earlier one cannot arrive any more.
func (c *Coordinator) pointerRead(found *Pointer) {
	if found != nil && found.Latest != nil && found.Latest.ID == c.active.id {
		c.committed()
		return
	}
	c.movePointer()
}

// committed: the pointer names the checkpoint. Only now others may go.
func (c *Coordinator) committed() {
	p := c.active
	c.active, c.lastEnd, c.failures = nil, c.now, 0
	c.pointer, c.completed = p.next, p.stays
	p.ended = c.now
	c.command(Committed{Entry: p.entry, Summary: p.summary()})
	if c.attempt != nil && c.attempt == p.attempt {
		c.command(NotifyCommitted{Attempt: c.attempt.Attempt, To: c.workers(), ID: p.id})
	}
	for _, r := range p.removals {
		c.command(Discard{ID: r.ID, Prefix: r.Dir, Keep: r.Keep})
	}
	for _, d := range c.leftovers {
		c.command(d)
	}
	c.leftovers = nil
	c.sweepOnce(p)
	c.answer(p)
	if p.kind.Ending() {
		c.failQueue("the job is already ending with a checkpoint")
	}
}

// answer completes the request, or has it wait for the side effects.
func (c *Coordinator) answer(p *pending) {
	w := confirming{operation: p.op, entry: p.entry}
	switch {
	case p.kind == KindPeriodic:
	case p.kind == KindManual, p.kind == KindHandover:
		c.operationDone(w, OutcomeCompleted, "", nil)
	case p.kind.Ending() && c.attempt != p.attempt:
		c.operationDone(w, OutcomeUnconfirmed, "the attempt ended before its side effects were confirmed", nil)
	default:
		c.confirm = append(c.confirm, w)
	}
}

// sweepOnce has everything deleted that earlier coordinators left behind. It
// needs to know what every retained checkpoint needs.
func (c *Coordinator) sweepOnce(p *pending) {
	if c.swept {
		return
	}
	var keep []string
	for _, s := range c.completed {
		if s.Unknown {
			return
		}
		keep = append(keep, s.Objects...)
		if !s.Gone {
			keep = append(keep, s.Dir+ManifestName)
		}
	}
	slices.Sort(keep)
	c.swept = true
	c.command(Sweep{Prefix: c.cfg.Prefix, Below: p.id, Keep: slices.Compact(keep)})
}
