// Command ticker is a job for the tests of flinkctl: made-up numbers, counted
// by remainder, with lines in its log, and failures where the tests want them.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

// Tick is a number.
type Tick struct{ N, Rest int64 }

func build(env *stream.Env) error {
	set := flag.NewFlagSet("ticker", flag.ContinueOnError)
	rows := set.Int64("rows", 0, "rows; 0: without end")
	rate := set.Float64("rate", 200, "rows a second")
	uid := set.String("uid", "sums", "UID of the operator with state")
	fail := set.Int64("panic-at", -1, "panic at this row")
	from := set.Int64("panic-from", -1, "panic at this row and all that follow")
	interval := set.Duration("checkpoint-interval", 200*time.Millisecond, "time between checkpoints; negative: none")
	after := set.Duration("panic-after", 0, "panic at the first row after this time")
	stall := set.Bool("stall", false, "never get beyond the first row")
	restart := set.Bool("restart", false, "restart after a failure")
	shape := set.String("shape", "", "type of what is counted: that of Tick, or wide or narrow")
	if err := set.Parse(env.Args()); err != nil {
		return err
	}
	env.Set(stream.JobName("ticker"), stream.CheckpointInterval(*interval))
	if !*restart {
		env.Set(stream.RestartNever())
	}
	began := time.Now()
	greeting, place := env.Property("greeting"), os.Getenv("TICKER_PLACE")
	ticks := stream.From(env, datagen.New(datagen.Config{Count: *rows, PerSecond: *rate, Splits: 4}, makeTick), stream.UID("ticks"))
	seen := stream.Map(ticks, func(t Tick) Tick {
		if t.N == *fail || *from >= 0 && t.N >= *from || *after > 0 && time.Since(began) > *after {
			panic(fmt.Sprintf("tick %d is broken", t.N))
		}
		if *stall {
			select {}
		}
		if t.N%50 == 0 {
			slog.Info("tick", "n", t.N, "greeting", greeting, "place", place)
			fmt.Fprintln(os.Stderr, "ticker: plain line", t.N)
		}
		return t
	}, stream.UID("see"))
	switch *shape {
	case "wide":
		count(seen, *uid, func(t Tick) Wide { return Wide{Rest: t.Rest, N: t.N} }, func(t Wide) int64 { return t.Rest },
			func(a, b Wide) Wide { a.N += b.N; return a }, func(t Wide) Tick { return Tick{N: t.N, Rest: t.Rest} })
	case "narrow":
		count(seen, *uid, func(t Tick) Narrow { return Narrow{Rest: int8(t.Rest)} }, func(t Narrow) int64 { return int64(t.Rest) },
			func(a, _ Narrow) Narrow { return a }, func(t Narrow) Tick { return Tick{Rest: int64(t.Rest)} })
	default:
		same := func(t Tick) Tick { return t }
		count(seen, *uid, same, func(t Tick) int64 { return t.Rest }, func(a, b Tick) Tick { return Tick{N: a.N + b.N, Rest: a.Rest} }, same)
	}
	return nil
}

// Wide and Narrow are what a later version may make of Tick.
type (
	Wide struct {
		Rest  int64
		N     int64
		Place string
	}
	Narrow struct{ Rest int8 }
)

// count sums ticks up in the form of T.
func count[T any](ticks *stream.DataStream[Tick], uid string, in func(Tick) T, rest func(T) int64, add func(a, b T) T, out func(T) Tick) {
	sums := stream.Reduce(stream.KeyBy(stream.Map(ticks, in, stream.UID("shape")), rest), add, stream.UID(uid))
	stream.Map(sums, out, stream.UID("plain")).Filter(func(t Tick) bool { return t.N%1000 == 0 }, stream.UID("some")).To(console.New(encoder), stream.UID("out"))
}

func makeTick(i int64, _ *rand.Rand) Tick { return Tick{N: i, Rest: i % 7} }

func encoder() (formats.Encoder[Tick], error) { return jsonfmt.NewEncoder(Tick{}) }
