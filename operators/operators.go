// Package operators is the contract between operators and the task that runs
// them. It holds no operator itself (see rowop, window, sourceop, sinkop) and
// knows nothing of channels, checkpoints' storage or the cluster.
package operators

import (
	"context"
	"log/slog"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/state"
)

// Factory makes the operator of a node; it is the value of graph.Node.Factory.
// New is called once for each subtask and attempt, on any goroutine.
type Factory interface {
	New() Operator
}

// FactoryFunc is a Factory.
type FactoryFunc func() Operator

// New implements Factory.
func (f FactoryFunc) New() Operator { return f() }

// Operator transforms batches. All methods are called on the task's
// goroutine, one at a time. Open is called first, once, after keyed state was
// restored and before anything else; Close last, once, also after an error.
// An error fails the attempt.
type Operator interface {
	Open(ctx *Context) error
	// Process takes one batch of the given input; the batch is handed over.
	Process(input int, b *columnar.Batch) error
	Close() error
}

// WatermarkHandler is implemented by operators that act on event time.
type WatermarkHandler interface {
	// Watermark says that no record at or before wm will follow. wm never
	// decreases. When it returns false, it has more to emit and is called
	// again with the same wm, before anything else, once Out.Ready; after
	// true the task forwards the watermark downstream.
	Watermark(wm int64) (done bool, err error)
}

// WatermarkDelayer is implemented by operators that emit rows older than the
// watermark that made them (the unmatched rows of an outer join).
type WatermarkDelayer interface {
	// WatermarkDelay is always the same and not negative: the task forwards
	// each watermark but the greatest so many milliseconds less.
	WatermarkDelay() int64
}

// StatusHandler is told when all inputs turn idle or one becomes active.
type StatusHandler interface {
	Idle(idle bool) error
}

// IdleDelayer is implemented by operators that may still emit rows when their
// input has fallen silent, without acting on event time: what follows must not
// take them for idle before.
type IdleDelayer interface {
	// IdleReady is called when all inputs turn idle, like Watermark until it
	// returns true; then StatusHandler is told and the status forwarded.
	IdleReady() (done bool, err error)
}

// EndHandler is implemented by operators that act at the end of input, after
// the maximum watermark: it is called like Watermark until it returns true.
type EndHandler interface {
	End() (done bool, err error)
}

// Snapshotter is implemented by operators with state that is not keyed.
type Snapshotter interface {
	// Snapshot returns the operator's state as of now, handed over. It is
	// called when the barrier of checkpoint cp arrives, before the operator's
	// keyed state is snapshotted and the barrier forwarded. Old snapshots come back in Context.Restored.
	Snapshot(cp Checkpoint) ([]byte, error)
}

// SnapshotDecliner is implemented by operators that cannot always take part
// in a checkpoint (a sink with too many sealed transactions).
type SnapshotDecliner interface {
	// CanSnapshot is asked before Snapshot; an error declines the checkpoint
	// with its text as the reason and fails nothing.
	CanSnapshot() error
}

// InputLimiter is implemented by operators that cannot always take input
// (a sink whose requests are under way).
type InputLimiter interface {
	// InputReady reports whether Process may be called now. After false the
	// task holds its input back and asks again after Context.Wake. Barriers
	// and mail are handled meanwhile.
	InputReady() bool
}

// Positioner is implemented by operators that call user code row by row.
type Positioner interface {
	// Position names the row in work ("orders-7@1882031", or key and event
	// time after a shuffle), "" when there is none. It is called on the
	// task's goroutine after Process or Watermark returned an error or
	// panicked.
	Position() string
}

// Checkpoint describes a snapshot being taken.
type Checkpoint struct {
	ID dataflow.CheckpointID
	// Savepoint is set for savepoints, which hold no pending committables
	// (these are committed before the savepoint is done).
	Savepoint bool
	// Final is set when the job ends after this checkpoint.
	Final bool
}

// CheckpointListener is told what became of a checkpoint.
type CheckpointListener interface {
	// CheckpointCommitted says that the pointer to cp has moved. It may be
	// called more than once and for ids that were skipped; effects are
	// idempotent. It must not block: slow work goes to a goroutine whose
	// result returns as mail.
	CheckpointCommitted(cp dataflow.CheckpointID) error
}

// Committer is implemented by operators that have side effects to confirm
// before the job may finish.
type Committer interface {
	// Uncommitted returns the number of prepared effects not yet confirmed.
	Uncommitted() int
}

// PollStatus is what a source has to say after Poll.
type PollStatus int

// Poll statuses.
const (
	PollMore     PollStatus = iota // call again
	PollWait                       // nothing now; Context.Wake will be called
	PollFinished                   // no more input, ever
)

// SourceOperator is the head of a source vertex: the task polls it instead of
// reading channels. Process is never called.
type SourceOperator interface {
	Operator
	// Poll emits at most one batch and watermarks, without blocking.
	Poll() (PollStatus, error)
	// HandleEvent takes a message of the operator's coordinator.
	HandleEvent(payload []byte) error
}

// Abstainer is implemented by sources that may stay out of event time.
type Abstainer interface {
	// Abstains says, always the same, that the output stays idle once the
	// source has said so, even where it emits rows or its input ends.
	Abstains() bool
}

// EndRestorer is implemented by sources whose coordinator must hear from
// every subtask.
type EndRestorer interface {
	// RestoredEnd is called once, and Poll never, when the subtask had reached
	// the end of its input in the checkpoint that the attempt started from.
	// Nothing may be emitted.
	RestoredEnd() error
}

// CoordinatorFactory is implemented by factories of sources: the job's
// coordinator task makes one Coordinator for each of them.
type CoordinatorFactory interface {
	NewCoordinator(ctx *CoordinatorContext) (Coordinator, error)
}

// Coordinator finds and assigns the splits of one source. Its methods run on
// the coordinator task's goroutine. It may be a CheckpointListener.
type Coordinator interface {
	// Start is called once, after all subtasks are registered.
	Start() error
	// SubtaskRestored tells which splits a subtask holds after the start (of
	// an attempt), before Start. A subtask that reports its splits by an event
	// of its own (as sourceop does at its first Poll) needs no call.
	SubtaskRestored(subtask int, splits []string)
	// HandleEvent takes a message of a subtask.
	HandleEvent(subtask int, payload []byte) error
	// Snapshot returns the coordinator's state, versioned.
	Snapshot(cp dataflow.CheckpointID) ([]byte, error)
	Close() error
}

// CoordinatorContext is what a coordinator may use.
type CoordinatorContext struct {
	Info        dataflow.TaskInfo
	Parallelism int
	// Restored is the coordinator's state in the checkpoint, nil at a fresh start.
	Restored []byte
	Clock    clock.Clock
	Log      *slog.Logger
	// Send delivers payload to a subtask's HandleEvent, in order.
	Send func(subtask int, payload []byte)
	// Mail runs fn on the coordinator's goroutine; safe from any goroutine.
	Mail func(fn func() error)
	// Async runs fn on a goroutine of its own (I/O), then done as mail.
	Async func(fn func() error, done func(error) error)
	// After mails fn after a delay of millis.
	After func(millis int64, fn func() error)
	// Trouble tells people about something outside the job that does not work
	// and is tried again; nil ends it. It may be nil.
	Trouble func(err error)
	// WantCheckpoint asks for a checkpoint soon; the wish may be lost, so one
	// who needs it asks again. A coordinator that is a CheckpointListener
	// hears of the commit. nil: there are no checkpoints.
	WantCheckpoint func()
}

// Context is what an operator may use between Open and Close.
type Context struct {
	Info dataflow.TaskInfo
	// KeyGroups is the range of keys of this subtask.
	KeyGroups dataflow.KeyGroupRange
	// State holds the keyed state of this operator; nil when it is not keyed.
	State state.Backend
	// Restored holds the snapshots (Snapshotter) of all subtasks of the
	// operator in the checkpoint that the attempt started from, in order of
	// subtask; nil at a fresh start. Each subtask takes what it owns.
	Restored [][]byte
	// Out takes what the operator emits.
	Out   Output
	Clock clock.Clock
	Log   *slog.Logger
	// Attempt ends when the task is cancelled: calls that may block on the
	// task's goroutine take it, so that a cancel gets through.
	Attempt context.Context //nolint:containedctx // the life of the subtask, like Close
	// Mail runs fn on the task's goroutine; safe from any goroutine. An
	// error of fn fails the attempt.
	Mail func(fn func() error)
	// At mails fn when the clock has passed the wall time millis (not before
	// millis+1: records stamped millis may still come); cancel drops it.
	At func(millis int64, fn func() error) (cancel func())
	// Wake makes the task poll again after PollWait; safe from any goroutine.
	Wake func()
	// SendEvent delivers payload to the operator's coordinator, in order; for
	// operators whose factory is a CoordinatorFactory.
	SendEvent func(payload []byte)
	// FromSavepoint says that Restored comes from a savepoint or from another
	// job: prepared side effects in it are not this job's to commit or abort.
	FromSavepoint bool
	// CheckpointsOff says that no checkpoint is taken before the final one.
	CheckpointsOff bool
	// Incarnation names this life of the job's side effects.
	Incarnation dataflow.Incarnation
	// TxnPool is the number of transactional ids recorded for this operator,
	// over all subtasks; ids are 0 to TxnPool-1 and subtask i owns those with
	// id mod parallelism = i.
	TxnPool int
	// OnError is the error policy that the program has set for the operator.
	OnError ErrorPolicy
	Metrics Metrics
	// Trouble tells people about something outside the job that does not work
	// and is tried again; nil ends it. It is safe from any goroutine and may
	// be nil.
	Trouble func(err error)
}

// ErrorPolicy says what an operator does with a record that its function, or
// its format, refuses with an error. A panic fails the attempt by any policy.
type ErrorPolicy string

// Error policies.
const (
	// Fail fails the attempt.
	Fail ErrorPolicy = ""
	// SkipRecord counts the record and goes on with the next.
	SkipRecord ErrorPolicy = "skip"
	// ToDeadLetters emits it on the side output dataflow.SideDeadLetter.
	ToDeadLetters ErrorPolicy = "dead-letters"
)

// Metrics takes the figures of an operator. Nil functions are not allowed:
// use NoMetrics in tests.
type Metrics interface {
	// Counter returns the counter of that name, made on first use.
	Counter(name string) Counter
	// Gauge registers a function that is read from other goroutines.
	Gauge(name string, read func() float64)
}

// Counter only grows; safe for concurrent use.
type Counter interface {
	Add(n int64)
	Value() int64
}

// Output takes what an operator emits. Emitting never blocks and never
// fails; an operator with much to emit looks at Ready between batches.
type Output interface {
	// Emit hands over a batch of the main output. Empty batches are dropped.
	Emit(b *columnar.Batch)
	// EmitSide hands over a batch of a side output; dropped when unused.
	EmitSide(tag string, b *columnar.Batch)
	// EmitWatermark is for sources: other operators' watermarks are
	// forwarded by the task.
	EmitWatermark(wm int64)
	// EmitIdle is for sources: the output is idle (true) or active again.
	EmitIdle(idle bool)
	// Ready reports whether the channels downstream have room and the
	// operators chained behind take rows.
	Ready() bool
	// HasSide reports whether someone consumes the side output.
	HasSide(tag string) bool
}
