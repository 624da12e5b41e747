package main

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/stream"
)

// row is what all patterns read: 64 bytes with a text as key.
type row struct {
	Key              string
	A, B, C, D, E, F int64
}

// timesAreFed stands for the times that feeds give rows: it is never called.
func timesAreFed() stream.SourceOption { return stream.TimestampMillis(func(row) int64 { return 0 }) }

// feed makes batches of rows that were made before, again and again, at a
// rate of event time. Engine and loop take the same ones.
type feed struct {
	rows      []row
	perSecond int64
	total     int64 // rows
	warm      int64 // rows before what is measured
	at        int64 // rows given out
}

// fill writes the next rows and their times, and returns the watermark behind
// them. It returns 0 rows at the end.
func (f *feed) fill(rows []row, times []int64) (n int, wm int64) {
	if f.at >= f.total {
		return 0, 0
	}
	from := int(f.at % int64(len(f.rows)))
	n = copy(rows, f.rows[from:])
	for i := range times[:n] {
		times[i] = (f.at + int64(i)) * 1000 / f.perSecond
	}
	f.at += int64(n)
	return n, times[n-1] - 1
}

// cost is what a run took after the rows of its warm-up.
type cost struct {
	Rows    int64
	CPU     time.Duration
	Mallocs uint64
	Bytes   uint64
	// Results and Check are of all results of the run: engine and loop must
	// agree.
	Results int64
	Check   int64
}

// meter takes what is measured from start on.
type meter struct {
	cpu     time.Duration
	mem     runtime.MemStats
	started bool
}

func (m *meter) start() {
	if m.started {
		return
	}
	m.started = true
	runtime.GC()
	runtime.ReadMemStats(&m.mem)
	m.cpu = ownCPU()
}

func (m *meter) stop(c *cost) {
	c.CPU = ownCPU() - m.cpu
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	c.Mallocs, c.Bytes = now.Mallocs-m.mem.Mallocs, now.TotalAlloc-m.mem.TotalAlloc
}

// ownCPU is the processor time of this process, its collector included.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no way to fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// feeder is the source operator of a feed.
type feeder struct {
	f     *feed
	meter *meter
	out   operators.Output
	pool  columnar.Pool[row]
}

func newFeeder(f *feed, m *meter) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &feeder{f: f, meter: m} })
}

// Open implements operators.Operator.
func (o *feeder) Open(ctx *operators.Context) error {
	o.out = ctx.Out
	return nil
}

// Process implements operators.Operator.
func (*feeder) Process(int, *columnar.Batch) error { return fmt.Errorf("a source has no input") }

// HandleEvent implements operators.SourceOperator.
func (*feeder) HandleEvent([]byte) error { return nil }

// Close implements operators.Operator.
func (*feeder) Close() error { return nil }

// Poll implements operators.SourceOperator.
func (o *feeder) Poll() (operators.PollStatus, error) {
	if o.f.at >= o.f.warm {
		o.meter.start()
	}
	b := o.pool.Take(columnar.BatchRowsMax, columnar.Timed)
	n, wm := o.f.fill(columnar.Rows[row](b), b.Times)
	if n == 0 {
		return operators.PollFinished, nil
	}
	columnar.Truncate[row](b, n)
	o.out.Emit(b)
	o.out.EmitWatermark(wm)
	return operators.PollMore, nil
}

// sink gives each row to a function.
type sink[T any] struct {
	connectors.Typed[T]
	rows columnar.RowType
	take func(*T)
}

func sinkOf[T any](take func(*T)) (*sink[T], error) {
	rt, err := columnar.TypeOf[T]()
	return &sink[T]{rows: rt, take: take}, err
}

func (*sink[T]) Name() string                { return "discard" }
func (*sink[T]) Detail() string              { return "" }
func (*sink[T]) Transactional() bool         { return false }
func (s *sink[T]) RowType() columnar.RowType { return s.rows }
func (s *sink[T]) NewWriter(*connectors.WriterContext) (connectors.Writer, error) {
	return taker[T]{take: s.take}, nil
}

type taker[T any] struct{ take func(*T) }

func (taker[T]) Recover(context.Context, []connectors.Committable) error { return nil }

func (w taker[T]) Write(b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	for i := range rows {
		w.take(&rows[i])
	}
	b.Release()
	return nil
}

func (taker[T]) Ready() bool                 { return true }
func (taker[T]) Flush(context.Context) error { return nil }
func (taker[T]) Prepare(context.Context, dataflow.CheckpointID, bool) ([]connectors.Committable, error) {
	return nil, nil
}
func (taker[T]) Commit(context.Context, []connectors.Committable) error { return nil }
func (taker[T]) SealedMax() int                                         { return 1 }
func (taker[T]) Close() error                                           { return nil }
