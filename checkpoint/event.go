package checkpoint

import (
	"time"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Event is one input of the coordinator.
type Event struct {
	// Now is the clock's time, with its monotonic reading.
	Now  time.Time
	Body Body
}

// Body is one of the event types of this file. Protos in it are handed over
// to the coordinator.
type Body interface{ body() }

// Tick says that time has passed; see Coordinator.Wake.
type Tick struct{}

// AttemptStarted says that all tasks of an attempt run. The one before, if
// any, has ended.
type AttemptStarted struct {
	Attempt dataflow.Attempt
	Workers []Worker
	// CoordinatorWorker sends the CoordinatorSnapshot of each checkpoint.
	CoordinatorWorker string
	Operators         []Operator
	// Restored is the job's own checkpoint that the attempt started from, 0
	// for none and for one that belongs to another job. Its side effects are
	// confirmed by the workers' CommitDone.
	Restored dataflow.CheckpointID
}

// Worker is a worker of an attempt with the subtasks placed on it.
type Worker struct {
	ID       string
	Subtasks []Subtask
}

// Subtask names a subtask by the place of its vertex in the plan.
type Subtask struct{ Vertex, Index int }

// Operator is an operator of the plan.
type Operator struct {
	ID          dataflow.OperatorID
	UID         string
	Name        string
	Vertex      int
	Parallelism int
}

// AttemptEnded says that the attempt is over: its workers are gone or about
// to be. It comes before anything of the next attempt.
type AttemptEnded struct {
	Attempt dataflow.Attempt
	Reason  string
}

// Hasten asks for the next periodic checkpoint of an attempt at once, also
// before the attempt has started. It is forgotten when a checkpoint is
// triggered, and with its attempt; whoever needs one asks again.
type Hasten struct{ Attempt dataflow.Attempt }

// Request asks for a checkpoint. Its OperationDone comes for certain, once,
// unless the leadership is lost.
type Request struct {
	// Operation is the caller's name for it, unique.
	Operation string
	Kind      Kind // not KindPeriodic
	// Target is handed through to WriteManifest and OperationDone: where a
	// savepoint is to be copied to. The coordinator does not read it.
	Target string
}

// Ack is a worker's acknowledgement.
type Ack struct {
	Attempt dataflow.Attempt
	Worker  string
	Ack     *controlv1.CheckpointAck
}

// Decline is a worker's refusal.
type Decline struct {
	Attempt dataflow.Attempt
	Worker  string
	Decline *controlv1.CheckpointDecline
}

// Snapshot is the state of the source coordinators.
type Snapshot struct {
	Attempt  dataflow.Attempt
	Worker   string
	Snapshot *controlv1.CoordinatorSnapshot
}

// CommitDone says that none of a worker's subtasks has unconfirmed effects of
// checkpoints up to ID.
type CommitDone struct {
	Attempt dataflow.Attempt
	Worker  string
	ID      dataflow.CheckpointID
}

// Answers to WriteManifest.
type (
	// ManifestWritten: the manifest is durable.
	ManifestWritten struct{ ID dataflow.CheckpointID }
	// ManifestFailed: it could not be written.
	ManifestFailed struct {
		ID     dataflow.CheckpointID
		Reason string
	}
)

// Answers to MovePointer and ReadPointer.
type (
	// PointerMoved: the commit is confirmed.
	PointerMoved struct{ ID dataflow.CheckpointID }
	// PointerFailed: the write is known to have changed nothing.
	PointerFailed struct {
		ID     dataflow.CheckpointID
		Reason string
	}
	// PointerUnknown: it may or may not have been written.
	PointerUnknown struct{ ID dataflow.CheckpointID }
	// PointerRead: what the store holds now; nil: nothing.
	PointerRead struct {
		ID      dataflow.CheckpointID
		Pointer *Pointer
	}
	// PointerUnread: reading back did not work.
	PointerUnread struct {
		ID     dataflow.CheckpointID
		Reason string
	}
)

// Answers to ReserveIDs.
type (
	// IDsReserved: ids up to Through may be used.
	IDsReserved struct{ Through dataflow.CheckpointID }
	// ReserveFailed: not written, or not known; it is tried again.
	ReserveFailed struct{ Reason string }
)

// Fenced says that the leadership is lost. Nothing is commanded after it: the
// next leader judges what was committed.
type Fenced struct{}

func (Tick) body()            {}
func (AttemptStarted) body()  {}
func (AttemptEnded) body()    {}
func (Hasten) body()          {}
func (Request) body()         {}
func (Ack) body()             {}
func (Decline) body()         {}
func (Snapshot) body()        {}
func (CommitDone) body()      {}
func (ManifestWritten) body() {}
func (ManifestFailed) body()  {}
func (PointerMoved) body()    {}
func (PointerFailed) body()   {}
func (PointerUnknown) body()  {}
func (PointerRead) body()     {}
func (PointerUnread) body()   {}
func (IDsReserved) body()     {}
func (ReserveFailed) body()   {}
func (Fenced) body()          {}
