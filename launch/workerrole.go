package launch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/launch/bundled"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ctlrpc"
	"github.com/leatstream/leat/runtime/taskexec"
	"github.com/leatstream/leat/runtime/worker"
	"github.com/leatstream/leat/state"
)

var (
	_ worker.Link    = (*ctlrpc.WorkerClient)(nil)
	_ worker.Objects = (*ctlrpc.WorkerClient)(nil)
	_ worker.Link    = (*taskexec.MemoryLink)(nil)
	_ worker.Objects = (*taskexec.JobObjects)(nil)
)

// Times of the worker role.
const (
	dialTimeout  = 10 * time.Second
	flushTimeout = 2 * time.Second
)

// workerRole rebuilds the graph and runs this process's share of the job.
func workerRole(build Build) int {
	holdLifeline()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	id := os.Getenv(taskexec.EnvWorker)
	stopProfile, err := profile(os.Getenv(taskexec.EnvProfile), id)
	if err != nil {
		log.Warn("no CPU profile is written", "error", err)
	}
	defer stopProfile()
	client, err := connect(ctx, id)
	if err != nil {
		log.Error("no session with the taskmanager", "error", err)
		return exitFailed
	}
	defer func() { _ = client.Close() }() // the process ends
	err = work(ctx, build, id, client, log.With("worker", id))
	flush, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	client.Flush(flush)
	if err == nil || ctx.Err() != nil {
		return exitDone
	}
	log.Error("the worker ends", "error", err)
	return exitFailed
}

// connect uses the token once and forgets it: what the program starts does
// not inherit it.
func connect(ctx context.Context, id string) (*ctlrpc.WorkerClient, error) {
	socket, token := os.Getenv(taskexec.EnvSocket), os.Getenv(taskexec.EnvToken)
	if err := errors.Join(os.Unsetenv(taskexec.EnvToken), os.Unsetenv(taskexec.EnvRole)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return ctlrpc.DialTaskManager(ctx, socket, id, token)
}

func work(ctx context.Context, build Build, id string, client *ctlrpc.WorkerClient, log *slog.Logger) error {
	in, err := recordedInputs()
	if err != nil {
		return reportFailure(client, err)
	}
	g, err := Graph(build, in.Args, in.Properties)
	if err != nil {
		return reportFailure(client, err)
	}
	backends, err := openState(g, log)
	if err != nil {
		return reportFailure(client, err)
	}
	err = worker.Run(ctx, worker.Config{
		Graph: g, WorkerID: id, Welcome: client.Welcome, Link: client, Objects: client,
		NewBackend: backends.New, ScratchDir: os.Getenv(taskexec.EnvDir), Network: bundled.NewNetwork(), Clock: clock.Real{}, Log: log,
	})
	if closeErr := backends.Close(); closeErr != nil {
		log.Warn("closing local state", "error", closeErr) // the taskmanager removes the folder
	}
	return err
}

// openState opens the state backend that the job wants, or else the cluster,
// in the worker's own folder.
func openState(g *graph.JobGraph, log *slog.Logger) (state.Backends, error) {
	cfg := g.Config
	if cfg.StateBackend == "" {
		kind, err := graph.ParseStateBackend(os.Getenv(taskexec.EnvStateBackend))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", taskexec.EnvStateBackend, err)
		}
		cfg.StateBackend = kind
	}
	return bundled.OpenState(cfg, filepath.Join(os.Getenv(taskexec.EnvDir), "state"), log)
}

// reportFailure tells the jobmaster why there is no worker; no restart helps
// against a graph that cannot be built.
func reportFailure(link worker.Link, err error) error {
	e := asError(err)
	sent := link.Send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Failed{Failed: &controlv1.WorkerFailed{
		Failure: &controlv1.Failure{Fatal: true, Error: &controlv1.ErrorInfo{
			Code: e.Code, What: e.What, Where: e.Where, Why: e.Why, Fix: e.Fix,
		}},
	}}})
	return errors.Join(fmt.Errorf("the graph cannot be built: %w", err), sent)
}

// profile writes a CPU profile of this process into folder until the function
// that it returns is called. That is never nil.
func profile(folder, id string) (stop func(), err error) {
	if folder == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(folder, strings.ReplaceAll(id, "/", "-")+".pprof"))
	if err != nil {
		return func() {}, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return func() {}, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut off harms nobody
	}, nil
}
