// Package localcluster runs a whole cluster on this machine: jobmanager,
// taskmanagers, etcd and, if asked, a Kafka-protocol broker in one process,
// with workers as child processes. It is the same code as a real cluster; only
// the servers around it are embedded. It is not for production.
package localcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/leatstream/leat/checkpoint/store/filestore"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/devbroker"
	"github.com/leatstream/leat/internal/devetcd"
	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/internal/telemetry"
	"github.com/leatstream/leat/launch/promview"
	"github.com/leatstream/leat/launch/roles"
	"github.com/leatstream/leat/runtime/ha/etcdha"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
	"github.com/leatstream/leat/runtime/taskexec"
)

// Options say what to run. The zero value is not usable: Dir is needed.
type Options struct {
	// Dir holds everything: state of an earlier cluster there is taken over.
	Dir string
	// RESTPort is the port of the REST API, 0 for a free one.
	RESTPort int
	// TaskManagers and Slots of each.
	TaskManagers, Slots int
	// Kafka runs a broker at KafkaPort (0: the port used before in Dir, else a
	// free one).
	Kafka     bool
	KafkaPort int
	// MemoryBytes of each taskmanager, shared by its workers.
	MemoryBytes int64
	// Log receives the log of all parts.
	Log io.Writer
	// Verbose logs at debug level.
	Verbose bool
}

// startMax bounds how long the cluster may take to answer.
const startMax = 30 * time.Second

// leaseTTL is long: there is no standby that could lead instead, and a busy
// laptop must not lose its only leader.
const leaseTTL = 10 * time.Second

// cluster is a cluster being run.
type cluster struct {
	opts    Options
	level   slog.Level
	log     *slog.Logger
	clock   clock.Clock
	sockets string
	etcd    *devetcd.Server
	broker  *devbroker.Broker
	wg      sync.WaitGroup
	ended   chan error // the first part that ended
	status  Status
}

// Run starts a cluster, calls up once it answers, and keeps it until ctx
// ends. An error of any part ends all.
func Run(ctx context.Context, opts Options, up func(Status)) (err error) {
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return fmt.Errorf("folder of the cluster: %w", err)
	}
	unlock, err := lock(opts.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	level := slog.LevelInfo
	if opts.Verbose {
		level = slog.LevelDebug
	}
	c := &cluster{
		opts: opts, level: level, clock: clock.Real{}, ended: make(chan error, 1+opts.TaskManagers),
		log: slog.New(slog.NewTextHandler(opts.Log, &slog.HandlerOptions{Level: level})),
	}
	// Unix sockets need short paths, whatever Dir is.
	if c.sockets, err = os.MkdirTemp("", "leat-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(c.sockets) }() // scratch
	ctx, cancel := context.WithCancel(ctx)
	defer c.close(cancel)
	if err := c.start(ctx); err != nil {
		return err
	}
	if err := c.await(ctx); err != nil {
		return err
	}
	if err := c.status.write(opts.Dir); err != nil {
		return err
	}
	defer forget(opts.Dir)
	up(c.status)
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.ended:
		return fmt.Errorf("a part of the cluster ended: %w", err)
	}
}

func (c *cluster) close(cancel context.CancelFunc) {
	cancel()
	c.wg.Wait()
	if c.broker != nil {
		c.broker.Close()
	}
	if c.etcd != nil {
		c.etcd.Close()
	}
}

// start starts the servers, then the roles.
func (c *cluster) start(ctx context.Context) error {
	dir := c.opts.Dir
	var err error
	if c.etcd, err = devetcd.Start(ctx, devetcd.Config{Dir: filepath.Join(dir, "etcd")}); err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	if c.opts.Kafka {
		if err := c.startBroker(); err != nil {
			return err
		}
	}
	objects, err := filestore.New(filestore.Config{Dir: filepath.Join(dir, "objects"), Durability: filestore.SyncNever})
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web, err := listenREST(c.opts.RESTPort)
	if err != nil {
		return errors.Join(err, control.Close())
	}
	c.status = Status{
		Version: statusVersion, State: "up", PID: os.Getpid(), REST: "http://" + web.Addr().String(), Etcd: c.etcd.Endpoint(),
		Control: control.Addr().String(), TaskManagers: c.opts.TaskManagers, Slots: c.opts.TaskManagers * c.opts.Slots, Started: c.clock.Now().UnixMilli(),
	}
	if c.broker != nil {
		c.status.Kafka = c.broker.Bootstrap()
	}
	coordination, err := etcdha.New(etcdha.Config{Endpoints: []string{c.etcd.Endpoint()}, Prefix: "leat/local", LeaseTTL: leaseTTL, Log: c.log}, c.clock)
	if err != nil {
		return err
	}
	jm := roles.JobManager{
		ID: "local", Control: control, REST: web, AdvertisedControl: c.status.Control, AdvertisedREST: c.status.REST,
		Coordination: coordination, Store: objects, TempDir: filepath.Join(dir, "uploads"), Clock: c.clock, Log: c.log.With("role", "jobmanager"),
		Extra: c.metrics,
	}
	c.wg.Go(func() {
		c.ended <- jm.Run(ctx)
		if err := coordination.Close(); err != nil {
			c.log.Debug("closing etcd's client", "error", err)
		}
	})
	for i := range c.opts.TaskManagers {
		tm, err := c.taskManager(i+1, objects)
		if err != nil {
			return err
		}
		c.wg.Go(func() {
			c.ended <- tm.Run(ctx)
			if err := tm.Executor.OwnLog.Close(); err != nil {
				c.log.Debug("closing a taskmanager's log", "error", err)
			}
		})
	}
	return nil
}

func (c *cluster) taskManager(n int, objects *filestore.Store) (roles.TaskManager, error) {
	id := "tm-" + strconv.Itoa(n)
	dir := filepath.Join(c.opts.Dir, id)
	sockets := filepath.Join(c.sockets, id)
	if err := os.MkdirAll(sockets, 0o700); err != nil {
		return roles.TaskManager{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return roles.TaskManager{}, err
	}
	own, err := taskexec.OpenLog(filepath.Join(dir, "taskmanager.log"))
	if err != nil {
		return roles.TaskManager{}, err
	}
	// Its lines are in the cluster's log too, where all of it can be followed.
	log := slog.New(slog.NewTextHandler(io.MultiWriter(c.opts.Log, own), &slog.HandlerOptions{Level: c.level}))
	return roles.TaskManager{
		Executor: taskexec.Config{
			ID: id, Host: "localhost", Address: "127.0.0.1", HostID: "local-" + strconv.Itoa(os.Getpid()), Slots: c.opts.Slots,
			MemoryBytes: c.opts.MemoryBytes, Dir: dir, SocketDir: sockets, OwnLog: own,
		},
		JobManagers: []string{c.status.Control}, Store: objects, Clock: c.clock, Log: log.With("role", "taskmanager", "id", id), PassEnv: passEnv(),
	}, nil
}

// passEnv are the variables that workers get of the environment in which the
// cluster was started: those by which clients of S3 are set up.
func passEnv() []string {
	return []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
	}
}

// metrics adds the jobmanager's page for Prometheus.
func (c *cluster) metrics(control func() jobview.Control) map[string]http.Handler {
	r := telemetry.NewRegistry("jobmanager", release.Version)
	r.MustRegister(&promview.JobManager{Control: control, NowMillis: func() int64 { return clock.Millis(c.clock) }})
	return map[string]http.Handler{"GET /metrics": telemetry.MetricsHandler(r)}
}

func (c *cluster) startBroker() error {
	dir := filepath.Join(c.opts.Dir, "kafka")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cfg := devbroker.Config{DataDir: dir, AutoCreate: true}
	if c.opts.KafkaPort > 0 {
		cfg.Ports = []int{c.opts.KafkaPort}
	}
	b, err := devbroker.Start(cfg)
	if err != nil {
		return fmt.Errorf("embedded broker (choose another port with --kafka-port): %w", err)
	}
	c.broker = b
	return nil
}

func listenREST(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("REST port %d cannot be used (choose another with --rest-port): %w", port, err)
	}
	return l, nil
}

// await waits until the jobmanager leads and all taskmanagers are registered.
func (c *cluster) await(ctx context.Context) error {
	client := restapi.NewClient(c.status.REST, nil)
	began := c.clock.Now()
	for {
		o, err := client.Overview(ctx)
		if err == nil && o.TaskManagers >= c.opts.TaskManagers {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-c.ended:
			return fmt.Errorf("a part of the cluster ended while it started: %w", err)
		default:
		}
		if c.clock.Since(began) > startMax {
			return fmt.Errorf("the cluster does not answer after %s (%d of %d taskmanagers, %w)", startMax, o.TaskManagers, c.opts.TaskManagers, err)
		}
		c.clock.Sleep(10 * time.Millisecond)
	}
}
