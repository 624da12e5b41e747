package main

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/leatstream/leat/connectors"
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

// Revenue is the result of a region and window.
type Revenue struct {
	Region  string `json:"region"`
	Start   int64  `json:"window_start" leat:"time=millis"`
	End     int64  `json:"window_end" leat:"time=millis"`
	Orders  int64  `json:"orders"`
	Revenue int64  `json:"revenue" leat:"decimal=2"`
}

// Rejected is a record that is no order, with its place. A value that is no
// text is given in base64 instead.
type Rejected struct {
	Error       string `json:"error"`
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	Offset      int64  `json:"offset"`
	Value       string `json:"value"`
	ValueBase64 string `json:"value_base64,omitempty"`
}

// The job's times.
const (
	windowSize      = 5 * time.Minute
	outOfOrderness  = 5 * time.Second
	allowedLateness = time.Minute
)

// Sinks are where the results go.
type Sinks struct {
	Revenue  connectors.SinkOf[Revenue]
	Late     connectors.SinkOf[Order]
	Rejected connectors.SinkOf[Rejected]
}

// Build adds the job to env: revenue per region and window, orders that came
// too late, and records that are no orders.
func Build(env *stream.Env, orders connectors.SourceOf[Order], to Sinks) {
	all := stream.From(env, orders, stream.UID("orders"),
		stream.TimestampMillis(func(o Order) int64 { return o.Time }),
		stream.Watermarks(stream.BoundedOutOfOrderness(outOfOrderness)))
	valid := all.Filter(func(o Order) bool { return o.Amount > 0 }, stream.UID("valid-amount"))

	perWindow := stream.KeyBy(valid, func(o Order) string { return o.Region }).
		Window(stream.Tumbling(windowSize), stream.AllowedLateness(allowedLateness))
	revenue := stream.AggregateWindow(perWindow, takings{}, revenueOf, stream.UID("revenue-per-region"))

	revenue.To(to.Revenue, stream.UID("revenue"))
	perWindow.Late().To(to.Late, stream.UID("late-orders"))
	stream.Map(stream.DeadLetters(all), rejectedOf, stream.UID("describe-rejected")).
		To(to.Rejected, stream.UID("rejected"))
}

// sum is what is kept of a region and window.
type sum struct {
	Orders, Cents int64
}

// takings adds up orders.
type takings struct{}

// Add implements stream.Aggregator.
func (takings) Add(s *sum, o Order) {
	s.Orders++
	s.Cents += o.Amount
}

// Result implements stream.Aggregator.
func (takings) Result(s *sum) sum { return *s }

func revenueOf(region string, w stream.Window, s sum) Revenue {
	return Revenue{Region: region, Start: w.StartMillis(), End: w.EndMillis(), Orders: s.Orders, Revenue: s.Cents}
}

func rejectedOf(d connectors.DeadLetter) Rejected {
	r := Rejected{Error: d.Error, Topic: d.Topic, Partition: d.Partition, Offset: d.Offset}
	if utf8.Valid(d.Value) {
		r.Value = string(d.Value)
	} else {
		r.ValueBase64 = base64.StdEncoding.EncodeToString(d.Value)
	}
	return r
}
