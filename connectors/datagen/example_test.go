package datagen_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// Row i depends on i and on numbers that are the same each time.
func ExampleNew() {
	type reading struct {
		Sensor int
		High   bool
	}
	src := datagen.New(datagen.Config{Count: 4}, func(i int64, rng *rand.Rand) reading {
		return reading{Sensor: int(i % 2), High: rng.Float64() > 1}
	})
	env := stream.NewEnv()
	stream.From(env, src, stream.UID("readings")).To(console.Of(reading{}))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		panic(err)
	}
	// Output:
	// {Sensor:0 High:false}
	// {Sensor:1 High:false}
	// {Sensor:0 High:false}
	// {Sensor:1 High:false}
}

// Each field is made as its tag says; Named says it without a tag.
func ExampleOf() {
	type order struct {
		ID     int64   `gen:"sequence,from=1"`
		Region string  `gen:"values=north|south"`
		Amount float64 `gen:"min=5,max=5"`
		Coupon *string `gen:"length=6,nulls=1"`
		At     int64
	}
	src := datagen.Of(datagen.Config{Count: 3, PerSecond: 1000, Seed: 1}, order{},
		datagen.Named("At").Every(time.UnixMilli(0), time.Second))
	env := stream.NewEnv()
	orders := stream.From(env, src, stream.UID("orders"), stream.TimestampMillis(func(o order) int64 { return o.At }))
	stream.Map(orders, func(o order) string {
		return fmt.Sprintf("%d %v %v %v %d", o.ID, o.Region != "", o.Amount, o.Coupon == nil, o.At)
	}).To(console.Of(""))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		panic(err)
	}
	// Output:
	// 1 true 5 true 0
	// 2 true 5 true 1000
	// 3 true 5 true 2000
}

// What Named says for a field is what its tag would.
func ExampleNamed() {
	type reading struct {
		N      int64
		Level  float64
		Place  string
		Code   string
		Spare  *int64
		At     time.Time
		Unused int64
	}
	src := datagen.Of(datagen.Config{Count: 3}, reading{},
		datagen.Named("N").Sequence(100),
		datagen.Named("Level").Between(0, 1),
		datagen.Named("Place").OneOf("roof", "cellar"),
		datagen.Named("Code").Length(4),
		datagen.Named("Spare").Nulls(1),
		datagen.Named("At").Every(time.Unix(0, 0).UTC(), time.Minute).Jitter(5*time.Second),
		datagen.Named("Unused").Zero())
	env := stream.NewEnv()
	lines := stream.Map(stream.From(env, src, stream.UID("readings")), func(r reading) string {
		return fmt.Sprint(r.N, " ", r.Level >= 0 && r.Level <= 1, " ", r.Place, " ", len(r.Code), " ", r.Spare == nil, " ",
			r.At.Round(time.Minute).Minute(), " ", r.Unused)
	})
	lines.To(console.Of(""))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		panic(err)
	}
	// Output:
	// 100 true cellar 4 true 0 0
	// 101 true roof 4 true 1 0
	// 102 true cellar 4 true 2 0
}

// Rows have no times of their own: event time is taken from them with
// stream.Timestamps.
func ExampleSource_Timeless() {
	fmt.Println(datagen.New(datagen.Config{Count: 1}, func(i int64, _ *rand.Rand) int64 { return i }).Timeless())
	// Output: true
}
