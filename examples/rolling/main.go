// Command rolling looks at orders through windows that overlap: the revenue of
// ten minutes, every five; the average of the last five minutes, every minute;
// and the average of each region's last hundred orders, with each order.
//
//	go run ./examples/rolling
//	go run ./examples/rolling --local --brokers localhost:9092
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

// Order is what is read. Amounts are held in cents.
type Order struct {
	ID     string    `json:"id"`
	Region string    `json:"region"`
	Amount int64     `json:"amount" leat:"decimal=2"`
	At     time.Time `json:"at"`
}

// Revenue is the sum of a window.
type Revenue struct {
	Region string    `json:"region"`
	Start  time.Time `json:"start"`
	Sum    int64     `json:"sum" leat:"decimal=2"`
}

// Average is that of a window, or of the last orders.
type Average struct {
	Region string    `json:"region"`
	Until  time.Time `json:"until"`
	Orders int64     `json:"orders"`
	Mean   float64   `json:"mean"`
}

// lastMost is the number of orders in the average of the last ones.
const lastMost = 100

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	p := place.Flags(env, "rolling", nil)
	orders := place.From(p, "orders", datagen.New(datagen.Config{Count: 20_000, Splits: 2, PerSecond: 10_000}, makeOrder))
	out := windows(env, orders)
	out.hopping.To(place.Values(p, "revenue", Revenue{}), stream.UID("revenue"))
	out.sliding.To(place.Values(p, "rolling", Average{}), stream.UID("rolling"))
	out.last.To(place.Values(p, "last", Average{}), stream.UID("last"))
	return p.Err()
}

// results are the streams of the job.
type results struct {
	hopping       *stream.DataStream[Revenue]
	sliding, last *stream.DataStream[Average]
}

// windows adds the job to env.
func windows(env *stream.Env, from connectors.SourceOf[Order]) results {
	orders := stream.From(env, from, stream.UID("orders"),
		stream.Timestamps(func(o Order) time.Time { return o.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(5*time.Second)))
	byRegion := stream.KeyBy(orders, func(o Order) string { return o.Region })
	return results{
		hopping: stream.AggregateWindow(byRegion.Window(stream.Sliding(10*time.Minute, 5*time.Minute)), total{},
			func(region string, w stream.Window, t total) Revenue {
				return Revenue{Region: region, Start: w.Start(), Sum: t.Sum}
			}, stream.UID("hopping")),
		sliding: stream.AggregateWindow(byRegion.Window(stream.Sliding(5*time.Minute, time.Minute)), total{},
			func(region string, w stream.Window, t total) Average { return t.average(region, w.End()) }, stream.UID("sliding")),
		last: stream.ProcessWindow(byRegion.Window(stream.CountSliding(lastMost, 1)),
			func(region string, _ stream.Window, rows []Order, emit func(Average)) {
				var t total
				for _, o := range rows {
					t.Add(&t, o)
				}
				emit(t.average(region, rows[len(rows)-1].At))
			}, stream.UID("hundred")),
	}
}

// total is what is kept of a window. Windows that overlap share their parts,
// which Merge puts together.
type total struct{ Count, Sum int64 }

func (t total) average(region string, until time.Time) Average {
	return Average{Region: region, Until: until, Orders: t.Count, Mean: float64(t.Sum) / float64(t.Count) / 100}
}

// Add implements stream.Aggregator.
func (total) Add(t *total, o Order) { t.Count++; t.Sum += o.Amount }

// Merge implements stream.Merger.
func (total) Merge(into, from *total) { into.Count += from.Count; into.Sum += from.Sum }

// Result implements stream.Aggregator.
func (total) Result(t *total) total { return *t }

func makeOrder(i int64, rng *rand.Rand) Order {
	return Order{
		ID: fmt.Sprintf("ORD-%06d", i), Region: []string{"EU", "US", "AP"}[rng.IntN(3)], Amount: 100 + rng.Int64N(50_000),
		At: time.UnixMilli(1_767_225_600_000 + 250*i).UTC(),
	}
}
