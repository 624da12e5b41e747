package cepop

import (
	"fmt"
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

// Names of the operator's metrics.
const (
	// MetricMatches counts matches.
	MetricMatches = "numMatches"
	// MetricTimedOut counts partial matches whose time was up.
	MetricTimedOut = "numPartialMatchesTimedOut"
	// MetricLate counts the rows that came behind the watermark.
	MetricLate = "numLateRecords"
	// MetricLateDropped counts those of them that no side output took.
	MetricLateDropped = "numLateRecordsDropped"
)

// Names in state; part of its format.
const (
	partialsName = "partials"
	pendingName  = "pending"
	timersName   = "timers"
)

// PartialsMaxDefault bounds the partial matches of a key unless told
// otherwise: each costs work with every row of its key.
const PartialsMaxDefault = 10_000

// Config describes the operator for rows T with keys K that emits R.
type Config[K comparable, T, R any] struct {
	Key      func(T) K
	Hasher   columnar.KeyHasher
	KeyCodec *codec.Codec[K]
	Rows     *codec.Codec[T]
	// Automaton finds the matches.
	Automaton *Automaton[T]
	// Processing takes the rows as they come, by the clock; else they wait
	// for the watermark and are taken in order of event time.
	Processing bool
	// Compare orders rows of equal event time; nil: as they came.
	Compare func(a, b T) int
	// PartialsMax bounds the partial matches of a key; 0: PartialsMaxDefault.
	PartialsMax int
	// Select makes rows of a match.
	Select func(m Match[T], emit func(R))
	// TimedOut takes partial matches whose time is up. It may be set until
	// the operator is opened; nil: nobody does.
	TimedOut Side[T]
}

// Factory makes the operator. Its Config may change until then.
type Factory[K comparable, T, R any] struct{ Config[K, T, R] }

// New implements operators.Factory.
func (f *Factory[K, T, R]) New() operators.Operator { return &operator[K, T, R]{cfg: f.Config} }

// takenName names the bounds up to which rows have been taken: those that come
// again behind them are late. It is part of the state's format.
const takenName = "pattern-taken"

// operator runs a matcher for the rows of each key.
type operator[K comparable, T, R any] struct {
	cfg    Config[K, T, R]
	ctx    *operators.Context
	match  *Matcher[T]
	table  state.Table
	wait   *pending[T]
	bounds *bound.Bounds
	timers *timer.Service
	out    gather[R]
	side   sideOutput[T]
	emit   func(R)
	past   timer.Fire  // elapsed, made once
	ready  func() bool // of the output, made once

	wm     int64 // rows up to it have been taken, and what is older has ended
	given  int64 // rows up to it have been taken
	hashes []uint64
	enc    []byte // the current key
	row    []byte
	val    []byte
	late   []int32

	armed   int64 // wall time that the clock was asked to call at
	disarm  func()
	ending  bool
	closing []state.Key // keys whose matches are held back, at the end
	listed  bool

	inWork                                    bool
	at                                        int64
	rowTime                                   int64 // event time of the row in work, by the clock
	matches, timedOut, lateCount, lateDropped operators.Counter
}

var (
	_ operators.WatermarkHandler = (*operator[int, int, int])(nil)
	_ operators.EndHandler       = (*operator[int, int, int])(nil)
	_ operators.Snapshotter      = (*operator[int, int, int])(nil)
	_ operators.Positioner       = (*operator[int, int, int])(nil)
)

// Open implements operators.Operator.
func (o *operator[K, T, R]) Open(ctx *operators.Context) (err error) {
	o.ctx, o.wm, o.given = ctx, dataflow.TimeMin, dataflow.TimeMin
	o.matches, o.timedOut = ctx.Metrics.Counter(MetricMatches), ctx.Metrics.Counter(MetricTimedOut)
	o.lateCount, o.lateDropped = ctx.Metrics.Counter(MetricLate), ctx.Metrics.Counter(MetricLateDropped)
	o.out.out, o.emit = ctx.Out, o.out.add
	o.past, o.ready = o.elapsed, func() bool { return ctx.Out.Ready() }
	if o.cfg.PartialsMax == 0 {
		o.cfg.PartialsMax = PartialsMaxDefault
	}
	sink := Sink[T]{Found: o.found, TimedOut: o.expired}
	if o.cfg.TimedOut != nil {
		o.side = o.cfg.TimedOut.open(ctx.Out)
	}
	o.match = NewMatcher(o.cfg.Automaton, o.cfg.Rows, o.cfg.PartialsMax, sink)
	// The pattern is part of the schema: positions in another mean nothing.
	form := "partial matches 1 of " + o.cfg.Automaton.String() + " over "
	if o.table, err = state.FramedTable(ctx.State, partialsName, form, o.cfg.Rows, false, reframePartials); err != nil {
		return err
	}
	if o.wait, err = openPending(ctx.State, o.cfg.Rows, o.cfg.Compare); err != nil {
		return err
	}
	if o.bounds, err = bound.Open(ctx, takenName); err != nil {
		return err
	}
	o.timers, err = timer.New(ctx.State, timersName)
	if err == nil {
		o.arm()
	}
	return err
}

func (o *operator[K, T, R]) found(m Match[T]) {
	o.matches.Add(1)
	o.out.at = o.timeOf(m)
	o.cfg.Select(m, o.emit)
}

func (o *operator[K, T, R]) expired(m Match[T]) {
	o.timedOut.Add(1)
	if o.side != nil {
		o.side.add(m, o.timeOf(m))
	}
}

// timeOf returns the event time of what a match makes: when the match runs by
// the clock, that of the row in work.
func (o *operator[K, T, R]) timeOf(m Match[T]) int64 {
	if o.cfg.Processing {
		return o.rowTime
	}
	return m.at
}

// setKey makes the key of a row the current one.
func (o *operator[K, T, R]) setKey(row T, hash uint64) state.Key {
	key := o.cfg.Key(row)
	o.enc = o.cfg.KeyCodec.AppendKey(o.enc[:0], &key)
	return state.Key{Bytes: o.enc, Hash: hash}
}

// Process implements operators.Operator.
func (o *operator[K, T, R]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	o.hashes = o.cfg.Hasher.HashRows(o.hashes[:0], b.Rows)
	o.late, o.inWork = o.late[:0], true
	var err error
	for i := 0; i < len(rows) && err == nil; i++ {
		o.at = b.Time(i)
		k := o.setKey(rows[i], o.hashes[i])
		switch {
		case o.cfg.Processing:
			o.rowTime, o.at = o.at, clock.Millis(o.ctx.Clock)
			err = o.now(k, &rows[i])
		case o.at == dataflow.TimeNone:
			err = fmt.Errorf("record without event time in a pattern: add stream.Timestamps to the From of its source, or use processing time")
		case o.at <= max(o.wm, o.bounds.Of(o.hashes[i])):
			o.late = append(o.late, int32(i))
		default:
			o.wait.add(k, o.at, &rows[i])
		}
	}
	if err != nil {
		return err
	}
	o.inWork = false
	o.setAside(b, rows)
	b.Release()
	o.flush()
	o.arm()
	return nil
}

// now gives the matcher of a key a row by the clock.
func (o *operator[K, T, R]) now(k state.Key, row *T) error {
	if err := o.load(k); err != nil {
		return err
	}
	o.row = o.cfg.Rows.Append(o.row[:0], row)
	if err := o.match.Step(row, o.row, o.at); err != nil {
		return o.explain(err)
	}
	o.save(k)
	return nil
}

// begin implements taker: the rows of a key are due.
func (o *operator[K, T, R]) begin(k state.Key) error {
	o.inWork, o.rowTime = true, dataflow.TimeNone
	o.enc = append(o.enc[:0], k.Bytes...)
	return o.load(k)
}

// take implements taker.
func (o *operator[K, T, R]) take(row *T, encoded []byte, at int64) error {
	o.at = at
	if err := o.match.Step(row, encoded, at); err != nil {
		return o.explain(err)
	}
	return nil
}

// end implements taker.
func (o *operator[K, T, R]) end(k state.Key) error {
	o.save(k)
	o.inWork = false
	return nil
}

func (o *operator[K, T, R]) load(k state.Key) error {
	val, ok := o.table.Get(0, k)
	if !ok {
		o.match.Reset()
		return nil
	}
	if err := o.match.Load(val); err != nil {
		return o.explain(err)
	}
	return nil
}

// save writes what has become of a key's partial matches, and sets the timer
// for when the next of them runs out.
func (o *operator[K, T, R]) save(k state.Key) {
	m := o.match
	if m.Empty() {
		if m.armed != noTimer {
			o.unset(k, m.armed)
		}
		if m.dirty {
			o.table.Delete(0, k)
		}
		return
	}
	if d := m.Deadline(); d < m.armed {
		if m.armed != noTimer {
			o.unset(k, m.armed)
		}
		if o.cfg.Processing {
			o.timers.RegisterProcessing(k, 0, d)
		} else {
			o.timers.RegisterEvent(k, 0, d)
		}
		m.armed, m.dirty = d, true
	}
	if m.dirty {
		o.val = m.Append(o.val[:0])
		o.table.Put(0, k, o.val)
	}
}

// unset takes a timer back.
func (o *operator[K, T, R]) unset(k state.Key, at int64) {
	if o.cfg.Processing {
		o.timers.DeleteProcessing(k, 0, at)
	} else {
		o.timers.DeleteEvent(k, 0, at)
	}
}

// explain says which key and pattern an error is about.
func (o *operator[K, T, R]) explain(err error) error {
	return fmt.Errorf("key %s, pattern %s: %w", o.keyText(), o.cfg.Automaton, err)
}

// keyText returns the current key for people.
func (o *operator[K, T, R]) keyText() string {
	var key K
	if err := o.cfg.KeyCodec.DecodeKey(o.enc, &key); err != nil {
		return fmt.Sprintf("%x", o.enc)
	}
	return fmt.Sprint(key)
}

// Watermark implements operators.WatermarkHandler.
func (o *operator[K, T, R]) Watermark(wm int64) (bool, error) {
	if wm <= o.wm {
		return true, nil
	}
	done, err := o.given == wm, error(nil)
	if !done {
		done, err = o.wait.advance(wm, o, o.ready)
	}
	if done && err == nil {
		o.given = wm
		// All rows up to wm have been taken: what is too old ends.
		done, err = o.timers.AdvanceEvent(wm, o.past, o.ready)
	}
	if done && err == nil {
		o.wm = wm
	}
	o.flush()
	return done, err
}

// elapsed ends what is too old.
func (o *operator[K, T, R]) elapsed(k state.Key, _, at int64) error {
	if err := o.begin(k); err != nil {
		return err
	}
	o.at = at
	if o.match.armed <= at {
		o.match.armed, o.match.dirty = noTimer, true
	}
	if err := o.match.Advance(at); err != nil {
		return o.explain(err)
	}
	return o.end(k)
}

// End implements operators.EndHandler: what no row can complete any more ends.
func (o *operator[K, T, R]) End() (bool, error) {
	o.ending = true
	done, err := o.timers.DrainProcessing(o.elapsed, o.ctx.Out.Ready)
	if done && err == nil {
		done, err = o.release()
	}
	o.flush()
	return done, err
}

// release emits the matches that are held back for partial ones, which will
// not be whole now.
func (o *operator[K, T, R]) release() (bool, error) {
	if o.cfg.Automaton.skip.Mode == SkipNone {
		return true, nil
	}
	if !o.listed {
		o.listed = true
		o.table.Scan(0, func(key, _ []byte) bool {
			o.closing = append(o.closing, state.KeyOf(append([]byte(nil), key...)))
			return true
		})
	}
	for len(o.closing) > 0 {
		if !o.ctx.Out.Ready() {
			return false, nil
		}
		k := o.closing[0]
		if err := o.begin(k); err != nil {
			return false, err
		}
		if err := o.match.Finish(o.wm); err != nil {
			return false, o.explain(err)
		}
		if err := o.end(k); err != nil {
			return false, err
		}
		o.closing = o.closing[1:]
	}
	return true, nil
}

// Snapshot implements operators.Snapshotter. All state is keyed; what is
// written here goes with it.
func (o *operator[K, T, R]) Snapshot(operators.Checkpoint) ([]byte, error) {
	if !o.cfg.Processing {
		o.bounds.Raise(o.wm)
	}
	return nil, nil
}

func (o *operator[K, T, R]) setAside(b *columnar.Batch, rows []T) {
	if len(o.late) == 0 {
		return
	}
	o.lateCount.Add(int64(len(o.late)))
	if !o.ctx.Out.HasSide(dataflow.SideLate) {
		o.lateDropped.Add(int64(len(o.late)))
		return
	}
	late, times := make([]T, len(o.late)), make([]int64, len(o.late))
	for to, from := range o.late {
		late[to], times[to] = rows[from], b.Time(int(from))
	}
	o.ctx.Out.EmitSide(dataflow.SideLate, columnar.NewBatch(late, times))
}

func (o *operator[K, T, R]) flush() {
	o.out.flush()
	if o.side != nil {
		o.side.flush()
	}
}

// arm asks to be called when the next processing-time timer is due.
func (o *operator[K, T, R]) arm() {
	next, ok := o.timers.NextProcessing()
	if !ok || o.ending || (o.disarm != nil && o.armed <= next) {
		return
	}
	if o.disarm != nil {
		o.disarm()
	}
	o.armAt(next)
}

func (o *operator[K, T, R]) armAt(millis int64) {
	o.armed = millis
	o.disarm = o.ctx.At(millis, o.wake)
}

// wake runs when processing time has passed a timer.
func (o *operator[K, T, R]) wake() error {
	o.disarm = nil
	now := clock.Millis(o.ctx.Clock)
	done, err := o.timers.AdvanceProcessing(now, o.elapsed, o.ctx.Out.Ready)
	o.flush()
	if !done && err == nil {
		o.armAt(now) // there is no room downstream
		return nil
	}
	o.arm()
	return err
}

// Position implements operators.Positioner.
func (o *operator[K, T, R]) Position() string {
	if !o.inWork {
		return ""
	}
	if o.at == dataflow.TimeNone {
		return fmt.Sprintf("key %s, event time none", o.keyText())
	}
	return fmt.Sprintf("key %s, event of %s", o.keyText(), time.UnixMilli(o.at).UTC().Format(time.RFC3339Nano))
}

// Close implements operators.Operator.
func (o *operator[K, T, R]) Close() error {
	if o.disarm != nil {
		o.disarm()
	}
	return nil
}
