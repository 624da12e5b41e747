// Command enrich adds to each order what is known of its customer: orders from
// one Kafka topic, customers from a compacted one, where a record without a
// value deletes the customer. Orders of unknown customers pass, too. Without
// brokers it makes both up.
//
//	go run ./examples/enrich --local
//	go run ./examples/enrich --local --brokers localhost:9092
package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

// Order is what is read.
type Order struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Cents    int64     `json:"cents"`
	At       time.Time `json:"at"`
}

// Customer is the value of a record of the compacted topic; its key is the
// customer's id.
type Customer struct {
	Name    string `json:"name"`
	Country string `json:"country"`
}

// Enriched is a result. Customer is nil when nothing is known.
type Enriched struct {
	Order    Order     `json:"order"`
	Customer *Customer `json:"customer"`
}

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	p := place.Flags(env, "enrich", nil)
	made := p.Made(datagen.Config{Splits: 2, PerSecond: 10, Seed: 1})
	orders := place.From(p, "orders", datagen.New(made, makeOrder))
	customers := place.Entries(p, "customers", datagen.New(made, makeCustomer))
	enrich(env, orders, customers, place.Values(p, "orders.enriched", Enriched{}))
	return p.Err()
}

// enrich adds the job to env. It knows nothing of Kafka, so that a test can
// give it other sources and sinks.
func enrich(env *stream.Env, from connectors.SourceOf[Order], known connectors.SourceOf[formats.Entry[Customer]], to connectors.SinkOf[Enriched]) {
	orders := stream.From(env, from, stream.UID("orders"))
	customers := stream.From(env, known, stream.UID("customers"))

	table := stream.TableFrom(customers, stream.UID("customer-table"))
	byCustomer := stream.KeyBy(orders, func(o Order) string { return o.Customer })
	enriched := stream.TableJoin(byCustomer, table, stream.LeftOuter(func(o Order, c *Customer) Enriched {
		return Enriched{Order: o, Customer: c}
	}), stream.UID("enrich"))

	enriched.To(to, stream.UID("enriched"))
}

func makeOrder(i int64, rng *rand.Rand) Order {
	return Order{
		ID: fmt.Sprintf("ORD-%06d", i), Customer: fmt.Sprintf("CUST-%02d", rng.IntN(50)), Cents: 100 + rng.Int64N(10_000),
		At: time.UnixMilli(1_767_225_600_000 + 1000*i).UTC(),
	}
}

func makeCustomer(_ int64, rng *rand.Rand) formats.Entry[Customer] {
	n := rng.IntN(50)
	return formats.Entry[Customer]{
		Key: fmt.Sprintf("CUST-%02d", n), Deleted: rng.IntN(10) == 0,
		Value: Customer{Name: fmt.Sprintf("Name %d", n), Country: []string{"NO", "IT", "JP"}[rng.IntN(3)]},
	}
}
