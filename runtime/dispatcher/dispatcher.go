package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/heartbeat"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
	"github.com/leatstream/leat/runtime/slots"
)

// Bundles keeps the bundles of jobs; *bundle.Repository is one. Errors are
// *jobview.Error where people can act on them.
type Bundles interface {
	Put(ctx context.Context, name, path string) (jobview.Bundle, error)
	Get(ctx context.Context, sha string) (jobview.Bundle, error)
	Ref(ctx context.Context, sha string) (*controlv1.BundleRef, error)
	List(ctx context.Context) ([]jobview.Bundle, error)
	Delete(ctx context.Context, sha string) error
}

// Session is the way to a taskmanager. Both methods are safe for concurrent
// use and do not block, nor call the dispatcher back.
type Session interface {
	Send(m *controlv1.JobManagerMessage) error
	Close(reason string)
}

// Limits.
const (
	// JobsEndedMax bounds the jobs kept after their end; the oldest go first.
	JobsEndedMax = 100
	// JobsMax bounds the jobs that run or wait.
	JobsMax = 10_000
)

// Config is what a Dispatcher works with.
type Config struct {
	Leadership ha.Leadership
	Store      store.Store
	Bundles    Bundles
	Clock      clock.Clock
	Log        *slog.Logger
	// Leader names this jobmanager, Version its release.
	Leader  ha.Leader
	Version string
	// Slots says how jobs are spread over taskmanagers.
	Slots slots.Strategy
	// HeartbeatInterval is asked of taskmanagers; one that is silent for
	// longer than HeartbeatTimeout is gone.
	HeartbeatInterval time.Duration // default 500 ms
	HeartbeatTimeout  time.Duration // default 2 s
	// PlanTimeout bounds the time a program may take to build its graph.
	PlanTimeout time.Duration // default 30 s
	// Seed is the source of jitter; 0: random.
	Seed uint64
	// Times overrides waiting times of jobs where set.
	Times scheduler.Config
}

// EnsureDefaults fills what is not set.
func (c *Config) EnsureDefaults() {
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{{&c.HeartbeatInterval, 500 * time.Millisecond}, {&c.HeartbeatTimeout, 2 * time.Second}, {&c.PlanTimeout, 30 * time.Second}} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
}

// Validate returns all faults in one error.
func (c *Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		bad  bool
		what string
	}{
		{c.Leadership == nil, "leadership is missing"},
		{c.Store == nil, "store is missing"},
		{c.Bundles == nil, "bundles are missing"},
		{c.Clock == nil, "clock is missing"},
		{c.Log == nil, "log is missing"},
		{c.HeartbeatTimeout < 2*c.HeartbeatInterval, "heartbeat timeout is less than two intervals"},
	} {
		if f.bad {
			errs = append(errs, fmt.Errorf("dispatcher config: %s", f.what))
		}
	}
	return errors.Join(errs...)
}

// Dispatcher is the leader of a cluster for one leadership. It is safe for
// concurrent use.
type Dispatcher struct {
	cfg     Config
	journal *journal
	started time.Time

	mu         sync.Mutex
	ctx        context.Context //nolint:containedctx // of Run: jobs live in it; nil before; guarded by mu
	ready      chan struct{}   // closed once all jobs are known
	over       bool            // the leadership has ended; guarded by mu
	pool       *slots.Pool     // guarded by mu
	beats      *heartbeat.Monitor
	tms        map[string]*taskManager                  // guarded by mu
	superseded map[sessionID]int                        // sessions replaced, whose end is still to come; guarded by mu
	jobs       map[dataflow.JobID]*job                  // guarded by mu
	waiting    []waiter                                 // for slots, oldest first; guarded by mu
	plans      []*planning                              // guarded by mu
	submits    map[string]*submission                   // by request id; guarded by mu
	logs       map[string]chan<- logAnswer              // by request id; guarded by mu
	stateReads map[string]chan<- *controlv1.StateAnswer // by request id; guarded by mu
	sequence   int64                                    // of request ids; guarded by mu
	wg         sync.WaitGroup                           // jobs
	stop       context.CancelCauseFunc                  // of ctx; guarded by mu
	removing   map[dataflow.JobID]struct{}              // guarded by mu
}

var (
	_ jobview.Control   = (*Dispatcher)(nil)
	_ jobmaster.Cluster = (*Dispatcher)(nil)
)

// New returns the dispatcher of a leadership that was won. It panics on a
// configuration that Validate refuses: it is the program's, not a person's.
func New(cfg Config) *Dispatcher {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	return &Dispatcher{
		cfg: cfg, journal: newJournal(cfg.Leadership), started: cfg.Clock.Now(),
		pool: slots.New(cfg.Slots), beats: heartbeat.New(cfg.HeartbeatTimeout),
		tms: make(map[string]*taskManager), superseded: make(map[sessionID]int),
		jobs: make(map[dataflow.JobID]*job), submits: make(map[string]*submission),
		ready: make(chan struct{}), logs: make(map[string]chan<- logAnswer), stateReads: make(map[string]chan<- *controlv1.StateAnswer), removing: make(map[dataflow.JobID]struct{}),
	}
}

// errOver is the cause of the end of a leadership.
var errOver = fmt.Errorf("dispatcher: %w", ha.ErrFenced)

// Run leads until ctx ends or the leadership does; then it returns ha.ErrFenced
// (wrapped). Taskmanagers and workers are left as they are: the next leader
// finds them. It is called once.
func (d *Dispatcher) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	d.mu.Lock()
	d.ctx, d.stop = ctx, stop
	d.mu.Unlock()
	d.wg.Go(func() { d.journal.run(ctx) })
	err := d.lead(ctx)
	d.mu.Lock()
	d.over = true
	for id, ch := range d.logs {
		delete(d.logs, id)
		ch <- logAnswer{err: errUnavailable("the leadership has ended")}
	}
	d.failPlansLocked("the leadership has ended")
	d.mu.Unlock()
	stop(err)
	d.wg.Wait()
	return err
}

func (d *Dispatcher) lead(ctx context.Context) error {
	if err := d.recover(ctx); err != nil {
		return err
	}
	timer := d.cfg.Clock.NewTimer(d.beats.CheckInterval())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-d.cfg.Leadership.Done():
			return errOver
		case <-timer.C():
			d.tick()
			timer.Reset(d.beats.CheckInterval())
		}
	}
}

// elapsed is the monotonic time since the dispatcher was made.
func (d *Dispatcher) elapsed() time.Duration { return d.cfg.Clock.Since(d.started) }

// tick looks for taskmanagers that have gone silent and plans that are late.
func (d *Dispatcher) tick() {
	d.mu.Lock()
	var gone []Session
	reason := fmt.Sprintf("no heartbeat for %s", d.cfg.HeartbeatTimeout)
	for _, id := range d.beats.Expired(d.elapsed()) {
		if tm := d.tms[id]; tm != nil {
			gone = append(gone, d.evictLocked(tm, reason))
		}
	}
	sends := d.repeatStopsLocked()
	d.latePlansLocked()
	d.mu.Unlock()
	for _, s := range gone {
		s.Close(reason)
	}
	for _, s := range sends {
		s()
	}
}

// Ready is closed once the jobs of the former leaders are known; what needs
// them waits for it.
func (d *Dispatcher) Ready() <-chan struct{} { return d.ready }

func (d *Dispatcher) isReady() bool {
	select {
	case <-d.ready:
		return true
	default:
		return false
	}
}

// awaitReady waits until jobs may be submitted.
func (d *Dispatcher) awaitReady(ctx context.Context) error {
	select {
	case <-d.ready:
		return nil
	case <-ctx.Done():
		return errUnavailable("the jobs of the former leader are still being read")
	case <-d.cfg.Leadership.Done():
		return errUnavailable("the leadership has ended")
	}
}

// nextIDLocked returns an id for a request to a taskmanager.
func (d *Dispatcher) nextIDLocked(kind string) string {
	d.sequence++
	return fmt.Sprintf("%s-%d-%d", kind, d.cfg.Leadership.Epoch(), d.sequence)
}
