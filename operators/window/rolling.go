package window

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/bound"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
)

// Names of the tables and timers of rolling windows; part of their format.
const (
	tableRolling     = "rolling"
	tableRollingKeys = "rolling-keys"
)

// RollingConfig describes an operator of rolling windows over rows T with
// keys K. Rows no more than Span milliseconds apart are in one window: with a
// row at t there is a window from t-Span to t, and, once a row lies in it, one
// from t+1 to t+1+Span, both ends included. So each set of rows that can be
// together in a window of that length has one, and none has two.
type RollingConfig[K comparable, T, O any] struct {
	Span     int64
	Lateness int64
	// Each: a window has a result with each row that changes it, and none when
	// it ends. Otherwise it has one when the watermark has passed its end, and
	// again with each late row.
	Each bool
	// Once: a window has its result when it takes no more rows, Lateness after
	// its end. Not with Each.
	Once bool
	// TimesMax bounds the times of which a copy is kept outside of state, in
	// each subtask, so that a watermark goes on where the one before was; 0: a
	// default. Keys beyond it are read as a whole with each watermark.
	TimesMax int
	Key      func(T) K
	Hasher   columnar.KeyHasher
	KeyCodec *codec.Codec[K]
}

// Rolling returns the factory of an operator that folds the rows of each
// rolling window. The rows of one time are kept as one accumulator, in order
// of arrival; a window merges those of its times, in order.
func Rolling[K comparable, T, A, O any](cfg RollingConfig[K, T, O], fold Fold[T, A], fire func(K, Window, *A, func(O))) operators.Factory {
	var delay int64
	if cfg.Once { // as if the watermark came later and no row were late
		delay, cfg.Lateness = cfg.Lateness, 0
	}
	if cfg.TimesMax == 0 {
		cfg.TimesMax = timesMaxDefault
	}
	return operators.FactoryFunc(func() operators.Operator {
		return &rolling[K, T, A, O]{cfg: cfg, delay: delay, fold: fold, fire: fire, times: timesOfKey[A]{codec: fold.Codec, merge: fold.Merge, max: cfg.TimesMax}}
	})
}

// rollingKey is what is kept of a key beside its rows. Timer is when it is
// looked at: at or before the end of the first window that is to fire, or when
// its first rows can be forgotten.
type rollingKey struct {
	Known bool
	Timer int64
}

type rolling[K comparable, T, A, O any] struct {
	cfg  RollingConfig[K, T, O]
	fold Fold[T, A]
	fire func(K, Window, *A, func(O))

	out    operators.Output
	bounds *bound.Bounds
	timers *timer.Service
	keys   aggregates[rollingKey]
	times  timesOfKey[A]
	delay  int64
	wm     int64 // less the delay
	target int64 // the watermark in work

	hashes []uint64
	enc    []byte
	late   []int32
	rows   columnar.Builder[O]
	// The key in work, what is kept of it, and where results' keys lie.
	key   K
	known rollingKey
	arena codec.Arena
	// Made once.
	emits func(O)
	fires timer.Fire
	ready func() bool

	lateCount, lateDropped operators.Counter
	batch                  *columnar.Batch
	at                     int
	inWork                 Window
}

var (
	_ operators.WatermarkHandler = (*rolling[int, int, int, int])(nil)
	_ operators.WatermarkDelayer = (*rolling[int, int, int, int])(nil)
	_ operators.Snapshotter      = (*rolling[int, int, int, int])(nil)
	_ operators.Positioner       = (*rolling[int, int, int, int])(nil)
)

// Open implements operators.Operator.
func (o *rolling[K, T, A, O]) Open(ctx *operators.Context) (err error) {
	o.out, o.wm = ctx.Out, dataflow.TimeMin
	o.lateCount = ctx.Metrics.Counter(MetricLate)
	o.lateDropped = ctx.Metrics.Counter(MetricLateDropped)
	if o.bounds, err = bound.Open(ctx, firedName); err != nil {
		return err
	}
	if o.timers, err = timer.New(ctx.State, tableRolling); err != nil {
		return err
	}
	o.keys.name = tableRollingKeys
	if o.keys.codec, err = codec.Of[rollingKey](); err != nil {
		return err
	}
	if err := o.keys.open(ctx.State); err != nil {
		return err
	}
	o.timers.Ahead(func(keys []state.Key) { o.keys.prefetch(0, keys) })
	o.emits, o.fires, o.ready = o.emit, o.due, func() bool { return ctx.Out.Ready() }
	return o.times.open(ctx.State)
}

// Process implements operators.Operator.
func (o *rolling[K, T, A, O]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	o.batch, o.late = b, o.late[:0]
	o.hashes = o.cfg.Hasher.HashRows(o.hashes[:0], b.Rows)
	for i := range rows {
		o.at = i
		t := b.Time(i)
		if t == dataflow.TimeNone {
			return fmt.Errorf("record without event time in a window: add stream.Timestamps to the From of its source")
		}
		o.key = o.cfg.Key(rows[i])
		o.enc = o.cfg.KeyCodec.AppendKey(o.enc[:0], &o.key)
		fired := max(o.wm, o.bounds.Of(o.hashes[i]))
		if o.over(dataflow.AddTime(t, o.cfg.Span), fired) {
			o.late = append(o.late, int32(i))
			continue
		}
		if err := o.row(o.key, state.Key{Bytes: o.enc, Hash: o.hashes[i]}, &rows[i], t, fired); err != nil {
			return err
		}
	}
	o.flush()
	setAside(o.out, b, rows, o.late, o.lateCount, o.lateDropped)
	o.batch = nil
	b.Release()
	return nil
}

// over reports whether a window with that last instant takes no more rows.
func (o *rolling[K, T, A, O]) over(last, fired int64) bool {
	return dataflow.AddTime(last, o.cfg.Lateness) <= fired
}

// row keeps a row and emits what it changes of what was emitted before.
func (o *rolling[K, T, A, O]) row(key K, k state.Key, v *T, t, fired int64) error {
	first, err := o.times.add(k, t, func(acc *A) { o.fold.Add(acc, *v) })
	if err != nil {
		return fmt.Errorf("window state of %v: %w", key, err)
	}
	if !o.cfg.Each && t > fired {
		return o.wake(k, t)
	}
	if err := o.times.load(k); err != nil {
		return fmt.Errorf("window state of %v: %w", key, err)
	}
	// The window after the row is new with it, of rows that were there: unless
	// the last of them made it.
	first = first && !o.times.has(dataflow.AddTime(t, o.cfg.Span+1))
	changed := func(w Window) bool {
		return (first && w.start == t+1 || w.start <= t && t < w.end) && (o.cfg.Each || w.last() <= fired) && !o.over(w.last(), fired)
	}
	if err := o.emitAll(key, t, dataflow.AddTime(t, o.cfg.Span+1), changed); err != nil {
		return err
	}
	if o.cfg.Each {
		return o.wake(k, o.gone(t))
	}
	// What else of it is to come is found out with the next watermark.
	return o.wake(k, max(t, dataflow.AddTime(fired, 1)))
}

// gone is the watermark from which on no window can have rows of a time any
// more: the one after it is over.
func (o *rolling[K, T, A, O]) gone(t int64) int64 {
	return dataflow.AddTime(t, o.cfg.Span+1+o.cfg.Lateness)
}

// wake makes the key looked at when the watermark is at the time, at the latest.
func (o *rolling[K, T, A, O]) wake(k state.Key, at int64) error {
	o.known = rollingKey{}
	if err := o.keys.begin(0, k, &o.known); err != nil {
		return err
	}
	if o.known.Known && o.known.Timer <= at {
		return nil
	}
	if o.known.Known {
		o.timers.DeleteEvent(k, 0, o.known.Timer)
	}
	o.set(k, at)
	return nil
}

// set makes the key looked at at a time; no other is set.
func (o *rolling[K, T, A, O]) set(k state.Key, at int64) {
	o.timers.RegisterEvent(k, 0, at)
	o.known = rollingKey{Known: true, Timer: at}
	o.keys.commit(0, k, &o.known)
}

// emitAll emits the windows of the loaded times that end in [from, to] and for
// which want, unless nil, holds, by their end.
func (o *rolling[K, T, A, O]) emitAll(key K, from, to int64, want func(Window) bool) error {
	for last := range o.times.lasts(o.cfg.Span, from, to) {
		w := Window{start: dataflow.AddTime(last, -o.cfg.Span), end: dataflow.AddTime(last, 1)}
		if want != nil && !want(w) {
			continue
		}
		acc, err := o.times.fold(w)
		if err != nil {
			return fmt.Errorf("window state of %v: %w", key, err)
		}
		o.inWork = w
		o.fire(key, w, acc, o.emits)
	}
	o.inWork = Window{}
	return nil
}

func (o *rolling[K, T, A, O]) emit(v O) {
	o.rows.Add(v, o.inWork.last())
	if o.rows.Full() {
		o.flush()
	}
}

func (o *rolling[K, T, A, O]) flush() {
	if b := o.rows.Take(); b != nil {
		o.out.Emit(b)
	}
}

// Watermark implements operators.WatermarkHandler.
func (o *rolling[K, T, A, O]) Watermark(wm int64) (bool, error) {
	if wm != dataflow.TimeMax {
		wm = dataflow.AddTime(wm, -o.delay)
	}
	if wm <= o.wm {
		return true, nil
	}
	o.target = wm
	done, err := o.timers.AdvanceEvent(wm, o.fires, o.ready)
	o.flush()
	if done && err == nil {
		o.wm = wm
	}
	return done, err
}

// due fires all windows of a key that are complete, and forgets the rows that
// no window can have any more.
func (o *rolling[K, T, A, O]) due(k state.Key, _, _ int64) error {
	if err := o.cfg.KeyCodec.DecodeKeyIn(&o.arena, k.Bytes, &o.key); err != nil {
		return fmt.Errorf("key of a timer: %w", err)
	}
	key := o.key
	o.enc = append(o.enc[:0], k.Bytes...)
	k.Bytes = o.enc
	if err := o.times.resume(k); err != nil {
		return fmt.Errorf("window state of %v: %w", key, err)
	}
	fired := max(o.wm, o.bounds.Of(k.Hash))
	now := max(fired, o.target)
	if !o.cfg.Each {
		if err := o.emitAll(key, dataflow.AddTime(fired, 1), now, nil); err != nil {
			return err
		}
	}
	next := o.times.forget(k, func(t int64) bool { return o.gone(t) <= now })
	if next == dataflow.TimeMax {
		o.keys.table.Delete(0, k)
		return nil
	}
	at := o.gone(next)
	if !o.cfg.Each {
		for last := range o.times.lasts(o.cfg.Span, dataflow.AddTime(now, 1), dataflow.TimeMax) {
			at = min(at, last)
			break
		}
	}
	o.set(k, at)
	return nil
}

// Snapshot implements operators.Snapshotter: how far windows have fired is
// written to keyed state, which is snapshotted after it.
func (o *rolling[K, T, A, O]) Snapshot(operators.Checkpoint) ([]byte, error) {
	o.bounds.Raise(o.wm)
	return nil, nil
}

// Position implements operators.Positioner.
func (o *rolling[K, T, A, O]) Position() string {
	if w := o.inWork; w != (Window{}) {
		return fmt.Sprintf("the window from %s to %s", w.Start().Format(timeFormat), w.End().Format(timeFormat))
	}
	if o.batch == nil {
		return ""
	}
	t := o.batch.Time(o.at)
	return fmt.Sprintf("row %d of batch, event time %s", o.at, timeText(t))
}

// Close implements operators.Operator.
func (o *rolling[K, T, A, O]) Close() error { return nil }
