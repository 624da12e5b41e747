package rowop

import (
	"cmp"
	"fmt"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/measure"
	"github.com/leatstream/leat/operators/opstate"
	"github.com/leatstream/leat/operators/setaside"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/undolog"
)

// RowContext is what a processor of rows without keys may use. It belongs to
// the operator and is valid during the call that it is given to; state handles
// that were made from it in Open stay.
type RowContext[R any] struct {
	op        *operators.Context
	time      int64
	watermark int64
	out       collector[R]
	side      sideOutputs
	state     *opstate.Set
	emit      func(R)          // Emit, made once
	tray      *setaside.Tray   // nil: an error fails the attempt
	undo      *undolog.Backend // of keyed state, with a tray
}

func (c *RowContext[R]) open(ctx *operators.Context) (err error) {
	c.op, c.time, c.watermark = ctx, dataflow.TimeNone, dataflow.TimeMin
	c.out.out, c.side.out = ctx.Out, ctx.Out
	c.tray = setaside.New(ctx)
	c.out.hold, c.side.hold = c.tray != nil, c.tray != nil
	c.state, err = opstate.Open(ctx)
	return err
}

// begin notes what failed takes back.
func (c *RowContext[R]) begin() {
	c.out.mark()
	for _, s := range c.side.order {
		s.mark()
	}
	c.state.Mark()
	if c.undo != nil {
		c.undo.Begin()
	}
}

// done ends a row that was well.
func (c *RowContext[R]) done() {
	if c.undo != nil {
		c.undo.Commit()
	}
	c.out.spill()
	for _, s := range c.side.order {
		s.spill()
	}
}

// failed sets a row aside and takes back what its call did: emitted rows and
// changes of state.
func (c *RowContext[R]) failed(r setaside.Record, err error) {
	c.out.withdraw()
	for _, s := range c.side.order {
		s.withdraw()
	}
	c.state.Undo()
	if c.undo != nil {
		c.undo.Rollback()
	}
	c.tray.Put(r, err)
}

// at begins the work for row i of b.
func (c *RowContext[R]) at(b *columnar.Batch, i int) {
	c.time = b.Time(i)
	c.out.row(b, i)
}

// Time returns the event time of the row, or the time of the timer; ok is
// false when the row has none.
func (c *RowContext[R]) Time() (t time.Time, ok bool) {
	if c.time == dataflow.TimeNone {
		return time.Time{}, false
	}
	return time.UnixMilli(c.time).UTC(), true
}

// Watermark returns the time at or before which no row is expected any more,
// on any input; ok is false before the first.
func (c *RowContext[R]) Watermark() (t time.Time, ok bool) {
	if c.watermark == dataflow.TimeMin {
		return time.Time{}, false
	}
	return time.UnixMilli(c.watermark).UTC(), true
}

// Now returns the processing time.
func (c *RowContext[R]) Now() time.Time { return c.op.Clock.Now() }

// Info names the subtask: job, operator, number, parallelism and attempt.
func (c *RowContext[R]) Info() dataflow.TaskInfo { return c.op.Info }

// Counter returns a counter of the operator's metrics.
func (c *RowContext[R]) Counter(name string) operators.Counter { return c.op.Metrics.Counter(name) }

// Gauge registers a figure of the operator's metrics, in Open; read is called
// on other goroutines.
func (c *RowContext[R]) Gauge(name string, read func() float64) { c.op.Metrics.Gauge(name, read) }

// Meter returns a new meter of the operator's metrics, in Open.
func (c *RowContext[R]) Meter(name string) *measure.Meter {
	return measure.NewMeter(c.op.Metrics, c.op.Clock, name)
}

// Histogram returns a new histogram of the operator's metrics, in Open.
func (c *RowContext[R]) Histogram(name string) *measure.Histogram {
	return measure.NewHistogram(c.op.Metrics, name)
}

// IntCounter returns an accumulator, in Open: its total over all subtasks is
// part of the job's result. Accumulators begin anew with each attempt.
func (c *RowContext[R]) IntCounter(name string) *measure.IntCounter {
	return measure.NewIntCounter(c.op.Metrics, name)
}

// FloatCounter returns the accumulator of a sum, as IntCounter does.
func (c *RowContext[R]) FloatCounter(name string) *measure.Float {
	return measure.NewFloatCounter(c.op.Metrics, name)
}

// Maximum returns the accumulator of a maximum, as IntCounter does.
func (c *RowContext[R]) Maximum(name string) *measure.Float {
	return measure.NewMaximum(c.op.Metrics, name)
}

// Minimum returns the accumulator of a minimum, as IntCounter does.
func (c *RowContext[R]) Minimum(name string) *measure.Float {
	return measure.NewMinimum(c.op.Metrics, name)
}

// Emit adds a row to the output, with the time of the row or timer in work.
func (c *RowContext[R]) Emit(v R) { c.out.add(v) }

// OperatorState is where state that belongs to no key is made, in Open.
func (c *RowContext[R]) OperatorState() *opstate.Set { return c.state }

func (c *RowContext[R]) sides() (*sideOutputs, int64) { return &c.side, c.time }

func (c *RowContext[R]) flush() {
	c.out.flush()
	c.side.flush()
	if c.tray != nil {
		c.tray.Flush()
	}
}

// Context is what a processor of keyed rows may use: a RowContext with the
// current key, its state and its timers.
type Context[K comparable, R any] struct {
	RowContext[R]
	keyed  *state.Keyed
	timers *timer.Service
	timed  bool // timers were changed in the row in work
	key    K

	untimed any   // the processor, when it has no OnTimer
	fault   error // of a timer that was set in the call in work
	firing  bool  // an event-time timer is in work
	due     int64 // its time
	again   int   // timers set by timers for no later time, since the watermark
}

// Key returns the current key.
func (c *Context[K, R]) Key() K { return c.key }

// State is where the handles of package state are made from, in Open. They
// refer to the current key.
func (c *Context[K, R]) State() *state.Keyed { return c.keyed }

// SetTimer sets an event-time timer of the current key. The same time again
// is the same timer. One at or before the watermark fires at the next one; set
// by an event-time timer, it fires in its turn. A processor without OnTimer, or
// the zero time, fails the row. So does a timer that sets others for no later
// time without end: event time would stand still.
func (c *Context[K, R]) SetTimer(at time.Time) {
	if !c.mayFire("SetTimer", at) {
		return
	}
	c.timed = true
	c.timers.RegisterEvent(c.keyed.Key(), 0, at.UnixMilli())
	if c.firing && at.UnixMilli() <= c.due {
		if c.again++; c.again > timersAgainMax && c.again > 4*c.timers.EventKeys() {
			c.again = 0
			c.fault = fmt.Errorf("timers for %s set others for that time or before, more than %d of them: event time stands still; set a later one, or do the work at once",
				time.UnixMilli(c.due).UTC().Format(time.RFC3339Nano), timersAgainMax)
		}
	}
}

// ClearTimer removes an event-time timer of the current key.
func (c *Context[K, R]) ClearTimer(at time.Time) {
	c.timed = true
	c.timers.DeleteEvent(c.keyed.Key(), 0, at.UnixMilli())
}

// SetProcessingTimer sets a processing-time timer of the current key. One in
// the past fires as soon as the batch in work is done. A processor without
// OnTimer, or the zero time, fails the row.
func (c *Context[K, R]) SetProcessingTimer(at time.Time) {
	if !c.mayFire("SetProcessingTimer", at) {
		return
	}
	c.timed = true
	c.timers.RegisterProcessing(c.keyed.Key(), 0, at.UnixMilli())
}

// timersAgainMax bounds the timers that timers set for their own time or
// before it between two watermarks; four for each key with a timer are allowed
// in any case. It takes about a second to reach.
const timersAgainMax = 1 << 20

// mayFire reports whether a timer makes sense, and faults the row if not.
func (c *Context[K, R]) mayFire(method string, at time.Time) bool {
	switch {
	case c.untimed != nil:
		c.fault = fmt.Errorf("%s: %T has no OnTimer: give it OnTimer(ctx, timer) error", method, c.untimed)
	case at.IsZero():
		c.fault = fmt.Errorf("%s is given the zero time: give it the time of a row, or Now, and what is to pass", method)
	default:
		return true
	}
	return false
}

// settle returns how a call of user code went.
func (c *Context[K, R]) settle(err error) error {
	if c.fault != nil {
		err, c.fault = cmp.Or(err, c.fault), nil
	}
	return err
}

// ClearProcessingTimer removes a processing-time timer of the current key.
func (c *Context[K, R]) ClearProcessingTimer(at time.Time) {
	c.timed = true
	c.timers.DeleteProcessing(c.keyed.Key(), 0, at.UnixMilli())
}

// BroadcastContext is what a processor may use while it handles a row that
// every subtask gets: it may write broadcast state.
type BroadcastContext[R any] struct{ *RowContext[R] }

// MayWriteBroadcast implements opstate.Writer.
func (BroadcastContext[R]) MayWriteBroadcast() {}

// KeyedBroadcastContext is the BroadcastContext of a keyed operator: it can
// reach the state of every key, but there is no current one.
type KeyedBroadcastContext[K comparable, R any] struct {
	BroadcastContext[R]
	each func(over state.KeyScanner, fn func(*Context[K, R]) error) error
}

// ForEachKey calls fn once for each key of this subtask that has an entry in
// the given state, with it as the current key, in ascending order of the
// encoded keys. fn may change state, set timers and emit; what it emits has
// the time of the broadcast row. All keys are gathered before the first call.
func (c *KeyedBroadcastContext[K, R]) ForEachKey(over state.KeyScanner, fn func(ctx *Context[K, R]) error) error {
	return c.each(over, fn)
}
