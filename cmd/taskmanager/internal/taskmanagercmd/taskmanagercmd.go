// Package taskmanagercmd is the program taskmanager without its process: it
// turns the configuration into a role and runs it.
package taskmanagercmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/internal/telemetry"
	"github.com/leatstream/leat/launch/command"
	"github.com/leatstream/leat/launch/promview"
	"github.com/leatstream/leat/launch/roles"
	"github.com/leatstream/leat/launch/settings"
	"github.com/leatstream/leat/runtime/taskexec"
)

const long = `taskmanager offers slots to the leading jobmanager and runs one worker process
for each job that uses them.

Options come from flags, else from the environment, else from the file, else
from their defaults.`

// Execute runs the program and returns its exit code.
func Execute(ctx context.Context, args []string, stdout, stderr io.Writer, env func(string) (string, bool)) int {
	cfg := &settings.TaskManager{}
	return command.Execute(ctx, command.Program{
		Name: "taskmanager", Short: "run a taskmanager", Long: long, Settings: cfg,
		Run: func(ctx context.Context, stderr io.Writer) error { return run(ctx, cfg, stderr) },
	}, args, stdout, stderr, env)
}

func run(ctx context.Context, cfg *settings.TaskManager, stderr io.Writer) (err error) {
	if err := os.MkdirAll(cfg.WorkDir(), 0o700); err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	own, err := taskexec.OpenLog(filepath.Join(cfg.WorkDir(), "taskmanager.log"))
	if err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	log, err := cfg.Log.Logger(io.MultiWriter(stderr, own))
	if err != nil {
		return err
	}
	objects, err := cfg.Store.Open(clock.Real{})
	if err != nil {
		return err
	}
	tm := roles.TaskManager{
		JobManagers: cfg.JobManagers, Store: objects, CacheBytesMax: int64(cfg.BundleCache), CopiesBytesMax: int64(cfg.StateCopies), PassEnv: cfg.WorkerEnv, StateBackend: cfg.StateBackend,
		Executor: executorConfig(cfg, own), Clock: clock.Real{}, Log: log,
	}
	if len(cfg.HA.Endpoints) > 0 {
		coordination, err := cfg.HA.Coordination().Open(clock.Real{}, log)
		if err != nil {
			return err
		}
		defer func() { _ = coordination.Close() }() // it only reads
		tm.Watch = coordination.Watch
	}
	stop, err := serveMetrics(cfg, &tm, log)
	if err != nil {
		return err
	}
	defer stop()
	log.Info("taskmanager", "version", release.Version, "id", cfg.Name(), "slots", cfg.SlotCount(), "memory", cfg.MemoryBytes(), "dir", cfg.WorkDir(), "store", objects.URI(""))
	if cfg.Insecure {
		log.Warn("connections are neither encrypted nor authenticated: whoever reaches the ports can run programs here (insecure is true)")
	}
	return tm.Run(ctx)
}

func executorConfig(cfg *settings.TaskManager, own *taskexec.LogFile) taskexec.Config {
	return taskexec.Config{
		ID: cfg.Name(), Host: cfg.Host(), Address: cfg.Address, HostID: cfg.Machine(),
		Slots: cfg.SlotCount(), MemoryBytes: cfg.MemoryBytes(), Dir: cfg.WorkDir(), SocketDir: cfg.SocketDir,
		HelloMax: cfg.HelloMax, AwayMax: cfg.AwayMax, DrainMax: cfg.DrainMax, OwnLog: own,
	}
}

// serveMetrics opens the port for Prometheus, if there is one.
func serveMetrics(cfg *settings.TaskManager, tm *roles.TaskManager, log *slog.Logger) (stop func(), err error) {
	if cfg.Metrics.Listen == "" {
		return func() {}, nil
	}
	l, err := command.Listen("metrics.listen", cfg.Metrics.Listen)
	if err != nil {
		return nil, err
	}
	tm.Executor.MetricsAddress = l.Addr().String()
	r := telemetry.NewRegistry("taskmanager", release.Version)
	tm.Observe = func(e *taskexec.Executor) { r.MustRegister(&promview.TaskManager{Stats: e.Stats}) }
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", telemetry.MetricsHandler(r))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // the client may have gone
	})
	return command.ServeHTTP(l, mux, log), nil
}
