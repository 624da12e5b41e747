package checkpoint

import (
	"time"

	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Command is one of the command types of this file. Commands are carried out
// in order; those with an answer do not hold up the ones after them.
type Command interface{ command() }

// ReserveIDs writes Pointer, which differs from the stored one in Reserved
// alone. Answers: IDsReserved, ReserveFailed, Fenced.
type ReserveIDs struct {
	Through dataflow.CheckpointID
	Pointer Pointer
}

// Trigger is to be sent to all workers of the attempt.
type Trigger struct {
	Attempt dataflow.Attempt
	To      []string
	Message *controlv1.TriggerCheckpoint
	Summary Summary
}

// Abort is to be sent to the workers of the attempt, if they still live, as
// CheckpointAborted.
type Abort struct {
	Attempt dataflow.Attempt
	To      []string
	ID      dataflow.CheckpointID
	Cause   Cause
	Reason  string
	Summary Summary
}

// WriteManifest writes the manifest under Key if it is absent. Answers:
// ManifestWritten, ManifestFailed.
type WriteManifest struct {
	ID       dataflow.CheckpointID
	Key      string
	Manifest *checkpointv1.Manifest
	Target   string
}

// MovePointer writes Pointer in one fenced commit. Answers: PointerMoved,
// PointerFailed, PointerUnknown, Fenced.
type MovePointer struct {
	ID      dataflow.CheckpointID
	Pointer Pointer
}

// ReadPointer reads the stored pointer, linearizably. Answers: PointerRead,
// PointerUnread, Fenced.
type ReadPointer struct{ ID dataflow.CheckpointID }

// NotifyCommitted is to be sent to the workers as CheckpointCommitted.
type NotifyCommitted struct {
	Attempt dataflow.Attempt
	To      []string
	ID      dataflow.CheckpointID
}

// Committed tells that a checkpoint was committed; nothing is to be done.
type Committed struct {
	Entry   Entry
	Summary Summary
}

// Discard deletes all objects under Prefix except Keep, the manifest first;
// see DiscardObjects. It has no answer: what it leaves behind is swept later.
type Discard struct {
	ID     dataflow.CheckpointID
	Prefix string
	Keep   []string
}

// Sweep deletes what earlier coordinators left behind under the job's Prefix:
// all directories of checkpoints with an id below Below, except the objects
// in Keep, and those of savepoints without a manifest; see SweepObjects.
type Sweep struct {
	Prefix string
	Below  dataflow.CheckpointID
	Keep   []string
}

// OperationDone answers a Request.
type OperationDone struct {
	Operation string
	Kind      Kind
	Outcome   Outcome
	// ID and Manifest (a store key) are set once the checkpoint was committed.
	ID       dataflow.CheckpointID
	Manifest string
	Target   string
	Reason   string
	// Unconfirmed are the workers that had not confirmed their side effects.
	Unconfirmed []string
}

// Outcome is how a request ended.
type Outcome uint8

// Outcomes of a request.
const (
	// OutcomeCompleted: committed; for savepoints, stops and the final
	// checkpoint all side effects are confirmed as well.
	OutcomeCompleted Outcome = iota + 1
	// OutcomeFailed: there is no such checkpoint.
	OutcomeFailed
	// OutcomeUnconfirmed: a stop was committed but the attempt ended before
	// every side effect was confirmed. The job must go on from this
	// checkpoint, and from no older one.
	OutcomeUnconfirmed
)

// String implements fmt.Stringer.
func (o Outcome) String() string {
	return [...]string{"none", "completed", "failed", "unconfirmed"}[o]
}

// Cause says why a checkpoint was aborted.
type Cause uint8

// Causes of an abort.
const (
	CauseDeclined Cause = iota + 1
	CauseExpired
	CauseAttemptEnded
	CauseManifest
	CausePointer
	CauseInvalid
)

// String implements fmt.Stringer.
func (c Cause) String() string {
	return [...]string{"none", "declined", "expired", "attempt ended", "manifest not written", "pointer not moved",
		"invalid acknowledgement"}[c]
}

// Counts reports whether an abort for this cause is a failure of the
// checkpoint, for Coordinator.Failures and whoever else asks. A decline is a
// worker's "not now", the end of an attempt is counted as that.
func (c Cause) Counts() bool { return c != CauseDeclined && c != CauseAttemptEnded }

// Summary is what people see of a checkpoint.
type Summary struct {
	ID        dataflow.CheckpointID
	Kind      Kind
	Operation string
	Triggered time.Time
	Ended     time.Time // zero while it runs
	// Bytes were written for it, StateBytes are what it consists of, with files
	// of earlier checkpoints.
	Bytes, StateBytes int64
	// InFlightBytes of them are rows that barriers overtook.
	InFlightBytes int64
	// Acked of Subtasks have acknowledged.
	Acked, Subtasks int
	AlignmentMax    time.Duration
	SyncMax         time.Duration
	AsyncMax        time.Duration
	StartDelayMax   time.Duration
	// Waiting are the workers that have not acknowledged, at most WaitingMax.
	Waiting []string
}

// WaitingMax bounds Summary.Waiting.
const WaitingMax = 8

func (ReserveIDs) command()      {}
func (Trigger) command()         {}
func (Abort) command()           {}
func (WriteManifest) command()   {}
func (MovePointer) command()     {}
func (ReadPointer) command()     {}
func (NotifyCommitted) command() {}
func (Committed) command()       {}
func (Discard) command()         {}
func (Sweep) command()           {}
func (OperationDone) command()   {}
