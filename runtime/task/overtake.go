package task

import (
	"context"
	"fmt"
	"time"

	"github.com/leatstream/leat/checkpoint/barrier"
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/spool"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
)

// overtake is what a task knows of barriers that do not wait: once one has
// arrived that rows stand before, or that other channels have not brought yet,
// for longer than the job's time-out, the task takes its snapshot, sends the
// barrier on, and records the rows that the barrier overtook. They are taken
// later as if nothing had been; a restore replays them. It is the algorithm of
// Chandy and Lamport, with the channels recorded at the receiving end alone,
// since senders never hold back what stands before a barrier.
type overtake struct {
	possible bool
	after    time.Duration

	// announced is the newest barrier that the worker was told to expect: those
	// that ended senders do not send, and those of senders that are stuck.
	announced exchange.Barrier
	// waiting is a checkpoint whose barriers have not all been taken; the task
	// overtakes when due.
	waiting dataflow.CheckpointID
	due     time.Time // zero: none waits

	// A recording under way: of checkpoint id, with the channels that its
	// barrier is still to come on.
	id     dataflow.CheckpointID
	record []int
	rows   *inFlight
	shot   *Snapshot
	frozen []frozenPart
}

// setUp finds out whether the task's barriers may overtake. Rows must be
// divisible among the subtasks of another parallelism as they were on their
// way: by key, by the user's function, or as one likes. Each subtask has its
// own copy of what is broadcast, and may have gone further in it than others.
func (t *Task) setUpOvertake() {
	o := &t.overtake
	o.after = t.cfg.Plan.Graph.Config.AlignedTimeout
	o.possible = t.gate != nil && o.after > 0
	for _, s := range t.inputs() {
		switch s.Edge.Partitioning {
		case graph.Hash:
		case graph.Broadcast:
			o.possible = false
		case graph.Forward, graph.Global, graph.Rebalance, graph.Rescale, graph.Custom:
			o.possible = o.possible && !t.nodes[0].spec.Keyed
		}
	}
}

func (t *Task) inputs() (streams []*graph.Stream) {
	for _, i := range t.cfg.Vertex.Inputs {
		streams = append(streams, t.cfg.Plan.Streams[i])
	}
	return streams
}

// overtakes goes on with a recording, and begins one when the barrier of a
// checkpoint has waited long enough, or was sent by a task that did not wait.
// It may not even have arrived: what comes before it is recorded as it comes.
func (t *Task) overtakes(now time.Time) (progress bool) {
	o := &t.overtake
	if !o.possible {
		return false
	}
	if o.id != 0 {
		progress = t.recordArrived()
	}
	b := t.gate.Queued()
	if b == nil || b.ID < o.announced.ID {
		b = &o.announced
	}
	if b.ID == 0 || !b.MayOvertake() || t.aligner.Settled(b.ID) {
		o.due = time.Time{}
		return progress
	}
	if o.waiting != b.ID || o.due.IsZero() {
		o.waiting, o.due = b.ID, now.Add(o.after)
	}
	if !b.Overtakes && now.Before(o.due) {
		return progress
	}
	o.due = time.Time{}
	over := *b
	over.Overtakes = true
	t.remember(over)
	t.align(barrier.Event{Kind: barrier.EventOvertake, ID: b.ID})
	return true
}

// startRecording begins with what the channels hold now.
func (t *Task) startRecording(id dataflow.CheckpointID, s *Snapshot, frozen []frozenPart, record []int) {
	o := &t.overtake
	o.id, o.shot, o.frozen, o.record = id, s, frozen, record
	o.rows = newInFlight(spool.New(t.cfg.ScratchDir), t.cfg.Subtask)
	for _, i := range record {
		t.gate.Look(i)
	}
	if err := t.gate.EachReplay(t.keepRows); err != nil {
		t.recordFailed(err)
		return
	}
	t.recordArrived()
}

// recordArrived records what came since it was called last. It reports whether
// that was all there is.
func (t *Task) recordArrived() (done bool) {
	o := &t.overtake
	left := o.record[:0]
	for _, i := range o.record {
		found, err := t.gate.LookAhead(i, o.id, func(encoded []byte) error { return t.keepRows(i, encoded) })
		if err != nil {
			t.recordFailed(err)
			return true
		}
		if !found {
			left = append(left, i)
		}
	}
	o.record = left
	return t.recorded()
}

// recordTaken records an element that Next returned, if it came in between.
func (t *Task) recordTaken(channel int, el exchange.Element) {
	o := &t.overtake
	for k, i := range o.record {
		if i != channel {
			continue
		}
		found, err := t.gate.Taken(i, o.id, el, func(encoded []byte) error { return t.keepRows(i, encoded) })
		if err != nil {
			t.recordFailed(err)
			return
		}
		if found {
			o.record = append(o.record[:k], o.record[k+1:]...)
			t.recorded()
		}
		return
	}
}

func (t *Task) keepRows(channel int, encoded []byte) error {
	id := t.gate.Channel(channel).ID()
	return t.overtake.rows.add(t.cfg.Plan.Streams[id.Stream].Edge, id.From, encoded)
}

// recorded hands the snapshot over when nothing is left to be recorded.
func (t *Task) recorded() bool {
	o := &t.overtake
	if len(o.record) > 0 {
		return false
	}
	s, frozen := o.shot, o.frozen
	if o.rows.to.Size() > 0 {
		frozen = append(frozen, frozenPart{part: Part{
			Operator: t.cfg.Vertex.ID, Kind: controlv1.StateKind_STATE_KIND_CHANNEL, Spool: o.rows.to,
		}})
	}
	t.endRecording()
	t.writeOut(s, frozen)
	return true
}

// recordFailed declines a checkpoint whose rows could not be written.
func (t *Task) recordFailed(err error) {
	id := t.overtake.id
	t.stopRecording()
	t.cfg.Reporter.Declined(id, fmt.Sprintf("recording rows on their way to %q: %v", t.cfg.Vertex.Name, err))
}

// stopRecording gives up what is being recorded, if anything is.
func (t *Task) stopRecording() {
	o := &t.overtake
	if o.id == 0 {
		return
	}
	release(o.frozen)
	_ = o.rows.to.Close() // scratch
	t.endRecording()
}

func (t *Task) endRecording() {
	o := &t.overtake
	o.id, o.record, o.rows, o.shot, o.frozen = 0, nil, nil, nil, nil
}

// restoreChannels queues the rows that were on their way, each at the subtask
// that it belongs to now, before all else.
func (t *Task) restoreChannels(ctx context.Context) error {
	if t.cfg.Restored == nil || t.gate == nil {
		return nil
	}
	old, err := t.cfg.Restored.Channels(ctx, t.cfg.Vertex.ID)
	if err != nil {
		return fmt.Errorf("restoring rows on their way: %w", err)
	}
	owners := make(map[int]*exchange.Owners)
	for _, data := range old {
		err := eachInFlight(data, func(r inFlightRows) error { return t.replayRows(owners, r) })
		if err != nil {
			return fmt.Errorf("restoring rows on their way to %q: %w", t.cfg.Vertex.Name, err)
		}
	}
	return nil
}

func (t *Task) replayRows(owners map[int]*exchange.Owners, r inFlightRows) error {
	for _, s := range t.inputs() {
		if !r.on(s.Edge) {
			continue
		}
		o := owners[s.Index]
		if o == nil {
			var err error
			if o, err = exchange.NewOwners(s.Edge, t.cfg.Plan.Graph.MaxParallelism, t.cfg.Vertex.Parallelism); err != nil {
				return err
			}
			owners[s.Index] = o
		}
		return t.replayOn(s, o, r)
	}
	return errNoStream(r)
}

func (t *Task) replayOn(s *graph.Stream, o *exchange.Owners, r inFlightRows) error {
	for i := range t.gate.Len() {
		ch := t.gate.Channel(i)
		if ch.ID().Stream != s.Index {
			continue
		}
		b, err := ch.RowType().DecodeBatch(r.encoded)
		if err != nil {
			return fmt.Errorf("batch of %d bytes: %w", len(r.encoded), err)
		}
		mine, err := o.Of(b, r.to, t.cfg.Subtask)
		if err == nil && mine != nil {
			t.gate.Replay(i, mine)
		}
		return err
	}
	return fmt.Errorf("stream %d has no channel here", s.Index)
}

// slicing keeps the time that one step takes short where rows are slow: a
// barrier is looked for between steps, and a step takes one batch.
type slicing struct {
	rows  int // at most so many at a time; 0: whole batches
	taken int // in the last step, 0 when it took none
	began time.Time
}

const (
	// sliceTarget is how long a step may well take, sliceSlow when a batch is
	// taken to be slow.
	sliceTarget = 20 * time.Millisecond
	sliceSlow   = 100 * time.Millisecond
)

// measure looks at how long the last batch took, when the next step begins.
func (s *slicing) measure(now time.Time) {
	took := now.Sub(s.began)
	switch {
	case s.taken == 0:
	case took > sliceSlow || s.rows > 0 && took > 2*sliceTarget:
		s.rows = max(1, int(int64(s.taken)*int64(sliceTarget)/int64(took)))
	case s.rows > 0 && took < sliceTarget/2:
		if s.rows *= 2; s.rows >= columnar.BatchRowsMax {
			s.rows = 0
		}
	}
	s.taken, s.began = 0, now
}

// slice returns what of a batch is processed now, and puts the rest back.
func (t *Task) slice(channel int, b *columnar.Batch) *columnar.Batch {
	rt := t.gate.Channel(channel).RowType()
	n := rt.Len(b.Rows)
	s := &t.slicing
	if s.taken = n; s.rows == 0 || n <= s.rows {
		return b
	}
	s.taken = s.rows
	part := func(from, to int) *columnar.Batch {
		p := &columnar.Batch{Rows: rt.Slice(b.Rows, from, to), Shared: b.Shared}
		if b.Times != nil {
			p.Times = b.Times[from:to:to]
		}
		return p
	}
	t.gate.PutBack(channel, part(s.rows, n))
	return part(0, s.rows)
}
