// Command archive keeps orders in files: packed CSV, in a folder for each
// region and hour, each order once. With --read it takes the files as a
// bounded input and adds up what each region earned on each day.
//
//	go run ./examples/archive
//	go run ./examples/archive --read
//	go run ./examples/archive --local --brokers localhost:9092 --files s3://bucket/orders
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

// Order is what is kept. Amounts are held in cents.
type Order struct {
	ID     string    `json:"id"`
	Region string    `json:"region"`
	Amount int64     `json:"amount" leat:"decimal=2"`
	At     time.Time `json:"at"`
}

// Revenue is what a region earned on a day.
type Revenue struct {
	Region string    `json:"region"`
	Day    time.Time `json:"day"`
	Orders int64     `json:"orders"`
	Sum    int64     `json:"sum" leat:"decimal=2"`
}

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	set := flag.NewFlagSet("archive", flag.ContinueOnError)
	dir := set.String("files", filepath.Join(os.TempDir(), "leat-archive"), "folder of the files, or s3://bucket/prefix")
	back := set.Bool("read", false, "read the files instead of writing them")
	p := place.Flags(env, "archive", set)
	if *back {
		env.Set(stream.JobName("archive-read"))
		revenue(env, *dir).To(place.Values(p, "revenue", Revenue{}), stream.UID("revenue"))
		return p.Err()
	}
	keep(env, place.From(p, "orders", datagen.New(datagen.Config{Count: 20_000, Splits: 2}, makeOrder)), *dir)
	return p.Err()
}

// keep writes orders to files.
func keep(env *stream.Env, from connectors.SourceOf[Order], dir string) {
	orders := stream.From(env, from, stream.UID("orders"))
	orders.To(files.NewSink(dir, csvfmt.EncoderOf(Order{})).
		Bucket(func(o Order) string {
			return "region=" + o.Region + "/hour=" + o.At.UTC().Format("2006-01-02T15")
		}).
		With(files.SinkConfig{Compression: files.Gzip}), stream.UID("files"))
}

// revenue reads the files, in any order: time stands still while a file is not
// begun, and a file holds an hour, so that no order is late. At the end of the
// input all windows close: results are final.
func revenue(env *stream.Env, dir string) *stream.DataStream[Revenue] {
	orders := stream.From(env, files.NewSource(files.SourceConfig{Pattern: dir + "/region=*/hour=*/part-*.csv.gz"}, csvfmt.DecoderOf(Order{})),
		stream.UID("files"), stream.Timestamps(func(o Order) time.Time { return o.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(time.Hour)))
	byRegion := stream.KeyBy(orders, func(o Order) string { return o.Region })
	return stream.AggregateWindow(byRegion.Window(stream.Tumbling(24*time.Hour)), total{},
		func(region string, w stream.Window, t total) Revenue {
			return Revenue{Region: region, Day: w.Start(), Orders: t.Count, Sum: t.Sum}
		}, stream.UID("days"))
}

// total is what is kept of a window.
type total struct{ Count, Sum int64 }

// Add implements stream.Aggregator.
func (total) Add(t *total, o Order) { t.Count++; t.Sum += o.Amount }

// Result implements stream.Aggregator.
func (total) Result(t *total) total { return *t }

func makeOrder(i int64, rng *rand.Rand) Order {
	return Order{
		ID: fmt.Sprintf("ORD-%06d", i), Region: []string{"EU", "US", "AP"}[rng.IntN(3)], Amount: 100 + rng.Int64N(50_000),
		At: time.UnixMilli(1_767_225_600_000 + 5000*i).UTC(),
	}
}
