package window

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Names of a window operator's metrics.
const (
	// MetricLate counts the records that came after their window was gone.
	MetricLate = "numLateRecords"
	// MetricLateDropped counts those of them that no side output took.
	MetricLateDropped = "numLateRecordsDropped"
)

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
	bounds *bounds
	wm     int64 // all windows complete by it have fired
	slots  slots[K, A]
	hashes []uint64
	late   []int32
	// refires: a slot of the batch in work belongs to windows that have fired.
	refires bool
	firing  firing[O]
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
	o.firing.out = ctx.Out
	if o.bounds, err = openBounds(ctx.State); err != nil {
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
	o.late = o.late[:0]
	// While the watermark is behind what some key group has fired, each row
	// is judged by its own group.
	byGroup := o.wm < o.bounds.most
	fired := o.wm
	cur := span{win: Window{start: 1}} // holds no time
	for i := range rows {
		o.at = i
		t := b.Time(i)
		if t < cur.win.start || t >= cur.win.end {
			if t == dataflow.TimeNone {
				return fmt.Errorf("record without event time in a window: give the source a timestamp extractor")
			}
			cur = o.spanOf(t)
		}
		if byGroup {
			fired = max(o.wm, o.bounds.of(o.hashes[i]))
		}
		if cur.closes <= fired {
			o.late = append(o.late, int32(i))
			continue
		}
		key := o.cfg.Key(rows[i])
		n, place := o.slots.find(o.hashes[i], cur.win.start, key)
		if n < 0 {
			var err error
			if n, err = o.newSlot(place, o.hashes[i], &cur, key, fired); err != nil {
				return err
			}
		}
		o.add(&o.slots.list[n].acc, rows[i])
	}
	return o.finish(b, rows)
}

func (o *operator[K, T, A, O]) newSlot(place int, hash uint64, in *span, key K, fired int64) (int32, error) {
	s := o.slots.add(place, slot[K, A]{hash: hash, win: in.win, key: key})
	if in.fires <= fired {
		s.refire, s.fired = true, fired
		o.refires = true
	}
	k := state.Key{Bytes: o.slots.encoded(s), Hash: hash}
	if err := o.contents.begin(in.win.start, k, &s.acc); err != nil {
		return 0, fmt.Errorf("window state of %v: %w", key, err)
	}
	return int32(len(o.slots.list) - 1), nil
}

// finish writes what the batch changed, emits again the results of windows
// that had fired, and sets the late records aside.
func (o *operator[K, T, A, O]) finish(b *columnar.Batch, rows []T) error {
	for i := range o.slots.list {
		s := &o.slots.list[i]
		k := state.Key{Bytes: o.slots.encoded(s), Hash: s.hash}
		o.contents.commit(s.win.start, k, &s.acc)
	}
	if o.refires {
		if err := o.refireAll(); err != nil {
			return err
		}
	}
	o.slots.release()
	o.batch = nil
	o.setAside(b, rows)
	return nil
}

// refireAll emits again the results of windows that had fired and got more
// records.
func (o *operator[K, T, A, O]) refireAll() error {
	o.refires = false
	for i := range o.slots.list {
		s := &o.slots.list[i]
		if !s.refire {
			continue
		}
		again := o.refire
		if o.shared != nil {
			again = o.refirePane
		}
		if err := again(s, state.Key{Bytes: o.slots.encoded(s), Hash: s.hash}); err != nil {
			return fmt.Errorf("window state of %v: %w", s.key, err)
		}
	}
	o.firing.flush()
	o.firing.emitAll()
	return nil
}

func (o *operator[K, T, A, O]) refire(s *slot[K, A], k state.Key) error {
	if err := o.contents.complete(s.win.start, k, &s.acc); err != nil {
		return err
	}
	o.firing.begin(s.win)
	o.result(s.key, s.win, &s.acc, o.firing.emit)
	return nil
}

// refirePane emits again what has fired of the windows that hold a pane, as
// far as they still take records.
func (o *operator[K, T, A, O]) refirePane(s *slot[K, A], k state.Key) error {
	if err := o.shared.repair(s.win.start, k); err != nil {
		return err
	}
	p := o.shared.panes
	last := p.lastEnd(s.win.start)
	for end := p.firstEnd(s.win.start); ; end = p.firstEnd(end) {
		w := Window{start: p.start(end), end: end}
		if w.last() > s.fired {
			return nil
		}
		if dataflow.AddTime(w.last(), o.cfg.Lateness) > s.fired {
			var acc A
			if err := o.shared.whole(w, k, &acc); err != nil {
				return err
			}
			o.firing.begin(w)
			o.result(s.key, w, &acc, o.firing.emit)
		}
		if end >= last {
			return nil
		}
	}
}

func (o *operator[K, T, A, O]) setAside(b *columnar.Batch, rows []T) {
	if len(o.late) == 0 {
		return
	}
	o.lateCount.Add(int64(len(o.late)))
	if !o.out.HasSide(dataflow.SideLate) {
		o.lateDropped.Add(int64(len(o.late)))
		return
	}
	late, times := make([]T, len(o.late)), make([]int64, len(o.late))
	for to, from := range o.late {
		late[to], times[to] = rows[from], b.Time(int(from))
	}
	o.out.EmitSide(dataflow.SideLate, columnar.NewBatch(late, times))
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

func (o *operator[K, T, A, O]) fireWindows(wm int64) (bool, error) {
	for _, ns := range o.contents.namespaces() {
		win := o.cfg.Windows.from(ns)
		if win.last() > wm {
			break
		}
		if win.last() > o.wm && !o.firing.has(win) {
			if done, err := o.fire(win); err != nil || !done {
				return false, err
			}
		}
	}
	return true, nil
}

// fireShared fires the windows that are complete, each once live holds it.
func (o *operator[K, T, A, O]) fireShared(wm int64) (bool, error) {
	s := o.shared
	s.done = max(s.done, o.wm, o.bounds.least)
	for {
		win, ok := s.next(s.done, wm)
		if !ok {
			return true, s.leave(s.panes.start(s.panes.firstEnd(dataflow.AddTime(wm, 1))))
		}
		if !o.firing.has(win) {
			if o.firing.win != win {
				if err := s.advance(win); err != nil {
					return false, err
				}
			}
			if done, err := o.fire(win); err != nil || !done {
				return false, err
			}
		}
		s.done = win.last()
	}
}

// passed notes how far windows have fired, once another boundary is behind.
func (o *operator[K, T, A, O]) passed(wm int64) {
	o.wm = wm
	w, last := o.cfg.Windows, o.bounds.written
	if last != dataflow.TimeMin && w.index(last) == w.index(wm) &&
		w.index(dataflow.AddTime(last, -o.cfg.Lateness)) == w.index(dataflow.AddTime(wm, -o.cfg.Lateness)) {
		return
	}
	o.bounds.raise(wm)
}

// fire emits the results of a window, a bounded lot at a time. It returns
// false when it must be called again.
func (o *operator[K, T, A, O]) fire(win Window) (bool, error) {
	f := &o.firing
	for {
		more, err := o.lot(win)
		if err != nil {
			return false, err
		}
		if !more {
			f.finished(win)
		}
		if !f.drain() {
			return false, nil
		}
		if !more {
			return true, nil
		}
	}
}

// lot gathers the next results of a window, up to firingBatchesMax batches.
func (o *operator[K, T, A, O]) lot(win Window) (more bool, err error) {
	f := &o.firing
	f.begin(win)
	// Some groups may have fired this window before a rescale.
	byGroup := win.last() <= o.bounds.most
	seen := 0
	scan := o.contents.scan
	ns := win.start
	if o.shared != nil {
		scan, ns = o.shared.live.scan, 0
	}
	scan(ns, func(key, val []byte) bool {
		seen++
		if seen <= f.scanned {
			return true
		}
		if f.full() {
			more = true
			return false
		}
		f.scanned = seen
		if byGroup && o.bounds.of(codec.HashKey(key)) >= win.last() {
			return true
		}
		err = o.emitEntry(win, key, val)
		return err == nil
	})
	f.flush()
	return more, err
}

func (o *operator[K, T, A, O]) emitEntry(win Window, key, val []byte) error {
	var k K
	if err := o.cfg.KeyCodec.DecodeKey(key, &k); err != nil {
		return fmt.Errorf("window state: key %.40x: %w", key, err)
	}
	acc, err := o.entry(win, key, val)
	if err != nil {
		return fmt.Errorf("window state of %v: %w", k, err)
	}
	o.result(k, win, acc, o.firing.emit)
	return nil
}

func (o *operator[K, T, A, O]) entry(win Window, key, val []byte) (*A, error) {
	if o.shared != nil {
		return o.shared.read(val)
	}
	acc := new(A)
	return acc, o.contents.read(win.start, key, val, acc)
}

// Position implements operators.Positioner.
func (o *operator[K, T, A, O]) Position() string {
	if o.batch != nil {
		t := o.batch.Time(o.at)
		return fmt.Sprintf("%s event time %s", o.keyInWork(), Of(t, t).Start().Format(timeFormat))
	}
	if w := o.firing.win; w != (Window{}) {
		return fmt.Sprintf("firing the window from %s to %s", w.Start().Format(timeFormat), w.End().Format(timeFormat))
	}
	return ""
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
