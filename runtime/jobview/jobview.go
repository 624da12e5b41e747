// Package jobview is what can be seen of jobs and taskmanagers, and what can
// be asked of them: the values and the Control interface between the
// dispatcher, which fills them, and the REST API, which shows them. It knows
// nothing of HTTP, nor of how jobs run.
package jobview

import (
	"context"
	"fmt"
	"time"

	"github.com/leatstream/leat/checkpoint/savepoint"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/stateplan"
)

// JobState is the state of a job.
type JobState string

// States of a job. CREATED → (plan) → RUNNING ⇄ RESTARTING → FINISHED |
// FAILED | CANCELED; CANCELLING and FAILING settle side effects first. Under a
// new leader a job that ran is RECONCILING until its workers are found.
const (
	JobCreated     JobState = "CREATED" // waits for its plan or for slots
	JobRunning     JobState = "RUNNING"
	JobRestarting  JobState = "RESTARTING"
	JobReconciling JobState = "RECONCILING"
	JobFailing     JobState = "FAILING"
	JobCancelling  JobState = "CANCELLING"
	JobFinished    JobState = "FINISHED"
	JobFailed      JobState = "FAILED"
	JobCanceled    JobState = "CANCELED"
)

// Terminal reports whether the state is final.
func (s JobState) Terminal() bool {
	return s == JobFinished || s == JobFailed || s == JobCanceled
}

// Error is a coded error for people, the same in REST, CLI and logs.
type Error struct {
	Code  string   `json:"code"` // LEATnnnn
	What  string   `json:"what"`
	Where string   `json:"where,omitempty"`
	Why   string   `json:"why,omitempty"`
	Fix   []string `json:"fix,omitempty"`
	// Kind decides the HTTP status and the exit code.
	Kind ErrorKind `json:"-"`
}

// ErrorKind classifies an Error for machines.
type ErrorKind int

// Kinds of errors.
const (
	KindFailed ErrorKind = iota // the operation failed
	KindInvalid
	KindNotFound
	KindConflict
	KindUnavailable // retry later
)

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", e.Code, e.What)
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}

// Job is the view of one job.
type Job struct {
	ID          dataflow.JobID
	Name        string
	State       JobState
	StateReason string // why it is not running well; empty when it is
	BundleSHA   string
	Parallelism int
	Auto        bool // it follows the slots
	Attempt     dataflow.Attempt
	Restarts    int
	Started     time.Time
	Ended       time.Time // zero while it runs
	StateSince  map[JobState]time.Time
	Plan        *graph.Plan // nil until planned
	Vertices    []Vertex
	Checkpoints Checkpoints
	Exceptions  []Exception // newest first, bounded
	Config      graph.Config
	Args        []string
	// RestoredFrom is the checkpoint of the current attempt, 0 for none.
	RestoredFrom dataflow.CheckpointID
}

// Vertex is the view of one vertex of the running plan.
type Vertex struct {
	Index       int
	ID          dataflow.OperatorID
	Name        string
	Parallelism int
	Subtasks    []Subtask
}

// Subtask is the view of one subtask.
type Subtask struct {
	State       string // CREATED SCHEDULED DEPLOYING INITIALIZING RUNNING FINISHED FAILED CANCELED
	TaskManager string
	Worker      string
	Host        string
	Attempt     dataflow.Attempt
	Started     time.Time
	// Figures accumulated in this attempt.
	RecordsIn, RecordsOut                       int64
	BytesIn, BytesOut                           int64
	BusyMillis, IdleMillis, BackPressuredMillis int64
	Watermark                                   int64
	StateBytes                                  int64
	// Operators holds the operators' own figures by "<operator id>.<name>".
	Operators map[string]float64
}

// Checkpoints is the view of a job's checkpoints.
type Checkpoints struct {
	Completed, Failed, InProgress, Restored int
	// History holds the newest first, bounded.
	History       []Checkpoint
	Latest        *Checkpoint // completed
	LastSavepoint *Checkpoint
	LastFailed    *Checkpoint
}

// Checkpoint is the view of one checkpoint or savepoint.
type Checkpoint struct {
	ID        dataflow.CheckpointID
	Savepoint bool
	Status    string // IN_PROGRESS COMPLETED FAILED
	Triggered time.Time
	Completed time.Time // zero until it ended
	// Bytes were written for it, StateBytes are what it consists of, with files
	// of earlier checkpoints.
	Bytes, StateBytes int64
	// InFlightBytes of them are rows that barriers overtook.
	InFlightBytes int64
	Acked         int
	Subtasks      int
	Path          string // URI of the manifest
	Failure       string
	Discarded     bool
	// AlignmentMax is the longest alignment of a subtask.
	AlignmentMax time.Duration
}

// Exception is one failure of a job.
type Exception struct {
	Time        time.Time
	Error       Error
	Stack       string
	Operator    string
	Task        string // "name (3/8)"
	TaskManager string
	Record      string // position of the record, as exact as known
	Attempt     dataflow.Attempt
	// Restarted says that the job went on after it.
	Restarted bool
}

// TaskManager is the view of one taskmanager.
type TaskManager struct {
	ID, Host, Address, Version, OS, Arch string
	Slots, SlotsFree                     int
	MemoryBytes, MemoryUsedBytes         int64
	CPUSeconds                           float64
	PID                                  int64
	Registered, LastHeartbeat            time.Time
	Workers                              []WorkerInfo
	MetricsAddress                       string
}

// WorkerInfo names a worker process.
type WorkerInfo struct {
	ID      string
	Job     dataflow.JobID
	Attempt dataflow.Attempt
	PID     int64
}

// Bundle is the view of a stored bundle.
type Bundle struct {
	SHA256    string
	Name      string // file name at upload
	Size      int64
	Uploaded  time.Time
	Platforms []string // "linux/amd64"
	JobName   string
}

// Submission asks for a job.
type Submission struct {
	BundleSHA   string
	Name        string // overrides the program's
	Parallelism int    // 0: as the program says
	// Auto: the parallelism follows the slots that the job may have.
	Auto bool
	// Operators have a parallelism of their own; those that the program lacks
	// are ignored.
	Operators   map[dataflow.OperatorID]int
	Args        []string
	Properties  map[string]string
	Environment map[string]string
	// FromSavepoint is the path (URI or object key) of a savepoint's manifest.
	FromSavepoint string
	// AllowDrained permits starting from a drained savepoint.
	AllowDrained bool
	DropState    []string
	// RequestID makes a repeated submission return the first one's job.
	RequestID string
	// Like is another job, which may have ended: name, parallelism and arguments
	// that are not given are those that it was submitted with, as are properties
	// and environment under names that are not given.
	Like dataflow.JobID
}

// StopRequest asks for stop-with-savepoint or a savepoint alone.
type StopRequest struct {
	Savepoint string // directory URI; empty: under the job's prefix
	Drain     bool
	Stop      bool // false: savepoint only
}

// Operation is the state of a long operation (savepoint, checkpoint).
type Operation struct {
	ID      string
	Done    bool
	Path    string // manifest's URI when it succeeded
	Failure *Error
	// Checkpoint is its number once known.
	Checkpoint dataflow.CheckpointID
}

// Cluster is the view of the whole cluster.
type Cluster struct {
	Version, Leader, ControlAddress, RESTAddress string
	Epoch                                        dataflow.Epoch
	Started                                      time.Time
	TaskManagers, Slots, SlotsFree               int
	Running, Finished, Canceled, Failed          int
}

// StateQuery asks for live keyed state.
type StateQuery struct {
	// Operator is the UID, name or id of an operator with keyed state; with
	// List it may be empty, for all.
	Operator string
	// List asks for the tables alone.
	List bool
	// Table is the name of a state; empty: all of the operator.
	Table string
	// Key is the key as JSON; texts and times may come without quotes.
	Key string
	// Scan asks for all keys from KeyFrom to KeyTo, both included, empty for
	// no bound, in the order of the keys.
	Scan           bool
	KeyFrom, KeyTo string
	// From and To bound the starts of windows, both included, in milliseconds
	// since the epoch; nil: no bound.
	From, To *int64
	// Limit bounds the entries; 0: 100.
	Limit int
}

// StateResult is what a StateQuery found: state of the running attempt as it
// was when each subtask was read, not committed, and different after a
// restart.
type StateResult struct {
	Attempt   dataflow.Attempt
	Operators []StateOperator
	// Entries are ordered by state, key, window and map key.
	Entries []StateEntry
	// More says that there are entries beyond the limit.
	More bool
}

// StateOperator is an operator with keyed state.
type StateOperator struct {
	ID        dataflow.OperatorID
	UID, Name string
	KeySchema string
	Tables    []StateTable
}

// StateTable is one state of an operator.
type StateTable struct {
	Name    string
	Kind    string // value, list, map, reducing, aggregating, window, session
	Schema  string
	Entries int64 // with List: over all subtasks
}

// StateEntry is one entry; Key, MapKey (of maps alone) and Value are JSON.
type StateEntry struct {
	State string
	Key   []byte
	// Namespace is the start of the window in milliseconds since the epoch, 0
	// for state that belongs to no window.
	Namespace int64
	// WindowEnd is the end of a session; nil for what has none or none that is
	// known from its state.
	WindowEnd *int64
	MapKey    []byte
	Value     []byte
}

// RescaleRequest says how parallel a job is to run.
type RescaleRequest struct {
	// Parallelism is the default; 0 leaves it, and what vertices were given
	// before, as it is.
	Parallelism int
	// Auto: it follows the slots from now on; the rest is ignored.
	Auto bool
	// Vertices have one of their own: by the vertex' id, or the UID, name or id
	// of an operator in it.
	Vertices map[string]Bounds
}

// Bounds are of a vertex' parallelism: the upper one, or as much as the slots
// of now allow, at least the lower one. A lower bound of 0 is the upper one.
type Bounds struct{ Lower, Upper int }

// Freed is what a deletion has given back to the storage.
type Freed struct {
	Objects int
	Bytes   int64
}

// SavepointCheck says what a start from a savepoint makes of its state.
type SavepointCheck struct {
	Path, JobName string
	// Errors are those of the start, which would be refused; the same codes.
	Errors    []*Error
	Operators []OperatorCheck
}

// Fates of an operator in a SavepointCheck, beside those of stateplan.
const (
	FateMapped  = "mapped"  // restored under another name
	FateLost    = "lost"    // no operator takes it: refused
	FateDropped = "dropped" // lost, as --drop-state says
	FateGone    = "gone"    // no operator, and no state to lose
)

// OperatorCheck is what becomes of an operator's state.
type OperatorCheck struct {
	ID   dataflow.OperatorID
	UID  string
	Name string
	// Was is the name in the savepoint where it is another one.
	Was  string
	Fate string
	// Why says more to people, as what is not known.
	Why    string
	Bytes  int64
	States []stateplan.State
}

// Control is what the REST API may ask of the leading jobmanager; safe for
// concurrent use. Errors are *Error: of KindNotFound for a job, an operation or
// a bundle that is not there, KindConflict where its state forbids what is
// asked, KindInvalid for bad input, KindUnavailable while the leader is not
// ready or has lost the leadership: nothing was changed then, ask again. All
// values returned are copies. A ctx that ends ends the wait, not what was begun.
//
// It has more than a few methods because it is one service with one caller.
type Control interface {
	// Cluster is the view of now; it never fails.
	Cluster() Cluster
	// Jobs lists all jobs, the newest first, with those that have ended and are
	// still kept.
	Jobs() []Job
	// Job describes one job with its vertices and exceptions.
	Job(id dataflow.JobID) (Job, error)
	// Submit accepts a job and returns once that is recorded; it is planned and
	// started afterwards. A submission with a RequestID may be repeated: it
	// returns the job of the first one.
	Submit(ctx context.Context, s Submission) (dataflow.JobID, error)
	// Cancel asks the job to end without a savepoint and returns at once; a
	// second call ends it without waiting for side effects to be confirmed. To
	// cancel a job that has ended is a conflict.
	Cancel(ctx context.Context, id dataflow.JobID) error
	// Stop starts a savepoint, with Stop set followed by the job's end. The
	// operation tells how it went.
	Stop(ctx context.Context, id dataflow.JobID, r StopRequest) (opID string, err error)
	// Checkpoint starts a checkpoint besides those of the interval.
	Checkpoint(ctx context.Context, id dataflow.JobID) (opID string, err error)
	// Rescale changes the parallelism of a running job: once there are slots for
	// it, at a checkpoint. Asked for what the job has, it gives up a change that
	// waits for slots. A change under way is a conflict.
	Rescale(ctx context.Context, id dataflow.JobID, r RescaleRequest) (opID string, err error)
	// Operation tells how far a Stop, Checkpoint or Rescale is. A new leader, and a
	// job that has had many since, no longer know it.
	Operation(id dataflow.JobID, opID string) (Operation, error)
	// TaskManagers lists those that are registered now.
	TaskManagers() []TaskManager
	// Log reads a part of a worker's (or, job empty, the taskmanager's) log:
	// limit bytes at most (what is not positive, or too much, means the most
	// there is in one answer) from offset on, which counts from the end when
	// negative. worker empty is the newest of the job there. size is that of the
	// whole log now; at its end data is empty.
	Log(ctx context.Context, taskManager string, job dataflow.JobID, worker string, offset, limit int64) (data []byte, size int64, err error)
	// PutBundle checks the file at path and stores it; the file stays the
	// caller's. The same bytes again change nothing.
	PutBundle(ctx context.Context, name string, path string) (Bundle, error)
	// Bundles lists what is stored.
	Bundles(ctx context.Context) ([]Bundle, error)
	// Bundle describes one, by its SHA-256 in hex.
	Bundle(ctx context.Context, sha string) (Bundle, error)
	// DeleteBundle removes one; while a job that has not ended runs it that is
	// a conflict.
	DeleteBundle(ctx context.Context, sha string) error
	// PlanBundle runs the bundle in plan role on a taskmanager and returns its
	// plan; nothing is started or recorded.
	PlanBundle(ctx context.Context, s Submission) (*graph.Plan, error)
	// Savepoints lists the savepoints in the job's own folder, the newest
	// first; those copied elsewhere are not known.
	Savepoints(ctx context.Context, id dataflow.JobID) ([]Checkpoint, error)
	// OpenSavepoint reads the manifest of the savepoint or checkpoint at a URI.
	OpenSavepoint(ctx context.Context, path string) (*savepoint.Snapshot, error)
	// CheckSavepoint says what a submission would make of the savepoint that it
	// starts from; nothing is started or recorded. Errors say that this could
	// not be found out; that the start would be refused is no error.
	CheckSavepoint(ctx context.Context, s Submission) (SavepointCheck, error)
	// DeleteSavepoint removes a savepoint for good, by its URI. A checkpoint is
	// invalid here; a savepoint that a job recovers from is a conflict.
	DeleteSavepoint(ctx context.Context, path string) (Freed, error)
	// State reads live keyed state of a running job.
	State(ctx context.Context, id dataflow.JobID, q StateQuery) (StateResult, error)
}
