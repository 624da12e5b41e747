package roles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/localcopy"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/bundle"
	"github.com/leatstream/leat/runtime/ctlrpc"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/taskexec"
)

// TaskManager is a taskmanager process with real workers.
type TaskManager struct {
	// Executor describes it; Run fills Launcher, Clock and Log.
	Executor taskexec.Config
	// JobManagers are control addresses; Watch follows the elected leader
	// (either is enough).
	JobManagers []string
	Watch       func(ctx context.Context) <-chan *ha.Leader
	Store       store.Store
	// CopiesBytesMax bounds the copies on disk of state that workers here wrote;
	// 0: none are kept.
	CopiesBytesMax int64
	// CacheBytesMax bounds the bundles kept on disk; 0: the default.
	CacheBytesMax int64
	// PassEnv names variables of the environment that workers get.
	PassEnv []string
	// StateBackend is that of jobs that name none; empty: in memory.
	StateBackend string
	// Observe is given the executor before it runs; nil: nobody asks.
	Observe func(*taskexec.Executor)
	Clock   clock.Clock
	Log     *slog.Logger
}

// Run works until ctx ends; then its workers are ended.
func (cfg TaskManager) Run(ctx context.Context) error {
	dir := cfg.Executor.Dir
	if err := os.MkdirAll(filepath.Join(dir, "spool"), 0o755); err != nil {
		return fmt.Errorf("working folder: %w", err)
	}
	if cfg.CacheBytesMax == 0 {
		cfg.CacheBytesMax = bundle.CacheBytesMaxDefault
	}
	cache, err := bundle.NewCache(filepath.Join(dir, "bundles"), cfg.Store, cfg.CacheBytesMax)
	if err != nil {
		return err
	}
	sockets := cfg.Executor.SocketDir
	if sockets == "" {
		sockets = dir
	}
	socket := filepath.Join(sockets, "tm.sock")
	launcher := taskexec.NewProcessLauncher(taskexec.ProcessConfig{Cache: cache, Socket: socket, PassEnv: cfg.PassEnv, StateBackend: cfg.StateBackend, Clock: cfg.Clock})
	defer launcher.Close()
	ec := cfg.Executor
	ec.Launcher, ec.Clock, ec.Log = launcher, cfg.Clock, cfg.Log
	// What a worker reads back after a crash, it mostly wrote itself, or the
	// worker did whose place it takes.
	copies, err := localcopy.New(cfg.Store, localcopy.Config{
		Dir: filepath.Join(dir, "state-copies"), BytesMax: cfg.CopiesBytesMax, Log: cfg.Log,
		Keep: func(key string) bool { return strings.HasPrefix(key, "jobs/") && strings.HasSuffix(key, ".state") },
	})
	if err != nil {
		return err
	}
	ec.ForgetJob = func(job dataflow.JobID) { copies.Forget(ctlrpc.JobPrefix(job)) }
	executor, err := taskexec.New(ec)
	if err != nil {
		return err
	}
	service := ctlrpc.NewTaskManagerServer(executor, copies, filepath.Join(dir, "spool"), cfg.Clock, cfg.Log)
	serving, err := ctlrpc.ServeWorkers(socket, service)
	if err != nil {
		return err
	}
	defer service.Wait()
	defer serving.Stop(cfg.Clock, 0)
	if cfg.Observe != nil {
		cfg.Observe(executor)
	}
	return cfg.work(ctx, executor)
}

// work runs the executor and its session side by side; the end of one ends
// the other. The session outlasts ctx: the executor drains by it.
func (cfg TaskManager) work(ctx context.Context, e *taskexec.Executor) error {
	session, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := ctlrpc.NewClient(ctlrpc.ClientConfig{Addresses: cfg.JobManagers, Watch: cfg.Watch, Clock: cfg.Clock, Log: cfg.Log})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := client.Run(session, e); err != nil && session.Err() == nil {
			cfg.Log.Error("session with the jobmanager", "error", err)
		}
		cancel()
	})
	err := e.Run(ctx)
	hangUp()
	wg.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
