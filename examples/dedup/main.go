// Command dedup lets each payment pass once. Producers that retry send some
// of them again, for an hour at most: an id is remembered for that long, and
// then forgotten, so that state does not grow without end.
//
//	go run ./examples/dedup
//	go run ./examples/dedup --local --brokers localhost:9092
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

// Payment is an order to pay, which may come more than once.
type Payment struct {
	ID     string    `json:"id"`
	Amount float64   `json:"amount"`
	At     time.Time `json:"at"`
}

func build(env *stream.Env) error {
	set := flag.NewFlagSet("dedup", flag.ContinueOnError)
	count := set.Int64("count", 10_000, "number of made-up payments; 0: without end")
	p := place.Flags(env, "dedup", set)
	payments := place.From(p, "payments", datagen.New(datagen.Config{Count: *count, Splits: 2}, makePayment))
	unique(env, payments).To(place.Values(p, "unique", Payment{}), stream.UID("out"))
	return p.Err()
}

// unique adds the job to env.
func unique(env *stream.Env, payments connectors.SourceOf[Payment]) *stream.DataStream[Payment] {
	all := stream.From(env, payments, stream.UID("payments"),
		stream.Timestamps(func(p Payment) time.Time { return p.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(time.Minute)))
	byID := stream.KeyBy(all, func(p Payment) string { return p.ID })
	return stream.Process(byID, &first{}, stream.UID("first"))
}

// first lets the first payment of an id pass.
type first struct {
	seen state.Value[bool]
}

// Open implements stream.KeyedProcessor.
func (f *first) Open(ctx *stream.ProcessContext[string, Payment]) error {
	return f.seen.Open(ctx.State(), "seen",
		state.WithTTL(state.TTL{After: time.Hour, Time: state.EventTime}))
}

// Process implements stream.KeyedProcessor.
func (f *first) Process(ctx *stream.ProcessContext[string, Payment], p Payment) error {
	if _, again := f.seen.Get(); again {
		return nil
	}
	f.seen.Set(true)
	ctx.Emit(p)
	return nil
}

// makePayment sends about every tenth payment a second time, some later.
func makePayment(i int64, rng *rand.Rand) Payment {
	n := i
	if rng.IntN(10) == 0 {
		n = max(0, i-int64(rng.IntN(50)))
	}
	const start = 1_767_225_600 // 2026-01-01
	return Payment{ID: fmt.Sprintf("P-%06d", n), Amount: float64(n%900) + 0.5, At: time.Unix(start+i, 0).UTC()}
}
