package collection

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
)

// committableVersion is the first byte of a committable: then come length and
// bytes of the job's incarnation, subtask and checkpoint as unsigned varints,
// then the rows (columnar.RowType).
const committableVersion = 2

// sealedMax bounds the checkpoints that wait to be committed.
const sealedMax = 4

// Collector is a sink that keeps rows in memory, exactly once: rows are there
// when the checkpoint that covers them was committed. Its methods are safe
// for concurrent use.
type Collector[T any] struct {
	connectors.Typed[T]
	typ columnar.RowType
	err error

	mu        sync.Mutex
	rows      []T                 // guarded by mu
	times     []int64             // guarded by mu
	committed map[string]struct{} // guarded by mu
}

var _ connectors.SinkOf[int] = (*Collector[int])(nil)

// NewCollector returns an empty collector of rows like like, of which only the
// type matters.
func NewCollector[T any](like T) *Collector[T] {
	c := &Collector[T]{committed: make(map[string]struct{})}
	c.typ, c.err = columnar.TypeOf[T]()
	return c
}

// Rows returns the committed rows, in order of commit.
func (c *Collector[T]) Rows() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]T(nil), c.rows...)
}

// Times returns the event times of Rows.
func (c *Collector[T]) Times() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]int64(nil), c.times...)
}

// Name implements connectors.Sink.
func (c *Collector[T]) Name() string { return "collector" }

// Detail implements connectors.Sink.
func (c *Collector[T]) Detail() string { return "" }

// Transactional implements connectors.Sink.
func (c *Collector[T]) Transactional() bool { return true }

// RowType implements connectors.Sink.
func (c *Collector[T]) RowType() columnar.RowType { return c.typ }

// NewWriter implements connectors.Sink.
func (c *Collector[T]) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	return &writer[T]{to: c, ctx: ctx}, c.err
}

// commit adds rows once, however often it is called.
func (c *Collector[T]) commit(id string, rows []T, b *columnar.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, done := c.committed[id]; done {
		return
	}
	c.committed[id] = struct{}{}
	c.rows = append(c.rows, rows...)
	for i := range rows {
		c.times = append(c.times, b.Time(i))
	}
}

type writer[T any] struct {
	to    *Collector[T]
	ctx   *connectors.WriterContext
	rows  []T
	times []int64
}

// Recover implements connectors.Writer.
func (w *writer[T]) Recover(ctx context.Context, prepared []connectors.Committable) error {
	var mine []connectors.Committable
	for _, p := range prepared {
		if p.Owner%w.ctx.Info.Parallelism == w.ctx.Info.Subtask {
			mine = append(mine, p)
		}
	}
	return w.Commit(ctx, mine)
}

// Write implements connectors.Writer.
func (w *writer[T]) Write(b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	w.rows = append(w.rows, rows...)
	for i := range rows {
		w.times = append(w.times, b.Time(i))
	}
	return nil
}

// Ready implements connectors.Writer.
func (w *writer[T]) Ready() bool { return true }

// Flush implements connectors.Writer.
func (w *writer[T]) Flush(context.Context) error { return nil }

// Prepare implements connectors.Writer.
func (w *writer[T]) Prepare(_ context.Context, cp dataflow.CheckpointID, _ bool) ([]connectors.Committable, error) {
	if len(w.rows) == 0 {
		return nil, nil
	}
	owner := w.ctx.Info.Subtask
	data := []byte{committableVersion}
	data = binary.AppendUvarint(data, uint64(len(w.ctx.Incarnation)))
	data = append(data, w.ctx.Incarnation...)
	data = binary.AppendUvarint(data, uint64(owner))
	data = binary.AppendUvarint(data, uint64(cp))
	data = w.to.typ.AppendBatch(data, columnar.NewBatch(w.rows, w.times))
	w.rows, w.times = nil, nil
	return []connectors.Committable{{Owner: owner, Data: data}}, nil
}

// Commit implements connectors.Writer.
func (w *writer[T]) Commit(_ context.Context, all []connectors.Committable) error {
	for _, c := range all {
		if len(c.Data) == 0 || c.Data[0] != committableVersion {
			return fmt.Errorf("committable of a collector is not of version %d", committableVersion)
		}
		life, rest, ok := take(c.Data[1:])
		owner, n := binary.Uvarint(rest)
		rest = rest[max(n, 0):]
		cp, m := binary.Uvarint(rest)
		if !ok || n <= 0 || m <= 0 {
			return fmt.Errorf("committable of a collector is damaged: %.40x", c.Data)
		}
		b, err := w.to.typ.DecodeBatch(rest[m:])
		if err != nil {
			return fmt.Errorf("committable of a collector: %w", err)
		}
		w.to.commit(fmt.Sprintf("%s/%d/%d", life, owner, cp), columnar.Rows[T](b), b)
	}
	return nil
}

// take takes a length and as many bytes from the front.
func take(b []byte) (field, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}

// SealedMax implements connectors.Writer.
func (w *writer[T]) SealedMax() int { return sealedMax }

// Close implements connectors.Writer.
func (w *writer[T]) Close() error { return nil }
