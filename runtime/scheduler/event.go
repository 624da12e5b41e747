package scheduler

import (
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/slots"
)

// Event is something that happened. Events of workers name their attempt:
// those of another attempt than the live one are dropped and counted.
type Event interface{ event() }

// Events of the job.
type (
	// Planned brings the plan; the job then asks for slots.
	Planned struct {
		Name        string // of the job, now that the program has been asked
		Plan        *graph.Plan
		Fingerprint string
	}
	// Replan brings another plan for the next attempt, which then follows at
	// once: the same graph at another parallelism.
	Replan struct {
		Plan   *graph.Plan
		Reason string
	}
	// Tick says that time has passed; due when Next is reached.
	Tick struct{}
	// SlotsGranted answers AcquireSlots.
	SlotsGranted struct{ Shares []slots.Share }
	// SlotsShort answers AcquireSlots while there are too few; SlotsGranted
	// follows when there are enough.
	SlotsShort struct{ Reason string }
	// Prepared answers Prepare: the attempt is recorded and its restore known.
	Prepared struct{ Attempt dataflow.Attempt }
	// PrepareFailed answers Prepare.
	PrepareFailed struct {
		Attempt dataflow.Attempt
		Failure Failure
	}
	// Cancel asks for the end of the job. Asked again while effects are being
	// settled, it ends without waiting for them.
	Cancel struct{}
	// Fail makes the live attempt fail, or the whole job if it is fatal.
	Fail struct{ Failure Failure }
	// Finish says that the last checkpoint of the job (final, or the savepoint
	// of a stop) is committed: the job ends once its effects are confirmed.
	Finish struct{}
	// Effects tells whether side effects of the latest committed checkpoint
	// may be unconfirmed.
	Effects struct{ Pending bool }
)

// Events of taskmanagers and workers.
type (
	// TaskManagerJoined tells that a taskmanager registered and which workers
	// of this job it runs.
	TaskManagerJoined struct {
		TaskManager string
		Workers     []string
	}
	// TaskManagerLost tells that a taskmanager is gone with its workers.
	TaskManagerLost struct{ TaskManager, Reason string }
	// WorkerReady tells that a worker listens.
	WorkerReady struct {
		Attempt dataflow.Attempt
		Worker  string
		Ready   *controlv1.Ready
	}
	// WorkerWaits tells that a worker tries something outside again and again,
	// and says so to people.
	WorkerWaits struct {
		Attempt dataflow.Attempt
		Worker  string
	}
	// WorkerDeployed tells that its tasks are open and restored.
	WorkerDeployed struct {
		Attempt dataflow.Attempt
		Worker  string
	}
	// WorkerExited tells that the process is gone.
	WorkerExited struct {
		Attempt dataflow.Attempt
		Worker  string
		Exit    *controlv1.WorkerExited
	}
	// WorkerNotStarted tells that there is no process.
	WorkerNotStarted struct {
		Attempt dataflow.Attempt
		Worker  string
		Error   *controlv1.ErrorInfo
	}
	// WorkerFailed tells that a worker cannot go on.
	WorkerFailed struct {
		Attempt dataflow.Attempt
		Worker  string
		Failure *controlv1.Failure
	}
	// WorkerStanding answers Attach.
	WorkerStanding struct {
		Attempt  dataflow.Attempt
		Worker   string
		Standing *controlv1.Standing
	}
	// TaskChanged tells the new state of a subtask.
	TaskChanged struct {
		Attempt dataflow.Attempt
		Worker  string
		Status  *controlv1.TaskStatus
	}
)

func (Planned) event()           {}
func (Replan) event()            {}
func (Tick) event()              {}
func (SlotsGranted) event()      {}
func (SlotsShort) event()        {}
func (Prepared) event()          {}
func (PrepareFailed) event()     {}
func (Cancel) event()            {}
func (Fail) event()              {}
func (Finish) event()            {}
func (Effects) event()           {}
func (TaskManagerJoined) event() {}
func (TaskManagerLost) event()   {}
func (WorkerReady) event()       {}
func (WorkerWaits) event()       {}
func (WorkerDeployed) event()    {}
func (WorkerExited) event()      {}
func (WorkerNotStarted) event()  {}
func (WorkerFailed) event()      {}
func (WorkerStanding) event()    {}
func (TaskChanged) event()       {}

// Failure is why an attempt, or the job, fails.
type Failure struct {
	Error jobview.Error
	// Fatal failures are not mended by a restart.
	Fatal bool
	// Unstartable says that no attempt can get as far as to settle effects.
	Unstartable               bool
	Stack, Operator, Record   string
	Task, TaskManager, Worker string
}

// Command is something for the driver to do.
type Command interface{ command() }

// Commands.
type (
	// AcquireSlots asks for the job's slots: N in all, those it holds count.
	AcquireSlots struct{ N int }
	// ReleaseSlots gives all slots back.
	ReleaseSlots struct{}
	// Prepare asks to record the attempt and its workers, and to plan its
	// restore; answered by Prepared or PrepareFailed. Attempt is the live one.
	Prepare struct{ Attempt dataflow.Attempt }
	// StartWorker, Deploy and Start lead one worker up.
	StartWorker struct{ Worker Worker }
	Deploy      struct{ Worker Worker }
	Start       struct{ Worker Worker }
	// Attach asks a worker of a former leader's attempt where it stands;
	// answered by WorkerStanding.
	Attach struct{ Worker Worker }
	// Disown says that no more workers of a former leader are taken over: they
	// are attached, or their attempt is being ended.
	Disown struct{}
	// StopWorker ends a worker; the driver reports its exit.
	StopWorker struct {
		Worker Worker
		Grace  time.Duration
		Reason string
	}
	// DropTaskManager cuts off a taskmanager that does not do what it is told.
	DropTaskManager struct{ TaskManager, Reason string }
	// TasksRunning says that all tasks run: checkpoints may be taken.
	TasksRunning struct{ Attempt dataflow.Attempt }
	// TasksFinished says that all tasks reached the end of their input.
	TasksFinished struct{ Attempt dataflow.Attempt }
	// Settle asks to take no further checkpoint and to report Effects when
	// those of the last one are confirmed.
	Settle struct{}
	// AttemptEnding says that the attempt is over: what is in flight (a
	// checkpoint) is void, and later messages of its workers mean nothing.
	AttemptEnding struct{ Attempt dataflow.Attempt }
	// Ended says that the job reached a terminal state.
	Ended struct{ State State }
)

func (AcquireSlots) command()    {}
func (ReleaseSlots) command()    {}
func (Prepare) command()         {}
func (StartWorker) command()     {}
func (Deploy) command()          {}
func (Start) command()           {}
func (Attach) command()          {}
func (Disown) command()          {}
func (StopWorker) command()      {}
func (DropTaskManager) command() {}
func (TasksRunning) command()    {}
func (TasksFinished) command()   {}
func (Settle) command()          {}
func (AttemptEnding) command()   {}
func (Ended) command()           {}
