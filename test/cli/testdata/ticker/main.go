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
	restart := set.Bool("restart", false, "restart after a failure")
	if err := set.Parse(env.Args()); err != nil {
		return err
	}
	env.Set(stream.JobName("ticker"), stream.CheckpointInterval(200*time.Millisecond))
	if !*restart {
		env.Set(stream.RestartNever())
	}
	greeting, place := env.Property("greeting"), os.Getenv("TICKER_PLACE")
	ticks := stream.From(env, datagen.New(datagen.Config{Count: *rows, PerSecond: *rate, Splits: 4}, makeTick), stream.UID("ticks"))
	seen := stream.Map(ticks, func(t Tick) Tick {
		if t.N == *fail {
			panic(fmt.Sprintf("tick %d is broken", t.N))
		}
		if t.N%50 == 0 {
			slog.Info("tick", "n", t.N, "greeting", greeting, "place", place)
			fmt.Fprintln(os.Stderr, "ticker: plain line", t.N)
		}
		return t
	}, stream.UID("see"))
	sums := stream.Reduce(stream.KeyBy(seen, func(t Tick) int64 { return t.Rest }), func(a, b Tick) Tick {
		return Tick{N: a.N + b.N, Rest: a.Rest}
	}, stream.UID(*uid))
	sums.Filter(func(t Tick) bool { return t.N%1000 == 0 }, stream.UID("some")).To(console.New(encoder), stream.UID("out"))
	return nil
}

func makeTick(i int64, _ *rand.Rand) Tick { return Tick{N: i, Rest: i % 7} }

func encoder() (formats.Encoder[Tick], error) { return jsonfmt.NewEncoder(Tick{}) }
