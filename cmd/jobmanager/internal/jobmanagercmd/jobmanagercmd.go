// Package jobmanagercmd is the program jobmanager without its process: it
// turns the configuration into a role and runs it.
package jobmanagercmd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/internal/telemetry"
	"github.com/leatstream/leat/launch/command"
	"github.com/leatstream/leat/launch/promview"
	"github.com/leatstream/leat/launch/roles"
	"github.com/leatstream/leat/launch/settings"
	"github.com/leatstream/leat/runtime/dispatcher"
	"github.com/leatstream/leat/runtime/jobview"
)

const long = `jobmanager accepts jobs, schedules them on taskmanagers and takes their
checkpoints. Several may run: one leads, the others stand by.

Options come from flags, else from the environment, else from the file, else
from their defaults.`

// Execute runs the program and returns its exit code.
func Execute(ctx context.Context, args []string, stdout, stderr io.Writer, env func(string) (string, bool)) int {
	cfg := &settings.JobManager{}
	return command.Execute(ctx, command.Program{
		Name: "jobmanager", Short: "run a jobmanager", Long: long, Settings: cfg,
		Run: func(ctx context.Context, stderr io.Writer) error { return run(ctx, cfg, stderr) },
	}, args, stdout, stderr, env)
}

func run(ctx context.Context, cfg *settings.JobManager, stderr io.Writer) (err error) {
	log, err := cfg.Log.Logger(stderr)
	if err != nil {
		return err
	}
	objects, err := cfg.Store.Open(clock.Real{})
	if err != nil {
		return err
	}
	coordination, err := cfg.HA.Open(clock.Real{}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, coordination.Close()) }()
	control, err := command.Listen("control.listen", cfg.Control.Listen)
	if err != nil {
		return err
	}
	web, err := command.Listen("rest.listen", cfg.REST.Listen)
	if err != nil {
		return errors.Join(err, control.Close())
	}
	warn(log, cfg)
	log.Info("jobmanager", "version", release.Version, "id", cfg.Name(), "control", control.Addr().String(), "rest", "http://"+web.Addr().String(), "store", objects.URI(""))
	return roles.JobManager{
		ID: cfg.Name(), Control: control, REST: web,
		AdvertisedControl: cmp.Or(cfg.Control.Advertise, control.Addr().String()),
		AdvertisedREST:    cmp.Or(cfg.REST.Advertise, restURL(web)),
		Coordination:      coordination, Store: objects, TempDir: cfg.TempDir(), Extra: metrics,
		Dispatcher: dispatcher.Config{
			HeartbeatInterval: cfg.Heartbeat.Interval, HeartbeatTimeout: cfg.Heartbeat.Timeout, PlanTimeout: cfg.PlanTimeout,
		},
		Clock: clock.Real{}, Log: log,
	}.Run(ctx)
}

func restURL(l net.Listener) string { return "http://" + l.Addr().String() }

func warn(log *slog.Logger, cfg *settings.JobManager) {
	if cfg.HA.Kind == "memory" {
		log.Warn("jobs are kept in memory: they are forgotten when this process ends (ha.kind is memory)")
	}
	if cfg.Insecure {
		log.Warn("connections are neither encrypted nor authenticated: whoever reaches the ports can run programs here (insecure is true)")
	}
}

// metrics adds the page for Prometheus.
func metrics(control func() jobview.Control) map[string]http.Handler {
	r := telemetry.NewRegistry("jobmanager", release.Version)
	r.MustRegister(&promview.JobManager{Control: control, NowMillis: func() int64 { return clock.Millis(clock.Real{}) }})
	return map[string]http.Handler{"GET /metrics": telemetry.MetricsHandler(r)}
}
