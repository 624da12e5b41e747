package taskexec

import (
	"context"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Names of the environment variables by which a taskmanager tells a program
// what it is to be. Package launch reads them.
const (
	EnvRole   = "LEAT_ROLE" // RoleWorker or RolePlan; unset: started by hand
	EnvSocket = "LEAT_WORKER_SOCKET"
	EnvWorker = "LEAT_WORKER_ID"
	EnvToken  = "LEAT_WORKER_TOKEN"
	// EnvInputs names a file with the recorded ProgramInputs, as JSON.
	EnvInputs = "LEAT_INPUTS_FILE"
	// EnvLifeline is the descriptor of a pipe that ends with the taskmanager.
	EnvLifeline = "LEAT_LIFELINE_FD"
	// EnvResult is the descriptor to which the plan role writes its PlanOutput.
	EnvResult = "LEAT_RESULT_FD"
	// EnvDir is the worker's own folder for local state.
	EnvDir = "LEAT_WORKER_DIR"
	// EnvStateBackend names the state backend of jobs that name none.
	EnvStateBackend = "LEAT_STATE_BACKEND"
	// EnvProfile, set for a taskmanager, names a folder into which each of its
	// workers writes a CPU profile, from its start to its end.
	EnvProfile = "LEAT_PPROF"

	RoleWorker = "worker"
	RolePlan   = "plan"
)

// Inputs are the recorded inputs of a program, as handed to it.
type Inputs struct {
	Args       []string          `json:"args,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

// PlanOutput is what the plan role answers, as JSON.
type PlanOutput struct {
	Fingerprint string `json:"fingerprint,omitempty"`
	Graph       []byte `json:"graph,omitempty"` // graph.JobGraph, JSON
	// Error is set instead when the graph could not be built.
	Error *PlanError `json:"error,omitempty"`
}

// PlanError is controlv1.ErrorInfo in PlanOutput.
type PlanError struct {
	Code  string   `json:"code"`
	What  string   `json:"what"`
	Where string   `json:"where,omitempty"`
	Why   string   `json:"why,omitempty"`
	Fix   []string `json:"fix,omitempty"`
}

// Spec says which worker to start.
type Spec struct {
	Start *controlv1.StartWorker
	// Token is what the worker has to show.
	Token string
	// Dir is the worker's own folder; it exists, is empty, and is removed
	// after the worker's end.
	Dir         string
	MemoryBytes int64 // its share
	CPUs        int
	// Stdout and Stderr take what it prints; safe for concurrent use.
	Log *LogFile
	// Host is where an in-process worker attaches.
	Host Host
}

// Host is the taskmanager as its workers see it; ctlrpc.WorkerHost says more.
type Host interface {
	Attach(hello *controlv1.Hello, send func(*controlv1.WorkerCommand) error, drop func(reason string)) (*controlv1.Welcome, error)
	WorkerEvent(workerID string, ev *controlv1.WorkerEvent)
	Detach(workerID string)
}

// Launcher starts workers and plans. It is safe for concurrent use.
type Launcher interface {
	// Start starts a worker; fetching its bundle may take long, and ctx ends
	// that. A worker that runs is ended through its Process only. Errors are
	// *jobview.Error where people can act on them.
	Start(ctx context.Context, s Spec) (Process, error)
	// Plan runs a program in plan role; it ends with ctx at the latest, and
	// its request id is set by the caller.
	Plan(ctx context.Context, req *controlv1.PlanRequest, dir string) *controlv1.PlanResult
}

// Process is a running worker.
type Process interface {
	PID() int64
	// Terminate asks it to end, Kill ends it. Both may be called at any time,
	// also after its end.
	Terminate()
	Kill()
	// Wait returns when it has gone. It is called once.
	Wait() Exit
	// Memory is what it holds now, 0 if that is not known.
	Memory() int64
}
