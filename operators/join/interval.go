package join

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
)

// IntervalConfig describes an interval join: a left row at t meets the right
// rows of its key from t+Lower to t+Upper, both inside.
type IntervalConfig[K comparable, L, R, O any] struct {
	Left     Side[K, L]
	Right    Side[K, R]
	KeyCodec *codec.Codec[K]
	// Lower, Upper and Grace are milliseconds; Lower <= Upper. Grace is how
	// much longer than the watermark says rows are waited for.
	Lower, Upper, Grace int64
	Kind                Kind
	Match               Match[L, R, O]
}

// Interval returns the factory of an interval join. Input 0 is left, 1 right.
// A result has the later time of its rows, an outer row its own. Of a row the
// results come in order of the other rows' times, then of their arrival.
func Interval[K comparable, L, R, O any](cfg IntervalConfig[K, L, R, O]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		o := &interval[K, L, R, O]{cfg: cfg}
		fn := cfg.Match.Func
		o.left = half[K, L, R, O]{
			what: "left row", late: SideLateLeft, ns: 0, outer: cfg.Kind.Left, keep: cfg.Match.Retains,
			lower: cfg.Lower, upper: cfg.Upper, join: fn,
			alone: func(l *L) O { return fn(l, nil) },
		}
		o.right = half[K, R, L, O]{
			what: "right row", late: SideLateRight, ns: 1, outer: cfg.Kind.Right, keep: cfg.Match.Retains,
			lower: -cfg.Upper, upper: -cfg.Lower,
			join:  func(r *R, l *L) O { return fn(l, r) },
			alone: func(r *R) O { return fn(nil, r) },
		}
		return o
	})
}

// interval joins two streams. Its state is a buffer for each input.
type interval[K comparable, L, R, O any] struct {
	cfg   IntervalConfig[K, L, R, O]
	left  half[K, L, R, O]
	right half[K, R, L, O]
	shared[O]
}

// shared is what both halves of a join use.
type shared[O any] struct {
	place
	timers *timer.Service
	passed *passed
	out    operators.Collector[O]
	late   late
}

func (s *shared[O]) open(ctx *operators.Context) (err error) {
	s.out.Out, s.late = ctx.Out, newLate(ctx)
	if s.passed, err = openPassed(ctx); err != nil {
		return err
	}
	s.timers, err = timer.New(ctx.State, "join")
	return err
}

// half is what the rows T of one input need to meet the rows U of the other.
type half[K comparable, T, U, O any] struct {
	what, late string
	ns         int64 // of its timers
	outer      bool
	keep       bool
	// A row at t meets the others from t+lower to t+upper; it is over when
	// time has passed t+upper.
	lower, upper int64
	join         func(*T, *U) O
	alone        func(*T) O
	keys         keyed[K, T]
	rows         buffer[T]
}

var (
	_ operators.WatermarkHandler = (*interval[int, int, int, int])(nil)
	_ operators.WatermarkDelayer = (*interval[int, int, int, int])(nil)
	_ operators.Snapshotter      = (*interval[int, int, int, int])(nil)
	_ operators.Positioner       = (*interval[int, int, int, int])(nil)
)

// Open implements operators.Operator.
func (o *interval[K, L, R, O]) Open(ctx *operators.Context) error {
	if err := o.shared.open(ctx); err != nil {
		return err
	}
	o.left.keys = keyed[K, L]{side: o.cfg.Left, keys: o.cfg.KeyCodec}
	o.right.keys = keyed[K, R]{side: o.cfg.Right, keys: o.cfg.KeyCodec}
	o.left.rows.codec, o.right.rows.codec = o.cfg.Left.Codec, o.cfg.Right.Codec
	span := o.cfg.Upper - o.cfg.Lower
	if err := o.left.rows.open(ctx.State, "interval-left", span); err != nil {
		return err
	}
	return o.right.rows.open(ctx.State, "interval-right", span)
}

// Process implements operators.Operator.
func (o *interval[K, L, R, O]) Process(input int, b *columnar.Batch) error {
	if input == 0 {
		return arrive(&o.shared, &o.left, &o.right, b)
	}
	return arrive(&o.shared, &o.right, &o.left, b)
}

// arrive joins the rows of a batch with what the other input has brought, and
// keeps them for what it will bring.
func arrive[K comparable, T, U, O any](s *shared[O], mine *half[K, T, U, O], other *half[K, U, T, O], b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	s.place = place{what: mine.what, on: true}
	mine.keys.begin(b)
	for i := range rows {
		t := b.Time(i)
		s.time = t
		if t == dataflow.TimeNone {
			return untimed(mine.what)
		}
		now := s.passed.of(mine.keys.hashes[i])
		if t <= now {
			s.late.rows = append(s.late.rows, int32(i))
			continue
		}
		k := mine.keys.of(i, &rows[i])
		matched := meet(&s.out, mine, other, k, t, &rows[i])
		over := dataflow.AddTime(t, mine.upper)
		switch {
		case over > now:
			flags := byte(0)
			if matched {
				flags = flagMatched
			} else if mine.outer {
				s.timers.RegisterEvent(k, mine.ns, over)
			}
			mine.rows.add(k, t, flags, &rows[i])
		case mine.outer && !matched: // its partners' time was over before it came
			s.out.Add(mine.alone(&rows[i]), t)
		}
	}
	s.on = false
	s.out.Flush()
	setAside[T](&s.late, b, mine.late)
	if !mine.keep {
		b.Release()
	}
	return nil
}

// meet emits the results of a row with the other input's rows.
func meet[K comparable, T, U, O any](out *operators.Collector[O], mine *half[K, T, U, O], other *half[K, U, T, O], k state.Key, t int64, row *T) (matched bool) {
	lo, hi := dataflow.AddTime(t, mine.lower), dataflow.AddTime(t, mine.upper)
	for _, ns := range other.rows.between(lo, hi) {
		val, ok := other.rows.table.Get(ns, k)
		if !ok {
			continue
		}
		found := other.rows.scan(val, lo, hi, 0)
		for _, f := range found {
			out.Add(mine.join(row, other.rows.load(val, f, mine.keep)), max(t, f.time))
		}
		if len(found) > 0 {
			matched = true
			if other.outer {
				other.rows.mark(ns, k, val, flagMatched)
			}
		}
	}
	return matched
}

// Watermark implements operators.WatermarkHandler: it emits the rows that are
// over without a match, and drops what can have none any more.
func (o *interval[K, L, R, O]) Watermark(wm int64) (bool, error) {
	now := lessGrace(wm, o.cfg.Grace)
	if now <= o.passed.now {
		return true, nil
	}
	done, err := o.timers.AdvanceEvent(now, o.fire, o.out.Out.Ready)
	o.on = false
	o.out.Flush()
	if !done || err != nil {
		return false, err
	}
	o.passed.now = now
	o.left.rows.dropBefore(dataflow.AddTime(now, -o.cfg.Upper))
	o.right.rows.dropBefore(dataflow.AddTime(now, o.cfg.Lower))
	return true, nil
}

func (o *interval[K, L, R, O]) fire(k state.Key, ns, at int64) error {
	if ns == o.left.ns {
		single(&o.out, &o.place, &o.left, k, at)
		return nil
	}
	single(&o.out, &o.place, &o.right, k, at)
	return nil
}

// single emits the rows of a key that are over at a time without a match.
func single[K comparable, T, U, O any](out *operators.Collector[O], p *place, h *half[K, T, U, O], k state.Key, over int64) {
	t := over - h.upper
	val, ok := h.rows.table.Get(h.rows.bucket(t), k)
	if !ok {
		return
	}
	*p = place{what: h.what + " without a match", time: t, on: true}
	for _, f := range h.rows.scan(val, t, t, flagMatched) {
		out.Add(h.alone(h.rows.load(val, f, h.keep)), t)
	}
}

// WatermarkDelay implements operators.WatermarkDelayer: outer rows come when
// their time is long past.
func (o *interval[K, L, R, O]) WatermarkDelay() int64 {
	delay := int64(0)
	if o.cfg.Kind.Left {
		delay = max(delay, o.cfg.Upper)
	}
	if o.cfg.Kind.Right {
		delay = max(delay, -o.cfg.Lower)
	}
	return dataflow.AddTime(delay, o.cfg.Grace)
}

// Snapshot implements operators.Snapshotter. Everything is in keyed state.
func (o *interval[K, L, R, O]) Snapshot(operators.Checkpoint) ([]byte, error) {
	o.passed.save()
	return nil, nil
}

// Close implements operators.Operator.
func (o *interval[K, L, R, O]) Close() error { return nil }

// Detail describes the bounds for people.
func Detail(lower, upper int64) string { return fmt.Sprintf("from %dms to %dms", lower, upper) }
