package taskexec

import (
	"time"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// event is what the core is told. Every event carries the time at which the
// driver saw it; the core reads no clock.
type event interface{ isEvent() }

type (
	// evConnected: a jobmanager admitted this taskmanager.
	evConnected struct{ registered *controlv1.Registered }
	// evDisconnected: the session is over.
	evDisconnected struct{}
	// evMessage: the jobmanager said something.
	evMessage struct{ m *controlv1.JobManagerMessage }
	// evStarted: the worker's process runs.
	evStarted struct {
		worker string
		pid    int64
	}
	// evStartFailed: it could not be fetched or started; no process is left.
	evStartFailed struct {
		worker string
		err    *controlv1.ErrorInfo
	}
	// evExited: the process has gone. It follows evStarted.
	evExited struct {
		worker string
		exit   Exit
	}
	// evAttached: the worker opened its session.
	evAttached struct{ worker string }
	// evDetached: that session is over.
	evDetached struct{ worker string }
	// evWorker: the worker said something to its jobmaster.
	evWorker struct {
		worker string
		ev     *controlv1.WorkerEvent
	}
	// evWorkerStuck: the worker's session takes no more commands.
	evWorkerStuck struct {
		worker string
		why    string
	}
	// evPlanned: a plan child has ended.
	evPlanned struct{ result *controlv1.PlanResult }
	// evSample: memory in use, by worker, and the figures of the heartbeat.
	evSample struct {
		memory     map[string]int64
		ownMemory  int64
		cpuSeconds float64
	}
	// evTick: time has passed.
	evTick struct{}
	// evShutdown: the taskmanager is to end, once its workers are replaced
	// elsewhere if there is time for it.
	evShutdown struct{}
)

func (evConnected) isEvent()    {}
func (evDisconnected) isEvent() {}
func (evMessage) isEvent()      {}
func (evStarted) isEvent()      {}
func (evStartFailed) isEvent()  {}
func (evExited) isEvent()       {}
func (evAttached) isEvent()     {}
func (evDetached) isEvent()     {}
func (evWorker) isEvent()       {}
func (evWorkerStuck) isEvent()  {}
func (evPlanned) isEvent()      {}
func (evSample) isEvent()       {}
func (evTick) isEvent()         {}
func (evShutdown) isEvent()     {}

// command is what the core wants done, in order.
type command interface{ isCommand() }

type (
	// cmdSend queues a message for the jobmanager.
	cmdSend struct{ m *controlv1.TaskManagerMessage }
	// cmdDrop ends the session with the jobmanager.
	cmdDrop struct{ reason string }
	// cmdStart fetches the bundle and starts a worker: evStarted or
	// evStartFailed follows.
	cmdStart struct {
		start  *controlv1.StartWorker
		memory int64
		cpus   int
	}
	// cmdCancelStart gives up a start that is under way; evStartFailed or
	// evStarted still follows.
	cmdCancelStart struct{ worker string }
	// cmdSignal asks a process to end, or kills it.
	cmdSignal struct {
		worker string
		kill   bool
	}
	// cmdDeliver passes a command to a worker.
	cmdDeliver struct {
		worker string
		c      *controlv1.WorkerCommand
	}
	// cmdForget ends a worker's token and closes its log.
	cmdForget struct{ worker string }
	// cmdForgetJob gives up what is kept of a job for its next worker.
	cmdForgetJob struct{ job string }
	// cmdPlan runs a plan child: evPlanned follows.
	cmdPlan struct {
		req     *controlv1.PlanRequest
		timeout time.Duration
	}
	// cmdCancelPlan kills a plan child; evPlanned still follows.
	cmdCancelPlan struct{ request string }
	// cmdReadLog reads a part of a log and sends it.
	cmdReadLog struct{ req *controlv1.ReadLog }
)

func (cmdSend) isCommand()        {}
func (cmdDrop) isCommand()        {}
func (cmdForgetJob) isCommand()   {}
func (cmdStart) isCommand()       {}
func (cmdCancelStart) isCommand() {}
func (cmdSignal) isCommand()      {}
func (cmdDeliver) isCommand()     {}
func (cmdForget) isCommand()      {}
func (cmdPlan) isCommand()        {}
func (cmdCancelPlan) isCommand()  {}
func (cmdReadLog) isCommand()     {}

// Exit says how a worker ended.
type Exit struct {
	Code   int32  // -1 when killed by a signal
	Signal string // "killed", "segmentation fault"
	// StderrTail is the end of what it printed to stderr.
	StderrTail string
}
