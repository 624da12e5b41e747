package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/leatstream/leat/connectors/datagen"
)

// What is made up.
const (
	generatedSplits    = 3
	generatedBounded   = 1_000_000
	generatedPerSecond = 20_000
	// generatedStart is 2026-01-01T00:00:00Z.
	generatedStart = 1_767_225_600_000
	// generatedStep is the event time between two orders, in milliseconds:
	// at the rate above, a window of five minutes passes in some seconds.
	generatedStep = 5
)

var regions = [...]string{"US-EAST", "US-WEST", "EU-NORTH", "EU-SOUTH", "AP-EAST", "AP-SOUTH"}

// generated makes orders up: a little out of order, one in a thousand late,
// and one in a hundred with an amount that is not valid.
func generated(bounded bool) *datagen.Source[Order] {
	cfg := datagen.Config{Splits: generatedSplits, PerSecond: generatedPerSecond, Seed: 1}
	if bounded {
		cfg.Count, cfg.PerSecond = generatedBounded, 0
	}
	return datagen.New(cfg, makeOrder)
}

func makeOrder(i int64, rng *rand.Rand) Order {
	o := Order{
		ID:       fmt.Sprintf("ORD-%08d", i),
		Customer: fmt.Sprintf("CUST-%05d", rng.IntN(1000)),
		Amount:   100 + rng.Int64N(50_000),
		Region:   regions[rng.IntN(len(regions))],
		Time:     generatedStart + i*generatedStep - rng.Int64N(3000),
	}
	switch rng.IntN(1000) {
	case 0:
		o.Time -= 600_000 // later than any window allows
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
		o.Amount = -o.Amount
	}
	return o
}
