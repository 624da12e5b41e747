package worker_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/exchange/exchangegrpc"
	"github.com/leatstream/leat/runtime/exchange/exchangemem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// networks are all kinds of networks between workers.
func networks(t *testing.T, run func(t *testing.T, n exchange.Network)) {
	t.Helper()
	kinds := map[string]func() exchange.Network{
		"memory": func() exchange.Network { return exchangemem.New() },
		"grpc":   func() exchange.Network { return &exchangegrpc.Network{} },
	}
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, make())
		})
	}
}

// A job that runs through, with checkpoints on the way, commits everything
// exactly once.
func TestRunToTheEnd(t *testing.T) {
	t.Parallel()
	networks(t, func(t *testing.T, n exchange.Network) {
		world := newOutside(5000)
		m := startMaster(t, func() *graph.JobGraph { return jobGraph(t, world) }, n, &objects{data: map[string][]byte{}}, 1, 2, 3, nil)
		m.deploy()
		id := int64(0)
		for !m.finished() {
			id++
			if !m.checkpoint(id, nil) {
				t.Fatal(m.failure)
			}
		}
		m.checkpoint(id+1, func(tr *controlv1.TriggerCheckpoint) { tr.Final = true })
		m.cancelAll()
		world.check(t)
	})
}

// Attempts that are killed at any point, and go on at another parallelism
// from the last committed checkpoint, commit the same.
func TestKillAndRestore(t *testing.T) {
	t.Parallel()
	networks(t, func(t *testing.T, n exchange.Network) {
		world := newOutside(9000)
		store := &objects{data: map[string][]byte{}}
		build := func() *graph.JobGraph { return jobGraph(t, world) }
		var restore *controlv1.Restore
		id := int64(0)
		for attempt, par := range []int{3, 2, 5, 4} {
			world.pace.Store(12_000) // so that rows flow during each checkpoint
			m := startMaster(t, build, n, store, int64(attempt+1), 2, par, restore)
			m.deploy()
			for range 3 {
				id++
				if !m.checkpoint(id, nil) {
					t.Fatal(m.failure)
				}
				world.pace.Store(5000)
			}
			restore = m.committed
			m.kill()
		}
		world.pace.Store(1 << 62)
		m := startMaster(t, build, n, store, 9, 3, 6, restore)
		m.deploy()
		m.until("the end", m.finished)
		if !m.checkpoint(id+1, func(tr *controlv1.TriggerCheckpoint) { tr.Final = true }) {
			t.Fatal(m.failure)
		}
		m.cancelAll()
		world.check(t)
	})
}

// A panic of an operator is reported with its place; the worker lives.
func TestPanicIsReported(t *testing.T) {
	t.Parallel()
	networks(t, func(t *testing.T, n exchange.Network) {
		world := newOutside(5000)
		world.failAt.Store(50)
		m := startMaster(t, func() *graph.JobGraph { return jobGraph(t, world) }, n, &objects{data: map[string][]byte{}}, 1, 2, 2, nil)
		m.deploy()
		m.until("the failure", func() bool { return m.failure != nil })
		if f := m.failure; !f.GetPanic() || f.GetOperatorName() != "counter" || f.GetStack() == "" {
			t.Errorf("failure %v", f)
		}
		m.cancelAll()
	})
}
