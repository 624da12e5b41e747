package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// Order is what is read. Amounts are held in cents.
type Order struct {
	ID       string `json:"order_id"`
	Customer string `json:"customer_id"`
	Amount   int64  `json:"amount" leat:"decimal=2"`
	Region   string `json:"region"`
	Time     int64  `json:"ts" leat:"time=millis"`
}

// Payment is one of an order.
type Payment struct {
	Order string `json:"order_id"`
	Time  int64  `json:"ts" leat:"time=millis"`
}

// Revenue is the result of a region and window.
type Revenue struct {
	Region  string `json:"region"`
	Start   int64  `json:"window_start" leat:"time=millis"`
	Orders  int64  `json:"orders"`
	Revenue int64  `json:"revenue" leat:"decimal=2"`
}

// Rejected is a record that is no order, with its place.
type Rejected struct {
	Error     string `json:"error"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Value     string `json:"value"`
}

// Entry is what is written exactly once of an order or of a hundred orders.
type Entry struct {
	// Kind is paid, unpaid or bucket.
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// Cents of a paid order.
	Cents int64 `json:"cents"`
}

// The job's times; test/proof knows the first three.
const (
	windowSize      = 5 * time.Minute
	outOfOrderness  = 5 * time.Second
	allowedLateness = time.Minute
	// payableFor is how long a payment is waited for.
	payableFor = 10 * time.Minute
	// bucketSize orders are a bucket, told bucketDelay after the first of them.
	bucketSize  = 100
	bucketDelay = 2 * time.Second
)

type sinks struct {
	revenue  connectors.SinkOf[Revenue]
	late     connectors.SinkOf[Order]
	rejected connectors.SinkOf[Rejected]
	ledger   connectors.SinkOf[Entry]
}

func pipeline(env *stream.Env, from connectors.SourceOf[Order], with connectors.SourceOf[Payment], out sinks) {
	all := stream.From(env, from, stream.UID("orders"),
		stream.TimestampMillis(func(o Order) int64 { return o.Time }),
		stream.Watermarks(stream.BoundedOutOfOrderness(outOfOrderness)))
	payments := stream.From(env, with, stream.UID("payments"),
		stream.TimestampMillis(func(p Payment) int64 { return p.Time }),
		stream.Watermarks(stream.BoundedOutOfOrderness(outOfOrderness)))
	valid := all.Filter(func(o Order) bool { return o.Amount > 0 }, stream.UID("valid-amount"))

	perWindow := stream.KeyBy(valid, func(o Order) string { return o.Region }).
		Window(stream.Tumbling(windowSize), stream.AllowedLateness(allowedLateness))
	stream.AggregateWindow(perWindow, takings{}, revenueOf, stream.UID("revenue-per-region")).To(out.revenue, stream.UID("revenue"))
	perWindow.Late().To(out.late, stream.UID("late-orders"))
	stream.Map(stream.DeadLetters(all), func(d connectors.DeadLetter) Rejected {
		return Rejected{d.Error, d.Topic, d.Partition, d.Offset, string(d.Value)}
	}, stream.UID("describe-rejected")).To(out.rejected, stream.UID("rejected"))

	byID := stream.KeyBy(valid, func(o Order) string { return o.ID })
	paymentByID := stream.KeyBy(payments, func(p Payment) string { return p.Order })
	paid := stream.IntervalJoin(byID, paymentByID, stream.Between(0, time.Minute),
		stream.Inner(func(o Order, _ Payment) Entry { return Entry{"paid", o.ID, o.Amount} }), stream.UID("match"))
	unpaid := stream.CoProcess(stream.ConnectKeyed(byID, paymentByID), &reminder{}, stream.UID("reminders"))
	buckets := stream.Process(stream.KeyBy(valid, bucketOf), &bucket{}, stream.UID("buckets"))
	paid.Union(unpaid, buckets).To(out.ledger, stream.UID("ledger"))
}

// sum is what is kept of a region and window.
type sum struct{ Orders, Cents int64 }

type takings struct{}

// Add implements stream.Aggregator.
func (takings) Add(s *sum, o Order) {
	s.Orders++
	s.Cents += o.Amount
}

// Result implements stream.Aggregator.
func (takings) Result(s *sum) sum { return *s }

func revenueOf(region string, w stream.Window, s sum) Revenue {
	return Revenue{Region: region, Start: w.StartMillis(), Orders: s.Orders, Revenue: s.Cents}
}

// reminder tells the orders for which no payment comes in time, by event time.
type reminder struct{ due, paid state.Value[int64] }

// Open implements stream.CoProcessor.
func (r *reminder) Open(ctx *stream.ProcessContext[string, Entry]) error {
	if err := r.due.Open(ctx.State(), "due"); err != nil {
		return err
	}
	return r.paid.Open(ctx.State(), "paid")
}

// ProcessFirst implements stream.CoProcessor.
func (r *reminder) ProcessFirst(ctx *stream.ProcessContext[string, Entry], o Order) error {
	if _, ok := r.paid.Get(); ok {
		r.paid.Clear()
		return nil
	}
	at := time.UnixMilli(o.Time).Add(payableFor)
	r.due.Set(at.UnixMilli())
	ctx.SetTimer(at)
	return nil
}

// ProcessSecond implements stream.CoProcessor.
func (r *reminder) ProcessSecond(ctx *stream.ProcessContext[string, Entry], p Payment) error {
	due, ok := r.due.Get()
	if !ok {
		r.paid.Set(p.Time)
		return nil
	}
	ctx.ClearTimer(time.UnixMilli(due))
	r.due.Clear()
	return nil
}

// OnTimer implements stream.TimerProcessor.
func (r *reminder) OnTimer(ctx *stream.ProcessContext[string, Entry], _ stream.Timer) error {
	ctx.Emit(Entry{Kind: "unpaid", ID: ctx.Key()})
	r.due.Clear()
	return nil
}

func bucketOf(o Order) string {
	n, err := strconv.Atoi(strings.TrimPrefix(o.ID, "ORD-"))
	if err != nil {
		return "none"
	}
	return strconv.Itoa(n / bucketSize)
}

// bucket tells each of its keys once, by processing time.
type bucket struct{ seen state.Value[bool] }

// Open implements stream.KeyedProcessor.
func (b *bucket) Open(ctx *stream.ProcessContext[string, Entry]) error {
	return b.seen.Open(ctx.State(), "seen")
}

// Process implements stream.KeyedProcessor.
func (b *bucket) Process(ctx *stream.ProcessContext[string, Entry], _ Order) error {
	if _, ok := b.seen.Get(); !ok {
		b.seen.Set(true)
		ctx.SetProcessingTimer(ctx.Now().Add(bucketDelay))
	}
	return nil
}

// OnTimer implements stream.TimerProcessor.
func (b *bucket) OnTimer(ctx *stream.ProcessContext[string, Entry], _ stream.Timer) error {
	ctx.Emit(Entry{Kind: "bucket", ID: ctx.Key()})
	return nil
}
