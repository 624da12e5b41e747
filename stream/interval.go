package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/join"
)

// Interval says how far the event times of two rows that join may be apart.
type Interval struct {
	lower, upper, grace time.Duration
	// exclude says that a bound itself is outside.
	excludeLower, excludeUpper bool
}

// Between joins a left row at t with the right rows from t+lower to t+upper,
// both inside. Event time has milliseconds.
func Between(lower, upper time.Duration) Interval { return Interval{lower: lower, upper: upper} }

// ExcludeLower puts the lower bound itself outside.
func (i Interval) ExcludeLower() Interval {
	i.excludeLower = true
	return i
}

// ExcludeUpper puts the upper bound itself outside.
func (i Interval) ExcludeUpper() Interval {
	i.excludeUpper = true
	return i
}

// Grace makes the join go by a watermark that is so much later: rows that are
// late by less are joined, and outer rows come so much later.
func (i Interval) Grace(d time.Duration) Interval {
	i.grace = d
	return i
}

// String implements fmt.Stringer: the span, with its brackets, and the grace.
func (i Interval) String() string {
	from, to := "[", "]"
	if i.excludeLower {
		from = "("
	}
	if i.excludeUpper {
		to = ")"
	}
	return fmt.Sprintf("%s%s, %s%s grace %s", from, i.lower, i.upper, to, i.grace)
}

// millis returns the bounds, both inside.
func (i Interval) millis() (lower, upper int64) {
	lower, upper = ceilMillis(i.lower), floorMillis(i.upper)
	if i.excludeLower && time.Duration(lower)*time.Millisecond == i.lower {
		lower++
	}
	if i.excludeUpper && time.Duration(upper)*time.Millisecond == i.upper {
		upper--
	}
	return lower, upper
}

func floorMillis(d time.Duration) int64 {
	n := d.Milliseconds()
	if d < 0 && time.Duration(n)*time.Millisecond != d {
		n--
	}
	return n
}

func ceilMillis(d time.Duration) int64 { return -floorMillis(-d) }

// check reports what is wrong with an interval.
func (i Interval) check(e *Env, where string) bool {
	ok := true
	if lower, upper := i.millis(); lower > upper {
		e.fail(where, "the interval %s of a join holds no time: its lower bound must not be after its upper one", i)
		ok = false
	}
	if i.grace < 0 {
		e.fail(where, "the grace %s of a join is negative", i.grace)
		ok = false
	}
	return ok
}

// IntervalJoin joins the rows of two streams that have the same key and event
// times that are within of each other. A result has the later of the two
// times, an outer row its own: it comes once the watermark says that no match
// can. A row at or before the watermark is late and joins nothing (LateLeft,
// LateRight); rows are kept as long as a match may come. It is stateful.
func IntervalJoin[K comparable, L, R, O any](left *KeyedStream[K, L], right *KeyedStream[K, R], within Interval, joiner Joiner[L, R, O], opts ...Option) *DataStream[O] {
	const what = "an interval join"
	where := callSite()
	e := left.stream.env
	out := rowTypeOf[O](e, where)
	ok := sameEnv(where, what, e, right.stream.env)
	timedBoth(e, where, what, left.stream.untimed, right.stream.untimed)
	ok = within.check(e, where) && ok
	j, has := joinerOf(e, where, what, joiner)
	l, okl := sideOf(left, where)
	r, okr := sideOf(right, where)
	var f operators.Factory
	if ok && has && okl && okr {
		lower, upper := within.millis()
		f = join.Interval(join.IntervalConfig[K, L, R, O]{
			Left: l, Right: r, KeyCodec: left.codec, Lower: lower, Upper: upper,
			Grace: within.grace.Milliseconds(), Kind: j.kind, Match: j.match,
		})
	}
	s := step{
		op: opInterval, kind: graph.KindOperator, factory: f, stateful: true, keyed: true, out: out, where: where,
		detail: fmt.Sprintf("%s %s", j.name, within),
	}
	return then[O](e, e.addInputs(s, []input{left.stream.in(), right.stream.in()}, opts), out, timing{})
}
