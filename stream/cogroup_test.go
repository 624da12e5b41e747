package stream_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func ExampleCoGroup() {
	env := stream.NewEnv()
	balance := stream.CoGroup(stream.KeyBy(orders(env), byID), stream.KeyBy(payments(env), byOrder),
		stream.Tumbling(5*time.Minute),
		func(id string, _ stream.Window, os []order, ps []payment, emit func(string)) {
			var open int64
			for _, o := range os {
				open += o.Cents
			}
			for _, p := range ps {
				open -= p.Cents
			}
			emit(fmt.Sprint(id, " ", open))
		}, stream.UID("balance"))
	show(env, balance)
	// Output:
	// o1 0
	// o2 -700
	// o2 700
	// o3 0
}

func ExampleWindowJoin() {
	env := stream.NewEnv()
	paid := stream.WindowJoin(stream.KeyBy(orders(env), byID), stream.KeyBy(payments(env), byOrder),
		stream.Tumbling(5*time.Minute),
		stream.Inner(func(o order, p payment) string { return fmt.Sprint(o.ID, " ", p.Cents) }), stream.UID("paid"))
	show(env, paid)
	// Output:
	// o1 200
	// o1 300
	// o3 900
}

func ExampleGlobalJoin() {
	env := stream.NewEnv()
	where := stream.GlobalJoin(orders(env), customers(env),
		func(o order) (string, bool) { return o.Customer, true },
		stream.LeftOuter(func(o order, c *customer) string { return o.ID }), stream.UID("join"))
	show(env, where)
	// Output:
	// o1
	// o2
	// o3
}

// TestWindowJoinManyWays compares a full outer join of windows with pairs of
// rows that have the same window and key.
func TestWindowJoinManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	ls, rs := randomMarks(rng, 60), randomMarks(rng, 60)
	same := func(a, b mark) bool { return a.Key == b.Key && a.Millis/300 == b.Millis/300 }
	var want []string
	matched := make(map[int]bool)
	for _, l := range ls {
		alone := true
		for i, r := range rs {
			if same(l, r) {
				want = append(want, l.String()+" "+r.String())
				alone, matched[i] = false, true
			}
		}
		if alone {
			want = append(want, l.String()+" none")
		}
	}
	for i, r := range rs {
		if !matched[i] {
			want = append(want, "none "+r.String())
		}
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		l, r := scripted(b, "left", ls), scripted(b, "right", rs)
		joined := stream.WindowJoin(stream.KeyBy(l, markKey), stream.KeyBy(r, markKey), stream.Tumbling(300*time.Millisecond),
			stream.FullOuter(func(l, r *mark) string { return orNone(l) + " " + orNone(r) }),
			stream.UID("join"), stream.AllowedLateness(0))
		streamtest.Expect(b, "joined", joined, want)
	}})
}

// TestLateRowsOfWindowJoins: a row of either side that is behind the lateness
// goes to its side, one within it makes the result come again.
func TestLateRowsOfWindowJoins(t *testing.T) {
	t.Parallel()
	streamtest.Check(t, streamtest.Case{Timing: streamtest.InOrder, Build: func(b *streamtest.Bench) {
		// The watermark of both is 1999 when the last rows come: the window to
		// 1000 takes no more, that to 2000 does.
		l := streamtest.From(b, "left", streamtest.At(100, mark{"a", 1, 100}).Watermark(1999).At(900, mark{"a", 2, 900}).At(1100, mark{"a", 3, 1100}))
		r := streamtest.From(b, "right", streamtest.At(150, mark{"a", 4, 150}).Watermark(1999).At(950, mark{"a", 5, 950}))
		left, right := stream.KeyBy(l, markKey), stream.KeyBy(r, markKey)
		joined := stream.WindowJoin(left, right, stream.Tumbling(time.Second),
			stream.FullOuter(func(l, r *mark) string { return orNone(l) + " " + orNone(r) }),
			stream.UID("join"), stream.AllowedLateness(500*time.Millisecond))
		streamtest.Expect(b, "joined", joined, []string{"a1 a4", "a3 none"})
		streamtest.Expect(b, "late left", stream.LateLeft(joined, left), []mark{{"a", 2, 900}})
		streamtest.Expect(b, "late right", stream.LateRight(joined, right), []mark{{"a", 5, 950}})
	}})
}

// TestGlobalJoinManyWays joins rows with a table that was there before them.
func TestGlobalJoinManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	es, rows := randomEdits(rng, "r", 60), randomEdits(rng, "k", 60)
	table := kept(es)
	var want []string
	for i := range rows {
		rows[i].Millis += 10_000
		r, ok := table[rows[i].Ref]
		if ok && rows[i].HasRef {
			want = append(want, rows[i].text()+" "+r.text())
		} else {
			want = append(want, rows[i].text()+" none")
		}
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Timing: streamtest.InOrder, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "rows", streamtest.Timed(editMillis, rows...))
		joined := stream.GlobalJoin(in, editTable(b, "table", es), editRef,
			stream.LeftOuter(func(l edit, r *edit) string {
				if r == nil {
					return l.text() + " none"
				}
				return l.text() + " " + r.text()
			}), stream.UID("join"))
		streamtest.Expect(b, "joined", joined, want)
	}})
}

// TestFaultsOfWindowJoins builds joins with one fault each.
func TestFaultsOfWindowJoins(t *testing.T) {
	t.Parallel()
	env, other := stream.NewEnv(), stream.NewEnv()
	left, right := stream.KeyBy(orders(env), byID), stream.KeyBy(payments(env), byOrder)
	inner := stream.Inner(func(o order, p payment) string { return o.ID })
	var fn func(string, stream.Window, []order, []payment, func(string))
	stream.CoGroup(left, right, stream.Tumbling(time.Minute), fn, stream.UID("a"))
	stream.WindowJoin(left, right, stream.Tumbling(0), inner, stream.UID("b"))
	stream.WindowJoin(left, right, stream.Tumbling(time.Minute), stream.FullOuter[order, payment, string](nil), stream.UID("c"))
	stream.WindowJoin(left, stream.KeyBy(payments(other), byOrder), stream.Tumbling(time.Minute), inner, stream.UID("d"))
	stream.WindowJoin(left, right, stream.Tumbling(time.Minute), inner, stream.AllowedLateness(-time.Minute), stream.UID("e"))
	stream.WindowJoin(left, right, stream.Tumbling(time.Minute), inner)
	untimed := stream.From(env, collection.Slice(payment{}), stream.UID("untimed"))
	stream.WindowJoin(left, stream.KeyBy(untimed, byOrder), stream.Tumbling(time.Minute), inner, stream.UID("f"))
	var key func(order) (string, bool)
	stream.GlobalJoin(orders(other), customers(env), key, stream.Inner(func(o order, c customer) string { return "" }))
	wantFaults(t, "cogroup_test.go", env,
		"the function of a co-group is nil",
		"window of 0s is shorter than a millisecond",
		"the function of a window join is nil",
		"a window join has inputs of two environments",
		"allowed lateness -1m0s is negative",
		"process-window has state and needs a name for good",
		`needs event time, but source "collection" (UID`,
	)
	wantFaults(t, "cogroup_test.go", other,
		"the function that finds the key of a join with a global table is nil",
		"a join with a global table has inputs of two environments",
		"global-join has state and needs a name for good",
	)
}
