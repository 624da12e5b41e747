package streamtest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// goodRow is an order, or a price from its time on, of a good.
type goodRow struct {
	Good string
	N    int
	At   time.Time
}

func goodOf(p goodRow) string    { return p.Good }
func timeOf(p goodRow) time.Time { return p.At }

// prices joins orders with the prices of their time; the prices hold no
// watermark back.
func prices(orders, changes connectors.SourceOf[goodRow], lag time.Duration) *stream.Env {
	env := stream.NewEnv(stream.MaxParallelism(16))
	left := stream.From(env, orders, stream.UID("orders"), stream.Timestamps(timeOf),
		stream.Watermarks(stream.BoundedOutOfOrderness(lag)))
	right := stream.From(env, changes, stream.UID("prices"), stream.Timestamps(timeOf),
		stream.Watermarks(stream.NoWatermarks()))
	table := stream.ToTable(stream.KeyBy(right, goodOf), stream.UID("table"))
	stream.TemporalJoin(stream.KeyBy(left, goodOf), table, stream.LeftOuter(func(o goodRow, p *goodRow) string {
		if p == nil {
			return fmt.Sprint(o.N, " without a price")
		}
		return fmt.Sprint(o.N, " at ", p.N)
	}), stream.UID("join")).To(streamtest.Sink(""), stream.UID("out"))
	return env
}

// goodReference is the join as its contract says it, from everything that
// has come so far.
type goodReference struct {
	lag              time.Duration
	waiting, changes []goodRow
	now, latest      time.Time // the watermark, and the greatest time of an order
}

func (r *goodReference) order(o goodRow) (out []string) {
	if o.At.After(r.now) { // else it is late
		r.waiting = append(r.waiting, o)
	}
	if o.At.After(r.latest) {
		r.latest = o.At
		r.now = o.At.Add(-r.lag - time.Millisecond)
	}
	return r.due()
}

func (r *goodReference) due() (out []string) {
	var still []goodRow
	for _, o := range r.waiting {
		if o.At.After(r.now) {
			still = append(still, o)
			continue
		}
		var best *goodRow
		for i, c := range r.changes {
			if c.Good == o.Good && !c.At.After(o.At) && (best == nil || !c.At.Before(best.At)) {
				best = &r.changes[i]
			}
		}
		if best == nil {
			out = append(out, fmt.Sprint(o.N, " without a price"))
		} else {
			out = append(out, fmt.Sprint(o.N, " at ", best.N))
		}
	}
	r.waiting = still
	return out
}

// TestNoWatermarksFollowsTheReference: orders alone move event time, whatever
// the table brings and when, also behind snapshots and at other parallelisms.
func TestNoWatermarksFollowsTheReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 11))
		ref := &goodReference{lag: time.Duration(r.IntN(6)) * time.Second, now: time.UnixMilli(-1 << 60), latest: time.UnixMilli(-1 << 60)}
		d := streamtest.NewDriver(t, prices(streamtest.Source(goodRow{}), streamtest.Source(goodRow{}), ref.lag))
		orders, changes := streamtest.Input(d, "orders", goodRow{}), streamtest.Input(d, "prices", goodRow{})
		out := streamtest.Output(d, "out", "")
		var got, want []string
		for n := range 60 {
			at := sec(100 + n/2 + r.IntN(20) - 10)
			row := goodRow{Good: string(rune('a' + r.IntN(3))), N: n, At: at}
			switch r.IntN(9) {
			case 0, 1, 2:
				changes.Push(row)
				ref.changes = append(ref.changes, row)
			case 3:
				d.Advance(time.Duration(r.IntN(100)) * time.Second)
			case 4:
				d.Rescale(1 + r.IntN(3))
			default:
				orders.Push(row)
				want = append(want, ref.order(row)...)
			}
			got = append(got, out.Take()...)
			if slices.Sort(got); !slices.Equal(got, sorted(want)) {
				t.Fatalf("seed %d, step %d:\n got %v\nwant %v", seed, n, got, want)
			}
		}
		// The end of the table moves nothing, that of the orders everything.
		changes.End()
		same(t, out.Len(), 0)
		orders.End()
		ref.now = time.UnixMilli(1 << 60)
		rest := out.Take()
		same(t, sorted(rest), sorted(ref.due()))
	}
}

func sorted(s []string) []string {
	s = append([]string{}, s...)
	slices.Sort(s)
	return s
}

// TestOrdersEndBeforeTheirTable: what waits comes, though the table goes on.
func TestOrdersEndBeforeTheirTable(t *testing.T) {
	t.Parallel()
	for _, quiet := range []bool{false, true} {
		d := streamtest.NewDriver(t, prices(streamtest.Source(goodRow{}), streamtest.Source(goodRow{}), time.Minute))
		orders, changes := streamtest.Input(d, "orders", goodRow{}), streamtest.Input(d, "prices", goodRow{})
		out := streamtest.Output(d, "out", "")
		changes.Push(goodRow{"a", 5, sec(1)})
		orders.Push(goodRow{"a", 1, sec(3)})
		if quiet {
			orders.Idle()
		}
		same(t, out.Len(), 0)
		orders.End()
		same(t, out.Take(), []string{"1 at 5"})
		changes.Push(goodRow{"a", 6, sec(2)})
		same(t, out.Len(), 0)
	}
}

// TestNoWatermarksInAWholeJob: with the real source, of which the table never
// ends, windows behind a join close by the orders alone.
func TestNoWatermarksInAWholeJob(t *testing.T) {
	t.Parallel()
	for _, parallelism := range []int{1, 2, 7} {
		env := stream.NewEnv(stream.MaxParallelism(16))
		var rows []goodRow
		for n := range 100 {
			rows = append(rows, goodRow{string(rune('a' + n%3)), n, sec(n)})
		}
		orders := stream.From(env, collection.Slice(rows...).BatchRows(1).Endless(), stream.UID("orders"), stream.Parallelism(1),
			stream.Timestamps(timeOf), stream.Watermarks(stream.Monotonous()))
		goods := stream.From(env, collection.Slice(rows[:3]...).BatchRows(1).Endless(), stream.UID("goods"), stream.Parallelism(1),
			stream.Watermarks(stream.NoWatermarks())) // no times either
		table := stream.ToTable(stream.KeyBy(goods, goodOf), stream.UID("table"))
		known := stream.TableJoin(stream.KeyBy(orders, goodOf), table, stream.LeftOuter(func(o goodRow, _ *goodRow) goodRow { return o }), stream.UID("join"))
		perTen := stream.KeyBy(known, goodOf).Window(stream.Tumbling(10 * time.Second))
		counts := stream.ProcessWindow(perTen, func(k string, w stream.Window, rows []goodRow, emit func(string)) {
			emit(fmt.Sprint(k, " ", w.Start().Unix(), " ", len(rows)))
		}, stream.UID("counts"))
		got := collection.NewCollector("")
		counts.To(got, stream.UID("out"))
		if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{parallelism}, StopIdle: true, CheckpointEvery: 9, CrashEvery: 50}); err != nil {
			t.Fatal(err)
		}
		want := make(map[string]int)
		for _, r := range rows[:90] { // the last window is open
			want[fmt.Sprint(r.Good, " ", r.At.Unix()/10*10)]++
		}
		var all []string
		for k, n := range want {
			all = append(all, fmt.Sprint(k, " ", n))
		}
		same(t, sorted(got.Rows()), sorted(all))
	}
}

// TestNoWatermarksFaults: what has no event time is refused when the job is
// built, and so is what says how watermarks are made.
func TestNoWatermarksFaults(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	from := func(uid string, opts ...stream.SourceOption) *stream.DataStream[goodRow] {
		return stream.From(env, collection.Slice(goodRow{}), append(opts, stream.UID(uid))...)
	}
	none, times := stream.Watermarks(stream.NoWatermarks()), stream.Timestamps(timeOf)
	orders := from("orders", times, stream.Watermarks(stream.Monotonous()))
	aside, bare := from("aside", times, none), from("bare", none)
	unsaid := from("unsaid", times)
	for i, s := range []stream.WatermarkStrategy{
		stream.NoWatermarks().PerRow(), stream.NoWatermarks().WithIdleness(time.Second), stream.NoWatermarks().WithFutureMax(-1),
	} {
		from(fmt.Sprint("contradiction", i), stream.Watermarks(s))
	}
	minute := stream.Tumbling(time.Minute)
	stream.KeyBy(aside, goodOf).Window(minute)
	stream.KeyBy(aside.Union(from("other", times, none)), goodOf).Window(minute)
	stream.KeyBy(orders.Union(bare), goodOf).Window(minute)
	stream.KeyBy(orders.Union(aside, unsaid), goodOf).Window(minute)
	join := stream.Inner(func(a, b goodRow) goodRow { return a })
	within := stream.Between(-time.Minute, time.Minute)
	stream.IntervalJoin(stream.KeyBy(aside, goodOf), stream.KeyBy(aside, goodOf), within, join, stream.UID("i"))
	stream.IntervalJoin(stream.KeyBy(orders, goodOf), stream.KeyBy(bare, goodOf), within, join, stream.UID("j"))
	table := stream.ToTable(stream.KeyBy(bare, goodOf), stream.UID("table"))
	stream.TemporalJoin(stream.KeyBy(orders, goodOf), table, join, stream.UID("t"))
	// These are well: event time comes from the orders.
	stream.KeyBy(orders.Union(aside), goodOf).Window(minute)
	stream.KeyBy(stream.TableJoin(stream.KeyBy(orders, goodOf), table, join, stream.UID("k")), goodOf).Window(minute)
	stream.IntervalJoin(stream.KeyBy(aside, goodOf), stream.KeyBy(orders, goodOf), within, join, stream.UID("l"))

	_, err := env.Graph()
	want := []string{
		"NoWatermarks with PerRow, WithIdleness or WithFutureMax", "leave them out", "leave them out",
		`"aside", at`, `no other input moves event time: choose another strategy`, `"bare", at`, `"unsaid", at`,
		`an interval join needs event time, but source "collection" (UID "aside"`,
		`an interval join needs event time, but the rows of source "collection" (UID "bare"`,
		`a temporal join needs event time, but the rows of source "collection" (UID "bare"`,
	}
	got := strings.Split(fmt.Sprint(err), "\n")
	if len(got) != len(want) {
		t.Fatalf("faults:\n%v", err)
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) {
			t.Errorf("fault %q does not say %q", got[i], w)
		}
	}
}
