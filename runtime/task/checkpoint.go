package task

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/leatstream/leat/checkpoint/barrier"
	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/spool"
	"github.com/leatstream/leat/operators"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/state"
)

// runTriggers acts on the checkpoints announced by the worker, when no wave
// is under way. A source takes them at once, before its next poll; others
// need them only once all their channels have ended.
func (t *Task) runTriggers() (progress bool) {
	for len(t.triggers) > 0 && len(t.waves) == 0 && t.err == nil {
		tr := t.triggers[0]
		progress = true
		if t.source != nil && tr.Drain && !t.finished {
			if !t.draining {
				t.draining = true
				t.endInput()
			}
			continue // taken after the end, by the next look
		}
		t.triggers = t.triggers[:copy(t.triggers, t.triggers[1:])]
		if t.source == nil {
			t.remember(tr.Barrier)
			t.overtake.announced = tr.Barrier
			t.align(barrier.Event{Kind: barrier.EventTriggered, ID: tr.Barrier.ID})
			continue
		}
		t.checkpoint(tr.Barrier, 0, nil)
		t.stopped = t.stopped || tr.Barrier.Stop
		if tr.Pause {
			t.paused = tr.Barrier.ID
		}
	}
	return progress
}

// remember keeps a barrier's options until its snapshot.
func (t *Task) remember(b exchange.Barrier) {
	if len(t.barriers) >= BarriersMax {
		oldest := b.ID
		for id := range t.barriers {
			oldest = min(oldest, id)
		}
		delete(t.barriers, oldest)
	}
	t.barriers[b.ID] = b
}

func (t *Task) barrier(channel int, b *exchange.Barrier) {
	t.remember(*b)
	t.align(barrier.Event{Kind: barrier.EventBarrier, Channel: channel, ID: b.ID})
}

// align tells the aligner and does what it says.
func (t *Task) align(ev barrier.Event) {
	ev.Now = t.since()
	var record []int // channels
	for _, a := range t.aligner.Step(ev) {
		switch a.Kind {
		case barrier.ActionBlock:
			t.gate.Block(a.Channel)
		case barrier.ActionUnblock:
			t.gate.Unblock(a.Channel)
		case barrier.ActionRecord:
			record = append(record, a.Channel)
		case barrier.ActionAligned:
			b, ok := t.barriers[a.ID]
			if !ok {
				b = exchange.Barrier{ID: a.ID}
			}
			t.checkpoint(b, a.Alignment, record)
			delete(t.barriers, a.ID)
		case barrier.ActionAbort:
			delete(t.barriers, a.ID)
		}
	}
}

// abort gives up a checkpoint that was not yet taken.
func (t *Task) abort(id dataflow.CheckpointID) {
	kept := t.triggers[:0]
	for _, tr := range t.triggers {
		if tr.Barrier.ID != id {
			kept = append(kept, tr)
		}
	}
	t.triggers = kept
	if t.paused == id {
		t.paused = 0
	}
	if t.aligner != nil {
		t.align(barrier.Event{Kind: barrier.EventAborted, ID: id})
	}
	if t.overtake.id == id {
		t.stopRecording()
	}
	for _, n := range t.nodes {
		n.commits.forget(id)
	}
}

// void gives up all checkpoints beyond the committed one up to through, of
// which the task may know some and others not. A source that was to be replaced
// goes on, also when its checkpoint was committed: the new leader asks again.
func (t *Task) void(committed, through dataflow.CheckpointID) {
	kept := t.triggers[:0]
	for _, tr := range t.triggers {
		if tr.Barrier.ID > through {
			kept = append(kept, tr)
		}
	}
	t.triggers, t.paused = kept, 0
	if t.aligner != nil {
		t.align(barrier.Event{Kind: barrier.EventVoided, ID: through})
	}
	if t.overtake.id != 0 && t.overtake.id <= through {
		t.stopRecording()
	}
	for _, n := range t.nodes {
		n.commits.forgetBetween(committed, through)
	}
}

// checkpoint takes the snapshot of all operators, forwards the barrier and
// leaves the slow half to Async, once the channels are recorded that the
// barrier is still to come on.
func (t *Task) checkpoint(b exchange.Barrier, alignment time.Duration, record []int) {
	if t.err != nil {
		return
	}
	t.stopRecording() // of an earlier one, which this one supersedes
	start := t.cfg.Clock.Now()
	s := &Snapshot{ID: b.ID, Finished: t.finished, Alignment: alignment}
	if b.TimestampMillis > 0 {
		s.StartDelay = max(0, start.Sub(time.UnixMilli(b.TimestampMillis)))
	}
	reason := t.declines()
	var frozen []frozenPart
	if reason == "" {
		frozen = t.freeze(b, s)
	}
	if !t.finished {
		for _, o := range t.cfg.Outputs {
			o.Control(exchange.Element{Kind: exchange.KindBarrier, Barrier: &b})
		}
	}
	switch {
	case t.err != nil:
		release(frozen)
		return
	case reason != "":
		t.cfg.Reporter.Declined(b.ID, reason)
		return
	}
	s.Sync = t.cfg.Clock.Since(start)
	if len(record) > 0 {
		t.startRecording(b.ID, s, frozen, record)
		return
	}
	t.writeOut(s, frozen)
}

// writeOut leaves the slow half of a snapshot to Async.
func (t *Task) writeOut(s *Snapshot, frozen []frozenPart) {
	clk, report := t.cfg.Clock, t.cfg.Reporter.Snapshot
	t.cfg.Async(func() {
		began := clk.Now()
		s.serialise(frozen, t.cfg.ScratchDir)
		s.Async = clk.Since(began)
		report(s)
	})
}

// declines asks the operators whether they can take part.
func (t *Task) declines() (reason string) {
	for _, n := range t.nodes {
		if n.decline == nil {
			continue
		}
		if err := n.decline.CanSnapshot(); err != nil {
			return fmt.Sprintf("%s: %v", n.spec.Name, err)
		}
	}
	return ""
}

// frozenPart is a part whose bytes are there, or keyed state to be written.
type frozenPart struct {
	part  Part
	keyed state.Snapshot
	delta state.Delta // keyed, when it is written in part
}

func release(frozen []frozenPart) {
	for _, f := range frozen {
		if f.keyed != nil {
			f.keyed.Release()
		}
	}
}

// freeze collects the state of all operators, in the order of the chain.
func (t *Task) freeze(b exchange.Barrier, s *Snapshot) (frozen []frozenPart) {
	cp := operators.Checkpoint{ID: b.ID, Savepoint: b.Savepoint, Final: b.Final || b.Stop}
	var stateBytes int64
	for _, n := range t.nodes {
		if t.current = n; t.stateFailed(n) {
			return frozen
		}
		n.commits.before(n.committer)
		if n.snapshot != nil {
			data, err := n.snapshot.Snapshot(cp)
			if err != nil {
				t.fail(n, fmt.Errorf("snapshot for checkpoint %d: %w", b.ID, err))
				return frozen
			}
			frozen = append(frozen, frozenPart{part: Part{Operator: n.spec.ID, Kind: controlv1.StateKind_STATE_KIND_OPERATOR, Data: data}})
		}
		if n.state != nil {
			k, err := n.state.Snapshot(b.ID)
			if err != nil {
				t.fail(n, fmt.Errorf("keyed snapshot for checkpoint %d: %w", b.ID, err))
				return frozen
			}
			stateBytes += n.state.Bytes()
			frozen = append(frozen, n.freezeKeyed(k, b.Savepoint))
		}
		s.Committables += n.commits.after(n.committer, b.ID)
	}
	t.current = nil
	t.figures.stateBytes.Store(stateBytes)
	return append(frozen, frozenPart{part: Part{
		Operator: t.cfg.Vertex.ID, Kind: controlv1.StateKind_STATE_KIND_TASK,
		Data: taskState{watermark: t.merger.out, finished: t.finished}.encode(),
	}})
}

// freezeKeyed decides how much of frozen state is written: what changed, if
// that is known and worth it. A savepoint has everything and is of no chain.
func (n *node) freezeKeyed(k state.Snapshot, savepoint bool) frozenPart {
	f := frozenPart{keyed: k, part: Part{
		Operator: n.spec.ID, Kind: controlv1.StateKind_STATE_KIND_KEYED, Groups: n.state.KeyGroups(),
	}}
	if n.chain == nil || savepoint {
		return f
	}
	f.part.Chain, f.part.Plan = n.chain, chain.Plan{Full: true}
	if d, ok := k.(state.Delta); ok {
		base := d.Base()
		if plan := n.chain.Plan(base); !plan.Full {
			f.delta, f.part.Plan, f.part.Base = d, plan, base
		}
	}
	return f
}

// writeTo writes the state of a part.
func (f *frozenPart) writeTo(w io.Writer) error {
	if f.delta != nil {
		_, err := f.delta.WriteDelta(w, f.part.Plan.Whole)
		return err
	}
	_, err := f.keyed.WriteTo(w)
	return err
}

// serialise writes keyed state; it runs on Async's goroutine.
func (s *Snapshot) serialise(frozen []frozenPart, dir string) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for i := range frozen {
		f := &frozen[i]
		switch {
		case f.keyed == nil && f.part.Spool != nil:
			f.part.CRC32C = f.part.Spool.Sum()
		case f.keyed == nil:
			f.part.CRC32C = crc32.Checksum(f.part.Data, table)
		default:
			f.part.Spool = spool.New(dir)
			if err := f.writeTo(f.part.Spool); err != nil && s.Err == nil {
				s.Err = fmt.Errorf("writing keyed state of operator %s: %w", f.part.Operator, err)
			}
			f.keyed.Release()
			f.part.CRC32C = f.part.Spool.Sum()
		}
		s.Parts = append(s.Parts, f.part)
	}
}

// taskState is the task's own part of a checkpoint (docs/internals/dataplane.md).
type taskState struct {
	watermark int64
	finished  bool
}

const (
	taskStateVersion = 1
	taskStateLen     = 10
)

func (s taskState) encode() []byte {
	b := make([]byte, 2, taskStateLen)
	b[0] = taskStateVersion
	if s.finished {
		b[1] = 1
	}
	return binary.LittleEndian.AppendUint64(b, uint64(s.watermark))
}

func decodeTaskState(b []byte) (taskState, error) {
	if len(b) != taskStateLen || b[0] != taskStateVersion {
		return taskState{}, fmt.Errorf("task state of %d bytes is not of version %d", len(b), taskStateVersion)
	}
	return taskState{finished: b[1]&1 != 0, watermark: int64(binary.LittleEndian.Uint64(b[2:]))}, nil
}

// committed tells the operators that a checkpoint was committed.
func (t *Task) committed(id dataflow.CheckpointID) error {
	for _, n := range t.nodes {
		if n.chain != nil && n.chain.Committed(id) {
			n.incremental.Committed(id)
		}
		if n.listener == nil {
			continue
		}
		t.current = n
		if err := n.listener.CheckpointCommitted(id); err != nil {
			return fmt.Errorf("committing checkpoint %d: %w", id, err)
		}
	}
	t.current = nil
	if len(t.commits) == BarriersMax {
		t.commits = t.commits[:copy(t.commits, t.commits[1:])] // a later one says more
	}
	t.commits = append(t.commits, id)
	t.checkCommits()
	return nil
}

// checkCommits reports the committed checkpoints whose effects, and those of
// all before, are confirmed.
func (t *Task) checkCommits() {
	for len(t.commits) > 0 {
		id := t.commits[0]
		for _, n := range t.nodes {
			if !n.commits.confirmed(n.committer, id) {
				return
			}
		}
		t.commits = t.commits[:copy(t.commits, t.commits[1:])]
		t.cfg.Reporter.Committed(id)
	}
}

// commitLog follows one operator's prepared effects. They are prepared by
// Snapshot and confirmed in the order in which they were prepared, so those of
// a checkpoint are confirmed when as many are as had been prepared by then.
type commitLog struct {
	prepared int64 // in all, since Open
	last     int64 // Uncommitted before Snapshot
	marks    []commitMark
}

type commitMark struct {
	id       dataflow.CheckpointID
	prepared int64
}

// opened counts what the operator has from the checkpoint.
func (l *commitLog) opened(c operators.Committer) {
	if c != nil {
		l.prepared = int64(c.Uncommitted())
	}
}

func (l *commitLog) before(c operators.Committer) {
	if c != nil {
		l.last = int64(c.Uncommitted())
	}
}

// after books what Snapshot prepared and returns what is not confirmed.
func (l *commitLog) after(c operators.Committer, id dataflow.CheckpointID) int64 {
	if c == nil {
		return 0
	}
	now := int64(c.Uncommitted())
	l.prepared += max(0, now-l.last)
	if len(l.marks) == BarriersMax {
		l.marks = l.marks[:copy(l.marks, l.marks[1:])]
	}
	l.marks = append(l.marks, commitMark{id: id, prepared: l.prepared})
	return now
}

func (l *commitLog) forget(id dataflow.CheckpointID) { l.forgetBetween(id-1, id) }

// forgetBetween forgets the checkpoints after one id up to another.
func (l *commitLog) forgetBetween(after, through dataflow.CheckpointID) {
	kept := l.marks[:0]
	for _, m := range l.marks {
		if m.id <= after || m.id > through {
			kept = append(kept, m)
		}
	}
	l.marks = kept
}

func (l *commitLog) confirmed(c operators.Committer, id dataflow.CheckpointID) bool {
	if c == nil {
		return true
	}
	left := int64(c.Uncommitted())
	want := l.prepared // no mark: all that there is
	for _, m := range l.marks {
		if m.id <= id {
			want = m.prepared
		}
	}
	return left == 0 || l.prepared-left >= want
}
