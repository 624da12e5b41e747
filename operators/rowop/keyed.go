package rowop

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/setaside"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/undolog"
)

// timersName is the name of the timers in state; part of its format.
const timersName = "timers"

// keyed runs user code over keyed inputs that share state and timers.
type keyed[K comparable, R any] struct {
	cursor
	codec  *codec.Codec[K]
	inputs []keyedSide[K, R]
	user   any
	open   func(*Context[K, R]) error
	timed  TimerProcessor[K, R] // nil when user is none
	ctx    Context[K, R]
	enc    []byte
	// armed is the wall time that the clock was asked to call at.
	armed  int64
	disarm func()
	// unsweep takes back that age is called; nil when it is not going to be.
	unsweep func()
	ending  bool
	opened  bool
	keyless bool // a broadcast row is in work
	firing  bool // a timer is in work
	due     Timer
}

// keyedSide is one input of a keyed operator.
type keyedSide[K comparable, R any] interface {
	process(o *keyed[K, R], b *columnar.Batch) error
}

var (
	_ operators.WatermarkHandler = (*keyed[int, int])(nil)
	_ operators.EndHandler       = (*keyed[int, int])(nil)
	_ operators.Snapshotter      = (*keyed[int, int])(nil)
	_ operators.Positioner       = (*keyed[int, int])(nil)
)

func newKeyed[K comparable, R any](c *codec.Codec[K], user any, open func(*Context[K, R]) error, inputs ...keyedSide[K, R]) *keyed[K, R] {
	return &keyed[K, R]{codec: c, user: user, open: open, inputs: inputs}
}

// Open implements operators.Operator.
func (o *keyed[K, R]) Open(ctx *operators.Context) (err error) {
	o.timed, _ = o.user.(TimerProcessor[K, R])
	if o.timed == nil {
		o.ctx.untimed = o.user
	}
	if err := o.ctx.RowContext.open(ctx); err != nil {
		return err
	}
	backend := ctx.State
	if o.ctx.tray != nil {
		o.ctx.undo = undolog.New(backend)
		backend = o.ctx.undo
	}
	o.ctx.keyed = state.NewKeyed(backend)
	o.ctx.keyed.Advance(clock.Millis(ctx.Clock), dataflow.TimeMin, 0)
	if o.ctx.timers, err = timer.New(backend, timersName); err != nil {
		return err
	}
	o.opened = true
	if err := o.ctx.settle(o.open(&o.ctx)); err != nil {
		return err
	}
	o.arm()
	return nil
}

// Process implements operators.Operator.
func (o *keyed[K, R]) Process(input int, b *columnar.Batch) error {
	o.cursor.begin(b)
	if err := o.inputs[input].process(o, b); err != nil {
		return err
	}
	o.end()
	o.ctx.flush()
	o.arm()
	b.Release()
	return nil
}

// run makes one call of user code, by the error policy. record tells what it
// was about.
func (o *keyed[K, R]) run(call func() error, record func() setaside.Record) error {
	if o.ctx.tray == nil {
		return o.ctx.settle(call())
	}
	o.begin()
	if err := o.ctx.settle(call()); err != nil {
		o.failed(record(), err)
		return nil
	}
	o.ctx.done()
	return nil
}

func (o *keyed[K, R]) begin() {
	o.ctx.timed = false
	o.ctx.RowContext.begin()
}

func (o *keyed[K, R]) failed(r setaside.Record, err error) {
	o.ctx.RowContext.failed(r, err)
	if o.ctx.timed {
		o.ctx.timers.Reset()
	}
}

// age tells state with a TTL the time.
func (o *keyed[K, R]) age(rows int) {
	if o.ctx.keyed.HasTTL() {
		o.ctx.keyed.Advance(clock.Millis(o.ctx.op.Clock), o.ctx.watermark, rows)
	}
}

// armSweep asks to be called when state is due to be removed, though no row
// may come.
func (o *keyed[K, R]) armSweep() {
	at, ok := o.ctx.keyed.NextSweep()
	if !ok || o.unsweep != nil || o.ending {
		return
	}
	o.unsweep = o.ctx.op.At(at, func() error {
		o.unsweep = nil
		o.age(0)
		o.armSweep()
		return nil
	})
}

// forEachKey calls fn for each key that has an entry in a state.
func (o *keyed[K, R]) forEachKey(over state.KeyScanner, fn func(*Context[K, R]) error) error {
	var arena []byte
	var ends []int
	over.ScanKeys(func(key []byte) bool {
		arena = append(arena, key...)
		ends = append(ends, len(arena))
		return true
	})
	keys := make([][]byte, len(ends))
	from := 0
	for i, end := range ends {
		keys[i] = arena[from:end:end]
		from = end
	}
	slices.SortFunc(keys, bytes.Compare)
	for _, key := range keys {
		if err := o.codec.DecodeKey(key, &o.ctx.key); err != nil {
			return fmt.Errorf("a key in state: %w", err)
		}
		o.ctx.keyed.SetKey(state.KeyOf(key))
		if err := fn(&o.ctx); err != nil {
			return fmt.Errorf("key %v: %w", o.ctx.key, err)
		}
	}
	return nil
}

// Watermark implements operators.WatermarkHandler.
func (o *keyed[K, R]) Watermark(wm int64) (bool, error) {
	done, err := o.ctx.timers.AdvanceEvent(wm, o.fire(false), o.ctx.op.Out.Ready)
	if done {
		o.ctx.watermark, o.ctx.again = wm, 0
		o.age(0) // not before: timers see what expires with them
	}
	o.ctx.flush()
	o.arm()
	return done, err
}

// End implements operators.EndHandler: pending processing-time timers fire
// once, before their time.
func (o *keyed[K, R]) End() (bool, error) {
	o.ending = true
	done, err := o.ctx.timers.DrainProcessing(o.fire(true), o.ctx.op.Out.Ready)
	o.ctx.flush()
	return done, err
}

// fire returns what runs one timer.
func (o *keyed[K, R]) fire(processing bool) timer.Fire {
	return func(key state.Key, _, at int64) error {
		if o.timed == nil {
			return fmt.Errorf("a timer is due, but %T has no OnTimer", o.user)
		}
		if err := o.codec.DecodeKey(key.Bytes, &o.ctx.key); err != nil {
			return fmt.Errorf("key of a timer: %w", err)
		}
		// The key is borrowed only until user code changes timers.
		o.enc = append(o.enc[:0], key.Bytes...)
		o.ctx.keyed.SetKey(state.Key{Bytes: o.enc, Hash: key.Hash})
		o.ctx.time = at
		if processing {
			o.ctx.time = dataflow.TimeNone
		}
		o.ctx.keyed.SetRowTime(o.ctx.time)
		o.ctx.out.known = false
		o.ctx.out.at(o.ctx.time, !processing)
		if !processing {
			o.ctx.firing, o.ctx.due = true, at
		}
		o.firing, o.due = true, Timer{At: time.UnixMilli(at).UTC(), Processing: processing}
		err := o.run(func() error { return o.timed.OnTimer(&o.ctx, o.due) },
			func() setaside.Record { return setaside.Record{Key: o.ctx.key, Time: at} })
		o.ctx.firing = false
		if err != nil {
			return err
		}
		o.firing = false
		return nil
	}
}

// arm asks to be called when the next processing-time timer is due.
func (o *keyed[K, R]) arm() {
	o.armSweep()
	next, ok := o.ctx.timers.NextProcessing()
	if !ok || o.ending || (o.disarm != nil && o.armed <= next) {
		return
	}
	if o.disarm != nil {
		o.disarm()
	}
	o.armAt(next)
}

func (o *keyed[K, R]) armAt(millis int64) {
	o.armed = millis
	o.disarm = o.ctx.op.At(millis, o.wake)
}

// wake runs when processing time has passed a timer.
func (o *keyed[K, R]) wake() error {
	o.disarm = nil
	o.age(0)
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

// Snapshot implements operators.Snapshotter.
func (o *keyed[K, R]) Snapshot(operators.Checkpoint) ([]byte, error) {
	return o.ctx.state.Snapshot(), nil
}

// Position implements operators.Positioner.
func (o *keyed[K, R]) Position() string {
	if o.firing {
		return fmt.Sprintf("timer of key %v at %s", o.ctx.key, o.due.At.Format(time.RFC3339Nano))
	}
	if o.batch == nil {
		return ""
	}
	if o.batch.Origin != nil || o.keyless {
		return o.cursor.Position()
	}
	return fmt.Sprintf("key %v, %s", o.ctx.key, o.cursor.Position())
}

// Close implements operators.Operator.
func (o *keyed[K, R]) Close() error {
	if o.disarm != nil {
		o.disarm()
	}
	if o.unsweep != nil {
		o.unsweep()
	}
	if !o.opened {
		return nil
	}
	return closeUser(o.user)
}

// closeUser closes user code that has a Close.
func closeUser(user any) error {
	c, ok := user.(io.Closer)
	if !ok {
		return nil
	}
	if err := c.Close(); err != nil {
		return fmt.Errorf("close of %T: %w", user, err)
	}
	return nil
}
