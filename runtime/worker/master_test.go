package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/worker"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// wire is a worker's link to the test, which plays the jobmaster.
type wire struct {
	commands chan *controlv1.WorkerCommand
	events   chan said
	worker   int
	cut      chan struct{}
}

type said struct {
	worker int
	ev     *controlv1.WorkerEvent
}

var errCut = errors.New("link cut")

func (l *wire) Send(ev *controlv1.WorkerEvent) error {
	select {
	case l.events <- said{l.worker, ev}:
		return nil
	case <-l.cut:
		return errCut
	}
}

func (l *wire) Recv(ctx context.Context) (*controlv1.WorkerCommand, error) {
	select {
	case c := <-l.commands:
		return c, nil
	case <-l.cut:
		return nil, errCut
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// objects is an object store in memory.
type objects struct {
	mu   sync.Mutex
	data map[string][]byte // guarded by mu
}

func (o *objects) Put(_ context.Context, key string, r io.ReadSeeker, size int64) error {
	b, err := io.ReadAll(r)
	if err != nil || int64(len(b)) != size {
		return fmt.Errorf("object %q: %d bytes, want %d: %w", key, len(b), size, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data[key] = b
	return nil
}

func (o *objects) Get(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b, ok := o.data[key]
	if !ok || offset+length > int64(len(b)) {
		return nil, fmt.Errorf("no object %q with %d bytes at %d", key, length, offset)
	}
	return io.NopCloser(bytes.NewReader(b[offset : offset+length])), nil
}

// master plays the jobmaster of one attempt.
type master struct {
	t         *testing.T
	graph     *graph.JobGraph
	network   exchange.Network
	objects   *objects
	attempt   int64
	par       int
	wires     []*wire
	events    chan said
	ended     []chan error
	cut       chan struct{}
	cancel    context.CancelFunc
	ready     map[int]*controlv1.Ready
	restore   *controlv1.Restore
	deployed  int
	states    map[string]controlv1.TaskState
	failure   *controlv1.Failure
	acks      map[int64][]*controlv1.CheckpointAck
	coords    map[int64]*controlv1.CoordinatorSnapshot
	done      map[int64]int
	declined  map[int64]string
	committed *controlv1.Restore
	metrics   int
}

func startMaster(t *testing.T, g func() *graph.JobGraph, n exchange.Network, store *objects, attempt int64, workers, par int, restore *controlv1.Restore) *master {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &master{
		t: t, graph: g(), network: n, objects: store, attempt: attempt, par: par, events: make(chan said, 64),
		cut: make(chan struct{}), cancel: cancel, ready: make(map[int]*controlv1.Ready), restore: restore,
		states: make(map[string]controlv1.TaskState), acks: make(map[int64][]*controlv1.CheckpointAck),
		coords: make(map[int64]*controlv1.CoordinatorSnapshot), done: make(map[int64]int), declined: make(map[int64]string),
	}
	dir := t.TempDir()
	for i := range workers {
		l := &wire{commands: make(chan *controlv1.WorkerCommand, 64), events: m.events, worker: i, cut: m.cut}
		end := make(chan error, 1)
		m.wires, m.ended = append(m.wires, l), append(m.ended, end)
		cfg := worker.Config{
			Graph: g(), WorkerID: m.id(i),
			Welcome: &controlv1.Welcome{JobId: "job", JobName: "counts", Attempt: attempt, Address: "127.0.0.1", HostId: "here", SocketDir: dir},
			Link:    l, Objects: store, Network: n, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler),
			NewBackend: func(r dataflow.KeyGroupRange, maxP int) (state.Backend, error) { return memstate.New(r, maxP), nil },
		}
		go func() { end <- worker.Run(ctx, cfg) }()
	}
	return m
}

func (m *master) id(i int) string { return fmt.Sprintf("w%d-%d", m.attempt, i) }

// until handles events until cond holds.
func (m *master) until(what string, cond func() bool) {
	m.t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	for !cond() {
		select {
		case s := <-m.events:
			m.handle(s)
		case <-deadline.C:
			m.t.Fatalf("attempt %d: waited in vain for %s; states %v, failure %v, declined %v", m.attempt, what, m.states, m.failure, m.declined)
		}
	}
}

func (m *master) handle(s said) {
	switch b := s.ev.GetBody().(type) {
	case *controlv1.WorkerEvent_Ready:
		m.ready[s.worker] = b.Ready
	case *controlv1.WorkerEvent_Deployed:
		m.deployed++
	case *controlv1.WorkerEvent_TaskStatus:
		ref := b.TaskStatus.GetSubtask()
		m.states[fmt.Sprintf("%d.%d", ref.GetVertex(), ref.GetSubtask())] = b.TaskStatus.GetState()
		if f := b.TaskStatus.GetFailure(); f != nil && m.failure == nil {
			m.failure = f
		}
	case *controlv1.WorkerEvent_Failed:
		m.failure = b.Failed.GetFailure()
	case *controlv1.WorkerEvent_CheckpointAck:
		m.acks[b.CheckpointAck.GetId()] = append(m.acks[b.CheckpointAck.GetId()], b.CheckpointAck)
	case *controlv1.WorkerEvent_CheckpointDecline:
		m.declined[b.CheckpointDecline.GetId()] = b.CheckpointDecline.GetReason()
	case *controlv1.WorkerEvent_CoordinatorSnapshot:
		m.coords[b.CoordinatorSnapshot.GetId()] = b.CoordinatorSnapshot
	case *controlv1.WorkerEvent_CommitDone:
		m.done[b.CommitDone.GetId()]++
	case *controlv1.WorkerEvent_OperatorEvent:
		m.relay(b.OperatorEvent)
	case *controlv1.WorkerEvent_Metrics:
		m.metrics++
	}
}

func (m *master) relay(ev *controlv1.OperatorEvent) {
	to := 0
	if !ev.GetToCoordinator() {
		to = int(ev.GetSubtask()) % len(m.wires)
	}
	m.wires[to].commands <- &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_OperatorEvent{OperatorEvent: ev}}
}

func (m *master) all(cmd func() *controlv1.WorkerCommand) {
	for _, l := range m.wires {
		l.commands <- cmd()
	}
}

// deploy brings all workers to running. Subtask i of each vertex runs on
// worker i mod workers.
func (m *master) deploy() {
	m.t.Helper()
	m.until("all ready", func() bool { return len(m.ready) == len(m.wires) })
	m.deployOnly()
	m.until("all deployed", func() bool { return m.deployed == len(m.wires) || m.failure != nil })
	if m.failure != nil {
		m.t.Fatalf("deployment: %v", m.failure)
	}
	m.all(func() *controlv1.WorkerCommand {
		return &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Start{Start: &controlv1.Start{}}}
	})
}

func (m *master) deployOnly() {
	m.t.Helper()
	plan, err := graph.Build(m.graph, m.par)
	if err != nil {
		m.t.Fatal(err)
	}
	d := &controlv1.Deploy{
		Parallelism: int32(m.par), Incarnation: "abc", Fingerprint: m.graph.Fingerprint(), ExchangeToken: "token",
		Restore: m.restore, CheckpointIntervalMillis: 100,
	}
	for _, v := range plan.Vertices {
		for s := range v.Parallelism {
			d.Placements = append(d.Placements, &controlv1.Placement{
				Subtask: &controlv1.SubtaskRef{Vertex: int32(v.Index), Subtask: int32(s)}, WorkerId: m.id(s % len(m.wires)),
			})
		}
	}
	for i := range m.wires {
		r := m.ready[i]
		d.Peers = append(d.Peers, &controlv1.Peer{WorkerId: m.id(i), TcpAddress: r.GetTcpAddress(), UnixAddress: r.GetUnixAddress(), HostId: r.GetHostId()})
	}
	for i, l := range m.wires {
		own := &controlv1.Deploy{
			Parallelism: d.Parallelism, Incarnation: d.Incarnation, Fingerprint: d.Fingerprint, ExchangeToken: d.ExchangeToken,
			Restore: d.Restore, CheckpointIntervalMillis: d.CheckpointIntervalMillis, Placements: d.Placements, Peers: d.Peers, Coordinator: i == 0,
		}
		l.commands <- &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Deploy{Deploy: own}}
	}
}

// checkpoint takes and commits a checkpoint. It reports false when the
// attempt failed meanwhile.
func (m *master) checkpoint(id int64, change func(*controlv1.TriggerCheckpoint)) bool {
	m.t.Helper()
	tr := &controlv1.TriggerCheckpoint{Id: id, TimestampMillis: time.Now().UnixMilli(), ObjectDir: fmt.Sprintf("chk-%d", id)}
	if change != nil {
		change(tr)
	}
	m.all(func() *controlv1.WorkerCommand {
		return &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_TriggerCheckpoint{TriggerCheckpoint: tr}}
	})
	m.until(fmt.Sprintf("checkpoint %d", id), func() bool {
		return (len(m.acks[id]) == len(m.wires) && m.coords[id] != nil) || m.failure != nil
	})
	if m.failure != nil {
		return false
	}
	r := &controlv1.Restore{CheckpointId: id, MaxParallelism: int32(m.graph.MaxParallelism), Coordinators: m.coords[id].GetCoordinators()}
	for _, a := range m.acks[id] {
		for _, s := range a.GetSubtasks() {
			r.Handles = append(r.Handles, s.GetHandles()...)
		}
	}
	m.committed = r
	m.all(func() *controlv1.WorkerCommand {
		return &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_CheckpointCommitted{CheckpointCommitted: &controlv1.CheckpointCommitted{Id: id}}}
	})
	m.until(fmt.Sprintf("commits of %d", id), func() bool { return m.done[id] == len(m.wires) || m.failure != nil })
	return m.failure == nil
}

// finished reports whether all subtasks have reached their end.
func (m *master) finished() bool {
	n := 0
	for _, s := range m.states {
		if s == controlv1.TaskState_TASK_STATE_FINISHED {
			n++
		}
	}
	return n == len(m.states) && n > 0
}

// cancelAll ends the attempt in order and waits for the workers.
func (m *master) cancelAll() {
	m.t.Helper()
	m.all(func() *controlv1.WorkerCommand {
		return &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Cancel{Cancel: &controlv1.Cancel{}}}
	})
	m.join(func(i int, err error) {
		if err != nil {
			m.t.Errorf("worker %d: %v", i, err)
		}
	})
}

// kill ends the attempt without a word.
func (m *master) kill() {
	m.t.Helper()
	m.cancel()
	m.join(func(int, error) {})
}

func (m *master) join(check func(int, error)) {
	m.t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	for i, end := range m.ended {
		for waiting := true; waiting; {
			select {
			case err := <-end:
				check(i, err)
				waiting = false
			case s := <-m.events:
				m.handle(s)
			case <-deadline.C:
				m.t.Fatalf("worker %d did not end", i)
			}
		}
	}
	m.cancel()
}
