package window

import (
	"fmt"
	"slices"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/bound"
)

// Names of a window operator's metrics.
const (
	// MetricLate counts the records that came after their window was gone.
	MetricLate = "numLateRecords"
	// MetricLateDropped counts those of them that no side output took.
	MetricLateDropped = "numLateRecordsDropped"
)

// firedName names the bounds up to which windows have fired: a window that
// fired is never opened again. It is part of the state's format.
const firedName = "window-fired"

// firingBatchesMax bounds the results that wait for room downstream. A window
// with more is scanned again for the next lot.
const firingBatchesMax = 64

// Config describes a window operator over rows T with keys K that emits O.
type Config[K comparable, T, O any] struct {
	Windows Tumbling
	// Panes, unless nil, are overlapping windows instead of Windows: an
	// operator of Aggregate with a Merge.
	Panes Panes
	// Lateness in milliseconds is how long after its end a window still takes
	// records; each of them makes its result come again.
	Lateness int64
	Key      func(T) K
	// Hasher hashes the keys of a batch of T.
	Hasher   columnar.KeyHasher
	KeyCodec *codec.Codec[K]
}

// Fold says how records become an accumulator.
type Fold[T, A any] struct {
	Codec *codec.Codec[A]
	// Add adds a record to a zero A or one with records.
	Add func(acc *A, v T)
	// Merge adds all that from has to into; from is not used after. It is
	// associative. Nil where windows do not share or join anything.
	Merge func(into, from *A)
}

// Aggregate returns the factory of an operator that adds each record to an
// accumulator, and emits what result makes of it when its window is complete.
func Aggregate[K comparable, T, A, O any](cfg Config[K, T, O], fold Fold[T, A], result func(K, Window, *A) O) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		table := &aggregates[A]{name: tableAggregates, codec: fold.Codec}
		o := &operator[K, T, A, O]{
			cfg: cfg, contents: table, add: fold.Add,
			result: func(k K, w Window, a *A, emit func(O)) { emit(result(k, w, a)) },
		}
		if cfg.Panes != nil {
			o.cfg.Windows = cfg.Panes.pane()
			o.shared = &shared[A]{panes: cfg.Panes, merge: fold.Merge, table: table}
		}
		return o
	})
}

// Process returns the factory of an operator that keeps the records, and
// calls fn with all of a window, in order of arrival, when it is complete.
func Process[K comparable, T, O any](cfg Config[K, T, O], rows *codec.Codec[T], fn func(K, Window, []T, func(O))) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return &operator[K, T, []T, O]{
			cfg: cfg, contents: &records[T]{codec: rows},
			add:    func(acc *[]T, v T) { *acc = append(*acc, v) },
			result: func(k K, w Window, a *[]T, emit func(O)) { fn(k, w, *a, emit) },
		}
	})
}

type operator[K comparable, T, A, O any] struct {
	cfg      Config[K, T, O]
	contents contents[A]
	add      func(*A, T)
	result   func(K, Window, *A, func(O))

	out    operators.Output
	bounds *bound.Bounds
	wm     int64 // all windows complete by it have fired
	slots  slots[K, A]
	hashes []uint64
	// rowSlots is the slot of each row of the batch in work, -1 when it is late.
	rowSlots []int32
	bulk     bulk
	late     []int32
	// refires: a slot of the batch in work belongs to windows that have fired.
	refires bool
	firing  firing[O]
	emit    func(O)    // of firing, made once
	acc     A          // of the result in work, when it is of fixed size
	shared  *shared[A] // nil when windows do not overlap

	lateCount, lateDropped operators.Counter
	// For Position.
	batch *columnar.Batch
	at    int
}

var (
	_ operators.WatermarkHandler = (*operator[int, int, int, int])(nil)
	_ operators.Positioner       = (*operator[int, int, int, int])(nil)
)

// Open implements operators.Operator.
func (o *operator[K, T, A, O]) Open(ctx *operators.Context) (err error) {
	o.out, o.wm = ctx.Out, dataflow.TimeMin
	o.lateCount = ctx.Metrics.Counter(MetricLate)
	o.lateDropped = ctx.Metrics.Counter(MetricLateDropped)
	o.slots.encode = o.cfg.KeyCodec.AppendKey
	o.firing.out, o.emit = ctx.Out, o.firing.emit
	if o.bounds, err = bound.Open(ctx, firedName); err != nil {
		return err
	}
	if err := o.contents.open(ctx.State); err != nil {
		return err
	}
	if o.shared != nil {
		return o.shared.open(ctx.State)
	}
	return nil
}

// span is the window, or pane, of the row in work with what is known of it;
// rows mostly follow each other in one window.
type span struct {
	win    Window
	fires  int64 // watermark at which it is first a part of a result
	closes int64 // watermark from which on its records are late
}

func (o *operator[K, T, A, O]) spanOf(t int64) span {
	w := o.cfg.Windows.Assign(t)
	return span{win: w, fires: o.firstFiring(w), closes: dataflow.AddTime(o.lastFiring(w.start), o.cfg.Lateness)}
}

// firstFiring returns the watermark that completes the first window of w.
func (o *operator[K, T, A, O]) firstFiring(w Window) int64 {
	if o.shared == nil {
		return w.last()
	}
	return dataflow.AddTime(o.shared.panes.firstEnd(w.start), -1)
}

// lastFiring returns the watermark that completes the last window of what
// starts at ns.
func (o *operator[K, T, A, O]) lastFiring(ns int64) int64 {
	if o.shared == nil {
		return o.cfg.Windows.from(ns).last()
	}
	return dataflow.AddTime(o.shared.panes.lastEnd(ns), -1)
}

// Process implements operators.Operator.
func (o *operator[K, T, A, O]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	if len(rows) == 0 {
		return nil
	}
	o.batch = b
	o.hashes = o.cfg.Hasher.HashRows(o.hashes[:0], b.Rows)
	o.slots.reset(len(rows))
	o.rowSlots = slices.Grow(o.rowSlots[:0], len(rows))[:len(rows)]
	o.late = o.late[:0]
	// While the watermark is behind what some key group has fired, each row
	// is judged by its own group.
	byGroup := o.wm < o.bounds.Most()
	fired := o.wm
	cur := span{win: Window{start: 1}} // holds no time
	for i := range rows {
		o.at = i
		t := b.Time(i)
		if t < cur.win.start || t >= cur.win.end {
			if t == dataflow.TimeNone {
				return fmt.Errorf("record without event time in a window: add stream.Timestamps to the From of its source")
			}
			cur = o.spanOf(t)
		}
		if byGroup {
			fired = max(o.wm, o.bounds.Of(o.hashes[i]))
		}
		if cur.closes <= fired {
			o.late = append(o.late, int32(i))
			o.rowSlots[i] = -1
			continue
		}
		key := o.cfg.Key(rows[i])
		n, place := o.slots.find(o.hashes[i], cur.win.start, key)
		if n < 0 {
			n = o.newSlot(place, o.hashes[i], &cur, key, fired)
		}
		o.rowSlots[i] = n
	}
	if err := o.fold(rows); err != nil {
		return err
	}
	return o.finish(b, rows)
}

func (o *operator[K, T, A, O]) newSlot(place int, hash uint64, in *span, key K, fired int64) int32 {
	s := o.slots.add(place, slot[K, A]{hash: hash, win: in.win, key: key})
	if in.fires <= fired {
		s.refire, s.fired = true, fired
		o.refires = true
	}
	return int32(len(o.slots.list) - 1)
}

// finish emits again the results of windows that had fired, and sets the late
// records aside.
func (o *operator[K, T, A, O]) finish(b *columnar.Batch, rows []T) error {
	if o.refires {
		if err := o.refireAll(); err != nil {
			return err
		}
	}
	o.slots.release()
	o.batch = nil
	setAside(o.out, b, rows, o.late, o.lateCount, o.lateDropped)
	b.Release()
	return nil
}

// setAside emits and counts late rows.
func setAside[T any](out operators.Output, b *columnar.Batch, rows []T, which []int32, count, dropped operators.Counter) {
	if len(which) == 0 {
		return
	}
	count.Add(int64(len(which)))
	if !out.HasSide(dataflow.SideLate) {
		dropped.Add(int64(len(which)))
		return
	}
	late, times := make([]T, len(which)), make([]int64, len(which))
	for to, from := range which {
		late[to], times[to] = rows[from], b.Time(int(from))
	}
	out.EmitSide(dataflow.SideLate, columnar.NewBatch(late, times))
}

// Watermark implements operators.WatermarkHandler: it fires the windows that
// are complete, oldest first, and drops those that take no more records.
func (o *operator[K, T, A, O]) Watermark(wm int64) (bool, error) {
	if wm <= o.wm {
		return true, nil
	}
	if !o.firing.drain() {
		return false, nil
	}
	fire := o.fireWindows
	if o.shared != nil {
		fire = o.fireShared
	}
	if done, err := fire(wm); err != nil || !done {
		return false, err
	}
	for _, ns := range o.contents.namespaces() {
		if dataflow.AddTime(o.lastFiring(ns), o.cfg.Lateness) > wm {
			break
		}
		o.contents.drop(ns)
	}
	o.firing.reset()
	o.passed(wm)
	return true, nil
}

// Position implements operators.Positioner.
func (o *operator[K, T, A, O]) Position() string {
	if o.batch != nil {
		t := o.batch.Time(o.at)
		return fmt.Sprintf("%s event time %s", o.keyInWork(), timeText(t))
	}
	if w := o.firing.win; w != (Window{}) {
		return fmt.Sprintf("firing the window from %s to %s", w.Start().Format(timeFormat), w.End().Format(timeFormat))
	}
	return ""
}

// timeText is an event time for people.
func timeText(t int64) string {
	if t == dataflow.TimeNone {
		return "none"
	}
	return Of(t, t).Start().Format(timeFormat)
}

// keyInWork names the key of the row in work. The user's key function may be
// what panicked, and then does so again.
func (o *operator[K, T, A, O]) keyInWork() (text string) {
	defer func() {
		if recover() != nil {
			text = "key unknown,"
		}
	}()
	return fmt.Sprintf("key %v,", o.cfg.Key(columnar.Rows[T](o.batch)[o.at]))
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// Close implements operators.Operator.
func (o *operator[K, T, A, O]) Close() error { return nil }
