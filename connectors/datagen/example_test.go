package datagen_test

import (
	"context"
	"math/rand/v2"

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
