package taskexec_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/bundle"
	"github.com/leatstream/leat/runtime/ctlrpc"
	"github.com/leatstream/leat/runtime/taskexec"
)

// envTaskManager makes the test's own binary a taskmanager that can be killed.
const envTaskManager = "TASKEXEC_TEST_CLUSTER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(envTaskManager); spec != "" {
		runVictim(spec)
		return
	}
	dir, err := os.MkdirTemp("", "lt")
	if err == nil {
		err = os.Setenv("TMPDIR", dir) // what tests build goes with it
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // scratch
		os.Exit(code)
	}))
}

const waitMax = 60 * time.Second

// leader is a jobmanager that does as the test says.
type leader struct {
	epoch      int64
	registered chan *controlv1.Register
	messages   chan *controlv1.TaskManagerMessage
	mu         sync.Mutex
	session    ctlrpc.Session
	mute       bool // no heartbeat is acknowledged
}

func newLeader(epoch int64) *leader {
	return &leader{epoch: epoch, registered: make(chan *controlv1.Register, 64), messages: make(chan *controlv1.TaskManagerMessage, 4096)}
}

func (l *leader) Connect(reg *controlv1.Register, s ctlrpc.Session) (*controlv1.Registered, error) {
	l.mu.Lock()
	l.session = s
	l.mu.Unlock()
	l.registered <- reg
	return &controlv1.Registered{Epoch: l.epoch, HeartbeatMillis: 50, TimeoutMillis: 3000}, nil
}

func (l *leader) Receive(_ string, _ uint64, m *controlv1.TaskManagerMessage) {
	h := m.GetHeartbeat()
	if h == nil {
		l.messages <- m
		return
	}
	l.mu.Lock()
	mute := l.mute
	l.mu.Unlock()
	if !mute {
		l.send(&controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_HeartbeatAck{HeartbeatAck: &controlv1.HeartbeatAck{Sequence: h.GetSequence()}}})
	}
}

func (l *leader) Disconnect(string, uint64) {}

func (l *leader) send(m *controlv1.JobManagerMessage) {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s != nil {
		_ = s.Send(m) // the test sees what does not arrive
	}
}

// next returns the first message that pick accepts; others are dropped.
func next[T any](t *testing.T, l *leader, pick func(*controlv1.TaskManagerMessage) (T, bool)) T {
	t.Helper()
	timeout := time.After(waitMax)
	for {
		select {
		case m := <-l.messages:
			if x, ok := pick(m); ok {
				return x
			}
			t.Logf("passing over %v", m)
		case <-timeout:
			t.Fatal("the message did not come")
		}
	}
}

func exited(m *controlv1.TaskManagerMessage) (*controlv1.WorkerExited, bool) {
	return m.GetWorkerExited(), m.GetWorkerExited() != nil
}

func started(m *controlv1.TaskManagerMessage) (*controlv1.WorkerStarted, bool) {
	return m.GetWorkerStarted(), m.GetWorkerStarted() != nil
}

func planned(m *controlv1.TaskManagerMessage) (*controlv1.PlanResult, bool) {
	return m.GetPlanResult(), m.GetPlanResult() != nil
}

func ready(m *controlv1.TaskManagerMessage) (string, bool) {
	r := m.GetWorkerEvent().GetEvent().GetReady()
	return r.GetFingerprint(), r != nil
}

// cluster is a jobmanager's socket and one taskmanager with real processes.
type cluster struct {
	leader *leader
	server *ctlrpc.JobManagerServer
	addr   string
	ref    *controlv1.BundleRef
	dir    string
}

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "taskexec-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "job")
	cmd := exec.Command("go", "build", "-o", path, "./testdata/job")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	bundlePath := filepath.Join(dir, "job.bundle")
	_, err = bundle.Write(bundlePath, bundle.Manifest{Engine: release.Version, Protocol: release.Protocol, Name: "job", Main: "job", Go: goruntime.Version()},
		[]bundle.Executable{{OS: goruntime.GOOS, Arch: goruntime.GOARCH, Path: path}})
	return bundlePath, err
})

func start(t *testing.T) *cluster {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	objects := memstore.New(clock.Real{})
	repo := bundle.NewRepository(objects, clock.Real{})
	b, err := repo.Put(t.Context(), "job.bundle", path)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := repo.Ref(t.Context(), b.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	c := serve(t, 1)
	c.ref = ref
	c.dir = shortDir(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- runTaskManager(ctx, c.dir, []string{c.addr}, objects, testLog(t)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	c.waitRegistered(t)
	return c
}

func (c *cluster) waitRegistered(t *testing.T) *controlv1.Register {
	t.Helper()
	select {
	case r := <-c.leader.registered:
		return r
	case <-time.After(waitMax):
		t.Fatal("the taskmanager did not register")
		return nil
	}
}

func serve(t *testing.T, epoch int64) *cluster {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{leader: newLeader(epoch), server: ctlrpc.NewJobManagerServer(clock.Real{}, testLog(t)), addr: l.Addr().String()}
	c.server.Lead(c.leader)
	g := ctlrpc.NewServer(nil)
	c.server.Register(g)
	serving := ctlrpc.Serve(g, l)
	t.Cleanup(func() {
		c.server.Retire("the test has ended")
		serving.Stop(clock.Real{}, 0)
	})
	return c
}

// shortDir has room for a unix socket's path.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lt") //nolint:usetesting // a unix socket needs a shorter path than t.TempDir has
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// runTaskManager is a whole taskmanager, until ctx ends.
func runTaskManager(ctx context.Context, dir string, jobmanagers []string, objects *memstore.Store, log *slog.Logger) error {
	cache, err := bundle.NewCache(filepath.Join(dir, "bundles"), objects, 0)
	if err != nil {
		return err
	}
	socket := filepath.Join(dir, "tm.sock")
	launcher := taskexec.NewProcessLauncher(taskexec.ProcessConfig{
		Cache: cache, Socket: socket, Clock: clock.Real{}, PlanMemoryBytes: 128 << 20,
	})
	defer launcher.Close()
	e, err := taskexec.New(taskexec.Config{
		ID: "tm-1", Host: "here", Address: "127.0.0.1", HostID: "h", Slots: 4, MemoryBytes: 400 << 20, CPUs: 4,
		Dir: filepath.Join(dir, "work"), SocketDir: dir, Launcher: launcher, Clock: clock.Real{}, Log: log,
		HelloMax: 2 * time.Second,
	})
	if err != nil {
		return err
	}
	service := ctlrpc.NewTaskManagerServer(e, objects, dir, clock.Real{}, log)
	serving, err := ctlrpc.ServeWorkers(socket, service)
	if err != nil {
		return err
	}
	client := ctlrpc.NewClient(ctlrpc.ClientConfig{Addresses: jobmanagers, Clock: clock.Real{}, Log: log})
	clientCtx, stopClient := context.WithCancel(context.Background())
	clientDone := make(chan struct{})
	go func() {
		defer close(clientDone)
		_ = client.Run(clientCtx, e) // it ends with its context only
	}()
	_ = e.Run(ctx) // as above
	stopClient()
	<-clientDone
	serving.Stop(clock.Real{}, 0)
	service.Wait()
	return nil
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func (c *cluster) startWorker(id string, slots int32, args ...string) {
	c.leader.send(&controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_StartWorker{StartWorker: &controlv1.StartWorker{
		JobId: "0123", JobName: "orders", Attempt: 1, WorkerId: id, Bundle: c.ref, Slots: slots, Epoch: c.leader.epoch,
		Inputs: &controlv1.ProgramInputs{Args: args, Environment: map[string]string{"SHOP": "7", "LEAT_WORKER_ID": "forged"}},
	}}})
}

func (c *cluster) command(id, what string) {
	c.leader.send(&controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_WorkerCommand{WorkerCommand: &controlv1.WorkerCommandEnvelope{
		JobId: "0123", Attempt: 1, WorkerId: id,
		Command: &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Cancel{Cancel: &controlv1.Cancel{Reason: what}}},
	}}})
}

func (c *cluster) stopWorker(id string, grace time.Duration) {
	c.leader.send(&controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_StopWorker{StopWorker: &controlv1.StopWorker{
		JobId: "0123", Attempt: 1, WorkerId: id, GraceMillis: grace.Milliseconds(),
	}}})
}

func (c *cluster) plan(id string, timeout time.Duration, args ...string) {
	c.leader.send(&controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_Plan{Plan: &controlv1.PlanRequest{
		RequestId: id, Bundle: c.ref, TimeoutMillis: timeout.Milliseconds(),
		Inputs: &controlv1.ProgramInputs{Args: args, Environment: map[string]string{"SHOP": "7"}},
	}}})
}

// alive reports whether a process exists that is no zombie.
func alive(pid int64) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func waitDead(t *testing.T, pid int64) {
	t.Helper()
	deadline := time.Now().Add(waitMax)
	for alive(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives on", pid)
		}
		goruntime.Gosched()
	}
}
