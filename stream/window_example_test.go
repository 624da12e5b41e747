package stream_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// clickRow is a result with its window.
func clickRow(user string, w stream.Window, sum int64) string {
	return fmt.Sprintf("%s %s-%s %d", user, w.Start().Format("04:05"), w.End().Format("04:05"), sum)
}

// sumN adds up N, and merges sums.
type sumN struct{}

func (sumN) Add(sum *int64, c click) { *sum += c.N }
func (sumN) Result(sum *int64) int64 { return *sum }
func (sumN) Merge(into, from *int64) { *into += *from }
func byUser(env *stream.Env) *stream.KeyedStream[string, click] {
	return stream.KeyBy(from(env), func(c click) string { return c.User })
}

func ExampleSliding() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Sliding(time.Minute, 30*time.Second))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-01:00 5
	// ann 00:30-01:30 12
	// ann 01:00-02:00 8
	// ann 01:30-02:30 32
	// ann 02:00-03:00 32
	// ann 59:30-00:30 1
	// bob 00:00-01:00 2
	// bob 01:00-02:00 16
	// bob 01:30-02:30 16
	// bob 59:30-00:30 2
}

func ExampleCumulative() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Cumulative(2*time.Minute, time.Minute))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-01:00 5
	// ann 00:00-02:00 13
	// ann 02:00-03:00 32
	// ann 02:00-04:00 32
	// bob 00:00-01:00 2
	// bob 00:00-02:00 18
}

// The rows of a user that are at most half a minute apart.
func ExampleRolling() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Rolling(30 * time.Second))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:29-00:59 4
	// ann 00:31-01:01 12
	// ann 00:59-01:29 8
	// ann 01:40-02:10 32
	// ann 59:35-00:05 1
	// bob 01:29-01:59 16
	// bob 59:40-00:10 2
}

func ExampleOnClose() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(time.Minute), stream.AllowedLateness(time.Minute), stream.Trigger(stream.OnClose()))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-01:00 5
	// ann 01:00-02:00 8
	// ann 02:00-03:00 32
	// bob 00:00-01:00 2
	// bob 01:00-02:00 16
}

func ExampleIn() {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(24*time.Hour, stream.In(berlin)))
	show(env, stream.AggregateWindow(win, sumN{}, func(user string, w stream.Window, sum int64) string {
		return fmt.Sprintf("%s %s %d", user, w.Start().In(berlin).Format(time.DateTime), sum)
	}, stream.UID("days")))
	// Output:
	// ann 1970-01-01 00:00:00 45
	// bob 1970-01-01 00:00:00 18
}

func ExampleSession() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Session(55 * time.Second))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sessions")))
	// Output:
	// ann 00:05-01:56 13
	// ann 02:10-03:05 32
	// bob 00:10-01:05 2
	// bob 01:59-02:54 16
}

func ExampleSessionBy() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.SessionBy(func(c click) time.Duration {
		return time.Duration(c.N) * time.Minute
	}))
	show(env, stream.ReduceWindow(win, func(a, b click) click { return click{a.User, a.N + b.N, a.At} }, stream.UID("sessions")))
	// Output:
	// {ann 45 1970-01-01 00:00:05 +0000 UTC}
	// {bob 18 1970-01-01 00:00:10 +0000 UTC}
}

func ExampleCount() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Count(2))
	show(env, stream.ReduceWindow(win, func(a, b click) click { return click{a.User, a.N + b.N, b.At} }, stream.UID("pairs")))
	// Output:
	// {ann 40 1970-01-01 00:02:10 +0000 UTC}
	// {ann 5 1970-01-01 00:00:59 +0000 UTC}
	// {bob 18 1970-01-01 00:01:59 +0000 UTC}
}

func ExampleCountSliding() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.CountSliding(3, 1))
	show(env, stream.ProcessWindow(win, func(user string, _ stream.Window, last []click, emit func(string)) {
		var ns []string
		for _, c := range last {
			ns = append(ns, fmt.Sprint(c.N))
		}
		emit(user + " " + strings.Join(ns, "+"))
	}, stream.UID("last")))
	// Output:
	// ann 1
	// ann 1+4
	// ann 1+4+8
	// ann 4+8+32
	// bob 2
	// bob 2+16
}

func ExampleGlobalWindows() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.GlobalWindows(), stream.Trigger(stream.OnCount(2)))
	sums := stream.Aggregate(win, sumN{}, stream.UID("sums")) // so far, with every second click
	show(env, sums)
	// Output:
	// 18
	// 45
	// 5
}

func ExampleCustomWindows() {
	env := stream.NewEnv()
	small := func(dst []stream.Window, c click, at int64) []stream.Window {
		if c.N > 20 {
			return dst // in no window
		}
		return append(dst, stream.WindowOf(at/60_000*60_000, at/60_000*60_000+60_000))
	}
	win := byUser(env).Window(stream.CustomWindows(small))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-01:00 5
	// ann 01:00-02:00 8
	// bob 00:00-01:00 2
	// bob 01:00-02:00 16
}

func ExampleWindowAll() {
	env := stream.NewEnv()
	win := stream.WindowAll(from(env), stream.Tumbling(time.Minute))
	show(env, stream.AggregateWindow(win, sumN{}, func(_ stream.All, w stream.Window, sum int64) string {
		return clickRow("all", w, sum)
	}, stream.UID("totals")))
	// Output:
	// all 00:00-01:00 7
	// all 01:00-02:00 24
	// all 02:00-03:00 32
}

func ExampleByProcessingTime() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(time.Hour, stream.ByProcessingTime()))
	show(env, stream.Aggregate(win, sumN{}, stream.UID("sums")))
	// Output:
	// 18
	// 45
}

func ExamplePurging() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(time.Hour), stream.Trigger(stream.Purging(stream.OnCount(2))))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-00:00 40
	// ann 00:00-00:00 5
	// bob 00:00-00:00 18
}

func ExampleOnEventTimeEvery() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(time.Hour), stream.Trigger(stream.OnEventTimeEvery(time.Minute)))
	show(env, stream.Aggregate(win, sumN{}, stream.UID("sums")))
	// Output:
	// 13
	// 18
	// 18
	// 2
	// 45
	// 45
}

func ExampleOnDelta() {
	env := stream.NewEnv()
	jump := func(before, now click) float64 { return float64(now.N - before.N) }
	win := byUser(env).Window(stream.GlobalWindows(), stream.Trigger(stream.OnDelta(6, jump)))
	show(env, stream.Aggregate(win, sumN{}, stream.UID("sums")))
	// Output:
	// 13
	// 18
	// 45
}

func ExampleEvictor() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.GlobalWindows(),
		stream.Trigger(stream.OnCount(1)), stream.Evictor(stream.KeepRecent(time.Minute)))
	show(env, stream.ProcessWindow(win, func(user string, _ stream.Window, rows []click, emit func(string)) {
		emit(fmt.Sprintf("%s %d of the last minute at %s", user, len(rows), rows[len(rows)-1].At.Format("04:05")))
	}, stream.UID("recent")))
	// Output:
	// ann 1 of the last minute at 00:05
	// ann 1 of the last minute at 02:10
	// ann 2 of the last minute at 00:59
	// ann 3 of the last minute at 01:01
	// bob 1 of the last minute at 00:10
	// bob 1 of the last minute at 01:59
}

func ExampleEarlyCount() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(time.Hour), stream.EarlyCount(3))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-00:00 13
	// ann 00:00-00:00 45
	// bob 00:00-00:00 18
}

// big fires for large clicks at once, and at the end of the window.
type big struct{}

func (big) OnElement(ctx *stream.TriggerContext, c click) stream.TriggerDecision {
	ctx.SetTimer(ctx.Window().End().Add(-time.Millisecond))
	if c.N > 5 {
		return stream.TriggerFire
	}
	return stream.TriggerContinue
}

func (big) OnEventTime(*stream.TriggerContext, time.Time) stream.TriggerDecision {
	return stream.TriggerFire
}

func (big) OnProcessingTime(*stream.TriggerContext, time.Time) stream.TriggerDecision {
	return stream.TriggerContinue
}

func ExampleCustomTrigger() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(time.Minute), stream.Trigger(stream.CustomTrigger(big{})))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-01:00 5
	// ann 01:00-02:00 8
	// ann 01:00-02:00 8
	// ann 02:00-03:00 32
	// ann 02:00-03:00 32
	// bob 00:00-01:00 2
	// bob 01:00-02:00 16
	// bob 01:00-02:00 16
}

// changes emits what is new in a window, and numbers a user's results.
type changes struct {
	shown state.Value[int64] // rows of the window that were shown
	count state.Value[int64] // results of the user
}

func (p *changes) Open(ctx *stream.WindowContext[string, string]) error {
	if err := p.shown.Open(ctx.WindowState(), "shown"); err != nil {
		return err
	}
	return p.count.Open(ctx.State(), "count")
}

func (p *changes) Process(ctx *stream.WindowContext[string, string], rows []click) error {
	shown, _ := p.shown.Get()
	count, _ := p.count.Get()
	p.shown.Set(int64(len(rows)))
	p.count.Set(count + 1)
	ctx.Emit(fmt.Sprintf("%s result %d: %d new", ctx.Key(), count+1, int64(len(rows))-shown))
	return nil
}

func ExampleProcessWindowWith() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(2*time.Minute), stream.EarlyCount(2))
	show(env, stream.ProcessWindowWith(win, &changes{}, stream.UID("changes")))
	// Output:
	// ann result 1: 2 new
	// ann result 2: 1 new
	// ann result 3: 1 new
	// bob result 1: 2 new
	// bob result 2: 0 new
}

func ExampleEarlyEvery() {
	env := stream.NewEnv()
	// A dashboard sees the sum so far within ten seconds of a click.
	win := byUser(env).Window(stream.Tumbling(time.Hour), stream.EarlyEvery(10*time.Second))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums"))) // all comes within ten seconds
	// Output:
	// ann 00:00-00:00 45
	// bob 00:00-00:00 18
}

func ExampleSuppressFor() {
	env := stream.NewEnv()
	sums := stream.Reduce(byUser(env), func(a, b click) click { return click{a.User, a.N + b.N, b.At} }, stream.UID("so far"))
	byUser := stream.KeyBy(sums, func(c click) string { return c.User })
	show(env, stream.SuppressFor(byUser, time.Minute, stream.BufferRows(10_000), stream.UID("thinned")))
	// Output:
	// {ann 13 1970-01-01 00:01:01 +0000 UTC}
	// {ann 45 1970-01-01 00:02:10 +0000 UTC}
	// {bob 18 1970-01-01 00:01:59 +0000 UTC}
	// {bob 2 1970-01-01 00:00:10 +0000 UTC}
}

func ExampleSuppressForProcessingTime() {
	env := stream.NewEnv()
	sums := stream.Reduce(byUser(env), func(a, b click) click { return click{a.User, a.N + b.N, b.At} }, stream.UID("so far"))
	byUser := stream.KeyBy(sums, func(c click) string { return c.User })
	show(env, stream.SuppressForProcessingTime(byUser, time.Minute, stream.BufferUnbounded(), stream.UID("thinned")))
	// Output:
	// {ann 45 1970-01-01 00:02:10 +0000 UTC}
	// {bob 18 1970-01-01 00:01:59 +0000 UTC}
}
