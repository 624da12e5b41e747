// Command vip splits orders: those of important customers are marked and go to
// a topic of their own, the others by region to two more; nothing is kept. Each
// topic is written by the customer's key, so that readers find a customer's
// orders in one partition.
//
//	go run ./examples/vip
//	go run ./examples/vip --local --brokers localhost:9092
package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

// Order is what is read and written. Amounts are held in cents.
type Order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Region   string `json:"region"`
	Amount   int64  `json:"amount" leat:"decimal=2"`
	Level    string `json:"level,omitempty"`
}

// vipLeast is what an important customer's order is worth.
const vipLeast = 500_00

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	p := place.Flags(env, "vip", nil)
	orders := place.From(p, "orders", datagen.New(datagen.Config{Count: 10_000, Splits: 2, PerSecond: 5_000}, makeOrder))
	byCustomer := func(dst []byte, o *Order) []byte { return append(dst, o.Customer...) }
	vip, europe, others := split(env, orders)
	vip.To(place.To(p, "orders.vip", byCustomer), stream.UID("vip-out"))
	europe.To(place.To(p, "orders.europe", byCustomer), stream.UID("europe-out"))
	others.To(place.To(p, "orders.others", byCustomer), stream.UID("others-out"))
	return p.Err()
}

// split adds the job to env.
func split(env *stream.Env, from connectors.SourceOf[Order]) (vip, europe, others *stream.DataStream[Order]) {
	orders := stream.From(env, from, stream.UID("orders")).Filter(func(o Order) bool { return o.Amount > 0 })
	branches := orders.Branch()
	large := branches.When(func(o Order) bool { return o.Amount >= vipLeast })
	europe = branches.When(func(o Order) bool { return strings.HasPrefix(o.Region, "EU-") })
	others = branches.Otherwise()
	vip = stream.Map(large, func(o Order) Order {
		o.Level = "vip"
		return o
	})
	return vip, europe, others
}

func makeOrder(i int64, rng *rand.Rand) Order {
	return Order{
		ID: fmt.Sprintf("ORD-%06d", i), Customer: fmt.Sprintf("CUST-%03d", rng.IntN(200)),
		Region: []string{"EU-WEST", "EU-NORTH", "US-EAST"}[rng.IntN(3)], Amount: rng.Int64N(1_000_00) - 1_00,
	}
}
