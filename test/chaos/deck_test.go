//go:build e2e

package chaos

import (
	"math/rand/v2"
	"time"
)

// deck deals the chosen faults in a seeded order, all of them before any
// comes again.
type deck struct {
	rng   *rand.Rand
	cards []fault
	dealt int
}

func newDeck(rng *rand.Rand) *deck { return &deck{rng: rng, cards: chosen()} }

func (d *deck) next() fault {
	if d.dealt%len(d.cards) == 0 {
		d.rng.Shuffle(len(d.cards), func(i, j int) { d.cards[i], d.cards[j] = d.cards[j], d.cards[i] })
	}
	d.dealt++
	return d.cards[(d.dealt-1)%len(d.cards)]
}

// lasts chooses how long a fault lasts.
func (f *fault) lasts(rng *rand.Rand) time.Duration {
	return f.least + time.Duration(rng.Int64N(int64(f.most-f.least)+1))
}
