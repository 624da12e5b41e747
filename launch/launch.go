// Package launch is the one entry point of a program that is a job. Started
// by hand it runs the job in an embedded cluster in this process; started by
// a taskmanager it plans or works. It is the composition root of those roles
// and holds no logic of the engine.
//
//	func main() {
//		launch.Main(func(env *stream.Env) error {
//			orders := stream.From(env, source, stream.UID("orders"))
//			…
//			return nil
//		})
//	}
package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/launch/stateprobe"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/stateplan"
	"github.com/leatstream/leat/runtime/taskexec"
	"github.com/leatstream/leat/stream"
)

// Codes of faults of the program itself.
const (
	// CodeGraph: the program's graph cannot be built.
	CodeGraph = "LEAT1217"
	// CodePanic: the program panicked while it built its graph.
	CodePanic = "LEAT1218"
	// CodeUsage: the command line cannot be understood.
	CodeUsage = "LEAT1219"
)

// Exit codes.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitOrphan    = 3 // the taskmanager has gone
	exitJobFailed = 8
)

// Build adds a job's operators to env. It is run again in each process of the
// job and must do the same each time: no clock, no random numbers, no I/O, no
// side effects; arguments come from env.Args, not os.Args.
type Build func(env *stream.Env) error

// Main runs the program in the role that its environment names and ends the
// process. It is the only call in main.
func Main(build func(env *stream.Env) error) {
	os.Exit(run(build, os.Args[1:]))
}

func run(build Build, args []string) int {
	switch role := os.Getenv(taskexec.EnvRole); role {
	case taskexec.RolePlan:
		return planRole(build)
	case taskexec.RoleWorker:
		return workerRole(build)
	case "", "local":
		return localRole(build, args)
	default:
		_, _ = fmt.Fprintf(os.Stderr, "error: %s=%q is no role\n", taskexec.EnvRole, role) // stderr may be closed
		return exitUsage
	}
}

// Graph builds a program's graph from its recorded inputs. Errors are
// *jobview.Error, a panic of the program included.
func Graph(build func(env *stream.Env) error, args []string, properties map[string]string) (g *graph.JobGraph, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &jobview.Error{Code: CodePanic, Kind: jobview.KindInvalid,
				What: fmt.Sprintf("the program panicked while it built its graph: %v", r), Where: string(debug.Stack())}
		}
	}()
	env := stream.NewEnv(stream.ProgramArgs(args), stream.Properties(properties))
	if err := build(env); err != nil {
		return nil, graphError(err)
	}
	g, err = env.Graph()
	if err != nil {
		return nil, graphError(err)
	}
	return g, nil
}

// graphError keeps the code that a connector gave.
func graphError(err error) error {
	var coded *jobview.Error
	if errors.As(err, &coded) {
		return coded
	}
	out := &jobview.Error{Code: CodeGraph, Kind: jobview.KindInvalid, What: "the job graph cannot be built", Why: err.Error(),
		Fix: []string{"correct the program or its arguments; run by hand it says the same: go run . --local"}}
	var fatal *connectors.FatalError
	if errors.As(err, &fatal) {
		out.Code, out.What, out.Why = fatal.Code, fatal.What, fatal.Why
		if fatal.Fix != "" {
			out.Fix = []string{fatal.Fix}
		}
	}
	return out
}

// planRole builds the graph and writes it to the taskmanager's pipe.
func planRole(build Build) int {
	holdLifeline()
	out := plan(build)
	b, err := json.Marshal(out)
	if err == nil {
		err = writeResult(b)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "error:", err) // stderr may be closed
		return exitFailed
	}
	return exitDone
}

func plan(build Build) taskexec.PlanOutput {
	in, err := recordedInputs()
	if err != nil {
		return taskexec.PlanOutput{Error: planError(err)}
	}
	held := in.Properties[stateplan.Property]
	delete(in.Properties, stateplan.Property)
	g, err := Graph(build, in.Args, in.Properties)
	if err != nil {
		return taskexec.PlanOutput{Error: planError(err)}
	}
	b, err := withState(g, held)
	if err != nil {
		return taskexec.PlanOutput{Error: planError(err)}
	}
	return taskexec.PlanOutput{Graph: b, Fingerprint: g.Fingerprint()}
}

// withState returns the graph, with what its operators make of the state that
// is asked about beside it, if any is.
func withState(g *graph.JobGraph, held string) ([]byte, error) {
	if held == "" {
		return g.Marshal()
	}
	h, err := stateplan.Parse(held)
	if err != nil {
		return nil, err
	}
	// The process ends by its taskmanager if an operator hangs.
	return stateplan.Attach(g, stateprobe.Probe(context.Background(), g, h))
}

func planError(err error) *taskexec.PlanError {
	e := asError(err)
	return &taskexec.PlanError{Code: e.Code, What: e.What, Where: e.Where, Why: e.Why, Fix: e.Fix}
}

func asError(err error) *jobview.Error {
	var coded *jobview.Error
	if errors.As(err, &coded) {
		return coded
	}
	return &jobview.Error{Code: CodeGraph, What: err.Error()}
}

func writeResult(b []byte) error {
	f, err := inheritedFile(taskexec.EnvResult)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

func inheritedFile(name string) (*os.File, error) {
	fd, err := strconv.Atoi(os.Getenv(name))
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is no file descriptor: this role is started by a taskmanager", name, os.Getenv(name))
	}
	return os.NewFile(uintptr(fd), strings.ToLower(name)), nil
}

// holdLifeline ends this process with its taskmanager: the pipe's other end
// closes when that one dies, however it dies. The goroutine lives as long as
// the process.
func holdLifeline() {
	f, err := inheritedFile(taskexec.EnvLifeline)
	if err != nil {
		return // started by hand in this role, to be debugged
	}
	go func() {
		_, _ = io.Copy(io.Discard, f) // nothing is ever sent
		os.Exit(exitOrphan)
	}()
}

// recordedInputs reads what was recorded when the job was submitted.
func recordedInputs() (taskexec.Inputs, error) {
	var in taskexec.Inputs
	path := os.Getenv(taskexec.EnvInputs)
	if path == "" {
		in.Args = os.Args[1:]
		return in, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return in, fmt.Errorf("recorded inputs: %w", err)
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return in, fmt.Errorf("recorded inputs %s: %w", path, err)
	}
	return in, nil
}
