package jobmaster

import (
	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/slots"
)

// Event is one input of the core.
type Event interface{ event() }

// Events of the cluster.
type (
	// Begin is the first event of every core.
	Begin struct{}
	// Tick says that time has passed; see Core.Next.
	Tick struct{}
	// PlanReady brings the job graph in its stored form.
	PlanReady struct{ Graph []byte }
	// PlanFailed says that the bundle cannot be planned.
	PlanFailed struct{ Error jobview.Error }
	// PlanWaits tells people what the plan waits for.
	PlanWaits struct{ Reason string }
	// SlotsGranted and SlotsShort answer AcquireSlots.
	SlotsGranted struct{ Shares []slots.Share }
	SlotsShort   struct{ Reason string }
	// AutoSlots tells a job whose parallelism follows the slots how many it may
	// have now, those that it has among them.
	AutoSlots struct{ N int }
	// SlotsReserved and ReserveShort answer ReserveSlots.
	SlotsReserved struct{}
	ReserveShort  struct{ Reason string }
	// TaskManagerJoined tells which workers of the job a taskmanager that
	// registered runs.
	TaskManagerJoined struct {
		TaskManager string
		Host        string
		Workers     []string
	}
	TaskManagerLost struct{ TaskManager, Reason string }
	// TaskManagerDrains asks the job to move its workers off a taskmanager.
	TaskManagerDrains struct{ TaskManager string }
	// FromTaskManager is a message of a taskmanager about a worker of the job.
	FromTaskManager struct {
		TaskManager string
		Message     *controlv1.TaskManagerMessage
	}
)

// Requests of people.
type (
	// CancelJob asks for the end of the job.
	CancelJob struct{}
	// RescaleJob asks for another parallelism; Operation is the name under
	// which its outcome is found. Asked for what the job has, it gives up a
	// change that waits for slots.
	RescaleJob struct {
		Operation string
		Target    Parallelism
		// Auto: it is to follow the slots from now on, and Target is ignored.
		Auto bool
	}
	// TakeCheckpoint asks for a checkpoint, savepoint or stop; Operation is
	// the name under which its outcome is found.
	TakeCheckpoint struct {
		Operation string
		Kind      checkpoint.Kind
		// Target is the directory, as a key of the store with a final slash,
		// into which a savepoint is copied; empty: it stays where it is.
		Target string
	}
)

// Answers to commands.
type (
	// RecordWritten: the record of that version, or a later one, is stored.
	RecordWritten struct{ Version int64 }
	// WriteDelayed: the coordination service does not answer; the write is
	// tried on. An empty reason: it answers again.
	WriteDelayed struct{ Reason string }
	// GraphStored and GraphDelayed answer StoreGraph.
	GraphStored  struct{}
	GraphDelayed struct{ Reason string }
	// ManifestLoaded, ManifestBad and ManifestDelayed answer LoadManifest.
	ManifestLoaded struct {
		Attempt  dataflow.Attempt
		Manifest *checkpointv1.Manifest
	}
	// ManifestBad: it was read and is not a manifest.
	ManifestBad struct {
		Attempt dataflow.Attempt
		Reason  string
	}
	// ManifestDelayed: it could not be read now; it is tried on.
	ManifestDelayed struct {
		Attempt dataflow.Attempt
		Reason  string
	}
	// StateCopied and StateMissing answer CopyState; ManifestDelayed tells of
	// trouble.
	StateCopied  struct{ Attempt dataflow.Attempt }
	StateMissing struct {
		Attempt dataflow.Attempt
		Reason  string
	}
	// SavepointCopied answers CopySavepoint.
	SavepointCopied struct {
		Operation string
		Manifest  string // key of the copy
		Failure   string
	}
	// Answer is an answer to a command of the coordinator.
	Answer struct{ Body checkpoint.Body }
	// Fenced: the leadership is lost. Nothing is commanded after it.
	Fenced struct{}
)

func (Begin) event()             {}
func (Tick) event()              {}
func (PlanReady) event()         {}
func (PlanFailed) event()        {}
func (PlanWaits) event()         {}
func (SlotsGranted) event()      {}
func (SlotsShort) event()        {}
func (AutoSlots) event()         {}
func (SlotsReserved) event()     {}
func (ReserveShort) event()      {}
func (TaskManagerJoined) event() {}
func (TaskManagerLost) event()   {}
func (TaskManagerDrains) event() {}
func (FromTaskManager) event()   {}
func (RescaleJob) event()        {}
func (CancelJob) event()         {}
func (TakeCheckpoint) event()    {}
func (RecordWritten) event()     {}
func (WriteDelayed) event()      {}
func (GraphStored) event()       {}
func (GraphDelayed) event()      {}
func (ManifestLoaded) event()    {}
func (ManifestBad) event()       {}
func (StateMissing) event()      {}
func (ManifestDelayed) event()   {}
func (StateCopied) event()       {}
func (SavepointCopied) event()   {}
func (Answer) event()            {}
func (Fenced) event()            {}

// Command is something for the driver to do, in order.
type Command interface{ command() }

// Commands to the cluster.
type (
	// RequestPlan asks for the job graph: PlanReady or PlanFailed.
	RequestPlan struct{}
	// AcquireSlots asks for slots, ReleaseSlots gives all back.
	AcquireSlots struct{ N int }
	ReleaseSlots struct{}
	// ReserveSlots asks for as many slots in all without giving back those that
	// the job holds; KeepSlots gives back all but its workers'.
	ReserveSlots struct{ N int }
	KeepSlots    struct{ Shares []slots.Share }
	// FollowSlots says whether the job is to be told of AutoSlots.
	FollowSlots struct{ On bool }
	// Disown says that no more workers of a former leader's attempt are taken
	// over: those of taskmanagers that register from now on are to be ended.
	Disown struct{}
	// Send sends a message to a taskmanager; one that is gone is no error.
	Send struct {
		TaskManager string
		Message     *controlv1.JobManagerMessage
	}
	// DropTaskManager ends a taskmanager's session.
	DropTaskManager struct{ TaskManager, Reason string }
	// Ended says that the job has ended and that this is recorded.
	Ended struct{ State jobview.JobState }
)

// Commands of I/O; the driver answers each with an event, in order within
// one kind (records and pointers; objects; deletions).
type (
	// WriteRecord stores the record.
	WriteRecord struct {
		Version int64
		Record  Record
	}
	// StoreGraph puts the job graph into the store.
	StoreGraph struct {
		Key   string
		Graph []byte
	}
	LoadManifest struct {
		Attempt dataflow.Attempt
		Key     string
	}
	// CopyState copies objects of another job's savepoint under the job's own
	// prefix, where its workers may read them.
	CopyState struct {
		Attempt dataflow.Attempt
		Objects []ObjectCopy
	}
	// CopySavepoint copies a finished savepoint to where the user wants it.
	CopySavepoint struct {
		Operation string
		Manifest  string
		Target    string
	}
	// WriteManifest is the coordinator's.
	WriteManifest struct{ checkpoint.WriteManifest }
	// MovePointer is the coordinator's; Record, if any, is stored in the same
	// transaction.
	MovePointer struct {
		checkpoint.MovePointer
		Record *Record
	}
	ReserveIDs  struct{ checkpoint.ReserveIDs }
	ReadPointer struct{ checkpoint.ReadPointer }
	Discard     struct{ checkpoint.Discard }
	Sweep       struct{ checkpoint.Sweep }
)

// ObjectCopy names an object and where its copy goes.
type ObjectCopy struct{ From, To string }

func (RequestPlan) command()     {}
func (AcquireSlots) command()    {}
func (ReleaseSlots) command()    {}
func (ReserveSlots) command()    {}
func (KeepSlots) command()       {}
func (FollowSlots) command()     {}
func (Disown) command()          {}
func (Send) command()            {}
func (DropTaskManager) command() {}
func (Ended) command()           {}
func (WriteRecord) command()     {}
func (StoreGraph) command()      {}
func (LoadManifest) command()    {}
func (CopyState) command()       {}
func (CopySavepoint) command()   {}
func (WriteManifest) command()   {}
func (MovePointer) command()     {}
func (ReserveIDs) command()      {}
func (ReadPointer) command()     {}

func (Discard) command() {}
func (Sweep) command()   {}
