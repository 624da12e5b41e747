package taskexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/release"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ctlrpc"
)

// inProcessQueueMax bounds the commands that wait for an in-process worker.
const inProcessQueueMax = 8192

// InProcessWorker is what a worker that runs on goroutines of this process is
// given, in place of sockets and the environment.
type InProcessWorker struct {
	ID      string
	Welcome *controlv1.Welcome
	Bundle  *controlv1.BundleRef
	Inputs  *controlv1.ProgramInputs
	Dir     string
	Link    *MemoryLink // a worker.Link
	Objects *JobObjects // its worker.Objects
}

// InProcessConfig says how the roles are played in one process.
type InProcessConfig struct {
	// Work runs a worker until its end. ctx ends when it is told to go, by
	// Terminate or Kill; after Kill its link is dead, as after a crash.
	Work func(ctx context.Context, w InProcessWorker) error
	// Plan builds the graph: controlv1.PlanResult's graph and fingerprint.
	Plan func(ctx context.Context, ref *controlv1.BundleRef, in *controlv1.ProgramInputs) (graph []byte, fingerprint string, err error)
	// Objects is the cluster's object store.
	Objects store.Store
}

// InProcessLauncher runs workers as goroutines, for one-process clusters and
// tests. It shares the process with user code: a panic outside the worker's
// own recovery ends everything.
type InProcessLauncher struct{ cfg InProcessConfig }

var _ Launcher = (*InProcessLauncher)(nil)

// NewInProcessLauncher returns a launcher.
func NewInProcessLauncher(cfg InProcessConfig) *InProcessLauncher {
	return &InProcessLauncher{cfg: cfg}
}

// Start implements Launcher.
func (l *InProcessLauncher) Start(_ context.Context, s Spec) (Process, error) {
	link := &MemoryLink{
		host: s.Host, id: s.Start.GetWorkerId(),
		commands: make(chan *controlv1.WorkerCommand, inProcessQueueMax), cut: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &inProcess{link: link, cancel: cancel, exit: make(chan Exit, 1)}
	go func() { p.exit <- l.work(ctx, s, link) }()
	return p, nil
}

// work attaches and runs one worker; a panic becomes its exit.
func (l *InProcessLauncher) work(ctx context.Context, s Spec, link *MemoryLink) (exit Exit) {
	defer link.end("the worker has ended")
	defer func() {
		if r := recover(); r != nil {
			exit = Exit{Code: 2, StderrTail: fmt.Sprintf("panic: %v\n\n%s", r, debug.Stack())}
		}
	}()
	hello := &controlv1.Hello{
		WorkerId: link.id, Token: s.Token, Protocol: release.Protocol, EngineVersion: release.Version,
	}
	welcome, err := s.Host.Attach(hello, link.push, link.end)
	if err != nil {
		return Exit{Code: 1, StderrTail: err.Error()}
	}
	defer s.Host.Detach(link.id)
	err = l.cfg.Work(ctx, InProcessWorker{
		ID: link.id, Welcome: welcome, Bundle: s.Start.GetBundle(), Inputs: s.Start.GetInputs(), Dir: s.Dir, Link: link,
		Objects: &JobObjects{objects: l.cfg.Objects, prefix: ctlrpc.JobPrefix(dataflow.JobID(s.Start.GetJobId())), cut: link.cut},
	})
	select {
	case <-link.killed():
		return Exit{Code: -1, Signal: "killed"}
	default:
	}
	if err != nil {
		return Exit{Code: 1, StderrTail: err.Error()}
	}
	return Exit{}
}

// Plan implements Launcher.
func (l *InProcessLauncher) Plan(ctx context.Context, req *controlv1.PlanRequest, _ string) *controlv1.PlanResult {
	g, fingerprint, err := l.cfg.Plan(ctx, req.GetBundle(), req.GetInputs())
	if err != nil {
		return &controlv1.PlanResult{Error: errorInfo(err, CodePlanFailed, "the job graph could not be built")}
	}
	return &controlv1.PlanResult{Graph: g, Fingerprint: fingerprint}
}

// inProcess is a worker on goroutines.
type inProcess struct {
	link   *MemoryLink
	cancel context.CancelFunc
	exit   chan Exit
}

var _ Process = (*inProcess)(nil)

// PID implements Process: it is this process.
func (p *inProcess) PID() int64 { return int64(os.Getpid()) }

// Terminate implements Process.
func (p *inProcess) Terminate() { p.cancel() }

// Kill implements Process: nothing that the worker says afterwards is heard.
func (p *inProcess) Kill() {
	p.link.kill()
	p.cancel()
}

// Wait implements Process.
func (p *inProcess) Wait() Exit { return <-p.exit }

// Memory implements Process: goroutines cannot be told apart.
func (p *inProcess) Memory() int64 { return 0 }

// MemoryLink joins a worker in this process to its taskmanager. Messages are
// copied, so that neither side sees the other's later changes.
type MemoryLink struct {
	host     Host
	id       string
	commands chan *controlv1.WorkerCommand
	cut      chan struct{} // closed at the end

	mu   sync.Mutex
	why  string // guarded by mu; set before cut is closed
	dead bool   // guarded by mu; killed
}

var errCut = errors.New("link to the taskmanager has ended")

func (l *MemoryLink) end(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == "" {
		l.why = reason
		close(l.cut)
	}
}

func (l *MemoryLink) kill() {
	l.mu.Lock()
	l.dead = true
	l.mu.Unlock()
	l.end("killed")
}

// killed returns a closed channel once kill was called, else one that blocks.
func (l *MemoryLink) killed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return l.cut
	}
	return nil
}

func (l *MemoryLink) push(c *controlv1.WorkerCommand) error {
	c = proto.CloneOf(c)
	select {
	case <-l.cut:
		return errCut
	default:
	}
	select {
	case l.commands <- c:
		return nil
	default:
		l.end("the worker does not keep up: its queue is full")
		return errCut
	}
}

// Send implements worker.Link.
func (l *MemoryLink) Send(ev *controlv1.WorkerEvent) error {
	select {
	case <-l.cut:
		return errCut
	default:
		l.host.WorkerEvent(l.id, proto.CloneOf(ev))
		return nil
	}
}

// Recv implements worker.Link.
func (l *MemoryLink) Recv(ctx context.Context) (*controlv1.WorkerCommand, error) {
	select {
	case c := <-l.commands:
		return c, nil
	case <-l.cut:
		return nil, errCut
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// JobObjects is a job's part of a store, for a worker in this process.
type JobObjects struct {
	objects store.Store
	prefix  string
	cut     <-chan struct{}
}

// Put implements worker.Objects.
func (p *JobObjects) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	select {
	case <-p.cut:
		return errCut
	default:
		return p.objects.Put(ctx, p.prefix+key, r, size)
	}
}

// Get implements worker.Objects.
func (p *JobObjects) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	select {
	case <-p.cut:
		return nil, errCut
	default:
		return p.objects.Get(ctx, p.place(key), offset, length)
	}
}

// place maps keys as ctlrpc does: absolute URIs are those of the store.
func (p *JobObjects) place(key string) string {
	if ctlrpc.IsURI(key) {
		return strings.TrimPrefix(key, ctlrpc.URIBase(p.objects))
	}
	return p.prefix + key
}
