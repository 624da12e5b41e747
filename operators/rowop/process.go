package rowop

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
)

// Processor is user code over keyed rows, with state and timers. All methods
// are called on one goroutine for a subtask. An error fails the attempt.
type Processor[K comparable, T, R any] interface {
	// Open is called once, before any row; state handles are made here.
	Open(ctx *Context[K, R]) error
	// Process is called for each row. ctx and what v refers to are valid
	// during the call only; state copies what it keeps.
	Process(ctx *Context[K, R], v T) error
}

// TimerProcessor is a Processor that sets timers.
type TimerProcessor[K comparable, R any] interface {
	// OnTimer is called when a timer is due, with its key as the current one.
	OnTimer(ctx *Context[K, R], t Timer) error
}

// Timer is one that is due.
type Timer struct {
	// At is the time it was set to.
	At time.Time
	// Processing tells a processing-time timer from an event-time timer.
	Processing bool
}

// Context is what a Processor may use. It belongs to the operator.
type Context[K comparable, R any] struct {
	op        *operators.Context
	keyed     *state.Keyed
	timers    *timer.Service
	key       K
	time      int64
	watermark int64
	out       collector[R]
	sides     map[string]flusher
	order     []flusher // sides, in order of first use
}

// flusher is a side output's collector.
type flusher interface{ flush() }

// Key returns the current key.
func (c *Context[K, R]) Key() K { return c.key }

// Time returns the event time of the row, or the time of the timer; ok is
// false when the row has none.
func (c *Context[K, R]) Time() (t time.Time, ok bool) {
	if c.time == dataflow.TimeNone {
		return time.Time{}, false
	}
	return time.UnixMilli(c.time).UTC(), true
}

// Watermark returns the time at or before which no row is expected any more;
// ok is false before the first.
func (c *Context[K, R]) Watermark() (t time.Time, ok bool) {
	if c.watermark == dataflow.TimeMin {
		return time.Time{}, false
	}
	return time.UnixMilli(c.watermark).UTC(), true
}

// Now returns the processing time.
func (c *Context[K, R]) Now() time.Time { return c.op.Clock.Now() }

// State is where the handles of package state are made from, in Open. They
// refer to the current key.
func (c *Context[K, R]) State() *state.Keyed { return c.keyed }

// Info names the subtask.
func (c *Context[K, R]) Info() dataflow.TaskInfo { return c.op.Info }

// Counter returns a counter of the operator's metrics.
func (c *Context[K, R]) Counter(name string) operators.Counter { return c.op.Metrics.Counter(name) }

// Emit adds a row to the output, with the time of the row or timer in work.
func (c *Context[K, R]) Emit(v R) { c.out.add(v) }

// SetTimer sets an event-time timer of the current key. The same time again
// is the same timer. One at or before the watermark fires at the next one.
func (c *Context[K, R]) SetTimer(at time.Time) {
	c.timers.RegisterEvent(c.keyed.Key(), 0, at.UnixMilli())
}

// ClearTimer removes an event-time timer of the current key.
func (c *Context[K, R]) ClearTimer(at time.Time) {
	c.timers.DeleteEvent(c.keyed.Key(), 0, at.UnixMilli())
}

// SetProcessingTimer sets a processing-time timer of the current key.
func (c *Context[K, R]) SetProcessingTimer(at time.Time) {
	c.timers.RegisterProcessing(c.keyed.Key(), 0, at.UnixMilli())
}

// ClearProcessingTimer removes a processing-time timer of the current key.
func (c *Context[K, R]) ClearProcessingTimer(at time.Time) {
	c.timers.DeleteProcessing(c.keyed.Key(), 0, at.UnixMilli())
}

// EmitSide adds a row to the side output of that tag.
func EmitSide[K comparable, R, S any](c *Context[K, R], tag string, v S) {
	f := c.sides[tag]
	if f == nil {
		f = &side[S]{collector[S]{out: sideOutput{c.op.Out, tag}}}
		if c.sides == nil {
			c.sides = make(map[string]flusher)
		}
		c.sides[tag] = f
		c.order = append(c.order, f)
	}
	s := f.(*side[S])
	s.at(c.time, c.time != dataflow.TimeNone)
	s.add(v)
}

type side[S any] struct{ collector[S] }

// sideOutput is an Output whose main output is a side output of another.
type sideOutput struct {
	operators.Output
	tag string
}

// Emit implements operators.Output.
func (o sideOutput) Emit(b *columnar.Batch) { o.Output.EmitSide(o.tag, b) }

func (c *Context[K, R]) flush() {
	c.out.flush()
	for _, f := range c.order {
		f.flush()
	}
}

// ProcessConfig describes a keyed process operator.
type ProcessConfig[K comparable, T any] struct {
	Key      func(T) K
	Hasher   columnar.KeyHasher
	KeyCodec *codec.Codec[K]
}

// timersName is the name of the timers in state; part of its format.
const timersName = "timers"

// Process returns the factory of an operator that runs a processor, made anew
// for each subtask.
func Process[K comparable, T, R any](cfg ProcessConfig[K, T], processor func() Processor[K, T, R]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return &process[K, T, R]{cfg: cfg, user: processor()}
	})
}

type process[K comparable, T, R any] struct {
	cursor
	cfg    ProcessConfig[K, T]
	user   Processor[K, T, R]
	timed  TimerProcessor[K, R] // nil when user is none
	ctx    Context[K, R]
	hashes []uint64
	enc    []byte
	// armed is the wall time that the clock was asked to call at.
	armed  int64
	disarm func()
	ending bool
	firing bool // a timer is in work
	due    Timer
}

var (
	_ operators.WatermarkHandler = (*process[int, int, int])(nil)
	_ operators.EndHandler       = (*process[int, int, int])(nil)
)

// Open implements operators.Operator.
func (o *process[K, T, R]) Open(ctx *operators.Context) (err error) {
	o.timed, _ = o.user.(TimerProcessor[K, R])
	o.ctx = Context[K, R]{op: ctx, keyed: state.NewKeyed(ctx.State), time: dataflow.TimeNone, watermark: dataflow.TimeMin}
	o.ctx.out.out = ctx.Out
	if o.ctx.timers, err = timer.New(ctx.State, timersName); err != nil {
		return err
	}
	if err := o.user.Open(&o.ctx); err != nil {
		return err
	}
	o.arm()
	return nil
}

// Process implements operators.Operator.
func (o *process[K, T, R]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	rows := columnar.Rows[T](b)
	o.hashes = o.cfg.Hasher.HashRows(o.hashes[:0], b.Rows)
	for i := range rows {
		o.at = i
		o.ctx.key = o.cfg.Key(rows[i])
		o.enc = o.cfg.KeyCodec.AppendKey(o.enc[:0], &o.ctx.key)
		o.ctx.keyed.SetKey(state.Key{Bytes: o.enc, Hash: o.hashes[i]})
		o.ctx.time = b.Time(i)
		o.ctx.out.row(b, i)
		if err := o.user.Process(&o.ctx, rows[i]); err != nil {
			return err
		}
	}
	o.end()
	o.ctx.flush()
	o.arm()
	return nil
}

// Watermark implements operators.WatermarkHandler.
func (o *process[K, T, R]) Watermark(wm int64) (bool, error) {
	done, err := o.ctx.timers.AdvanceEvent(wm, o.fire(false), o.ctx.op.Out.Ready)
	if done {
		o.ctx.watermark = wm
	}
	o.ctx.flush()
	o.arm()
	return done, err
}

// End implements operators.EndHandler: pending processing-time timers fire
// once, before their time.
func (o *process[K, T, R]) End() (bool, error) {
	o.ending = true
	done, err := o.ctx.timers.DrainProcessing(o.fire(true), o.ctx.op.Out.Ready)
	o.ctx.flush()
	return done, err
}

// fire returns what runs one timer.
func (o *process[K, T, R]) fire(processing bool) timer.Fire {
	return func(key state.Key, _, at int64) error {
		if o.timed == nil {
			return fmt.Errorf("a timer is due, but %T has no OnTimer", o.user)
		}
		if err := o.cfg.KeyCodec.DecodeKey(key.Bytes, &o.ctx.key); err != nil {
			return fmt.Errorf("key of a timer: %w", err)
		}
		// The key is borrowed only until user code changes timers.
		o.enc = append(o.enc[:0], key.Bytes...)
		o.ctx.keyed.SetKey(state.Key{Bytes: o.enc, Hash: key.Hash})
		o.ctx.time = at
		if processing {
			o.ctx.time = dataflow.TimeNone
		}
		o.ctx.out.known = false
		o.ctx.out.at(o.ctx.time, !processing)
		o.firing, o.due = true, Timer{At: time.UnixMilli(at).UTC(), Processing: processing}
		if err := o.timed.OnTimer(&o.ctx, o.due); err != nil {
			return err
		}
		o.firing = false
		return nil
	}
}

// arm asks to be called when the next processing-time timer is due.
func (o *process[K, T, R]) arm() {
	next, ok := o.ctx.timers.NextProcessing()
	if !ok || o.ending || (o.disarm != nil && o.armed <= next) {
		return
	}
	if o.disarm != nil {
		o.disarm()
	}
	o.armAt(next)
}

func (o *process[K, T, R]) armAt(millis int64) {
	o.armed = millis
	o.disarm = o.ctx.op.At(millis, o.wake)
}

// wake runs when processing time has passed a timer.
func (o *process[K, T, R]) wake() error {
	o.disarm = nil
	now := clock.Millis(o.ctx.op.Clock)
	done, err := o.ctx.timers.AdvanceProcessing(now, o.fire(true), o.ctx.op.Out.Ready)
	o.ctx.flush()
	if !done && err == nil {
		// There is no room downstream: to ask again at once would keep the
		// processor busy until there is.
		o.armAt(now)
		return nil
	}
	o.arm()
	return err
}

// Position implements operators.Positioner.
func (o *process[K, T, R]) Position() string {
	if o.firing {
		return fmt.Sprintf("timer of key %v at %s", o.ctx.key, o.due.At.Format(time.RFC3339Nano))
	}
	if o.batch == nil {
		return ""
	}
	if o.batch.Origin != nil {
		return o.cursor.Position()
	}
	return fmt.Sprintf("key %v, %s", o.ctx.key, o.cursor.Position())
}

// Close implements operators.Operator.
func (o *process[K, T, R]) Close() error {
	if o.disarm != nil {
		o.disarm()
	}
	return nil
}
