package stream_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// figures shows what a context measures with.
type figures struct {
	seen          operators.Counter
	least, sum    *stream.FloatAccumulator
	rows          *stream.IntCounter
	sizes         *stream.Histogram
	rate          *stream.Meter
	backlog       float64
	names, latest stream.ListState[string]
}

func (f *figures) Open(ctx *stream.RowContext[string]) error {
	f.seen = ctx.Counter("seen")                                      // of each subtask
	ctx.Gauge("backlog", func() float64 { return f.backlog })         // read when it is shown
	f.rows, f.sum = ctx.IntCounter("rows"), ctx.FloatCounter("total") // over all subtasks
	f.least = ctx.Minimum("least")
	f.sizes, f.rate = ctx.Histogram("sizes"), ctx.Meter("rate")
	if err := f.latest.Open(ctx, "latest"); err != nil {
		return err
	}
	return f.names.OpenUnion(ctx, "names") // after a restore each subtask has all names
}

func (f *figures) Process(ctx *stream.RowContext[string], c click) error {
	f.seen.Add(1)
	f.backlog++
	f.rows.Add(1)
	f.sum.Add(float64(c.N))
	f.least.Add(float64(c.N))
	f.sizes.Update(float64(c.N))
	f.rate.Mark(1)
	f.names.Add(c.User)
	f.latest.Set([]string{c.User})
	at, ok := ctx.Time()
	_, follows := ctx.Watermark()
	ctx.Emit(fmt.Sprint(f.rows.Value(), " ", at.Format(time.TimeOnly), ok, " ", f.sum.Value(), " ", f.least.Value(), " ",
		f.sizes.Count(), " ", f.sizes.Quantile(1), " ", f.rate.Count(), " ", f.rate.Rate() >= 0, " ", f.names.Len(), f.latest.Len(), " ", follows))
	return nil
}

// Metrics, accumulators and state without a key. Rows come before the first
// watermark here.
func ExampleProcessRows_metrics() {
	env := stream.NewEnv()
	show(env, stream.ProcessRows(from(env), &figures{}, stream.UID("figures")))
	// Output:
	// 1 00:00:05true 1 1 1 1 1 true 1 1 false
	// 2 00:00:10true 3 1 2 2 2 true 2 1 true
	// 3 00:00:59true 7 1 3 4 3 true 3 1 true
	// 4 00:01:01true 15 1 4 8 4 true 4 1 true
	// 5 00:01:59true 31 1 5 16 5 true 5 1 true
	// 6 00:02:10true 63 1 6 32 6 true 6 1 true
}

// reminder tells a user who did nothing for a minute of the clock.
type reminder struct{ last time.Time }

func (r *reminder) Open(*stream.ProcessContext[string, string]) error { return nil }

func (r *reminder) Process(ctx *stream.ProcessContext[string, string], c click) error {
	ctx.ClearProcessingTimer(r.last) // there is none at first
	r.last = ctx.Now().Add(time.Minute)
	ctx.SetProcessingTimer(r.last)
	return nil
}

func (r *reminder) OnTimer(ctx *stream.ProcessContext[string, string], t stream.Timer) error {
	ctx.Emit(ctx.Key() + " is away")
	return nil
}

// At the end of the input the timers that are left are due.
func ExampleProcess_processingTime() {
	env := stream.NewEnv()
	ann := from(env).Filter(func(c click) bool { return c.User == "ann" })
	byUser := stream.KeyBy(ann, func(c click) string { return c.User })
	show(env, stream.Process(byUser, &reminder{}, stream.UID("reminder")))
	// Output:
	// ann is away
}

// windowFacts tells what the function of a window can know.
type windowFacts struct{ calls operators.Counter }

func (f *windowFacts) Open(ctx *stream.WindowContext[string, string]) error {
	f.calls = ctx.Counter("calls")
	return nil
}

func (f *windowFacts) Process(ctx *stream.WindowContext[string, string], rows []click) error {
	f.calls.Add(1)
	_, passed := ctx.Watermark()
	w := ctx.Window()
	ctx.Emit(fmt.Sprint(ctx.Key(), " ", w.StartMillis(), "-", w.EndMillis(), " global: ", w.IsGlobal(), " rows: ", len(rows),
		" ", passed, " ", ctx.Now().IsZero(), " ", ctx.Info().Subtask))
	return nil
}

func ExampleWindowContext() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(time.Hour))
	show(env, stream.ProcessWindowWith(win, &windowFacts{}, stream.UID("facts")))
	// Output:
	// ann 0-3600000 global: false rows: 4 true false 0
	// bob 0-3600000 global: false rows: 2 true false 0
}

// careful shows a result for each second row, and drops what it has shown when
// the window ends. What it knows of a window is kept by the context.
type careful struct{}

func (careful) OnElement(ctx *stream.TriggerContext, c click) stream.TriggerDecision {
	if ctx.Complete() {
		return stream.TriggerContinue // a late row
	}
	if at, ok := ctx.Time(); ok && at.After(ctx.Window().End()) {
		return stream.TriggerPurge // not of this window: it cannot be
	}
	end := ctx.Window().End().Add(-time.Millisecond)
	ctx.ClearTimer(end)
	ctx.SetTimer(end)
	soon := ctx.Now().Add(time.Hour)
	ctx.SetProcessingTimer(soon)
	ctx.ClearProcessingTimer(soon)
	ctx.SetNumber(ctx.Number() + 1)
	if ctx.Number() < 2 {
		return stream.TriggerContinue
	}
	ctx.SetState(nil) // the number as well
	return stream.TriggerFire
}

func (careful) OnEventTime(ctx *stream.TriggerContext, _ time.Time) stream.TriggerDecision {
	if _, ok := ctx.Watermark(); !ok || len(ctx.State()) == 0 {
		return stream.TriggerPurge // all rows were shown
	}
	return stream.TriggerFireAndPurge
}

func (careful) OnProcessingTime(*stream.TriggerContext, time.Time) stream.TriggerDecision {
	return stream.TriggerContinue
}

func ExampleTriggerContext() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(time.Hour), stream.Trigger(stream.CustomTrigger(careful{})))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-00:00 45
	// ann 00:00-00:00 5
	// bob 00:00-00:00 18
}

// The two triggers that are the default of event time and of the clock, one
// that has a result every so often of the clock, and evictors that keep the
// last rows.
func ExampleTrigger() {
	for _, opts := range [][]stream.WindowOption{
		{stream.Trigger(stream.OnEventTime()), stream.Evictor(stream.KeepLast(1))},
		{stream.Trigger(stream.OnEventTime()), stream.Evictor(stream.KeepRecent(15 * time.Second))},
		{stream.Trigger(stream.OnProcessingTime())},
		{stream.Trigger(stream.OnProcessingTimeEvery(time.Minute))}, // no minute passes
	} {
		env := stream.NewEnv()
		show(env, stream.AggregateWindow(byUser(env).Window(stream.Tumbling(time.Hour), opts...), sumN{}, clickRow, stream.UID("sums")))
		fmt.Println("--")
	}
	// Output:
	// ann 00:00-00:00 32
	// bob 00:00-00:00 16
	// --
	// ann 00:00-00:00 32
	// bob 00:00-00:00 16
	// --
	// ann 00:00-00:00 45
	// bob 00:00-00:00 18
	// --
	//
	// --
}

// An evictor sees when rows came.
func ExampleWindowElement() {
	env := stream.NewEnv()
	odd := stream.CustomEvictor(func(_ stream.Window, rows []stream.WindowElement[click]) []stream.WindowElement[click] {
		var kept []stream.WindowElement[click]
		for _, r := range rows {
			if r.Time().Second()%2 == 1 && r.Millis() < 100_000 {
				kept = append(kept, r)
			}
		}
		return kept
	})
	win := byUser(env).Window(stream.Tumbling(time.Hour), stream.Evictor(odd))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-00:00 13
}

// Rows of a join that come when none can match them any more.
func ExampleLateLeft() {
	env := stream.NewEnv()
	left := stream.KeyBy(stream.From(env, streamtest.Source(order{}), stream.UID("orders"), streamtest.ExplicitWatermarks()), byID)
	right := stream.KeyBy(stream.From(env, streamtest.Source(payment{}), stream.UID("payments"), streamtest.ExplicitWatermarks()), byOrder)
	paid := stream.IntervalJoin(left, right, stream.Between(0, 5*time.Minute).ExcludeLower().ExcludeUpper(),
		stream.Inner(func(o order, p payment) string { return fmt.Sprint(o.ID, " ", p.Cents) }), stream.UID("paid"))
	lateOrders, latePayments := stream.LateLeft(paid, left), stream.LateRight(paid, right)
	lateOrders.To(streamtest.Sink(order{}), stream.UID("late orders"))
	latePayments.To(streamtest.Sink(payment{}), stream.UID("late payments"))

	d := streamtest.NewDriver(streamtest.Console{}, env)
	orders, payments := streamtest.Input(d, "orders", order{}), streamtest.Input(d, "payments", payment{})
	joined := streamtest.Output(d, "paid", "")
	late, lateToo := streamtest.Output(d, "late orders", order{}), streamtest.Output(d, "late payments", payment{})
	orders.PushAt(at(10), order{ID: "o1"})
	payments.PushAt(at(10), payment{Order: "o1", Cents: 1}) // excluded: at the lower bound
	payments.PushAt(at(11), payment{Order: "o1", Cents: 2})
	orders.Watermark(at(900))
	payments.Watermark(at(900))
	orders.PushAt(at(20), order{ID: "o2"})
	payments.PushAt(at(30), payment{Order: "o2", Cents: 3})
	fmt.Println(joined.Take(), late.Take()[0].ID, lateToo.Take()[0].Cents)
	// Output:
	// [o1 2] o2 3
}

// A grace period takes rows that much behind the watermark.
func ExampleInterval() {
	fmt.Println(stream.Between(-time.Minute, 5*time.Minute), stream.Between(0, time.Minute).Grace(time.Second))
	// Output:
	// [-1m0s, 5m0s] grace 0s [0s, 1m0s] grace 1s
}

// The kinds of changes of a table.
func ExampleChange() {
	env := stream.NewEnv()
	byCity := stream.GroupTable(customers(env), func(_ string, c customer) (string, string) { return c.City, c.Name })
	letters := stream.AggregateTable(byCity, names{}, stream.KeepEmptyGroups(), stream.UID("letters"))
	for _, c := range inOrder(env, letters.Changes()) {
		switch c.Op {
		case stream.Insert:
			fmt.Println(c.Key, "is", c.Value)
		case stream.Update:
			fmt.Println(c.Key, "is", c.Value, "and was", c.Before)
		case stream.Delete:
			fmt.Println(c.Key, "was", c.Before, c.Deleted())
		}
	}
	// Output:
	// Oslo is 3
	// Rome is 3
	// Oslo is 0 and was 3
	// Rome is 6 and was 3
	// Rome is 3 and was 6
}

// Options of the job: what it is, where it keeps state, when it takes
// checkpoints, what follows on a failure. The last of several restart
// strategies holds.
func ExampleEnv_Set() {
	env := stream.NewEnv(stream.DisableChaining(), stream.StateBackend(stream.MemoryState), stream.NoCheckpoints())
	for _, restarts := range []stream.EnvOption{
		stream.RestartFailureRate(3, time.Minute, time.Second), stream.RestartNever(),
	} {
		env.Set(restarts)
	}
	env.Set(stream.JobName("quiet"))
	all := from(env).Rescale() // to the subtasks nearby
	all.To(collection.NewCollector(click{}), stream.UID("out"), stream.OnError(stream.Fail))
	g, err := env.Graph()
	fmt.Println(g.Name, len(g.Nodes), g.Config.StateBackend, err)
	// Output:
	// quiet 2 memory <nil>
}

// Strategies describe themselves in graphs and messages. A time far in the
// future does not move the watermark.
func ExampleWatermarkStrategy() {
	s := stream.BoundedOutOfOrderness(5 * time.Second).WithIdleness(time.Minute).WithFutureMax(24 * time.Hour)
	fmt.Println(s)
	// Output:
	// bounded 5s idle 1m0s
}

// A buffer that is full lets rows go early, or fails the job.
func ExampleSuppressBuffer() {
	env := stream.NewEnv()
	thinned := stream.SuppressFor(byUser(env), time.Hour, stream.BufferRows(1).OrFail(), stream.UID("thinned"))
	thinned.To(collection.NewCollector(click{}), stream.UID("out"))
	fmt.Println(failure(env))
	// Output:
	// operator "thinned", subtask 0, at "row 0 of batch": 2 rows are held back, at most 1: allow more, or let them go early
}

// latestOf keeps what rules say, and forgets them all at "reset".
type latestOf struct {
	rules stream.BroadcastMap[string, int64]
}

func (l *latestOf) Open(ctx *stream.RowContext[string]) error { return l.rules.Open(ctx, "rules") }

func (l *latestOf) Process(ctx *stream.RowContext[string], c click) error { return nil }

func (l *latestOf) ProcessBroadcast(ctx *stream.BroadcastContext[string], rule click) error {
	if rule.User == "reset" {
		l.rules.Clear(ctx)
	} else {
		l.rules.Put(ctx, rule.User, rule.N)
	}
	ctx.Emit(fmt.Sprint(rule.User, ": ", l.rules.Len(), " rules"))
	return nil
}

func ExampleBroadcastMap() {
	env := stream.NewEnv()
	rules := stream.From(env, collection.Slice(click{"a", 1, at(0)}, click{"b", 2, at(0)}, click{"reset", 0, at(0)}), stream.UID("rules"))
	show(env, stream.BroadcastProcessRows(from(env), rules, &latestOf{}, stream.UID("latest")))
	// Output:
	// a: 1 rules
	// b: 2 rules
	// reset: 0 rules
}

// failure runs a job that fails and returns why.
func failure(env *stream.Env) error {
	_, err := streamtest.Run(context.Background(), env, streamtest.Options{})
	return err
}
