package streamtest_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

type order struct {
	Customer string
	Cents    int64
	At       time.Time
}

func minute(n int) time.Time { return time.Unix(int64(n)*60, 0).UTC() }

type sumOrders struct{}

func (sumOrders) Add(sum *int64, o order) { *sum += o.Cents }
func (sumOrders) Result(sum *int64) int64 { return *sum }

// perHour is the step under test: cents per customer and hour.
func perHour(orders *stream.DataStream[order]) *stream.DataStream[string] {
	byCustomer := stream.KeyBy(orders, func(o order) string { return o.Customer })
	return stream.AggregateWindow(byCustomer.Window(stream.Tumbling(time.Hour)), sumOrders{},
		func(customer string, w stream.Window, cents int64) string {
			return fmt.Sprintf("%s %s %d", w.Start().Format("15:04"), customer, cents)
		}, stream.UID("revenue"))
}

// revenue is the job around it.
func revenue(env *stream.Env, src connectors.SourceOf[order], sink connectors.SinkOf[string]) {
	orders := stream.From(env, src, stream.UID("orders"),
		stream.Timestamps(func(o order) time.Time { return o.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(5*time.Minute)))
	perHour(orders).To(sink, stream.UID("out"))
}

func ExampleNewDriver() {
	env := stream.NewEnv()
	revenue(env, streamtest.Source(order{}), streamtest.Sink(""))
	d := streamtest.NewDriver(streamtest.Console{}, env) // in a test: (t, env)
	orders := streamtest.Input(d, "orders", order{})
	out := streamtest.Output(d, "out", "")

	orders.Push(order{"ann", 100, minute(10)}, order{"ann", 50, minute(64)})
	fmt.Println(out.Take()) // the watermark is at 59:00
	orders.Push(order{"ann", 7, minute(59)}, order{"bob", 30, minute(65)})
	fmt.Println(out.Take())
	orders.End()
	fmt.Println(out.Len(), "more")
	// Output:
	// []
	// [00:00 ann 107]
	// 2 more
}

// A quiet split of a source no longer holds the watermark back.
func ExampleDriverInput_Split() {
	env := stream.NewEnv()
	revenue(env, streamtest.Source(order{}), streamtest.Sink(""))
	d := streamtest.NewDriver(streamtest.Console{}, env)
	orders := streamtest.Input(d, "orders", order{})
	out := streamtest.Output(d, "out", "")

	first, second := orders.Split(0), orders.Split(1)
	first.Push(order{"ann", 100, minute(10)}, order{"ann", 50, minute(125)})
	second.Push(order{"bob", 30, minute(12)})
	fmt.Println(out.Take(), "the second split is at 00:12")
	d.Advance(59 * time.Second)
	fmt.Println(out.Take(), "and may still bring more")
	d.Advance(time.Second)
	fmt.Println(out.Take(), "since it is idle")
	// Output:
	// [] the second split is at 00:12
	// [] and may still bring more
	// [00:00 ann 100 00:00 bob 30] since it is idle
}

// Rows that come too late, and what an operator counts.
func ExampleSideOutput() {
	env := stream.NewEnv()
	revenue(env, streamtest.Source(order{}), streamtest.Sink(""))
	d := streamtest.NewDriver(streamtest.Console{}, env)
	orders := streamtest.Input(d, "orders", order{})
	late := streamtest.SideOutput(d, "revenue", dataflow.SideLate, order{})

	orders.Push(order{"ann", 100, minute(70)}, order{"bob", 1, minute(3)})
	for _, o := range late.TakeTimed() {
		fmt.Println(o.At.Format("15:04"), o.Row.Customer, "is late")
	}
	// Output: 00:03 bob is late
}

// Everything goes on from a snapshot, at any parallelism.
func ExampleDriver_Restore() {
	env := stream.NewEnv()
	revenue(env, streamtest.Source(order{}), streamtest.Sink(""))
	d := streamtest.NewDriver(streamtest.Console{}, env)
	orders := streamtest.Input(d, "orders", order{})
	out := streamtest.Output(d, "out", "")

	orders.Push(order{"ann", 100, minute(10)})
	before := d.Snapshot()
	orders.Push(order{"ann", 1, minute(11)})
	d.Rescale(3)
	orders.End()
	fmt.Println(out.Take())
	d.Restore(before)
	orders.End()
	fmt.Println(out.Take())
	// Output:
	// [00:00 ann 101]
	// [00:00 ann 100]
}

// greeter greets each user once a day of processing time.
type greeter struct{ until state.Value[int64] }

func (g *greeter) Open(ctx *stream.ProcessContext[string, string]) error {
	return g.until.Open(ctx.State(), "until")
}

func (g *greeter) Process(ctx *stream.ProcessContext[string, string], user string) error {
	if user == "" {
		return errors.New("a user without name")
	}
	if _, ok := g.until.Get(); ok {
		return nil
	}
	until := ctx.Now().Add(24 * time.Hour)
	g.until.Set(until.UnixMilli())
	ctx.SetProcessingTimer(until)
	ctx.Emit("hello " + user)
	return nil
}

func (g *greeter) OnTimer(*stream.ProcessContext[string, string], stream.Timer) error {
	g.until.Clear()
	return nil
}

func greetings() *stream.Env {
	env := stream.NewEnv()
	users := stream.From(env, streamtest.Source(""), stream.UID("users"))
	byName := stream.KeyBy(users, func(u string) string { return u })
	stream.Process(byName, &greeter{}, stream.UID("greeter"))
	return env
}

// One operator: its timers of processing time, and its state.
func ExampleDriver_Advance() {
	d := streamtest.NewDriver(streamtest.Console{}, greetings())
	users := streamtest.Input(d, "users", "")
	out := streamtest.Output(d, "greeter", "")

	users.Push("ann", "ann")
	fmt.Println(out.Take(), d.StateLen("greeter", "until"))
	d.Advance(25 * time.Hour)
	fmt.Println(out.Take(), d.StateLen("greeter", "until"))
	users.Push("ann")
	fmt.Println(out.Take())
	// Output:
	// [hello ann] 1
	// [] 0
	// [hello ann]
}

func ExampleStateOf() {
	d := streamtest.NewDriver(streamtest.Console{}, greetings())
	streamtest.Input(d, "users", "").Push("ann")

	var until state.Value[int64]
	streamtest.StateOf(d, "greeter", "ann", func(k *state.Keyed) error { return until.Open(k, "until") })
	millis, ok := until.Get()
	fmt.Println(time.UnixMilli(millis).Sub(d.Now()), ok)

	ok = streamtest.ValueOf(d, "greeter", "bob", "until", &millis) // the same, for a value
	fmt.Println(ok)
	// Output:
	// 24h0m0s true
	// false
}

func ExampleDriver_Catch() {
	d := streamtest.NewDriver(streamtest.Console{}, greetings())
	users := streamtest.Input(d, "users", "")
	fmt.Println(d.Catch(func() { users.Push("ann", "") }))
	// Output: operator "greeter", subtask 0, at "users-0@1": a user without name
}
