package task_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/task"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// frail is keyed state whose storage fails when told to.
type frail struct {
	state.Backend
	err error
}

func (f *frail) Err() error       { return f.err }
func (f *frail) DiskBytes() int64 { return 77 }
func (f *frail) CacheBytes() int64 {
	return 7
}

// frailChain is a chain of a keyed operator and another.
func frailChain(t *testing.T, first *op) (*rig, *frail) {
	t.Helper()
	r := chain(t, 1, first, &op{})
	f := &frail{}
	r.cfg.Vertex.Nodes[0].Keyed = true
	r.cfg.NewBackend = func(kg dataflow.KeyGroupRange, maxP int) (state.Backend, error) {
		f.Backend = memstate.New(kg, maxP)
		return f, nil
	}
	var err error
	if r.task, err = task.New(r.cfg); err != nil {
		t.Fatal(err)
	}
	return r.begin(), f
}

// What an operator makes of state that it could not read does not leave the
// task, and is not what the task fails with.
func TestLostStateFailsTheTask(t *testing.T) {
	t.Parallel()
	lost := &state.StorageError{Op: "write", Path: "/data/state/3/000004.sst", Err: errors.New("no space left on device")}
	for name, then := range map[string]func(o *op) error{
		"the operator does not notice": func(o *op) error { emit(o.ctx, 666); return nil },
		"the operator fails":           func(*op) error { return errors.New("state is empty") },
		"the operator panics":          func(*op) error { panic("nil map") },
		"nothing is emitted":           func(*op) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &op{}
			r, f := frailChain(t, o)
			o.process = func(_ int, b *columnar.Batch) error {
				if columnar.Rows[int64](b)[0] == 1 {
					o.ctx.Out.Emit(b)
					return nil
				}
				f.err = lost
				return then(o)
			}
			r.rows(0, 1)
			r.run()
			r.expect("[1]")
			r.rows(0, 2)
			w := r.run()
			e := r.task.Failure().GetError()
			if !w.Done || e.GetCode() != "LEAT4213" || !strings.Contains(e.GetWhat(), lost.Path) || !strings.Contains(e.GetWhy(), "no space left") || len(e.GetFix()) == 0 {
				t.Errorf("done %t, error %v", w.Done, e)
			}
			if r.task.Failure().GetPanic() || r.task.Failure().GetFatal() || r.task.Failure().GetOperatorName() != "op0" {
				t.Errorf("failure %v", r.task.Failure())
			}
			r.expect("[1]") // nothing more
		})
	}
}

// A failure between batches is seen before a checkpoint is taken.
func TestLostStateTakesNoCheckpoint(t *testing.T) {
	t.Parallel()
	r, f := frailChain(t, &op{})
	f.err = &state.StorageError{Op: "read", Path: "/data", Err: errors.New("input/output error")}
	r.barrier(0, 1)
	if w := r.run(); !w.Done || len(r.snapshots) != 0 {
		t.Errorf("done %t, snapshots %v", w.Done, r.snapshots)
	}
}

func TestStateOnDiskIsMeasured(t *testing.T) {
	t.Parallel()
	r, _ := frailChain(t, &op{})
	m := r.task.Metrics().GetOperatorMetrics()
	if m["op0.stateDiskBytes"] != 77 || m["op0.stateCacheBytes"] != 7 {
		t.Errorf("metrics %v", m)
	}
}

// A limit of state is told as such, whether the backend notices it between
// batches or a write cannot go on.
func TestStateLimitFailsTheTask(t *testing.T) {
	t.Parallel()
	over := &state.LimitError{Limit: 1 << 20, Total: 3 << 20, Own: 2 << 20, Tables: []state.TableSize{{Name: "sum", Keys: 12345, Namespaces: 1, Bytes: 2 << 20}}}
	for name, x := range map[string]struct {
		then func(f *frail) error
		why  string
	}{
		"between batches": {func(f *frail) error { f.err = over; return nil }, `the states of this worker take 3.0 MiB and may take 1.0 MiB; this operator's part is 2.0 MiB, table "sum": 12345 keys, 2.0 MiB`},
		"in a write":      {func(*frail) error { panic(&state.LimitError{Entry: 1 << 30, Limit: 1 << 28}) }, "a single key or value takes 1.0 GiB, and may take less than 256.0 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &op{}
			r, f := frailChain(t, o)
			o.process = func(int, *columnar.Batch) error { return x.then(f) }
			r.rows(0, 1)
			w := r.run()
			e := r.task.Failure().GetError()
			if !w.Done || e.GetCode() != "LEAT4214" || e.GetWhy() != x.why || len(e.GetFix()) == 0 || r.task.Failure().GetPanic() || r.task.Failure().GetOperatorName() != "op0" {
				t.Errorf("done %t, failure %v", w.Done, r.task.Failure())
			}
		})
	}
}
