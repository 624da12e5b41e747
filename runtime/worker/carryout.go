package worker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime/metrics"
	"syscall"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/fault"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/task"
)

// carryOut does what the core decided, in order.
func (w *driver) carryOut(actions []action) (over bool, err error) {
	for _, a := range actions {
		switch {
		case a.over:
			return true, a.err
		case a.send != nil:
			if err := w.cfg.Link.Send(a.send); err != nil {
				return true, fmt.Errorf("worker: link: %w", err)
			}
		case a.deploy != nil:
			d := w.newDeployment(a.deploy)
			w.deployment = d
			w.goDo(d.run)
		case a.start:
			w.deployment.start()
		case a.snapshots != 0:
			w.deployment.snapshotCoordinators(a.snapshots)
		case a.cancel:
			w.end0()
		default:
			w.carryOutCheckpoint(a)
		}
	}
	return false, nil
}

func (w *driver) carryOutCheckpoint(a action) {
	switch {
	case a.trigger != nil:
		w.eachTask(func(t *task.Task) { t.Trigger(*a.trigger) })
	case a.abort != 0:
		w.eachTask(func(t *task.Task) { t.Abort(a.abort) })
		if cancel := w.uploads[a.abort]; cancel != nil {
			cancel()
			delete(w.uploads, a.abort)
		}
	case a.void != nil:
		w.void(*a.void)
	case a.commit != 0:
		delete(w.uploads, a.commit)
		w.eachTask(func(t *task.Task) { t.Commit(a.commit) })
		w.deployment.committedCoordinators(a.commit)
	case a.operator != nil:
		if w.deployment != nil {
			w.deployment.operatorEvent(a.operator)
		}
	case a.resend:
		if w.deployment != nil {
			w.deployment.lines.resend()
		}
	case a.upload != nil:
		w.upload(a.upload)
	case a.report:
		w.reportMetrics()
	case a.read != nil:
		w.readState(a.read)
	}
}

// void gives up checkpoints that a former leader may have had under way.
func (w *driver) void(v voided) {
	w.eachTask(func(t *task.Task) { t.Void(v.after, v.through) })
	for id, cancel := range w.uploads {
		if v.has(id) {
			cancel()
			delete(w.uploads, id)
		}
	}
}

func (w *driver) eachTask(fn func(*task.Task)) {
	if w.deployment == nil {
		return
	}
	for _, t := range w.deployment.built() {
		fn(t)
	}
}

// end0 cancels the tasks; the loop goes on until they are closed.
func (w *driver) end0() {
	if w.deployment != nil {
		w.deployment.cancel()
	}
}

// upload writes a checkpoint's object on a goroutine of its own, of which
// there are at most gathersMax.
func (w *driver) upload(g *gathered) {
	if g.object == "" {
		w.goDo(func() {
			err := fault.Hit(fault.WorkerBeforeUpload)
			w.post(event{uploaded: &uploaded{id: g.id, err: cmp.Or(err, fault.Hit(fault.WorkerBeforeAck))}})
		})
		return
	}
	key := g.dir + "/" + w.cfg.WorkerID + ".state"
	g.placed(key)
	ctx, cancel := context.WithCancel(w.life)
	if w.uploads == nil {
		w.uploads = make(map[dataflow.CheckpointID]context.CancelFunc)
	}
	w.uploads[g.id] = cancel
	w.goDo(func() {
		defer cancel()
		err := w.put(ctx, key, newPieces(g.pieces))
		// Those of checkpoints that were given up are closed when they are collected.
		for _, p := range g.pieces {
			if c, ok := p.r.(io.Closer); ok {
				_ = c.Close() // scratch, which was read
			}
		}
		w.post(event{uploaded: &uploaded{id: g.id, err: err}})
	})
}

// put stores a state object.
func (w *driver) put(ctx context.Context, key string, body *pieces) error {
	if err := fault.Hit(fault.WorkerBeforeUpload); err != nil {
		return err
	}
	if err := w.cfg.Objects.Put(ctx, key, body, body.Size()); err != nil {
		return fmt.Errorf("writing state object %q of %d bytes: %w", key, body.Size(), err)
	}
	return fault.Hit(fault.WorkerBeforeAck)
}

func (w *driver) reportMetrics() {
	r := &controlv1.MetricsReport{ProcessCpuSeconds: cpuSeconds(), MemoryBytes: memoryBytes(), Troubles: w.troubles.list()}
	if w.core.phase == phaseRunning {
		w.eachTask(func(t *task.Task) { r.Subtasks = append(r.Subtasks, t.Metrics()) })
	} else if len(r.Troubles) == 0 {
		return // tasks have figures once they run
	}
	// A link that is gone is seen by the receiver.
	_ = w.cfg.Link.Send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Metrics{Metrics: r}})
}

// cpuSeconds is the processor time of the process so far.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// memoryBytes is what the Go runtime holds and has not given back.
func memoryBytes() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}
