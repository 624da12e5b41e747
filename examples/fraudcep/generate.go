package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/leatstream/leat/connectors/datagen"
)

// What is made up.
const (
	generatedSplits    = 3
	generatedBounded   = 500_000
	generatedPerSecond = 5_000
	// generatedStart is 2026-01-01T00:00:00Z.
	generatedStart = 1_767_225_600_000
	// generatedStep is the event time between two payments, in milliseconds.
	generatedStep = 5
	// probedEvery is the number of payments of which four are made with a
	// stolen card.
	probedEvery = 10_000
)

// generated makes payments up, a little out of order.
func generated(bounded bool) *datagen.Source[Payment] {
	cfg := datagen.Config{Splits: generatedSplits, PerSecond: generatedPerSecond, Seed: 1}
	if bounded {
		cfg.Count, cfg.PerSecond = generatedBounded, 0
	}
	return datagen.New(cfg, makePayment)
}

func makePayment(i int64, rng *rand.Rand) Payment {
	p := Payment{
		ID:     fmt.Sprintf("TX-%09d", i),
		Card:   fmt.Sprintf("CARD-%05d", rng.IntN(20_000)),
		Amount: 150 + rng.Int64N(50_500), // some are small, some large
		Time:   generatedStart + i*generatedStep - rng.Int64N(3000),
	}
	stolen := fmt.Sprintf("CARD-%05d", i/probedEvery%20_000)
	switch i % probedEvery {
	case 1000, 2500, 4000: // 7.5 seconds apart
		p.Card, p.Amount = stolen, 100+rng.Int64N(100)
	case 6000:
		p.Card, p.Amount = stolen, 60_000+rng.Int64N(100_000)
	}
	return p
}
