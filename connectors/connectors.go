// Package connectors is the contract of sources and sinks: splits and their
// enumerator and reader, writers and their two-phase commit. It holds no
// connector itself and knows nothing of tasks, checkpoints' storage or the
// cluster.
package connectors

import (
	"context"
	"log/slog"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
)

// Clock tells the time and makes timers: connectors take theirs from the
// context, so that tests can drive it. Implementations are safe for concurrent
// use.
type Clock = clock.Clock

// Timer is made by a Clock: it fires once, on a channel with room for that.
type Timer = clock.Timer

// Split is a unit of source input with the position to read from.
type Split struct {
	// ID is unique in the source and stable for ever ("orders-3").
	ID string
	// Position is the connector's own versioned encoding of where to go on
	// and where to stop.
	Position []byte
}

// Source describes an input. Its methods are free of side effects; it is
// made anew in each process by running the job's main.
type Source interface {
	// Name describes the source for people ("kafka orders").
	Name() string
	// Detail is a deterministic description, part of the graph's fingerprint.
	// It never contains a secret.
	Detail() string
	// Bounded reports whether the source ends by itself.
	Bounded() bool
	// RowType is the type of the records.
	RowType() columnar.RowType
	// NewEnumerator is called once, in the job's coordinator task.
	NewEnumerator(ctx *EnumeratorContext) (Enumerator, error)
	// NewReader is called once in each subtask.
	NewReader(ctx *ReaderContext) (Reader, error)
}

// EnumeratorContext is what an enumerator may use.
type EnumeratorContext struct {
	// Info says which job and operator it is for.
	Info dataflow.TaskInfo
	// Restored is the state in the checkpoint, nil at a fresh start.
	Restored []byte
	// Clock is what time is asked of.
	Clock Clock
	// Log names the operator in each line.
	Log *slog.Logger
	// Trouble is as in ReaderContext.
	Trouble func(err error)
}

// Enumerator finds the splits of a source. It lives in the job's coordinator
// task. Discover may do I/O and runs on a goroutine of its own, never
// concurrently with itself or with Snapshot.
type Enumerator interface {
	// Discover returns all splits known now, each with the position where it
	// starts if nothing of it was ever read. That position is decided once
	// for each split and is part of the state: a later call, or a restored
	// enumerator, returns the same. An error is retried with backoff and
	// shown to people; a *FatalError fails the job.
	Discover(ctx context.Context) ([]Split, error)
	// Interval is the time between discoveries; 0: discover once only.
	Interval() time.Duration
	// Snapshot returns the state, versioned.
	Snapshot() ([]byte, error)
	// Close is called last, once, and waits for what Discover began.
	Close() error
}

// Timeless is implemented by sources that can say that their records carry no
// times: event time then is what the program takes from the rows.
type Timeless interface {
	// Timeless is called when the program is built.
	Timeless() bool
}

// Momentary is implemented by enumerators that may decide a split's start by
// the moment of the first Discover ("the newest record"), so that another one
// would decide otherwise. Nothing is read before that decision is in a
// committed checkpoint: a job that fails earlier would start again later in
// the input and lose what came between.
type Momentary interface {
	// Momentary reports whether it does.
	Momentary() bool
}

// StagedEnumerator is implemented by enumerators whose splits come in stages:
// those of the next one are found after all of the one before have ended, in
// every subtask. Discover then returns the splits of the current stage only.
//
// Nothing of a later stage is read before a checkpoint that holds it (Snapshot
// after its first Discover) is committed, so that a job which fails meanwhile
// does not decide otherwise. Until a subtask gets a later stage's splits, the
// ended ones of this stage hold back its watermark: what follows them is not
// late.
type StagedEnumerator interface {
	Enumerator
	// More reports whether another stage follows the one of the last Discover.
	More() bool
	// Advance says that all splits of the last Discover have ended, and where:
	// the next Discover begins the next stage. It is called while More is
	// true, never beside Discover, does no I/O, and may come again after a
	// restore from before that Discover.
	Advance(ended []EndedSplit)
}

// EndedSplit is a split that has no more records.
type EndedSplit struct {
	// Split is at its last position.
	Split
	// Watermark is the split's own in milliseconds: its strategy expected no
	// record at or before it any more. dataflow.TimeMin without.
	Watermark int64
}

// Owner returns the subtask, of parallelism many, that reads a split:
// FNV-1a of its id. Sources whose splits are numbered implement SplitOwner to
// spread them evenly.
type SplitOwner interface {
	// Owner is called anywhere: it depends on its arguments alone.
	Owner(splitID string, parallelism int) int
}

// ReaderContext is what a reader may use.
type ReaderContext struct {
	// Info says which subtask of which operator it is for.
	Info dataflow.TaskInfo
	// Clock is what time is asked of.
	Clock Clock
	// Log names operator and subtask in each line.
	Log *slog.Logger
	// Wake makes the task call Next again; safe from any goroutine.
	Wake func()
	// Counter returns a counter shown under the operator's metrics.
	Counter func(name string) func(n int64)
	// Gauge registers a figure read from other goroutines ("pendingRecords").
	Gauge func(name string, read func() float64)
	// DeadLetters says that bad records are wanted (Fetched.Bad); otherwise a
	// record that cannot be decoded is an error of Next.
	DeadLetters bool
	// Trouble tells people about something outside the job that does not work
	// and is tried again; nil ends it. It is safe from any goroutine and may
	// be nil.
	Trouble func(err error)
}

// Reader reads splits. Its methods are called on the task's goroutine, one at
// a time, and do not block: fetching happens on the reader's own goroutines,
// a bounded amount ahead.
type Reader interface {
	// AddSplits starts reading more splits.
	AddSplits(splits []Split) error
	// Next returns the next piece of one split, or ok false when nothing is
	// there yet (Wake will be called). A *FatalError or any other error fails
	// the attempt: what can be retried is retried inside.
	Next() (f Fetched, ok bool, err error)
	// Snapshot returns all splits at the position after what Next returned
	// last. Splits that ended stay in it, at their end: after a restore they
	// end again at once instead of being read again.
	Snapshot() []Split
	// Committed says that a checkpoint with these splits was committed, for
	// monitoring outside (consumer group offsets). It must not block.
	Committed(splits []Split)
	// Close is called last, once, and waits for the reader's goroutines.
	Close() error
}

// Fetched is a piece of one split.
type Fetched struct {
	// Split is the ID of the split that the piece is of.
	Split string
	// Batch may be nil when only the rest is of interest. It is handed over.
	Batch *columnar.Batch
	// Bad holds the records that could not be decoded.
	Bad []DeadLetter
	// SplitEnd says that the split has no more records, ever.
	SplitEnd bool
	// CaughtUp says that the position equals the confirmed end of the split:
	// only then may the split be called idle.
	CaughtUp bool
}

// DeadLetter is a record that its error policy set aside.
type DeadLetter struct {
	// Error says what was wrong with the record.
	Error string
	// Operator is the UID of the operator that set it aside.
	Operator string
	// Topic, Partition and Offset name the place: file and byte for files. An
	// operator behind a shuffle knows none: "", -1, -1.
	Topic     string
	Partition int32
	Offset    int64
	// Timestamp is the record's in milliseconds, dataflow.TimeNone without.
	Timestamp int64
	// FailedAt is the wall time of the failure in milliseconds.
	FailedAt int64
	// Key and Value are the record's bytes where a source has them. Elsewhere
	// they are the operator's key as text and the row as JSON.
	Key   []byte
	Value []byte
}

// FatalError is a fault that no retry can mend; Fix says what a person can do.
type FatalError struct {
	// Code is the stable number of the fault, LEATnnnn.
	Code string // LEATnnnn
	// What went wrong, as a sentence without a full stop.
	What string
	// Why it did, as far as that is known; it may be empty.
	Why string
	// Fix is what a person can do; it may be empty.
	Fix string
}

// Error implements error.
func (e *FatalError) Error() string {
	s := e.What
	if e.Why != "" {
		s += ": " + e.Why
	}
	if e.Fix != "" {
		s += " (fix: " + e.Fix + ")"
	}
	return s
}

// Trouble is a fault outside the job that may pass: what met it tries again,
// and people are told meanwhile.
type Trouble struct {
	// Code is the stable number of the fault, LEATnnnn.
	Code string // LEATnnnn
	// What does not work, as a sentence without a full stop.
	What string
	// Fix is what a person can do; it may be empty.
	Fix string
	// Err is the cause.
	Err error // the cause
}

// Error implements error.
func (t *Trouble) Error() string { return t.What + ": " + t.Err.Error() }

// Unwrap implements what package errors asks for: it returns the cause.
func (t *Trouble) Unwrap() error { return t.Err }

// Sink describes an output. Its methods are free of side effects.
type Sink interface {
	// Name describes the sink for people ("kafka invoices").
	Name() string
	// Detail is a deterministic description without secrets.
	Detail() string
	// Transactional sinks take part in two-phase commit and need a pool of ids.
	Transactional() bool
	// RowType is the type it accepts.
	RowType() columnar.RowType
	// NewWriter is called once in each subtask.
	NewWriter(ctx *WriterContext) (Writer, error)
}

// Checker is implemented by sources and sinks that can check the outside
// world before the job starts (topic exists, time-outs fit). It runs in the
// coordinator task at each start. A *FatalError fails the job, another error
// is retried.
type Checker interface {
	// Check may do I/O until ctx ends. It changes nothing outside.
	Check(ctx context.Context, info CheckInfo) error
}

// CheckInfo is what a check may depend on.
type CheckInfo struct {
	// JobName is the name of the job that starts.
	JobName            string
	CheckpointInterval time.Duration // negative: checkpoints are off
}

// WriterContext is what a writer may use.
type WriterContext struct {
	// Info says which subtask of which operator it is for.
	Info dataflow.TaskInfo
	// Clock is what time is asked of.
	Clock Clock
	// Log names operator and subtask in each line.
	Log *slog.Logger
	// Wake makes the task look at Ready again; safe from any goroutine.
	Wake func()
	// Counter returns a counter shown under the operator's metrics.
	Counter func(name string) func(n int64)
	// Incarnation tells this run of the job apart from any other.
	Incarnation dataflow.Incarnation
	// TxnPool is the number of transactional ids 0..TxnPool-1 recorded for
	// this sink; this writer owns those with id mod Info.Parallelism =
	// Info.Subtask and uses no other.
	TxnPool int
	// CheckpointsOff says that nothing will ever be committed.
	CheckpointsOff bool
	// Reject takes row i of a batch that the writer refuses for good (it does
	// not encode, it is too large), by the sink's error policy; the writer
	// goes on as if the row were not there. Nil: such a row is an error of
	// Write. It is called on the task's goroutine, within Write.
	Reject func(b *columnar.Batch, i int, err error)
	// Trouble is as in ReaderContext.
	Trouble func(err error)
}

// Writer writes one subtask's share. Recover, Write, Ready, Flush and Prepare
// are called on the task's goroutine; Commit on another, one call at a time,
// concurrently with them.
type Writer interface {
	// Recover is called first, once, with what the checkpoint's Prepare calls
	// of ALL old subtasks returned (empty at a fresh start). The writer
	// commits again those that it owns, then aborts what else its ids left
	// open. It may block; ctx ends when the attempt does.
	Recover(ctx context.Context, prepared []Committable) error
	// Write takes a batch; it is handed over, and a writer that keeps nothing
	// of it may Release it. It may buffer a bounded amount.
	Write(b *columnar.Batch) error
	// Ready reports whether Write has room; when not, Wake follows.
	Ready() bool
	// Flush returns when all that was written has reached the outside
	// (durable, not yet committed).
	Flush(ctx context.Context) error
	// Prepare seals what was written since the last Prepare: after it nothing
	// is added to these committables. It flushes first. No committables means
	// nothing to commit. final: no write will follow.
	Prepare(ctx context.Context, cp dataflow.CheckpointID, final bool) ([]Committable, error)
	// Commit makes committables visible; idempotent; retries inside until
	// done, ctx ends or the outside refuses for good (an error, which fails
	// the attempt).
	Commit(ctx context.Context, c []Committable) error
	// SealedMax bounds the committables that may be prepared and not
	// committed; at it the task declines checkpoints.
	SealedMax() int
	// Close is called last, once; what was not committed is dropped.
	Close() error
}

// Committable is a prepared effect, in the connector's own versioned encoding.
type Committable struct {
	// Owner is the number from which the owning subtask follows: Owner mod
	// parallelism (the transactional id's number for Kafka).
	Owner int
	// Data is what Commit needs, and begins with a version.
	Data []byte
}

// SourceOf is a Source of rows of type T. The marker method lets the compiler
// infer T where a stream is made of the source; embed Typed[T] to have it.
type SourceOf[T any] interface {
	Source
	// RowsOf is never called.
	RowsOf(T)
}

// SinkOf is a Sink that accepts rows of type T; embed Typed[T] to have it.
type SinkOf[T any] interface {
	Sink
	// RowsOf is never called.
	RowsOf(T)
}

// Typed marks the connector that embeds it as one of rows of type T.
type Typed[T any] struct{}

// RowsOf does nothing: only its type matters.
func (Typed[T]) RowsOf(T) {}
