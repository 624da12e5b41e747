package ctlrpc_test

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ctlrpc"
	"github.com/leatstream/leat/runtime/ha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const waitMax = 30 * time.Second

func testLog(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// host is a taskmanager with two workers, a of job 1 and b of job 2.
type host struct {
	mu       sync.Mutex
	send     map[string]func(*controlv1.WorkerCommand) error
	drop     map[string]func(string)
	events   chan *controlv1.WorkerEvent
	detached chan string
	readable string
}

func newHost() *host {
	return &host{send: map[string]func(*controlv1.WorkerCommand) error{}, drop: map[string]func(string){}, events: make(chan *controlv1.WorkerEvent, 100), detached: make(chan string, 10)}
}

func tokenOf(id string) string { return "token-" + id }

func (h *host) Attach(hello *controlv1.Hello, send func(*controlv1.WorkerCommand) error, drop func(string)) (*controlv1.Welcome, error) {
	if subtle.ConstantTimeCompare([]byte(hello.GetToken()), []byte(tokenOf(hello.GetWorkerId()))) != 1 {
		return nil, errors.New("worker is not expected here")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.send[hello.GetWorkerId()], h.drop[hello.GetWorkerId()] = send, drop
	return &controlv1.Welcome{JobName: hello.GetEngineVersion()}, nil
}

func (h *host) WorkerEvent(_ string, ev *controlv1.WorkerEvent) { h.events <- ev }
func (h *host) Detach(id string)                                { h.detached <- id }
func (h *host) MayRead(token, uri string) bool {
	return token == tokenOf("a") && uri == h.readable
}

func (h *host) JobOf(token string) (dataflow.JobID, bool) {
	job, ok := map[string]dataflow.JobID{tokenOf("a"): "1", tokenOf("b"): "2"}[token]
	return job, ok
}

func (h *host) command(t *testing.T, id, reason string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.send[id](&controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Cancel{Cancel: &controlv1.Cancel{Reason: reason}}}); err != nil {
		t.Error(err)
	}
}

// serveWorkers opens a taskmanager's socket.
func serveWorkers(t *testing.T, h *host, objects store.Store) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lt") //nolint:usetesting // a unix socket needs a shorter path than t.TempDir has
	if err != nil {
		t.Fatal(err)
	}
	service := ctlrpc.NewTaskManagerServer(h, objects, dir, clock.Real{}, testLog(t))
	socket = filepath.Join(dir, "s")
	serving, err := ctlrpc.ServeWorkers(socket, service)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serving.Stop(clock.Real{}, 0)
		service.Wait()
		left, _ := filepath.Glob(filepath.Join(dir, "put-*"))
		if len(left) > 0 {
			t.Errorf("spooled objects are left: %v", left)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return socket
}

func dial(t *testing.T, socket, id string) *ctlrpc.WorkerClient {
	t.Helper()
	c, err := ctlrpc.DialTaskManager(t.Context(), socket, id, tokenOf(id))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func ready(s string) *controlv1.WorkerEvent {
	return &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Ready{Ready: &controlv1.Ready{Fingerprint: s}}}
}

func TestWorkersLinkKeepsOrderBothWays(t *testing.T) {
	t.Parallel()
	h := newHost()
	c := dial(t, serveWorkers(t, h, memstore.New(clock.Real{})), "a")
	if c.Welcome.GetJobName() != release.Version {
		t.Errorf("welcome %v", c.Welcome)
	}
	for i := range 50 {
		if err := c.Send(ready(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		h.command(t, "a", fmt.Sprint(i))
	}
	for i := range 50 {
		if got := (<-h.events).GetReady().GetFingerprint(); got != fmt.Sprint(i) {
			t.Fatalf("event %d is %s", i, got)
		}
		cmd, err := c.Recv(t.Context())
		if err != nil || cmd.GetCancel().GetReason() != fmt.Sprint(i) {
			t.Fatalf("command %d is %v, %v", i, cmd, err)
		}
	}
	if err := c.Send(ready("last words")); err != nil {
		t.Fatal(err)
	}
	c.Flush(t.Context())
	if got := (<-h.events).GetReady().GetFingerprint(); got != "last words" {
		t.Errorf("got %q", got)
	}
	if id := <-h.detached; id != "a" {
		t.Errorf("detached %q", id)
	}
	if err := c.Send(ready("too late")); err == nil {
		t.Error("a link that has ended takes events")
	}
}

func TestALinkEndsWithItsTaskmanager(t *testing.T) {
	t.Parallel()
	h := newHost()
	c := dial(t, serveWorkers(t, h, memstore.New(clock.Real{})), "a")
	h.mu.Lock()
	drop := h.drop["a"]
	h.mu.Unlock()
	drop("enough")
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	if _, err := c.Recv(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("got %v", err)
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	t.Parallel()
	socket := serveWorkers(t, newHost(), memstore.New(clock.Real{}))
	for _, token := range []string{"", tokenOf("b"), tokenOf("a") + "x"} {
		_, err := ctlrpc.DialTaskManager(t.Context(), socket, "a", token)
		if err == nil || !ctlrpc.Refused(err) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", st.Mode(), err)
	}
}

func TestObjectsOfAnySize(t *testing.T) {
	t.Parallel()
	objects := memstore.New(clock.Real{})
	c := dial(t, serveWorkers(t, newHost(), objects), "a")
	for _, size := range []int{0, 1, ctlrpc.ChunkBytes - 1, ctlrpc.ChunkBytes, ctlrpc.ChunkBytes + 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		data := make([]byte, size)
		rnd := rand.New(rand.NewPCG(uint64(size), 2))
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		key := fmt.Sprintf("chk-1/%d.state", size)
		if err := c.Put(t.Context(), key, bytes.NewReader(data), int64(size)); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if _, err := objects.Stat(t.Context(), "jobs/1/"+key); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		for _, r := range [][2]int64{{0, -1}, {0, int64(size)}, {int64(size) / 3, int64(size) / 2}, {int64(size), 0}} {
			want := data[r[0]:]
			if r[1] >= 0 {
				want = want[:r[1]]
			}
			got, err := read(c, t.Context(), key, r[0], r[1])
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, range %v: %d bytes, %v", size, r, len(got), err)
			}
		}
	}
	if _, err := read(c, t.Context(), "chk-1/none", 0, -1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no object: %v", err)
	}
	if _, err := read(c, t.Context(), "chk-1/1.state", 0, 10); err == nil {
		t.Error("missing bytes are no error")
	}
	if err := c.Put(t.Context(), "short", bytes.NewReader([]byte("abc")), 5); err == nil {
		t.Error("an object of fewer bytes than announced was stored")
	}
	if _, err := objects.Stat(t.Context(), "jobs/1/short"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("part of an object: %v", err)
	}
}

func read(c *ctlrpc.WorkerClient, ctx context.Context, key string, offset, length int64) ([]byte, error) {
	r, err := c.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// TestWorkersStayUnderTheirPrefix tries every way out.
func TestWorkersStayUnderTheirPrefix(t *testing.T) {
	t.Parallel()
	objects := memstore.New(clock.Real{})
	for _, key := range []string{"jobs/2/secret", "bundles/x"} {
		if err := objects.Put(t.Context(), key, strings.NewReader("secret"), 6); err != nil {
			t.Fatal(err)
		}
	}
	h := newHost()
	h.readable = objects.URI("jobs/2/secret")
	socket := serveWorkers(t, h, objects)
	a, b := dial(t, socket, "a"), dial(t, socket, "b")
	for _, key := range []string{
		"", "/", "../2/secret", "x/../../2/secret", "/jobs/2/secret", "./x", "x//y", "x/", "..", "a\x00b", `..\2\secret`,
		strings.Repeat("k", 2000), objects.URI("bundles/x"), "s3://other/bucket", "file:///etc/passwd",
	} {
		if got, err := read(a, t.Context(), key, 0, -1); err == nil {
			t.Errorf("key %q: read %q", key, got)
		}
		if err := a.Put(t.Context(), key, strings.NewReader("x"), 1); err == nil {
			t.Errorf("key %q was written", key)
		}
	}
	if got, err := read(a, t.Context(), h.readable, 0, -1); err != nil || string(got) != "secret" {
		t.Errorf("the savepoint that the job starts from: %q, %v", got, err)
	}
	if err := a.Put(t.Context(), h.readable, strings.NewReader("x"), 1); err == nil {
		t.Error("another job's object was overwritten")
	}
	if _, err := read(b, t.Context(), h.readable, 0, -1); err == nil {
		t.Error("a worker reads what only another one may")
	}
}

func FuzzObjectKey(f *testing.F) {
	for _, s := range []string{"a/b", "../x", "a//b", "a/./b", "\x00", "é/ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if ctlrpc.CheckObjectKey(key) != nil {
			return
		}
		root := "/jobs/1"
		if joined := filepath.Join(root, key); !strings.HasPrefix(joined, root+"/") || joined != root+"/"+key {
			t.Errorf("key %q leads to %s", key, joined)
		}
	})
}

func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	h := newHost()
	c := dial(t, serveWorkers(t, h, memstore.New(clock.Real{})), "a")
	long := strings.Repeat("ü", 8<<20)
	err := c.Send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Failed{Failed: &controlv1.WorkerFailed{
		Failure: &controlv1.Failure{Stack: long, Error: &controlv1.ErrorInfo{What: long}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	f := (<-h.events).GetFailed().GetFailure()
	if n := len(f.GetStack()) + len(f.GetError().GetWhat()); n > 100<<10 || !strings.Contains(f.GetStack(), "(cut:") || !strings.HasPrefix(f.GetError().GetWhat(), "üü") {
		t.Errorf("%d bytes arrived", n)
	}
}

// board is a dispatcher that admits everyone.
type board struct {
	epoch    int64
	refuse   error
	mu       sync.Mutex
	sessions map[string]ctlrpc.Session
	admitted int // guarded by mu
	got      chan *controlv1.TaskManagerMessage
	gone     chan string
}

func newBoard(epoch int64) *board {
	return &board{epoch: epoch, sessions: map[string]ctlrpc.Session{}, got: make(chan *controlv1.TaskManagerMessage, 100_000), gone: make(chan string, 100)}
}

func (b *board) Connect(reg *controlv1.Register, s ctlrpc.Session) (*controlv1.Registered, error) {
	if b.refuse != nil {
		return nil, b.refuse
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions[reg.GetId()] = s
	b.admitted++
	// A message sent before Connect returns arrives after Registered.
	return &controlv1.Registered{Epoch: b.epoch}, s.Send(&controlv1.JobManagerMessage{})
}

func (b *board) Receive(_ string, _ uint64, m *controlv1.TaskManagerMessage) { b.got <- m }
func (b *board) Disconnect(id string, _ uint64)                              { b.gone <- id }

func (b *board) connects() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admitted
}

func (b *board) session(id string) ctlrpc.Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[id]
}

// tm is the taskmanager's side.
type tm struct {
	id        string
	protocol  int32
	connected chan *controlv1.Registered
	ended     chan string
	got       chan *controlv1.JobManagerMessage
	hold      chan struct{} // messages wait for its end
	mu        sync.Mutex
	send      func(*controlv1.TaskManagerMessage) error
}

func newTM(id string) *tm {
	return &tm{id: id, protocol: release.Protocol, connected: make(chan *controlv1.Registered, 100), ended: make(chan string, 100), got: make(chan *controlv1.JobManagerMessage, 100)}
}

func (x *tm) Registration() *controlv1.Register {
	return &controlv1.Register{Id: x.id, Instance: 1, Protocol: x.protocol}
}

func (x *tm) Connected(r *controlv1.Registered, send func(*controlv1.TaskManagerMessage) error, _ func(string)) {
	x.mu.Lock()
	x.send = send
	x.mu.Unlock()
	x.connected <- r
}

func (x *tm) Received(m *controlv1.JobManagerMessage) {
	if x.hold != nil {
		<-x.hold
		return
	}
	x.got <- m
}

func (x *tm) Disconnected(reason string) { x.ended <- reason }

type jobManager struct {
	*ctlrpc.JobManagerServer
	address string
	serving *ctlrpc.Serving
}

func serveJobManager(t *testing.T) *jobManager {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	j := &jobManager{JobManagerServer: ctlrpc.NewJobManagerServer(clock.Real{}, testLog(t)), address: l.Addr().String()}
	g := ctlrpc.NewServer(nil)
	j.Register(g)
	j.serving = ctlrpc.Serve(g, l)
	t.Cleanup(func() {
		j.Retire("the test has ended")
		j.serving.Stop(clock.Real{}, 0)
		j.Wait()
	})
	return j
}

func runClient(t *testing.T, x *tm, cfg ctlrpc.ClientConfig) {
	t.Helper()
	cfg.Clock, cfg.Log = clock.Real{}, testLog(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := ctlrpc.NewClient(cfg).Run(ctx, x); !errors.Is(err, context.Canceled) {
			t.Errorf("the client ended: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(waitMax):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

func TestATaskmanagerFindsTheLeader(t *testing.T) {
	t.Parallel()
	standby, leader := serveJobManager(t), serveJobManager(t)
	b := newBoard(7)
	leader.Lead(b)
	standby.SetLeaderHint(leader.address)
	x := newTM("tm")
	runClient(t, x, ctlrpc.ClientConfig{Addresses: []string{"127.0.0.1:1", standby.address}})
	if r := wait(t, x.connected, "the session"); r.GetEpoch() != 7 {
		t.Errorf("registered %v", r)
	}
	wait(t, x.got, "the message that was sent within Connect")
	for i := range 20 {
		if err := x.send(&controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_Heartbeat{Heartbeat: &controlv1.Heartbeat{Sequence: int64(i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		if got := wait(t, b.got, "a heartbeat").GetHeartbeat().GetSequence(); got != int64(i) {
			t.Fatalf("heartbeat %d came as %d", i, got)
		}
	}
	b.session("tm").Close("no reason")
	if why := wait(t, x.ended, "the end"); !strings.Contains(why, "no reason") {
		t.Errorf("it ended: %s", why)
	}
	wait(t, b.gone, "Disconnect")
	wait(t, x.connected, "the next session")
}

func TestALeaderRetires(t *testing.T) {
	t.Parallel()
	j := serveJobManager(t)
	first, second := newBoard(1), newBoard(2)
	j.Lead(first)
	x := newTM("tm")
	runClient(t, x, ctlrpc.ClientConfig{Addresses: []string{j.address}})
	wait(t, x.connected, "the session")
	j.Retire("deposed")
	if len(first.gone) != 1 {
		t.Error("Retire returned before Disconnect")
	}
	wait(t, x.ended, "the end")
	j.Lead(second)
	if r := wait(t, x.connected, "the next session"); r.GetEpoch() != 2 {
		t.Errorf("registered %v", r)
	}
}

func TestAnElectionMovesTheSession(t *testing.T) {
	t.Parallel()
	old, later := serveJobManager(t), serveJobManager(t)
	old.Lead(newBoard(1))
	later.Lead(newBoard(2))
	leaders := make(chan *ha.Leader, 2)
	leaders <- &ha.Leader{Epoch: 1, ID: "old", Control: old.address}
	x := newTM("tm")
	runClient(t, x, ctlrpc.ClientConfig{Watch: func(ctx context.Context) <-chan *ha.Leader {
		out := make(chan *ha.Leader)
		go func() {
			defer close(out)
			for {
				select {
				case l := <-leaders:
					out <- l
				case <-ctx.Done():
					return
				}
			}
		}()
		return out
	}})
	if r := wait(t, x.connected, "the session"); r.GetEpoch() != 1 {
		t.Errorf("registered %v", r)
	}
	// The old leader has not noticed yet that it leads no more.
	leaders <- &ha.Leader{Epoch: 2, ID: "later", Control: later.address}
	if why := wait(t, x.ended, "the end"); !strings.Contains(why, "later leads now") {
		t.Errorf("it ended: %s", why)
	}
	if r := wait(t, x.connected, "the next session"); r.GetEpoch() != 2 {
		t.Errorf("registered %v", r)
	}
}

func TestAPeerThatDoesNotKeepUpLosesItsSession(t *testing.T) {
	t.Parallel()
	j := serveJobManager(t)
	b := newBoard(1)
	j.Lead(b)
	x := newTM("tm")
	x.hold = make(chan struct{}) // it reads nothing
	release := sync.OnceFunc(func() { close(x.hold) })
	defer release()
	runClient(t, x, ctlrpc.ClientConfig{Addresses: []string{j.address}})
	wait(t, x.connected, "the session")
	s := b.session("tm")
	big := &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_WorkerCommand{WorkerCommand: &controlv1.WorkerCommandEnvelope{
		Command: &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Cancel{Cancel: &controlv1.Cancel{Reason: strings.Repeat("x", 64<<10)}}},
	}}}
	sent := 0
	for ; sent < 10*ctlrpc.QueueMax; sent++ {
		if s.Send(big) != nil {
			break
		}
	}
	if sent < ctlrpc.QueueMax || sent == 10*ctlrpc.QueueMax {
		t.Errorf("%d messages were taken", sent)
	}
	wait(t, b.gone, "Disconnect")
	release()
	wait(t, x.ended, "the end")
}

func TestOtherReleasesAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	j := serveJobManager(t)
	b := newBoard(1)
	j.Lead(b)
	x := newTM("tm")
	x.protocol = release.Protocol + 1
	var log bytes.Buffer
	// Not a deadline: the calls would take it over and end a moment before it.
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(300*time.Millisecond, cancel).Stop()
	client := ctlrpc.NewClient(ctlrpc.ClientConfig{Addresses: []string{j.address}, Clock: clock.Real{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	_ = client.Run(ctx, x) // it ends with its context only
	if !strings.Contains(log.String(), "run the same release") || strings.Count(log.String(), "no session") != 1 {
		t.Errorf("logged:\n%s", log.String())
	}
	if len(x.connected) > 0 {
		t.Error("it was admitted")
	}
}
