// Package task runs one subtask of a vertex: its chain of operators, input
// gate, watermarks, barriers, timers and snapshots, as a step machine that one
// goroutine drives. It does not move bytes between processes, store snapshots
// or talk to the jobmaster: results go to a Reporter.
package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/leatstream/leat/checkpoint/barrier"
	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/spool"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/mailbox"
	"github.com/leatstream/leat/state"
)

// Config is what a task is made of. All fields are required unless they say
// otherwise.
type Config struct {
	Job     dataflow.JobID
	JobName string
	Attempt dataflow.Attempt
	Plan    *graph.Plan
	Vertex  *graph.Vertex
	Subtask int

	// Mailbox wakes the task; the gate's and the outputs' wake-ups lead to it.
	Mailbox *mailbox.Mailbox
	// Gate holds the input channels; nil for a source.
	Gate *exchange.Gate
	// Outputs are those of Vertex.Outputs, in that order.
	Outputs []*exchange.Output

	NewBackend func(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error)
	// ScratchDir is for snapshots of large state until they are uploaded; with
	// none they are kept in memory.
	ScratchDir string
	// Restored is nil at a fresh start.
	Restored Restored
	// FromSavepoint: Restored belongs to another life of the job.
	FromSavepoint  bool
	CheckpointsOff bool
	Incarnation    dataflow.Incarnation
	// Pools holds the number of transactional ids of each sink; may be nil.
	Pools map[dataflow.OperatorID]int

	Clock clock.Clock
	Log   *slog.Logger
	// Async runs the slow half of a snapshot on another goroutine, a bounded
	// number at a time. It always runs what it is given.
	Async    func(func())
	Reporter Reporter
	// Trouble is given what an operator tries again, and nil at its end; it
	// may be nil.
	Trouble func(op *graph.Node, subtask int, err error)
}

// Restored reads the checkpoint that the attempt starts from. Its methods may
// block and are safe for concurrent use.
type Restored interface {
	// Keyed calls fn for each file of keyed state of the operator that overlaps
	// the groups: the files of an old subtask one after the other, oldest first.
	Keyed(ctx context.Context, op dataflow.OperatorID, groups dataflow.KeyGroupRange, fn func(io.Reader, state.RestorePart) error) error
	// Chain returns the files of an old subtask of the operator that had exactly
	// these groups, oldest first, if later checkpoints may refer to them; nil
	// when there was none, or they may not.
	Chain(op dataflow.OperatorID, groups dataflow.KeyGroupRange) []*controlv1.StateHandle
	// Operator returns the operator's snapshots of all old subtasks, in order.
	Operator(ctx context.Context, op dataflow.OperatorID) ([][]byte, error)
	// Channels returns what was recorded of rows on their way to the old
	// subtasks of the vertex whose head is op.
	Channels(ctx context.Context, op dataflow.OperatorID) ([][]byte, error)
	// Task returns the task-level state of all old subtasks, in order.
	Task(ctx context.Context, vertex dataflow.OperatorID) ([][]byte, error)
	// Finished reports whether all old subtasks of the operator had reached
	// the end of their input.
	Finished(op dataflow.OperatorID) bool
}

// Reporter takes what a task has to tell. Its methods do not block for long;
// Snapshot is called from Async's goroutine, the others from the task's.
type Reporter interface {
	Snapshot(s *Snapshot)
	Declined(id dataflow.CheckpointID, reason string)
	// Committed says that all side effects up to id are confirmed.
	Committed(id dataflow.CheckpointID)
	// Finished says that the end of input was reached and forwarded.
	Finished()
	// Event goes to the coordinator of a source.
	Event(op dataflow.OperatorID, payload []byte)
}

// Snapshot is one subtask's part of a checkpoint.
type Snapshot struct {
	ID           dataflow.CheckpointID
	Parts        []Part
	Alignment    time.Duration
	Sync         time.Duration
	Async        time.Duration
	StartDelay   time.Duration
	Finished     bool
	Committables int64
	// Err says why the snapshot could not be written; the checkpoint is then
	// declined and nothing fails.
	Err error
}

// Part is a piece of state.
type Part struct {
	Operator dataflow.OperatorID
	Kind     controlv1.StateKind
	Groups   dataflow.KeyGroupRange // of keyed state
	// Data is what was written, unless it is much, as keyed state and rows on
	// their way: then it was spooled.
	Data   []byte
	Spool  *spool.Spool
	CRC32C uint32 // of either

	// Chain is that of keyed state which is written in part, nil of all else;
	// Plan is what was written, and Base the checkpoint that it adds to.
	Chain *chain.Chain
	Plan  chain.Plan
	Base  dataflow.CheckpointID
}

// Size is how many bytes were written.
func (p *Part) Size() int64 {
	if p.Spool != nil {
		return p.Spool.Size()
	}
	return int64(len(p.Data))
}

// Bytes returns what was written when that is in memory.
func (p *Part) Bytes() []byte {
	if p.Spool != nil {
		return p.Spool.Bytes()
	}
	return p.Data
}

// Reader reads what was written. If it is an io.Closer it is to be closed when
// nothing reads it any more.
func (p *Part) Reader() io.ReaderAt {
	if p.Spool != nil {
		return p.Spool
	}
	return bytes.NewReader(p.Data)
}

// Trigger tells a task of a checkpoint.
type Trigger struct {
	Barrier exchange.Barrier
	// Drain: sources act as if their input had ended.
	Drain bool
	// Pause: sources read nothing after the barrier, until the checkpoint is
	// given up.
	Pause bool
}

// Task is one subtask. Apart from the methods that say otherwise it belongs
// to one goroutine: Open, then Step until it says Done, then Close.
//
//	Open ──▶ running ──(all inputs ended, waves done)──▶ finished
//	            │  error                                    │ error
//	            └──────────────▶ failed ◀───────────────────┘
//
// A finished task still answers checkpoints, until it is closed.
type Task struct {
	cfg     Config
	ctx     context.Context //nolint:containedctx // the task's life: Open to Close
	nodes   []*node
	source  *sourceHead // nil unless the head is one
	gate    *exchange.Gate
	aligner *barrier.Aligner
	merger  *merger
	mail    []mailbox.Mail // taken, from mailAt on not yet run
	mailAt  int
	timers  timers

	waves     []*wave
	spareWave *wave // one that is through, for the next; nil: none
	current   *node // the operator in work, for failures
	ends      []int // channels whose end the aligner is still to be told of
	stalls    int   // calls of the first wave in a row that did nothing
	triggers  []Trigger
	barriers  map[dataflow.CheckpointID]exchange.Barrier
	overtake  overtake
	slicing   slicing
	idle      bool // the output is idle
	abstains  bool // the source's output stays idle whatever it emits
	finished  bool
	stopped   bool                  // a source after the barrier of stop
	paused    dataflow.CheckpointID // a source reads nothing after it
	draining  bool                  // a source that was told to end its input
	failure   *controlv1.Failure
	err       error

	now      time.Time
	class    class // of the last step
	flushDue time.Time
	commits  []dataflow.CheckpointID // committed, not yet confirmed
	figures  figures
	metrics  metricSet
	epoch    time.Time // for monotonic readings
	mailLost atomic.Pointer[error]
}

// BarriersMax bounds the checkpoints whose options a task remembers between
// the barrier and the snapshot.
const BarriersMax = 16

// New makes a task and its operators; nothing is opened. Wrong factories and
// edges are an error.
func New(cfg Config) (*Task, error) {
	t := &Task{cfg: cfg, gate: cfg.Gate, barriers: make(map[dataflow.CheckpointID]exchange.Barrier)}
	t.timers.wake = cfg.Mailbox.Wake
	t.timers.first.Store(noTimer)
	t.merger = newMerger(0)
	if t.gate != nil {
		t.aligner = barrier.New(t.gate.Len())
		t.merger = newMerger(t.gate.Len())
	}
	if err := t.buildChain(); err != nil {
		return t, err
	}
	t.setUpOvertake()
	return t, nil
}

// deliver queues a control message as mail; safe from any goroutine. A task
// that has ended drops it.
func (t *Task) deliver(fn func() error) {
	if err := t.cfg.Mailbox.Put(fn); err != nil && !isClosed(err) {
		t.cfg.Log.Error("mail of the worker was dropped", "err", err)
	}
}

// Trigger announces a checkpoint; safe from any goroutine.
func (t *Task) Trigger(tr Trigger) {
	t.deliver(func() error {
		t.triggers = append(t.triggers, tr)
		return nil
	})
}

// Abort gives up a checkpoint; safe from any goroutine.
func (t *Task) Abort(id dataflow.CheckpointID) {
	t.deliver(func() error {
		t.abort(id)
		return nil
	})
}

// Void gives up every checkpoint after the committed one up to through, as
// Abort does, whether the task knows of it or not: a leader that has gone may
// have told some and not others. Safe from any goroutine.
func (t *Task) Void(committed, through dataflow.CheckpointID) {
	t.deliver(func() error {
		t.void(committed, through)
		return nil
	})
}

// Commit says that a checkpoint was committed; safe from any goroutine.
func (t *Task) Commit(id dataflow.CheckpointID) {
	t.deliver(func() error { return t.committed(id) })
}

// Event delivers a message of the source's coordinator; safe from any
// goroutine.
func (t *Task) Event(payload []byte) {
	t.deliver(func() error { return t.event(payload) })
}

// ErrOver says that a task has ended.
var ErrOver = errors.New("the subtask has ended")

// WithState calls fn on the task's goroutine with the keyed state of one of
// its operators, or an error; safe from any goroutine. It returns false, and
// fn is not called, when the task has ended.
func (t *Task) WithState(op dataflow.OperatorID, fn func(state.Backend, error)) bool {
	return t.cfg.Mailbox.Put(func() error {
		for _, n := range t.nodes {
			switch {
			case n.spec.ID != op:
			case n.state == nil:
				fn(nil, fmt.Errorf("operator %q has no keyed state", n.spec.Name))
				return nil
			default:
				fn(n.state, nil)
				return nil
			}
		}
		fn(nil, fmt.Errorf("no operator %s in vertex %q", op, t.cfg.Vertex.Name))
		return nil
	}) == nil
}

// Failure tells why the task failed, after Step said Done.
func (t *Task) Failure() *controlv1.Failure { return t.failure }
