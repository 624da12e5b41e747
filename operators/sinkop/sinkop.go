// Package sinkop runs a connectors.Sink: it hands batches to the writer, seals
// what was written in each checkpoint, and commits it, in order, once the
// checkpoint is the latest one. It knows no concrete connector.
package sinkop

import (
	"context"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/setaside"
)

// MetricUncommitted is the gauge of sealed committables not yet confirmed.
const MetricUncommitted = "numUncommitted"

// Factory makes the operators of one sink. It is an operators.Factory and a
// connectors.Checker.
type Factory struct {
	sink connectors.Sink
}

var (
	_ operators.Factory  = (*Factory)(nil)
	_ connectors.Checker = (*Factory)(nil)
)

// New returns the factory of the sink's operators.
func New(sink connectors.Sink) *Factory { return &Factory{sink: sink} }

// New implements operators.Factory.
func (f *Factory) New() operators.Operator { return &writer{sink: f.sink} }

// Check implements connectors.Checker by that of the sink, if it has one.
func (f *Factory) Check(ctx context.Context, info connectors.CheckInfo) error {
	if c, ok := f.sink.(connectors.Checker); ok {
		return c.Check(ctx, info)
	}
	return nil
}

// writer is the operator of one subtask.
type writer struct {
	sink   connectors.Sink
	w      connectors.Writer
	ctx    *operators.Context
	tray   *setaside.Tray  // nil: a row that is refused fails the attempt
	life   context.Context //nolint:containedctx // ends with the operator; given to the writer's blocking calls
	cancel context.CancelFunc

	// sealed are the checkpoints whose effects are prepared and not
	// confirmed, oldest first.
	sealed    []sealed
	stuck     int // declines in a row that no commit can end
	committer *committer
	figure    atomic.Int64 // Uncommitted, for the gauge
}

var (
	_ operators.Operator           = (*writer)(nil)
	_ operators.Snapshotter        = (*writer)(nil)
	_ operators.CheckpointListener = (*writer)(nil)
	_ operators.Committer          = (*writer)(nil)
	_ operators.SnapshotDecliner   = (*writer)(nil)
	_ operators.InputLimiter       = (*writer)(nil)
)

// Open implements operators.Operator. It blocks until the writer has settled
// what the checkpoint holds.
func (o *writer) Open(ctx *operators.Context) error {
	o.ctx = ctx
	o.tray = setaside.New(ctx)
	ctx.Metrics.Gauge(MetricUncommitted, func() float64 { return float64(o.figure.Load()) })
	w, err := o.sink.NewWriter(&connectors.WriterContext{
		Info: ctx.Info, Clock: ctx.Clock, Log: ctx.Log, Wake: ctx.Wake,
		Counter:     func(name string) func(int64) { return ctx.Metrics.Counter(name).Add },
		Incarnation: ctx.Incarnation, TxnPool: ctx.TxnPool, CheckpointsOff: ctx.CheckpointsOff,
		Trouble: ctx.Trouble, Reject: o.rejecter(),
	})
	if err != nil {
		return o.wrap(err)
	}
	o.w = w
	// The context lives as long as the operator: a cancel of the task ends
	// what blocks, also on the task's own goroutine, where Close cannot come
	// before it.
	parent := ctx.Attempt
	if parent == nil {
		parent = context.Background() // an operator without a task
	}
	o.life, o.cancel = context.WithCancel(parent)
	prepared, err := o.restored()
	if err != nil {
		return err
	}
	if err := w.Recover(o.life, prepared); err != nil {
		return o.wrap(err)
	}
	o.committer = newCommitter(o.life, w, ctx.Mail, o.confirmed)
	return nil
}

// restored returns what all old subtasks had prepared. Effects in a savepoint
// are another job's business.
func (o *writer) restored() ([]connectors.Committable, error) {
	if o.ctx.FromSavepoint {
		return nil, nil
	}
	var all []connectors.Committable
	for _, b := range o.ctx.Restored {
		if b == nil {
			continue
		}
		old, err := decodeSealed(b)
		if err != nil {
			return nil, o.wrap(err)
		}
		for _, s := range old {
			all = append(all, s.items...)
		}
	}
	return all, nil
}

func (o *writer) wrap(err error) error { return fmt.Errorf("sink %q: %w", o.sink.Name(), err) }

// InputReady implements operators.InputLimiter.
func (o *writer) InputReady() bool { return o.w.Ready() }

// Process implements operators.Operator.
func (o *writer) Process(_ int, b *columnar.Batch) error {
	if err := o.w.Write(b); err != nil {
		return o.wrap(err)
	}
	if o.tray != nil {
		o.tray.Flush()
	}
	return nil
}

// rejecter returns what the writer calls for rows that it refuses, nil when
// that is to fail.
func (o *writer) rejecter() func(*columnar.Batch, int, error) {
	if o.tray == nil {
		return nil
	}
	return func(b *columnar.Batch, i int, err error) {
		o.tray.Put(setaside.Record{Row: reflect.ValueOf(b.Rows).Index(i).Interface(), Origin: b.Origin, At: i, Time: b.Time(i)}, o.wrap(err))
	}
}

// CanSnapshot implements operators.SnapshotDecliner. Sealed transactions of
// checkpoints that did not come about leave only with a later one, so at the
// limit none ever could: the attempt then fails, and the next one writes their
// records again. One more look comes first, since a barrier may arrive before
// the word that the checkpoint ahead of it was committed.
func (o *writer) CanSnapshot() error {
	n, limit := o.Uncommitted(), o.w.SealedMax()
	if limit <= 0 || n < limit {
		o.stuck = 0
		return nil
	}
	err := fmt.Errorf("sink %q has %d sealed transactions that are not committed (limit %d): the outside does not confirm commits, or checkpoints are not completed", o.sink.Name(), n, limit)
	if o.abandoned() < limit {
		return err
	}
	if o.stuck++; o.stuck == stuckMax {
		o.ctx.Mail(func() error {
			return fmt.Errorf("sink %q: %d sealed transactions belong to checkpoints that were not completed, so that no further one can be taken: the job goes on from its last checkpoint", o.sink.Name(), n)
		})
	}
	return err
}

// stuckMax is how often a sink whose sealed transactions are all of
// checkpoints that failed declines before the attempt fails.
const stuckMax = 2

// abandoned counts the prepared effects that nobody has asked to commit.
func (o *writer) abandoned() int {
	n := 0
	for _, s := range o.sealed {
		if !s.queued {
			n += len(s.items)
		}
	}
	return n
}

// Snapshot implements operators.Snapshotter. It blocks until what was written
// is durable outside.
func (o *writer) Snapshot(cp operators.Checkpoint) ([]byte, error) {
	items, err := o.w.Prepare(o.life, cp.ID, cp.Final)
	if err != nil {
		return nil, o.wrap(err)
	}
	if len(items) > 0 {
		o.sealed = append(o.sealed, sealed{id: cp.ID, items: items})
		o.figure.Store(int64(o.Uncommitted()))
	}
	return encodeSealed(o.sealed), nil
}

// CheckpointCommitted implements operators.CheckpointListener.
func (o *writer) CheckpointCommitted(cp dataflow.CheckpointID) error {
	o.stuck = 0
	for i := range o.sealed {
		s := &o.sealed[i]
		if s.id > cp {
			break
		}
		if !s.queued {
			s.queued = true
			o.committer.put(*s)
		}
	}
	return nil
}

// confirmed runs as mail after a commit.
func (o *writer) confirmed(id dataflow.CheckpointID, err error) error {
	if err != nil {
		return o.wrap(fmt.Errorf("commit of checkpoint %d: %w", id, err))
	}
	for i := range o.sealed {
		if o.sealed[i].id == id {
			o.sealed = append(o.sealed[:i], o.sealed[i+1:]...)
			o.figure.Store(int64(o.Uncommitted()))
			return nil
		}
	}
	return nil
}

// Uncommitted implements operators.Committer.
func (o *writer) Uncommitted() int {
	n := 0
	for _, s := range o.sealed {
		n += len(s.items)
	}
	return n
}

// Close implements operators.Operator: it ends commits under way, which the
// checkpoint still holds, and waits for the committer.
func (o *writer) Close() error {
	if o.cancel != nil {
		o.cancel()
	}
	if o.committer != nil {
		o.committer.wait()
	}
	if o.w == nil {
		return nil
	}
	if err := o.w.Close(); err != nil {
		return o.wrap(err)
	}
	return nil
}
