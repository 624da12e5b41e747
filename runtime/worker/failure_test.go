package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange/exchangemem"
)

func newStore() *objects { return &objects{data: map[string][]byte{}} }

func (m *master) fails(what, want string, fatal bool) {
	m.t.Helper()
	m.until(what, func() bool { return m.failure != nil })
	f := m.failure
	text := f.GetError().GetWhat() + " " + f.GetError().GetWhere()
	if !strings.Contains(text, want) || f.GetFatal() != fatal {
		m.t.Errorf("%s: %q, fatal %v; want %q, fatal %v", what, text, f.GetFatal(), want, fatal)
	}
}

// Stop with a savepoint: what was read before the barrier is committed, and
// nothing more is read; a job that starts from it completes the rest.
func TestStopWithSavepoint(t *testing.T) {
	t.Parallel()
	world := newOutside(3000)
	store, n := newStore(), exchangemem.New()
	build := func() *graph.JobGraph { return jobGraph(t, world) }
	world.pace.Store(7000)
	m := startMaster(t, build, n, store, 1, 2, 3, nil)
	m.deploy()
	m.checkpoint(1, nil)
	world.pace.Store(1 << 62)
	if !m.checkpoint(2, func(tr *controlv1.TriggerCheckpoint) { tr.Savepoint, tr.Stop = true, true }) {
		t.Fatal(m.failure)
	}
	m.cancelAll()
	m = startMaster(t, build, n, store, 2, 2, 2, m.committed)
	m.deploy()
	m.until("the end", m.finished)
	m.checkpoint(3, func(tr *controlv1.TriggerCheckpoint) { tr.Final = true })
	m.cancelAll()
	world.check(t)
}

// Drain: all subtasks reach their end and take the savepoint there.
func TestDrain(t *testing.T) {
	t.Parallel()
	world := newOutside(3000)
	world.pace.Store(5000)
	m := startMaster(t, func() *graph.JobGraph { return jobGraph(t, world) }, exchangemem.New(), newStore(), 1, 2, 3, nil)
	m.deploy()
	m.checkpoint(1, nil)
	if !m.checkpoint(2, func(tr *controlv1.TriggerCheckpoint) { tr.Savepoint, tr.Stop, tr.Drain = true, true, true }) {
		t.Fatal(m.failure)
	}
	m.until("the end", m.finished)
	for _, a := range m.acks[2] {
		for _, s := range a.GetSubtasks() {
			if !s.GetFinished() {
				t.Errorf("subtask %v had not finished in the drained savepoint", s.GetSubtask())
			}
		}
	}
	m.cancelAll()
}

// A checkpoint that is aborted leaves no trace, and the next one works.
func TestAbortedCheckpoint(t *testing.T) {
	t.Parallel()
	world := newOutside(2000)
	m := startMaster(t, func() *graph.JobGraph { return jobGraph(t, world) }, exchangemem.New(), newStore(), 1, 2, 3, nil)
	m.deploy()
	m.all(func() *controlv1.WorkerCommand {
		return &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_TriggerCheckpoint{TriggerCheckpoint: &controlv1.TriggerCheckpoint{Id: 1, ObjectDir: "chk-1"}}}
	})
	m.all(func() *controlv1.WorkerCommand {
		return &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_CheckpointAborted{CheckpointAborted: &controlv1.CheckpointAborted{Id: 1}}}
	})
	m.checkpoint(2, nil)
	m.until("the end", m.finished)
	m.checkpoint(3, func(tr *controlv1.TriggerCheckpoint) { tr.Final = true })
	m.cancelAll()
	world.check(t)
}

// State that was damaged in the store fails the task that reads it, by name.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	world := newOutside(20_000)
	store, n := newStore(), exchangemem.New()
	build := func() *graph.JobGraph { return jobGraph(t, world) }
	m := startMaster(t, build, n, store, 1, 1, 2, nil)
	m.deploy()
	m.until("the end", m.finished)
	m.checkpoint(1, nil)
	m.cancelAll()
	damaged := false
	for _, h := range m.committed.GetHandles() {
		if h.GetKind() == controlv1.StateKind_STATE_KIND_KEYED {
			if h.GetObject() == "" {
				h.Inline[len(h.GetInline())/2] ^= 1
			} else {
				store.data[h.GetObject()][h.GetOffset()+h.GetLength()/2] ^= 1
			}
			damaged = true
		}
	}
	if !damaged {
		t.Fatal("there is no keyed state")
	}
	again := startMaster(t, build, n, store, 2, 1, 2, m.committed)
	again.until("ready", func() bool { return len(again.ready) == 1 })
	again.deployOnly()
	again.until("the failure", func() bool { return again.failure != nil })
	if what := again.failure.GetError().GetWhat(); !strings.Contains(what, "damaged") {
		t.Errorf("failure %q", what)
	}
	again.cancelAll()
}

// A worker whose program builds another graph says so and does not start.
func TestOtherGraph(t *testing.T) {
	t.Parallel()
	world := newOutside(10)
	m := startMaster(t, func() *graph.JobGraph { return jobGraph(t, world) }, exchangemem.New(), newStore(), 1, 1, 1, nil)
	m.graph.Name = "renamed"
	m.until("ready", func() bool { return len(m.ready) == 1 })
	m.deployOnly()
	m.fails("another graph", "another graph", true)
	m.cancelAll()
}

// A graph that can never run fails the job for good.
func TestWrongGraph(t *testing.T) {
	t.Parallel()
	world := newOutside(10)
	m := startMaster(t, func() *graph.JobGraph {
		g := jobGraph(t, world)
		g.Edges[0].Key = nil
		return g
	}, exchangemem.New(), newStore(), 1, 1, 1, nil)
	m.until("ready", func() bool { return len(m.ready) == 1 })
	m.deployOnly()
	m.fails("the graph", "no key", true)
	m.cancelAll()
}

// When the link is cut the worker ends with an error.
func TestLinkLost(t *testing.T) {
	t.Parallel()
	world := newOutside(1000)
	world.pace.Store(100)
	m := startMaster(t, func() *graph.JobGraph { return jobGraph(t, world) }, exchangemem.New(), newStore(), 1, 2, 2, nil)
	m.deploy()
	m.checkpoint(1, nil)
	close(m.cut)
	m.join(func(i int, err error) {
		if !errors.Is(err, errCut) {
			t.Errorf("worker %d: %v", i, err)
		}
	})
}

// checked is a source whose check of the outside world fails for good.
type checked struct{ sourceFactory }

func (checked) Checker() connectors.Checker { return checkFunc{} }

type checkFunc struct{}

func (checkFunc) Check(context.Context, connectors.CheckInfo) error {
	return &connectors.FatalError{Code: "LEAT0007", What: "topic is missing", Fix: "create it"}
}

func TestFatalCheck(t *testing.T) {
	t.Parallel()
	world := newOutside(1000)
	world.pace.Store(0)
	m := startMaster(t, func() *graph.JobGraph {
		g := jobGraph(t, world)
		g.Nodes[0].Factory = checked{sourceFactory{world}}
		return g
	}, exchangemem.New(), newStore(), 1, 1, 1, nil)
	m.deploy()
	m.fails("the check", "topic is missing", true)
	if m.failure.GetError().GetCode() != "LEAT0007" {
		t.Errorf("code %q", m.failure.GetError().GetCode())
	}
	m.cancelAll()
}

// broken is a source whose coordinator panics on an event.
type broken struct{ sourceFactory }

func (b broken) NewCoordinator(ctx *operators.CoordinatorContext) (operators.Coordinator, error) {
	return &brokenCoordinator{coordinator{ctx: ctx}}, nil
}

type brokenCoordinator struct{ coordinator }

func (*brokenCoordinator) HandleEvent(int, []byte) error { panic("no idea") }

func TestCoordinatorPanics(t *testing.T) {
	t.Parallel()
	world := newOutside(1000)
	m := startMaster(t, func() *graph.JobGraph {
		g := jobGraph(t, world)
		g.Nodes[0].Factory = broken{sourceFactory{world}}
		return g
	}, exchangemem.New(), newStore(), 1, 1, 1, nil)
	m.deploy()
	m.fails("the coordinator", "no idea", false)
	if !m.failure.GetPanic() || m.failure.GetStack() == "" {
		t.Errorf("failure %v", m.failure)
	}
	m.cancelAll()
}
