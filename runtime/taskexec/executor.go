// Package taskexec is the taskmanager: it offers slots to the leading
// jobmanager, starts and watches one worker for each job attempt, relays what
// the jobmaster and its workers say to each other, and runs programs in plan
// role. It decides nothing about jobs. The decisions are in core, a pure
// step; Executor carries them out.
package taskexec

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Limits of the driver.
const (
	// eventsMax bounds the events that wait for the core; workers that say
	// more are slowed down.
	eventsMax = 4096
	// tickEvery is the resolution of deadlines, sampleEvery that of the watch
	// on memory.
	tickEvery = 50 * time.Millisecond
	// jobIdleMax outlasts the pauses between the attempts of a job.
	jobIdleMax  = 15 * time.Minute
	sampleEvery = 200 * time.Millisecond
)

// Config describes a taskmanager.
type Config struct {
	// ID is its stable name.
	ID string
	// Host is for people, Address is where workers listen for exchange,
	// HostID is equal for all taskmanagers of one machine.
	Host, Address, HostID string
	// Slots is how many slices of jobs run here at a time.
	Slots int
	// MemoryBytes and CPUs are shared by the workers by slots.
	MemoryBytes int64
	CPUs        int
	// Dir is the working folder, owned by this taskmanager alone.
	Dir string
	// SocketDir is a folder with a short path for unix sockets; empty: Dir.
	SocketDir      string
	MetricsAddress string
	Launcher       Launcher
	Clock          clock.Clock
	Log            *slog.Logger
	// OwnLog is what ReadLog without a job reads; nil: nothing.
	OwnLog *LogFile
	// HelloMax, AwayMax and PlanTimeoutMax bound how long a worker may take
	// to attach (default 30 s), how long workers go on without a jobmanager
	// (default 10 min), and how long a program may take to plan (default 2 min).
	HelloMax, AwayMax, PlanTimeoutMax time.Duration
	// DrainMax is how long Run waits, when it is to end, for workers to be
	// replaced elsewhere; 0: it ends them at once.
	DrainMax time.Duration
	// ForgetJob is told a job that has had no worker here for a while; it does
	// not block. nil: nothing is kept of jobs.
	ForgetJob func(dataflow.JobID)
}

// EnsureDefaults fills what is not set.
func (c *Config) EnsureDefaults() {
	if c.CPUs == 0 {
		c.CPUs = goruntime.GOMAXPROCS(0)
	}
	if c.SocketDir == "" {
		c.SocketDir = c.Dir
	}
	if c.HelloMax == 0 {
		c.HelloMax = 30 * time.Second
	}
	if c.AwayMax == 0 {
		c.AwayMax = 10 * time.Minute
	}
	if c.PlanTimeoutMax == 0 {
		c.PlanTimeoutMax = 2 * time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Executor is a taskmanager. Attach, WorkerEvent, Detach, JobOf and MayRead
// serve its workers (ctlrpc.WorkerHost), Registration, Connected, Received
// and Disconnected its session with the jobmanager (ctlrpc.SessionHandler).
type Executor struct {
	cfg      Config
	instance uint64
	dirs     *folders
	logs     *logShelf
	events   chan any // event, or func() to be run on the loop
	stopped  chan struct{}
	helpers  sync.WaitGroup // goroutines of starts, waits and plans

	// Used by the loop alone.
	core     *core
	send     func(*controlv1.TaskManagerMessage) error
	drop     func(reason string)
	starting map[string]context.CancelFunc
	procs    map[string]Process
	planning map[string]context.CancelCauseFunc
	sampled  time.Time

	mu      sync.Mutex
	workers map[string]*admission // guarded by mu
}

// admission is what the driver knows of a worker for its sessions.
type admission struct {
	start    *controlv1.StartWorker
	token    string
	memory   int64
	attached bool
	send     func(*controlv1.WorkerCommand) error
	drop     func(reason string)
	readable map[string]struct{} // objects outside the job's prefix
}

// New takes over the working folder, ending what an earlier process left
// there, and returns the taskmanager; Run makes it work.
func New(cfg Config) (*Executor, error) {
	cfg.EnsureDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dirs, err := claim(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Executor{
		cfg: cfg, instance: randomInstance(), dirs: dirs, logs: newLogShelf(dirs.logs),
		events: make(chan any, eventsMax), stopped: make(chan struct{}),
		starting: make(map[string]context.CancelFunc), procs: make(map[string]Process),
		planning: make(map[string]context.CancelCauseFunc), workers: make(map[string]*admission),
	}
	e.core = newCore(coreConfig{
		slots: cfg.Slots, memoryBytes: cfg.MemoryBytes, cpus: cfg.CPUs,
		helloMax: cfg.HelloMax, awayMax: cfg.AwayMax, planTimeoutMax: cfg.PlanTimeoutMax,
		detachGrace: 3 * time.Second, drainMax: cfg.DrainMax, jobIdleMax: jobIdleMax,
		relay: relayLimits{messagesMax: 65536, bytesMax: 64 << 20},
	}, cfg.Clock.Now())
	return e, nil
}

func (c *Config) validate() error {
	switch {
	case c.ID == "":
		return fmt.Errorf("taskmanager: it needs an id")
	case c.Slots < 1:
		return fmt.Errorf("taskmanager %s: %d slots, at least 1 is needed", c.ID, c.Slots)
	case c.MemoryBytes < 1:
		return fmt.Errorf("taskmanager %s: memory of %d bytes", c.ID, c.MemoryBytes)
	case c.Dir == "" || c.Launcher == nil || c.Clock == nil:
		return fmt.Errorf("taskmanager %s: folder, launcher and clock are needed", c.ID)
	}
	return nil
}

func randomInstance() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	var n uint64
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n | 1
}

// Run works until ctx ends; then it drains for up to DrainMax, ends the workers
// that are left and returns. The session with the jobmanager must last until it
// has returned.
func (e *Executor) Run(ctx context.Context) error {
	defer e.dirs.release()
	defer e.logs.close()
	defer e.helpers.Wait()
	defer close(e.stopped)
	timer := e.cfg.Clock.NewTimer(tickEvery)
	defer timer.Stop()
	asked := false
	for {
		select {
		case ev := <-e.events:
			e.handle(ev)
		case <-timer.C():
			e.tick()
			timer.Reset(tickEvery)
		case <-done(ctx, asked):
			asked = true
			e.apply(evShutdown{})
		}
		if e.core.idle() {
			return ctx.Err()
		}
	}
}

// done is ctx's channel until it was seen.
func done(ctx context.Context, seen bool) <-chan struct{} {
	if seen {
		return nil
	}
	return ctx.Done()
}

func (e *Executor) handle(ev any) {
	switch x := ev.(type) {
	case event:
		e.apply(x)
	case func():
		x()
	}
}

func (e *Executor) tick() {
	now := e.cfg.Clock.Now()
	if now.Sub(e.sampled) >= sampleEvery {
		e.sampled = now
		memory := make(map[string]int64, len(e.procs))
		for id, p := range e.procs {
			if n := p.Memory(); n > 0 {
				memory[id] = n
			}
		}
		e.apply(evSample{memory: memory, ownMemory: residentMemory(os.Getpid()), cpuSeconds: ownCPUSeconds()})
	}
	e.apply(evTick{})
}

// post hands an event to the loop; false when the taskmanager has ended.
func (e *Executor) post(ev any) bool {
	select {
	case e.events <- ev:
		return true
	case <-e.stopped:
		return false
	}
}

// Registration implements ctlrpc.SessionHandler.
func (e *Executor) Registration() *controlv1.Register {
	running := make(chan []*controlv1.RunningWorker, 1)
	reg := &controlv1.Register{
		Id: e.cfg.ID, Instance: e.instance, Version: release.Version, Protocol: release.Protocol,
		Os: goruntime.GOOS, Arch: goruntime.GOARCH, Host: e.cfg.Host, Address: e.cfg.Address, HostId: e.cfg.HostID,
		Slots: int32(e.cfg.Slots), MemoryBytes: e.cfg.MemoryBytes, Pid: int64(os.Getpid()), MetricsAddress: e.cfg.MetricsAddress,
	}
	if !e.post(func() { running <- e.core.running() }) {
		return reg
	}
	select {
	case reg.Workers = <-running:
	case <-e.stopped:
	}
	return reg
}

// Connected implements ctlrpc.SessionHandler.
func (e *Executor) Connected(r *controlv1.Registered, send func(*controlv1.TaskManagerMessage) error, drop func(reason string)) {
	e.post(func() {
		e.send, e.drop = send, drop
		e.apply(evConnected{registered: r})
	})
}

// Received implements ctlrpc.SessionHandler.
func (e *Executor) Received(m *controlv1.JobManagerMessage) { e.post(evMessage{m: m}) }

// Disconnected implements ctlrpc.SessionHandler.
func (e *Executor) Disconnected(string) {
	e.post(func() {
		e.send, e.drop = nil, nil
		e.apply(evDisconnected{})
	})
}

// Attach implements ctlrpc.WorkerHost.
func (e *Executor) Attach(hello *controlv1.Hello, send func(*controlv1.WorkerCommand) error, drop func(reason string)) (*controlv1.Welcome, error) {
	if p := hello.GetProtocol(); p < release.ProtocolMin || p > release.Protocol {
		return nil, fmt.Errorf("worker %s speaks protocol %d (engine %s), this taskmanager %d to %d: build the bundle with engine %s",
			hello.GetWorkerId(), p, hello.GetEngineVersion(), release.ProtocolMin, release.Protocol, release.Version)
	}
	e.mu.Lock()
	a := e.workers[hello.GetWorkerId()]
	if a == nil || subtle.ConstantTimeCompare([]byte(a.token), []byte(hello.GetToken())) != 1 {
		e.mu.Unlock()
		return nil, fmt.Errorf("worker %s is not expected here", hello.GetWorkerId())
	}
	if a.attached {
		e.mu.Unlock()
		return nil, fmt.Errorf("worker %s is attached already", hello.GetWorkerId())
	}
	a.attached, a.send, a.drop = true, send, drop
	e.mu.Unlock()
	if !e.post(evAttached{worker: hello.GetWorkerId()}) {
		return nil, fmt.Errorf("the taskmanager is ending")
	}
	return &controlv1.Welcome{
		JobId: a.start.GetJobId(), JobName: a.start.GetJobName(), Attempt: a.start.GetAttempt(),
		TaskmanagerId: e.cfg.ID, Address: e.cfg.Address, HostId: e.cfg.HostID,
		SocketDir: e.cfg.SocketDir, MemoryBytes: a.memory,
	}, nil
}

// WorkerEvent implements ctlrpc.WorkerHost.
func (e *Executor) WorkerEvent(workerID string, ev *controlv1.WorkerEvent) {
	e.post(evWorker{worker: workerID, ev: ev})
}

// Detach implements ctlrpc.WorkerHost.
func (e *Executor) Detach(workerID string) { e.post(evDetached{worker: workerID}) }

// JobOf implements ctlrpc.WorkerHost.
func (e *Executor) JobOf(token string) (dataflow.JobID, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a := e.byTokenLocked(token); a != nil {
		return dataflow.JobID(a.start.GetJobId()), true
	}
	return "", false
}

// MayRead implements ctlrpc.WorkerHost.
func (e *Executor) MayRead(token, uri string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.byTokenLocked(token)
	if a == nil {
		return false
	}
	_, ok := a.readable[uri]
	return ok
}

// byTokenLocked compares with every worker's token, each in constant time.
func (e *Executor) byTokenLocked(token string) *admission {
	var found *admission
	for _, a := range e.workers {
		if subtle.ConstantTimeCompare([]byte(a.token), []byte(token)) == 1 {
			found = a
		}
	}
	return found
}

func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
