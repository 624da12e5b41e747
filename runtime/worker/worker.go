// Package worker runs one job's subtasks in one process: it answers the
// jobmaster's commands, builds and restores tasks, gathers their snapshots
// into one object for each checkpoint and hosts the job's coordinator task. It
// decides nothing about the job and reaches storage only through Objects.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/state"
)

const (
	// eventsMax bounds what waits for the worker's loop; who adds more waits.
	eventsMax = 1024
	// metricsEvery is the time between reports of figures.
	metricsEvery = time.Second
	// closeTimeout bounds how long Run waits for operators that do not close
	// once the link is gone: the process ends with them.
	closeTimeout = 5 * time.Second
)

// Config is what a worker is made of. All fields are required.
type Config struct {
	Graph    *graph.JobGraph
	WorkerID string
	Welcome  *controlv1.Welcome
	Link     Link
	Objects  Objects
	// NewBackend makes the keyed state of one operator's subtask.
	NewBackend func(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error)
	// ScratchDir is the worker's own folder, for snapshots of large state until
	// they are uploaded; with none they are kept in memory.
	ScratchDir string
	Network    exchange.Network
	Clock      clock.Clock
	Log        *slog.Logger
}

func (c *Config) validate() error {
	var errs []error
	check := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("worker: no %s given", what))
		}
	}
	check(c.Graph != nil, "graph")
	check(c.WorkerID != "", "worker id")
	check(c.Welcome != nil, "welcome")
	check(c.Link != nil, "link")
	check(c.Objects != nil, "objects")
	check(c.NewBackend != nil, "state backend")
	check(c.Network != nil, "network")
	check(c.Clock != nil, "clock")
	check(c.Log != nil, "log")
	return errors.Join(errs...)
}

// Run is the whole life of a worker. It returns nil when it was cancelled by
// the jobmaster, and an error when ctx ended, the link broke or the worker
// could not start; all its goroutines have ended then, unless an operator
// refuses to be closed for closeTimeout.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	w := &driver{
		cfg: cfg, fingerprint: cfg.Graph.Fingerprint(),
		events: make(chan event, eventsMax), troubles: newTroubles(cfg.Clock),
	}
	w.life, w.end = context.WithCancel(ctx)
	defer w.end()
	w.core = newCore(w.fingerprint)
	w.endpoint = nil
	ep, err := cfg.Network.Listen(exchange.ListenConfig{
		WorkerID: cfg.WorkerID, Job: dataflow.JobID(cfg.Welcome.GetJobId()), Attempt: dataflow.Attempt(cfg.Welcome.GetAttempt()),
		Host: cfg.Welcome.GetAddress(), SocketDir: cfg.Welcome.GetSocketDir(), HostID: cfg.Welcome.GetHostId(), Log: cfg.Log,
	})
	if err != nil {
		return err
	}
	w.endpoint = ep
	w.pool = newPool(serialisers)
	err = w.loop()
	return errors.Join(err, w.shutdown())
}

// driver carries out what the core decides. Fields belong to the loop's
// goroutine unless they say otherwise.
type driver struct {
	cfg         Config
	fingerprint string
	core        *core
	endpoint    exchange.Endpoint
	pool        *pool
	events      chan event
	life        context.Context //nolint:containedctx // Run's: from start to end
	end         context.CancelFunc
	wg          sync.WaitGroup // tasks, deployment, uploads, coordinator, receiver

	troubles   *troubles
	deployment *deployment
	uploads    map[dataflow.CheckpointID]context.CancelFunc
	reads      atomic.Int32 // of state, under way
}

// loop runs until the core says that it is over.
func (w *driver) loop() error {
	if err := w.cfg.Link.Send(w.ready()); err != nil {
		return fmt.Errorf("worker: link: %w", err)
	}
	w.goDo(w.receive)
	timer := w.cfg.Clock.NewTimer(metricsEvery)
	defer timer.Stop()
	for {
		var ev event
		select {
		case <-w.life.Done():
			return w.life.Err()
		case ev = <-w.events:
		case <-timer.C():
			timer.Reset(metricsEvery)
			ev = event{tick: true}
		}
		over, err := w.carryOut(w.core.step(ev))
		if over || err != nil {
			return err
		}
	}
}

func (w *driver) ready() *controlv1.WorkerEvent {
	return &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Ready{Ready: &controlv1.Ready{
		Fingerprint: w.fingerprint, TcpAddress: w.endpoint.TCPAddress(), UnixAddress: w.endpoint.UnixAddress(),
		HostId: w.cfg.Welcome.GetHostId(),
	}}}
}

// receive reads commands until the link is gone.
func (w *driver) receive() {
	for {
		cmd, err := w.cfg.Link.Recv(w.life)
		if err != nil {
			w.post(event{linkLost: err})
			return
		}
		if !w.post(event{command: cmd}) {
			return
		}
	}
}

// post hands an event to the loop; false when the worker has ended. Safe from
// any goroutine but the loop's.
func (w *driver) post(ev event) bool {
	select {
	case w.events <- ev:
		return true
	case <-w.life.Done():
		return false
	}
}

// goDo runs fn on a goroutine that shutdown waits for.
func (w *driver) goDo(fn func()) { w.wg.Go(fn) }

// shutdown ends everything and waits for it.
func (w *driver) shutdown() error {
	w.end()
	ended := make(chan struct{})
	go func() {
		w.wg.Wait()
		w.pool.close()
		close(ended)
	}()
	timer := w.cfg.Clock.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-ended:
		return w.endpoint.Close()
	case <-timer.C():
		return errors.Join(w.endpoint.Close(), fmt.Errorf("worker: operators did not close within %s", closeTimeout))
	}
}
