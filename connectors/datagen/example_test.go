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
	stream.From(env, src, stream.UID("readings")).To(console.New[reading](nil))
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
	}).To(console.New[string](nil))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		panic(err)
	}
	// Output:
	// 1 true 5 true 0
	// 2 true 5 true 1000
	// 3 true 5 true 2000
}
