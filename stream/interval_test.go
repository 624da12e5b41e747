package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
)

type order struct {
	ID       string
	Customer string
	Cents    int64
	At       time.Time
}

type payment struct {
	Order string
	Cents int64
	At    time.Time
}

func orders(env *stream.Env) *stream.DataStream[order] {
	return stream.From(env, collection.Slice(
		order{"o1", "ann", 500, at(0)}, order{"o2", "bob", 700, at(10)}, order{"o3", "ann", 900, at(400)},
	), stream.UID("orders"), stream.Timestamps(func(o order) time.Time { return o.At }),
		stream.Watermarks(stream.Monotonous().PerRow()))
}

func payments(env *stream.Env) *stream.DataStream[payment] {
	return stream.From(env, collection.Slice(
		payment{"o1", 200, at(20)}, payment{"o1", 300, at(60)}, payment{"o3", 900, at(401)}, payment{"o2", 700, at(500)},
	), stream.UID("payments"), stream.Timestamps(func(p payment) time.Time { return p.At }),
		stream.Watermarks(stream.Monotonous().PerRow()))
}

func byID(o order) string          { return o.ID }
func byOrder(p payment) string     { return p.Order }
func byCustomer(o order) string    { return o.Customer }
func fiveMinutes() stream.Interval { return stream.Between(0, 5*time.Minute) }

func ExampleIntervalJoin() {
	env := stream.NewEnv()
	paid := stream.IntervalJoin(
		stream.KeyBy(orders(env), byID), stream.KeyBy(payments(env), byOrder),
		stream.Between(0, 5*time.Minute),
		stream.Inner(func(o order, p payment) string { return fmt.Sprintf("%s: %d of %d", o.ID, p.Cents, o.Cents) }),
		stream.UID("paid"))
	show(env, paid)
	// Output:
	// o1: 200 of 500
	// o1: 300 of 500
	// o3: 900 of 900
}

func ExampleLeftOuter() {
	env := stream.NewEnv()
	paid := stream.IntervalJoin(
		stream.KeyBy(orders(env), byID), stream.KeyBy(payments(env), byOrder), fiveMinutes(),
		stream.LeftOuter(func(o order, p *payment) string {
			if p == nil {
				return o.ID + ": not paid in time"
			}
			return fmt.Sprintf("%s: %d of %d", o.ID, p.Cents, o.Cents)
		}), stream.UID("paid"))
	show(env, paid)
	// Output:
	// o1: 200 of 500
	// o1: 300 of 500
	// o2: not paid in time
	// o3: 900 of 900
}

func ExampleRightOuter() {
	env := stream.NewEnv()
	paid := stream.IntervalJoin(
		stream.KeyBy(orders(env), byID), stream.KeyBy(payments(env), byOrder), fiveMinutes(),
		stream.RightOuter(func(o *order, p payment) string {
			return fmt.Sprintf("%d for %s, in time: %t", p.Cents, p.Order, o != nil)
		}), stream.UID("paid"))
	show(env, paid)
	// Output:
	// 200 for o1, in time: true
	// 300 for o1, in time: true
	// 700 for o2, in time: false
	// 900 for o3, in time: true
}

func ExampleFullOuter() {
	env := stream.NewEnv()
	paid := stream.IntervalJoin(
		stream.KeyBy(orders(env), byID), stream.KeyBy(payments(env), byOrder), fiveMinutes(),
		stream.FullOuter(func(o *order, p *payment) string {
			switch {
			case p == nil:
				return "no payment for " + o.ID
			case o == nil:
				return "no order for a payment of " + p.Order
			}
			return "paid " + o.ID
		}), stream.UID("paid"))
	show(env, paid)
	// Output:
	// no order for a payment of o2
	// no payment for o2
	// paid o1
	// paid o1
	// paid o3
}

// TestIntervalBounds joins times around the bounds.
func TestIntervalBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		within stream.Interval
		want   string
	}{
		{stream.Between(-time.Second, 2*time.Second), "-1s 0s 1s 2s"},
		{stream.Between(-time.Second, 2*time.Second).ExcludeLower(), "0s 1s 2s"},
		{stream.Between(-time.Second, 2*time.Second).ExcludeUpper(), "-1s 0s 1s"},
		{stream.Between(-1500*time.Microsecond, 999*time.Millisecond+time.Microsecond).ExcludeLower().ExcludeUpper(), "0s"},
	} {
		env := stream.NewEnv()
		middle := stream.From(env, collection.Slice(at(100)), stream.UID("middle"), timesAre(), stream.Watermarks(stream.Monotonous()))
		around := stream.From(env, collection.Slice(at(98), at(99), at(100), at(101), at(102), at(103)),
			stream.UID("around"), timesAre(), stream.Watermarks(stream.Monotonous()))
		one := func(time.Time) int { return 1 }
		apart := stream.IntervalJoin(stream.KeyBy(middle, one), stream.KeyBy(around, one), c.within,
			stream.Inner(func(l, r time.Time) time.Duration { return r.Sub(l) }), stream.UID("join"))
		var got []string
		for _, d := range runAll(t, env, apart) {
			got = append(got, d.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: apart %v, want %s", c.within, got, c.want)
		}
	}
}

func timesAre() stream.SourceOption {
	return stream.Timestamps(func(t time.Time) time.Time { return t })
}

// TestLateRowsOfAJoin: what the watermark has passed goes to the side outputs.
func TestLateRowsOfAJoin(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := func(uid string) *stream.KeyedStream[int, time.Time] {
		d := stream.From(env, collection.Slice(at(100), at(200), at(50)), stream.UID(uid), timesAre(),
			stream.Watermarks(stream.Monotonous().PerRow()))
		return stream.KeyBy(d, func(time.Time) int { return 1 })
	}
	l, r := src("left"), src("right")
	joined := stream.IntervalJoin(l, r, stream.Between(0, 0),
		stream.Inner(func(l, r time.Time) int64 { return l.Unix() }), stream.UID("join"))
	lateLeft, lateRight := collection.NewCollector(time.Time{}), collection.NewCollector(time.Time{})
	stream.LateLeft(joined, l).To(lateLeft, stream.UID("late left"))
	stream.LateRight(joined, r).To(lateRight, stream.UID("late right"))
	if got := runAll(t, env, joined); !slices.Equal(got, []int64{100, 200}) {
		t.Errorf("joined %v", got)
	}
	// The first input is read to its end before the other one's watermark
	// lets time pass: only then a row can be late.
	if n := len(lateLeft.Rows()) + len(lateRight.Rows()); n == 0 {
		t.Error("no row was late")
	}
}
