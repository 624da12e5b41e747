// Command topn tells the three best-selling products of every minute, and how
// long each shopper's visits were: a visit ends with half an hour without a
// sale.
//
//	go run ./examples/topn
//	go run ./examples/topn --local --brokers localhost:9092
package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

// Sale is what is read.
type Sale struct {
	Product string    `json:"product"`
	Shopper string    `json:"shopper"`
	At      time.Time `json:"at"`
}

// Sold is how often a product was sold in a minute.
type Sold struct {
	Minute  time.Time `json:"minute"`
	Product string    `json:"product"`
	N       int64     `json:"n"`
	Rank    int       `json:"rank"`
}

// Visit is a session of a shopper.
type Visit struct {
	Shopper string    `json:"shopper"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"` // half an hour after the last sale
	Sales   int64     `json:"sales"`
}

const (
	ranks = 3
	quiet = 30 * time.Minute
)

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	p := place.Flags(env, "topn", nil)
	sales := place.From(p, "sales", datagen.New(datagen.Config{Count: 20_000, Splits: 2, PerSecond: 10_000}, makeSale))
	best, visits := rank(env, sales)
	best.To(place.Values(p, "best", Sold{}), stream.UID("best-out"))
	visits.To(place.Values(p, "visits", Visit{}), stream.UID("visits-out"))
	return p.Err()
}

// rank adds the job to env.
func rank(env *stream.Env, from connectors.SourceOf[Sale]) (best *stream.DataStream[Sold], visits *stream.DataStream[Visit]) {
	sales := stream.From(env, from, stream.UID("sales"),
		stream.Timestamps(func(s Sale) time.Time { return s.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(5*time.Second)))
	byProduct := stream.KeyBy(sales, func(s Sale) string { return s.Product })
	counts := stream.AggregateWindow(byProduct.Window(stream.Tumbling(time.Minute)), counter{}, func(product string, w stream.Window, n int64) Sold {
		return Sold{Minute: w.Start(), Product: product, N: n}
	}, stream.UID("counts"))
	// A result has the last time of its window: it falls into the same minute.
	byMinute := stream.KeyBy(counts, func(s Sold) int64 { return s.Minute.UnixMilli() })
	best = stream.ProcessWindow(byMinute.Window(stream.Tumbling(time.Minute)), topOf, stream.UID("top"))

	byShopper := stream.KeyBy(sales, func(s Sale) string { return s.Shopper })
	visits = stream.AggregateWindow(byShopper.Window(stream.Session(quiet)), counter{}, func(shopper string, w stream.Window, n int64) Visit {
		return Visit{Shopper: shopper, Start: w.Start(), End: w.End(), Sales: n}
	}, stream.UID("visits"))
	return best, visits
}

// topOf ranks the products of a minute; equal counts by name.
func topOf(_ int64, _ stream.Window, rows []Sold, emit func(Sold)) {
	slices.SortFunc(rows, func(a, b Sold) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Product, b.Product)) })
	for i, s := range rows[:min(ranks, len(rows))] {
		s.Rank = i + 1
		emit(s)
	}
}

// counter counts; visits that a late sale joins are counted together.
type counter struct{}

// Add implements stream.Aggregator.
func (counter) Add(n *int64, _ Sale) { *n++ }

// Merge implements stream.Merger.
func (counter) Merge(into, from *int64) { *into += *from }

// Result implements stream.Aggregator.
func (counter) Result(n *int64) int64 { return *n }

func makeSale(i int64, rng *rand.Rand) Sale {
	return Sale{
		Product: fmt.Sprintf("P-%02d", rng.IntN(1+rng.IntN(30))), Shopper: fmt.Sprintf("S-%04d", rng.IntN(3000)),
		At: time.UnixMilli(1_767_225_600_000 + 500*i).UTC(),
	}
}
