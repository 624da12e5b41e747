package window

import (
	"fmt"
	"slices"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/bound"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
)

// Assigner puts rows into windows. One value serves all subtasks.
type Assigner[T any] interface {
	// Assign appends the windows of a row to dst. at is its event time, or
	// the processing time in windows of processing time.
	Assign(dst []Window, v T, at int64) []Window
}

// AssignerFunc is an Assigner.
type AssignerFunc[T any] func(dst []Window, v T, at int64) []Window

// Assign implements Assigner.
func (f AssignerFunc[T]) Assign(dst []Window, v T, at int64) []Window { return f(dst, v, at) }

// Global is the window of all times.
func Global() Window { return Window{start: dataflow.TimeMin, end: dataflow.TimeMax} }

// IsGlobal reports whether w is the window of all times.
func (w Window) IsGlobal() bool { return w == Global() }

// SingleConfig describes an operator that keeps its windows one by one, each
// with a trigger. It does what the operator of Config does not.
type SingleConfig[K comparable, T, A, O any] struct {
	Key      func(T) K
	Hasher   columnar.KeyHasher
	KeyCodec *codec.Codec[K]

	Assigner Assigner[T]
	// Merging: windows of a key that touch become one, as sessions do.
	Merging bool
	// Clock: windows are of processing time.
	Clock bool
	// Untimed: rows need no event time.
	Untimed  bool
	Lateness int64
	// Delay is how much older than the watermark results are, in milliseconds.
	Delay   int64
	Trigger Trigger[T]
	Evictor Evictor[T] // needs Rows; may be nil

	// Fold makes the accumulator. With Rows, rows are kept, and folded when
	// the window fires; its Codec is not used.
	Fold Fold[T, A]
	Rows *codec.Codec[T]
	// Function makes what runs when a window fires, for each subtask.
	Function func() Function[K, A, O]
}

// Function is what runs when windows fire.
type Function[K comparable, A, O any] interface {
	// Open is called once, before anything else.
	Open(ctx *Context[K, O]) error
	// Fire makes the results of the window of ctx. With an error policy of the
	// operator, an error sets the result aside: what the call emitted and
	// wrote to state is taken back, the rows stay in the window.
	Fire(ctx *Context[K, O], acc *A) error
	// Clear is called when the window of ctx is dropped.
	Clear(ctx *Context[K, O]) error
}

// Single returns the factory of an operator that keeps windows one by one.
func Single[K comparable, T, A, O any](cfg SingleConfig[K, T, A, O]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return &single[K, T, A, O]{cfg: cfg, fn: cfg.Function(), book: book[T, A]{accC: cfg.Fold.Codec, rowC: cfg.Rows}}
	})
}

// timersName names the timers in state; part of its format.
const timersName = "windows"

type single[K comparable, T, A, O any] struct {
	cfg    SingleConfig[K, T, A, O]
	fn     Function[K, A, O]
	op     *operators.Context
	book   book[T, A]
	bounds *bound.Bounds
	timers *timer.Service
	ctx    Context[K, O]
	trig   TriggerContext
	wm     int64
	fired  int64 // how far the key group in work has fired

	hashes []uint64
	enc    []byte
	key    state.Key
	ns     int64
	wins   []Window
	late   []int32

	lateCount, lateDropped operators.Counter
	alarm                  alarm
	batch                  *columnar.Batch
	at                     int
}

var (
	_ operators.WatermarkHandler = (*single[int, int, int, int])(nil)
	_ operators.EndHandler       = (*single[int, int, int, int])(nil)
	_ operators.WatermarkDelayer = (*single[int, int, int, int])(nil)
	_ operators.Snapshotter      = (*single[int, int, int, int])(nil)
	_ operators.Positioner       = (*single[int, int, int, int])(nil)
)

// Open implements operators.Operator.
func (o *single[K, T, A, O]) Open(ctx *operators.Context) (err error) {
	o.op, o.wm = ctx, dataflow.TimeMin
	o.lateCount = ctx.Metrics.Counter(MetricLate)
	o.lateDropped = ctx.Metrics.Counter(MetricLateDropped)
	if o.bounds, err = bound.Open(ctx, firedName); err != nil {
		return err
	}
	if o.timers, err = timer.New(ctx.State, timersName); err != nil {
		return err
	}
	if err := o.book.open(ctx.State); err != nil {
		return err
	}
	o.ctx.open(ctx)
	o.trig.timers = o
	if err := o.fn.Open(&o.ctx); err != nil {
		return err
	}
	o.alarm = alarm{op: ctx, timers: o.timers, fire: o.wake}
	o.alarm.arm()
	return nil
}

// Process implements operators.Operator.
func (o *single[K, T, A, O]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	o.batch, o.late = b, o.late[:0]
	o.hashes = o.cfg.Hasher.HashRows(o.hashes[:0], b.Rows)
	now := clock.Millis(o.op.Clock)
	for i := range rows {
		o.at = i
		t := b.Time(i)
		if t == dataflow.TimeNone && !o.cfg.Clock && !o.cfg.Untimed {
			return fmt.Errorf("record without event time in a window: add stream.Timestamps to the From of its source")
		}
		o.ctx.key = o.cfg.Key(rows[i])
		o.enc = o.cfg.KeyCodec.AppendKey(o.enc[:0], &o.ctx.key)
		o.key = state.Key{Bytes: o.enc, Hash: o.hashes[i]}
		o.begin(t, now)
		late, err := o.row(&rows[i], t, now)
		if err != nil {
			return err
		}
		if late {
			o.late = append(o.late, int32(i))
		}
	}
	o.ctx.flush()
	setAside(o.op.Out, b, rows, o.late, o.lateCount, o.lateDropped)
	o.batch = nil
	b.Release()
	o.alarm.arm()
	return nil
}

// begin sets what the trigger and the function see of time.
func (o *single[K, T, A, O]) begin(t, now int64) {
	o.fired = max(o.wm, o.bounds.Of(o.key.Hash))
	o.trig.time, o.trig.watermark, o.trig.now = t, o.fired, now
	o.ctx.time, o.ctx.watermark = t, o.fired
}

// row adds a row to its windows.
func (o *single[K, T, A, O]) row(v *T, t, now int64) (late bool, err error) {
	at := t
	if o.cfg.Clock {
		at = now
	}
	o.wins = o.cfg.Assigner.Assign(o.wins[:0], *v, at)
	late = len(o.wins) > 0
	for _, w := range o.wins {
		if w.start >= w.end {
			return false, fmt.Errorf("the assigner made a window from %s to %s: its end must be after its start", w.Start(), w.End())
		}
		m, err := o.enter(w)
		if err != nil {
			return false, err
		}
		if m == nil {
			continue
		}
		late = false
		if err := o.add(m, v, at); err != nil {
			return false, err
		}
	}
	return late, nil
}

// enter returns the window that w is, or becomes a part of; nil when it is
// over.
func (o *single[K, T, A, O]) enter(w Window) (*meta, error) {
	if o.cfg.Merging {
		o.ns = 0
		return o.join(w)
	}
	if o.over(w) {
		return nil, nil
	}
	o.ns = w.start
	m, err := o.book.get(o.ns, o.key, w)
	return m, err
}

// over reports whether a window takes no more rows.
func (o *single[K, T, A, O]) over(w Window) bool {
	return !o.cfg.Clock && !w.IsGlobal() && o.cleanAt(w) <= o.fired
}

// cleanAt is the time at which a window is dropped.
func (o *single[K, T, A, O]) cleanAt(w Window) int64 {
	if o.cfg.Clock {
		return w.last()
	}
	return dataflow.AddTime(w.last(), o.cfg.Lateness)
}

// join merges w with the windows of the key that it touches.
func (o *single[K, T, A, O]) join(w Window) (*meta, error) {
	all, err := o.book.all(0, o.key)
	if err != nil {
		return nil, err
	}
	span := w
	var touched []meta
	for _, m := range all {
		if m.win.start <= w.end && w.start <= m.win.end {
			span = Window{start: min(span.start, m.win.start), end: max(span.end, m.win.end)}
			touched = append(touched, m)
		}
	}
	if o.over(span) {
		return nil, nil
	}
	switch {
	case len(touched) == 0:
		return o.book.get(0, o.key, w)
	case len(touched) == 1 && touched[0].win == span:
		return &touched[0], nil
	}
	return o.mergeAll(touched, span)
}

// mergeAll makes one window of several, which keeps the home of the first.
func (o *single[K, T, A, O]) mergeAll(parts []meta, span Window) (*meta, error) {
	m := &parts[0]
	var states [][]byte
	for i := range parts {
		states = append(states, parts[i].State)
		o.dropTimers(&parts[i])
		o.book.forget(0, o.key, &parts[i])
		if i == 0 {
			continue
		}
		if err := o.book.absorb(0, o.key, m, &parts[i], o.cfg.Fold.Merge); err != nil {
			return nil, err
		}
	}
	m.win, m.State, m.dirty = span, nil, true
	if t, ok := o.cfg.Trigger.(MergingTrigger); ok {
		o.trig.win, o.trig.meta = span, m
		t.OnMerge(&o.trig, states)
	}
	return m, nil
}

// add adds a row to a window and asks the trigger.
func (o *single[K, T, A, O]) add(m *meta, v *T, at int64) error {
	if m.dirty && !m.win.IsGlobal() { // new, or with new bounds
		o.register(o.cfg.Clock, o.cleanAt(m.win))
	}
	if o.book.rowC != nil {
		o.book.add(o.ns, o.key, m, v, at)
	} else {
		var acc A
		if err := o.book.acc(o.ns, o.key, m, &acc); err != nil {
			return fmt.Errorf("window state of %v: %w", o.ctx.key, err)
		}
		o.cfg.Fold.Add(&acc, *v)
		o.book.setAcc(o.ns, o.key, m, &acc)
	}
	if !m.Rows {
		m.Rows, m.dirty = true, true
	}
	o.trig.win, o.trig.meta = m.win, m
	return o.act(m, o.cfg.Trigger.OnElement(&o.trig, *v))
}

// act does what the trigger decided.
func (o *single[K, T, A, O]) act(m *meta, d Decision) error {
	if d&Fire != 0 && m.Rows {
		if err := o.emit(m); err != nil {
			return err
		}
	}
	if d&Purge != 0 {
		if err := o.book.empty(o.ns, o.key, m); err != nil {
			return err
		}
	}
	// A window of nothing is not kept, but for sessions: a late row is to
	// find the one that it belongs to.
	if !m.Rows && !o.cfg.Merging && len(m.State) == 0 && len(m.Events) == 0 && len(m.Clocks) == 0 && m.win.IsGlobal() {
		return o.drop(m)
	}
	o.book.put(o.ns, o.key, m)
	return nil
}

// emit calls the function with what is in a window.
func (o *single[K, T, A, O]) emit(m *meta) error {
	o.ctx.enter(m.win, o.key)
	if o.book.rowC == nil {
		var acc A
		if err := o.book.acc(o.ns, o.key, m, &acc); err != nil {
			return fmt.Errorf("window state of %v: %w", o.ctx.key, err)
		}
		return tryFire(o.fn, &o.ctx, &acc)
	}
	rows, err := o.book.load(o.ns, o.key, m)
	if err != nil {
		return fmt.Errorf("window state of %v: %w", o.ctx.key, err)
	}
	if o.cfg.Evictor != nil {
		seqs := seqsOf(rows)
		rows = o.cfg.Evictor.Evict(m.win, rows)
		o.book.keep(o.ns, o.key, m, seqs, rows)
		if len(rows) == 0 {
			m.Rows, m.dirty = false, true
			return nil
		}
	}
	var acc A
	for i := range rows {
		o.cfg.Fold.Add(&acc, rows[i].Value)
	}
	return tryFire(o.fn, &o.ctx, &acc)
}

// drop forgets a window and all that belongs to it.
func (o *single[K, T, A, O]) drop(m *meta) error {
	o.dropTimers(m)
	if err := o.book.empty(o.ns, o.key, m); err != nil {
		return err
	}
	o.book.forget(o.ns, o.key, m)
	o.ctx.enter(m.win, o.key)
	if err := o.fn.Clear(&o.ctx); err != nil {
		return err
	}
	o.ctx.clear()
	return nil
}

func (o *single[K, T, A, O]) register(processing bool, at int64) {
	if processing {
		o.timers.RegisterProcessing(o.key, o.ns, at)
		return
	}
	o.timers.RegisterEvent(o.key, o.ns, at)
}

// setTimer implements windowTimers.
func (o *single[K, T, A, O]) setTimer(m *meta, processing bool, at int64) {
	list := &m.Events
	if processing {
		list = &m.Clocks
	}
	if slices.Contains(*list, at) {
		return
	}
	*list = append(*list, at)
	m.dirty = true
	o.register(processing, at)
}

// clearTimer implements windowTimers. The timer itself stays when it may be
// another window's, too: it finds nothing then.
func (o *single[K, T, A, O]) clearTimer(m *meta, processing bool, at int64) {
	list := &m.Events
	if processing {
		list = &m.Clocks
	}
	i := slices.Index(*list, at)
	if i < 0 {
		return
	}
	*list = slices.Delete(*list, i, i+1)
	m.dirty = true
	switch {
	case o.cfg.Merging || at == o.cleanAt(m.win):
	case processing:
		o.timers.DeleteProcessing(o.key, o.ns, at)
	default:
		o.timers.DeleteEvent(o.key, o.ns, at)
	}
}

func (o *single[K, T, A, O]) dropTimers(m *meta) {
	for len(m.Events) > 0 {
		o.clearTimer(m, false, m.Events[0])
	}
	for len(m.Clocks) > 0 {
		o.clearTimer(m, true, m.Clocks[0])
	}
}

// due handles a timer: of the triggers of windows, or of their end.
func (o *single[K, T, A, O]) due(processing bool) timer.Fire {
	return func(key state.Key, ns, at int64) error {
		if err := o.cfg.KeyCodec.DecodeKey(key.Bytes, &o.ctx.key); err != nil {
			return fmt.Errorf("key of a timer: %w", err)
		}
		o.enc = append(o.enc[:0], key.Bytes...)
		o.key, o.ns = state.Key{Bytes: o.enc, Hash: key.Hash}, ns
		all, err := o.book.all(ns, o.key)
		if err != nil {
			return err
		}
		o.begin(at, clock.Millis(o.op.Clock))
		if !processing {
			o.trig.watermark = max(o.trig.watermark, at)
		} else {
			o.ctx.time = dataflow.TimeNone
		}
		for _, m := range slices.Clone(all) {
			if err := o.dueFor(&m, processing, at); err != nil {
				return err
			}
		}
		return nil
	}
}

func (o *single[K, T, A, O]) dueFor(m *meta, processing bool, at int64) error {
	list, ask := &m.Events, o.cfg.Trigger.OnEventTime
	if processing {
		list, ask = &m.Clocks, o.cfg.Trigger.OnProcessingTime
	}
	over := processing == o.cfg.Clock && !m.win.IsGlobal() && o.cleanAt(m.win) <= at
	if i := slices.Index(*list, at); i >= 0 {
		*list = slices.Delete(*list, i, i+1)
		m.dirty = true
		o.trig.win, o.trig.meta = m.win, m
		if err := o.act(m, ask(&o.trig, time.UnixMilli(at).UTC())); err != nil {
			return err
		}
	}
	if over {
		return o.drop(m)
	}
	return nil
}

// Watermark implements operators.WatermarkHandler.
func (o *single[K, T, A, O]) Watermark(wm int64) (bool, error) {
	if wm <= o.wm {
		return true, nil
	}
	done, err := o.timers.AdvanceEvent(wm, o.due(false), o.op.Out.Ready)
	o.ctx.flush()
	if done && err == nil {
		o.wm = wm
	}
	o.alarm.arm()
	return done, err
}

// Snapshot implements operators.Snapshotter: how far windows have fired is
// written to keyed state, which is snapshotted after it.
func (o *single[K, T, A, O]) Snapshot(operators.Checkpoint) ([]byte, error) {
	o.bounds.Raise(o.wm)
	return nil, nil
}

func (o *single[K, T, A, O]) wake(now int64) (bool, error) {
	done, err := o.timers.AdvanceProcessing(now, o.due(true), o.op.Out.Ready)
	o.ctx.flush()
	return done, err
}

// End implements operators.EndHandler: windows of processing time end before
// their time.
func (o *single[K, T, A, O]) End() (bool, error) {
	o.alarm.off = true
	done, err := o.timers.DrainProcessing(o.due(true), o.op.Out.Ready)
	o.ctx.flush()
	return done, err
}

// Position implements operators.Positioner.
func (o *single[K, T, A, O]) Position() string {
	if o.batch == nil {
		return fmt.Sprintf("a window of key %v", o.ctx.key)
	}
	return fmt.Sprintf("key %v, row %d of batch", o.ctx.key, o.at)
}

// Close implements operators.Operator.
func (o *single[K, T, A, O]) Close() error {
	o.alarm.cancel()
	return nil
}
