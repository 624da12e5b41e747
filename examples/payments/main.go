// Command payments joins orders with the payments that follow within five
// minutes, and tells the orders that were not paid in that time. Without
// brokers it makes both up.
//
//	go run ./examples/payments --local
//	go run ./examples/payments --local --brokers localhost:9092
package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

// Order is what is read.
type Order struct {
	ID    string    `json:"id"`
	Cents int64     `json:"cents"`
	At    time.Time `json:"at"`
}

// Payment is one of an order.
type Payment struct {
	Order string    `json:"order"`
	Cents int64     `json:"cents"`
	At    time.Time `json:"at"`
}

// Paid is a result: a payment of an order, or none within five minutes.
type Paid struct {
	Order   string        `json:"order"`
	Cents   int64         `json:"cents"`
	After   time.Duration `json:"afterNanos"`
	Expired bool          `json:"expired"`
}

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	p := place.Flags(env, "payments", nil)
	made := p.Made(datagen.Config{Splits: 2, PerSecond: 10, Seed: 1})
	orders := place.From(p, "orders", datagen.New(made, makeOrder))
	payments := place.From(p, "payments", datagen.New(made, makePayment))
	match(env, orders, payments, place.Values(p, "orders.paid", Paid{}), place.Values(p, "payments.late", Payment{}))
	return p.Err()
}

// match adds the job to env. It knows nothing of Kafka, so that a test can
// give it other sources and sinks.
func match(env *stream.Env, from connectors.SourceOf[Order], with connectors.SourceOf[Payment], to connectors.SinkOf[Paid], late connectors.SinkOf[Payment]) {
	orders := stream.From(env, from, stream.UID("orders"),
		stream.Timestamps(func(o Order) time.Time { return o.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(10*time.Second)))
	payments := stream.From(env, with, stream.UID("payments"),
		stream.Timestamps(func(p Payment) time.Time { return p.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(10*time.Second)))

	byID := stream.KeyBy(orders, func(o Order) string { return o.ID })
	byOrder := stream.KeyBy(payments, func(p Payment) string { return p.Order })
	paid := stream.IntervalJoin(byID, byOrder, stream.Between(0, 5*time.Minute),
		stream.LeftOuter(func(o Order, p *Payment) Paid {
			if p == nil {
				return Paid{Order: o.ID, Expired: true}
			}
			return Paid{Order: o.ID, Cents: p.Cents, After: p.At.Sub(o.At)}
		}), stream.UID("match"))

	paid.To(to, stream.UID("paid"))
	stream.LateRight(paid, byOrder).To(late, stream.UID("late"))
}

const start = 1_767_225_600_000 // 2026-01-01T00:00:00Z

func makeOrder(i int64, rng *rand.Rand) Order {
	return Order{ID: fmt.Sprintf("ORD-%06d", i), Cents: 100 + rng.Int64N(10_000), At: time.UnixMilli(start + 10_000*i).UTC()}
}

// makePayment makes one in four payments come too late.
func makePayment(i int64, rng *rand.Rand) Payment {
	after := rng.Int64N(400_000)
	return Payment{Order: fmt.Sprintf("ORD-%06d", i), Cents: 100, At: time.UnixMilli(start + 10_000*i + after).UTC()}
}
