package window

import (
	"errors"
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
)

// SuppressConfig describes an operator that holds rows T with keys K back: of
// those of a key that come within Millis of the first, the last goes on.
type SuppressConfig[K comparable, T any] struct {
	Key      func(T) K
	Hasher   columnar.KeyHasher
	KeyCodec *codec.Codec[K]
	Rows     *codec.Codec[T]
	Millis   int64
	// Clock counts processing time instead of event time.
	Clock bool
	// RowsMax bounds the rows held back in a subtask; 0 does not. When there
	// are more the oldest goes on early, or the job fails with Fail.
	RowsMax int
	Fail    bool
}

// MetricEarly counts the rows that went on before their time, for lack of room.
const MetricEarly = "numRecordsEmittedEarly"

// tableHeld names the table of rows held back.
const tableHeld = "suppressed"

// held is a row that waits.
type held[T any] struct {
	Due, Time int64
	Row       T
}

// Suppress returns the factory of an operator that holds rows back.
func Suppress[K comparable, T any](cfg SuppressConfig[K, T]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &suppress[K, T]{cfg: cfg} })
}

type suppress[K comparable, T any] struct {
	cfg    SuppressConfig[K, T]
	op     *operators.Context
	table  state.Table
	codec  *codec.Codec[held[T]]
	timers *timer.Service
	alarm  alarm
	early  operators.Counter
	full   bool // rows go on for lack of room
	hashes []uint64
	enc    []byte
	buf    []byte
	rows   []T
	times  []int64
	batch  *columnar.Batch
	at     int
}

var (
	_ operators.WatermarkHandler = (*suppress[int, int])(nil)
	_ operators.EndHandler       = (*suppress[int, int])(nil)
	_ operators.Positioner       = (*suppress[int, int])(nil)
)

// Open implements operators.Operator.
func (o *suppress[K, T]) Open(ctx *operators.Context) (err error) {
	o.op = ctx
	o.early = ctx.Metrics.Counter(MetricEarly)
	if o.codec, err = codec.Of[held[T]](); err != nil {
		return err
	}
	if o.table, err = state.FramedTable(ctx.State, tableHeld, "", o.codec, false, rewrite); err != nil {
		return err
	}
	if o.timers, err = timer.New(ctx.State, tableHeld); err != nil {
		return err
	}
	o.alarm = alarm{op: ctx, timers: o.timers, fire: o.wake}
	o.alarm.arm()
	return nil
}

// Process implements operators.Operator.
func (o *suppress[K, T]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	o.batch = b
	o.hashes = o.cfg.Hasher.HashRows(o.hashes[:0], b.Rows)
	now := clock.Millis(o.op.Clock)
	for i := range rows {
		o.at = i
		h := held[T]{Time: b.Time(i), Row: rows[i]}
		from := h.Time
		if o.cfg.Clock {
			from = now
		} else if from == dataflow.TimeNone {
			return errors.New("a row without event time cannot be held back by event time: add stream.Timestamps to the From of its source")
		}
		key := o.cfg.Key(rows[i])
		o.enc = o.cfg.KeyCodec.AppendKey(o.enc[:0], &key)
		if err := o.hold(state.Key{Bytes: o.enc, Hash: o.hashes[i]}, &h, dataflow.AddTime(from, o.cfg.Millis)); err != nil {
			return err
		}
	}
	o.batch = nil
	o.flush()
	o.alarm.arm()
	return nil
}

// hold puts a row in the place of the one of its key. In event time, one that
// was due before the row goes on at once: which is the last of its span does
// not depend on when the watermark comes.
func (o *suppress[K, T]) hold(k state.Key, h *held[T], due int64) error {
	h.Due = due
	before, ok := o.table.Get(0, k)
	if ok {
		var old held[T]
		if err := decodeAll(o.codec, before, &old); err != nil {
			return err
		}
		if !o.cfg.Clock && h.Time > old.Due {
			o.timers.DeleteEvent(k, 0, old.Due)
			o.emit(old.Row, old.Due)
			ok = false
		} else {
			h.Due = old.Due
		}
	}
	o.buf = o.codec.Append(o.buf[:0], h)
	o.table.Put(0, k, o.buf)
	switch {
	case ok:
		return nil
	case o.cfg.Clock:
		o.timers.RegisterProcessing(k, 0, due)
	default:
		o.timers.RegisterEvent(k, 0, due)
	}
	return o.makeRoom()
}

// makeRoom lets the rows go that are due first, while there are too many.
func (o *suppress[K, T]) makeRoom() error {
	if o.cfg.RowsMax == 0 || o.table.Len() <= o.cfg.RowsMax {
		return nil
	}
	if o.cfg.Fail {
		return fmt.Errorf("%d rows are held back, at most %d: allow more, or let them go early", o.table.Len(), o.cfg.RowsMax)
	}
	over := func() bool { return o.table.Len() > o.cfg.RowsMax }
	o.full = true
	defer func() { o.full = false }()
	if o.cfg.Clock {
		_, err := o.timers.AdvanceProcessing(dataflow.TimeMax, o.release, over)
		return err
	}
	_, err := o.timers.AdvanceEvent(dataflow.TimeMax, o.release, over)
	return err
}

// release lets the row of a key go. In event time it takes the time at which
// it was due: behind the watermark it would be late for whoever comes next.
func (o *suppress[K, T]) release(k state.Key, _, at int64) error {
	val, ok := o.table.Get(0, k)
	if !ok {
		return nil
	}
	var h held[T]
	if err := decodeAll(o.codec, val, &h); err != nil {
		return err
	}
	o.table.Delete(0, k)
	switch {
	case o.full:
		o.early.Add(1)
	case !o.cfg.Clock:
		h.Time = at
	}
	o.emit(h.Row, h.Time)
	return nil
}

func (o *suppress[K, T]) emit(v T, at int64) {
	o.rows, o.times = append(o.rows, v), append(o.times, at)
	if len(o.rows) >= columnar.BatchRowsMax {
		o.flush()
	}
}

func (o *suppress[K, T]) flush() {
	if len(o.rows) > 0 {
		o.op.Out.Emit(columnar.NewBatch(o.rows, o.times))
		o.rows, o.times = nil, nil
	}
}

// Watermark implements operators.WatermarkHandler.
func (o *suppress[K, T]) Watermark(wm int64) (bool, error) {
	done, err := o.timers.AdvanceEvent(wm, o.release, o.op.Out.Ready)
	o.flush()
	return done, err
}

func (o *suppress[K, T]) wake(now int64) (bool, error) {
	done, err := o.timers.AdvanceProcessing(now, o.release, o.op.Out.Ready)
	o.flush()
	return done, err
}

// End implements operators.EndHandler: what waits by the clock goes.
func (o *suppress[K, T]) End() (bool, error) {
	o.alarm.off = true
	done, err := o.timers.DrainProcessing(o.release, o.op.Out.Ready)
	o.flush()
	return done, err
}

// Position implements operators.Positioner.
func (o *suppress[K, T]) Position() string {
	if o.batch == nil {
		return ""
	}
	return fmt.Sprintf("row %d of batch", o.at)
}

// Close implements operators.Operator.
func (o *suppress[K, T]) Close() error {
	o.alarm.cancel()
	return nil
}
