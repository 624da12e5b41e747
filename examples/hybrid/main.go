// Command hybrid adds up what each region earned in each hour: years of orders
// that lie in files first, then those that come by Kafka, as one job. The names
// of the files say where the topic goes on: orders-3-1500.jsonl holds what
// partition 3 had before offset 1500.
//
//	go run ./examples/hybrid
//	go run ./examples/hybrid --local --brokers localhost:9092 --history 's3://bucket/orders-*.jsonl'
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/connectors/hybrid"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

// Order is one order. Amounts are held in cents.
type Order struct {
	Region string    `json:"region"`
	Amount int64     `json:"amount" leat:"decimal=2"`
	At     time.Time `json:"at"`
}

// Revenue is what a region earned in an hour.
type Revenue struct {
	Region string    `json:"region"`
	Hour   time.Time `json:"hour"`
	Orders int64     `json:"orders"`
	Sum    int64     `json:"sum" leat:"decimal=2"`
}

// madeHistory is the number of made-up orders that stand for the files.
const madeHistory = 5_000

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	set := flag.NewFlagSet("hybrid", flag.ContinueOnError)
	pattern := set.String("history", "", "files orders-PARTITION-OFFSET.jsonl; none: made-up orders")
	p := place.Flags(env, "hybrid", set)
	all, err := orders(p, *pattern)
	if err != nil {
		return err
	}
	byRegion := func(dst []byte, r *Revenue) []byte { return append(dst, r.Region...) }
	revenue(env, all).To(place.To(p, "revenue", byRegion), stream.UID("revenue"))
	return p.Err()
}

// orders is the history and what follows it.
func orders(p *place.Place, pattern string) (connectors.SourceOf[Order], error) {
	made := datagen.New(datagen.Config{Count: madeHistory, Splits: 2}, makeOrder)
	if !p.Kafka() {
		return hybrid.New(made, datagen.New(p.Made(datagen.Config{Count: 20_000, PerSecond: 20_000}), makeLater)), nil
	}
	next, err := live(p, kafka.Earliest())
	if err != nil {
		return nil, err
	}
	if pattern == "" {
		return hybrid.New(made, next), nil
	}
	history := files.NewSource(files.SourceConfig{Pattern: pattern}, jsonfmt.DecoderOf(Order{}))
	return hybrid.New(history).Then(next, func(_ context.Context, end hybrid.End) (connectors.SourceOf[Order], error) {
		from, err := offsetsAfter(end, p.Topic("orders"))
		if err != nil {
			return nil, err
		}
		return live(p, kafka.FromOffsets(from))
	}), nil
}

// live reads the topic from a start on.
func live(p *place.Place, from kafka.Start) (connectors.SourceOf[Order], error) {
	c := kafka.SourceConfig{Connection: p.Connection(), Topics: []string{p.Topic("orders")}, Group: p.Group(), Start: from}
	if p.Bounded() {
		c.Stop = kafka.StopLatest()
	}
	return kafka.NewSource(c, jsonfmt.DecoderOf(Order{}))
}

// offsetsAfter reads from the names of the files which offsets follow them.
func offsetsAfter(end hybrid.End, topic string) (map[kafka.TopicPartition]int64, error) {
	from := make(map[kafka.TopicPartition]int64)
	for _, s := range end.Splits {
		name, _, _ := strings.Cut(path.Base(s.ID), ".") // a file's split is path:byte
		parts := strings.Split(name, "-")
		if len(parts) != 3 {
			return nil, fmt.Errorf("file %q: want orders-PARTITION-OFFSET.jsonl", s.ID)
		}
		partition, err := strconv.ParseInt(parts[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", s.ID, err)
		}
		next, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", s.ID, err)
		}
		tp := kafka.TopicPartition{Topic: topic, Partition: int32(partition)}
		from[tp] = max(from[tp], next)
	}
	return from, nil
}

// revenue adds the job to env. An hour in which the history ends has its
// orders from both sides.
func revenue(env *stream.Env, from connectors.SourceOf[Order]) *stream.DataStream[Revenue] {
	all := stream.From(env, from, stream.UID("orders"),
		stream.Timestamps(func(o Order) time.Time { return o.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(10*time.Minute)))
	byRegion := stream.KeyBy(all, func(o Order) string { return o.Region })
	return stream.AggregateWindow(byRegion.Window(stream.Tumbling(time.Hour)), total{},
		func(region string, w stream.Window, t total) Revenue {
			return Revenue{Region: region, Hour: w.Start(), Orders: t.Count, Sum: t.Sum}
		}, stream.UID("hours"))
}

// total is what is kept of a window.
type total struct{ Count, Sum int64 }

// Add implements stream.Aggregator.
func (total) Add(t *total, o Order) { t.Count++; t.Sum += o.Amount }

// Result implements stream.Aggregator.
func (total) Result(t *total) total { return *t }

func makeOrder(i int64, rng *rand.Rand) Order {
	return Order{
		Region: []string{"EU", "US", "AP"}[rng.IntN(3)], Amount: 100 + rng.Int64N(50_000),
		At: time.UnixMilli(1_767_225_600_000 + 5000*i).UTC(),
	}
}

// makeLater makes the orders after those of the history.
func makeLater(i int64, rng *rand.Rand) Order { return makeOrder(madeHistory+i, rng) }
