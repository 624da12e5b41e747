// Package minicluster is a whole cluster in one process: jobmanagers that
// elect a leader, taskmanagers, and workers on goroutines, joined in memory.
// It runs jobs started by hand and the tests of the cluster. It is the
// cluster's own code but for the wires and the processes; it persists nothing
// unless given a store that does.
package minicluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/dispatcher"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/exchange/exchangemem"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/memha"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
	"github.com/leatstream/leat/runtime/taskexec"
	"github.com/leatstream/leat/runtime/worker"
	"github.com/leatstream/leat/state"
)

// Config describes a cluster. NewBackend or OpenState is required.
type Config struct {
	// TaskManagers and Slots of each; default 1 and 1.
	TaskManagers, Slots int
	// NewBackend makes the keyed state of one operator's subtask, whatever
	// the job says.
	NewBackend func(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error)
	// OpenState goes before NewBackend: it opens for each worker, in a folder
	// of its own, what the job's options say.
	OpenState func(cfg graph.Config, dir string, log *slog.Logger) (state.Backends, error)
	// Network is the data plane; nil: in memory.
	Network exchange.Network
	// Objects holds checkpoints; nil: memory.
	Objects store.Store
	// Dir takes logs and workers' folders; empty: a temporary one.
	Dir   string
	Clock clock.Clock
	Log   *slog.Logger
	// HeartbeatInterval and HeartbeatTimeout as in dispatcher.Config.
	HeartbeatInterval, HeartbeatTimeout time.Duration
	// Times overrides waiting times of jobs where set.
	Times scheduler.Config
}

func (c *Config) ensureDefaults() {
	c.TaskManagers, c.Slots = max(c.TaskManagers, 1), max(c.Slots, 1)
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Network == nil {
		c.Network = exchangemem.New()
	}
	if c.Objects == nil {
		c.Objects = memstore.New(c.Clock)
	}
}

// drainMax is how long a taskmanager that is drained waits for its work to be
// moved.
const drainMax = 20 * time.Second

// Cluster is a running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	cfg      Config
	service  *memha.Service
	programs *programs
	ownDir   bool
	dir      string
	stop     context.CancelFunc
	life     context.Context //nolint:containedctx // the cluster's: from Start to Close
	wg       sync.WaitGroup  // the jobmanager's loop

	mu      sync.Mutex
	leader  *dispatcher.Dispatcher // guarded by mu; nil while nobody leads
	changed chan struct{}          // guarded by mu; closed when leader changes
	tms     []*taskManager         // guarded by mu
	number  int                    // guarded by mu; of taskmanagers made so far
}

// Start makes a cluster and waits for its first leader.
func Start(cfg Config) (*Cluster, error) {
	cfg.ensureDefaults()
	if cfg.NewBackend == nil && cfg.OpenState == nil {
		return nil, errors.New("minicluster: no state backend given")
	}
	c := &Cluster{
		cfg: cfg, service: memha.NewService(), dir: cfg.Dir, changed: make(chan struct{}),
		programs: &programs{byHash: make(map[string]named)},
	}
	if c.dir == "" {
		dir, err := os.MkdirTemp("", "leat-")
		if err != nil {
			return nil, fmt.Errorf("minicluster: %w", err)
		}
		c.dir, c.ownDir = dir, true
	}
	c.life, c.stop = context.WithCancel(context.Background())
	c.wg.Go(c.lead)
	for range cfg.TaskManagers {
		if _, err := c.AddTaskManager(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if _, err := c.Control(c.life); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// lead campaigns and leads, again and again, until Close.
func (c *Cluster) lead() {
	contender := c.service.Contender()
	defer func() { _ = contender.Close() }() // in memory
	for c.life.Err() == nil {
		me := ha.Leader{ID: "local"}
		l, err := contender.Campaign(c.life, me)
		if err != nil {
			continue
		}
		me.Epoch = l.Epoch()
		d := dispatcher.New(dispatcher.Config{
			Leadership: l, Store: c.cfg.Objects, Bundles: c.programs, Clock: c.cfg.Clock, Log: c.cfg.Log,
			Leader: me, Version: release.Version, Times: c.cfg.Times,
			HeartbeatInterval: c.cfg.HeartbeatInterval, HeartbeatTimeout: c.cfg.HeartbeatTimeout,
		})
		c.setLeader(d)
		err = d.Run(c.life)
		c.setLeader(nil)
		c.endSessions("the leadership has ended")
		c.cfg.Log.Debug("leadership ended", "epoch", me.Epoch, "reason", err)
		_ = l.Resign(context.WithoutCancel(c.life)) // in memory
	}
}

func (c *Cluster) setLeader(d *dispatcher.Dispatcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = d
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Cluster) leading() *dispatcher.Dispatcher {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

func (c *Cluster) endSessions(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tm := range c.tms {
		tm.mu.Lock()
		if tm.current != nil {
			tm.current.Close(reason)
		}
		tm.mu.Unlock()
	}
}

// Control returns the leader's control, waiting for a leader while ctx lasts.
func (c *Cluster) Control(ctx context.Context) (jobview.Control, error) {
	for {
		c.mu.Lock()
		d, changed := c.leader, c.changed
		c.mu.Unlock()
		if d != nil {
			return d, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// AddProgram makes a program known; what it returns stands for a bundle's
// SHA-256 in a Submission.
func (c *Cluster) AddProgram(name string, build Program) string {
	return c.programs.add(name, c.cfg.Clock.Now(), build)
}

// Objects returns the cluster's object store.
func (c *Cluster) Objects() store.Store { return c.cfg.Objects }

// AddTaskManager starts one more taskmanager and returns its id.
func (c *Cluster) AddTaskManager() (string, error) {
	c.mu.Lock()
	c.number++
	id := fmt.Sprintf("tm-%d", c.number)
	c.mu.Unlock()
	tm := &taskManager{id: id, done: make(chan struct{}), launcher: newRecorder(c.launcher())}
	exec, err := taskexec.New(taskexec.Config{
		ID: id, Host: "local", Address: "127.0.0.1", HostID: "local", Slots: c.cfg.Slots, MemoryBytes: 1 << 40,
		Dir: filepath.Join(c.dir, id), Launcher: tm.launcher, Clock: c.cfg.Clock, Log: c.cfg.Log.With("taskmanager", id), DrainMax: drainMax,
	})
	if err != nil {
		return "", fmt.Errorf("minicluster: %w", err)
	}
	tm.exec = exec
	ctx, cancel := context.WithCancel(context.Background())
	session, hangUp := context.WithCancel(context.Background())
	tm.drain, tm.stop = cancel, func() { hangUp(); cancel() }
	go func() {
		defer close(tm.done)
		var wg sync.WaitGroup
		wg.Go(func() { c.attend(session, tm) })
		_ = exec.Run(ctx) // it ends with ctx only
		hangUp()
		wg.Wait()
	}()
	c.mu.Lock()
	c.tms = append(c.tms, tm)
	c.mu.Unlock()
	return id, nil
}

// launcher runs workers in this process.
func (c *Cluster) launcher() *taskexec.InProcessLauncher {
	return taskexec.NewInProcessLauncher(taskexec.InProcessConfig{
		Objects: c.cfg.Objects,
		Plan:    c.plan,
		Work:    c.work,
	})
}

func (c *Cluster) plan(_ context.Context, ref *controlv1.BundleRef, in *controlv1.ProgramInputs) ([]byte, string, error) {
	g, err := c.build(ref, in)
	if err != nil {
		return nil, "", err
	}
	b, err := g.Marshal()
	return b, g.Fingerprint(), err
}

func (c *Cluster) work(ctx context.Context, w taskexec.InProcessWorker) error {
	g, err := c.build(w.Bundle, w.Inputs)
	if err != nil {
		return err
	}
	log := c.cfg.Log.With("worker", w.ID)
	newBackend := c.cfg.NewBackend
	if c.cfg.OpenState != nil {
		backends, err := c.cfg.OpenState(g.Config, filepath.Join(w.Dir, "state"), log)
		if err != nil {
			return err
		}
		defer func() {
			if err := backends.Close(); err != nil {
				log.Warn("closing local state", "error", err)
			}
		}()
		newBackend = backends.New
	}
	return worker.Run(ctx, worker.Config{
		Graph: g, WorkerID: w.ID, Welcome: w.Welcome, Link: w.Link, Objects: w.Objects,
		NewBackend: newBackend, Network: c.cfg.Network, Clock: c.cfg.Clock, Log: log,
	})
}

// Close ends everything and waits for it.
func (c *Cluster) Close() error {
	c.stop()
	c.wg.Wait()
	c.mu.Lock()
	tms := slices.Clone(c.tms)
	c.tms = nil
	c.mu.Unlock()
	for _, tm := range tms {
		tm.stop()
	}
	for _, tm := range tms {
		<-tm.done
	}
	if !c.ownDir {
		return nil
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("minicluster: %w", err)
	}
	return nil
}

func (c *Cluster) build(ref *controlv1.BundleRef, in *controlv1.ProgramInputs) (*graph.JobGraph, error) {
	n, err := c.programs.find(ref.GetSha256())
	if err != nil {
		return nil, err
	}
	return n.build(in.GetArgs(), in.GetProperties())
}

// find returns a taskmanager by id.
func (c *Cluster) find(id string) *taskManager {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.tms, func(tm *taskManager) bool { return tm.id == id })
	if i < 0 {
		return nil
	}
	return c.tms[i]
}

// Workers lists the workers that run, as "taskmanager/worker", sorted.
func (c *Cluster) Workers() []string {
	c.mu.Lock()
	tms := slices.Clone(c.tms)
	c.mu.Unlock()
	var out []string
	for _, tm := range tms {
		for _, id := range tm.launcher.running() {
			out = append(out, tm.id+"/"+id)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
