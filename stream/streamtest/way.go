package streamtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// disturbance says what happens to a job between two steps.
type disturbance int

const (
	calm disturbance = iota
	// restoring snapshots and restores after every step.
	restoring
	// rescaling does so at the next parallelism each time.
	rescaling
	// crashing takes a checkpoint now and then, and loses what came after
	// one; the parallelism changes with each crash.
	crashing
	disturbances
)

func (d disturbance) String() string {
	return [...]string{"calm", "restore-each", "rescale-each", "crash"}[d]
}

// way is one way to run a case.
type way struct {
	batch       int
	parallelism []int // the next one after each rescale
	disturb     disturbance
	backend     Backend
	notReady    int
	wire        bool // rows travel in their wire form
}

func (w way) String() string {
	name := fmt.Sprintf("batch=%d/parallelism=%d/%s/%s", w.batch, w.parallelism[0], w.disturb, w.backend.Name)
	if w.wire {
		name += "/wire"
	}
	return name
}

// ways returns the ways to run c: the calm one with whole batches first, then
// all, or so many that each value of each dimension occurs.
func (c *Case) ways(rng *rand.Rand, full bool) []way {
	first := c.way(slices.Max(c.Batch), slices.Min(c.Parallelism), calm, c.Backends[0], nil)
	var rest []way
	if full {
		for _, be := range c.Backends {
			for d := range disturbances {
				for _, p := range c.Parallelism {
					for _, n := range c.Batch {
						rest = append(rest, c.way(n, p, d, be, rng))
					}
				}
			}
		}
		return append([]way{first}, rest...)
	}
	batch, par, be := shuffled(rng, c.Batch), shuffled(rng, c.Parallelism), shuffled(rng, c.Backends)
	for i := range max(int(disturbances), len(batch), len(par), len(be)) {
		d := disturbance(i) % disturbances
		backend := c.Backends[0] // the others are slower
		if i < len(be) {
			backend = be[i]
		}
		rest = append(rest, c.way(batch[i%len(batch)], par[i%len(par)], d, backend, rng))
	}
	return append([]way{first}, rest...)
}

func (c *Case) way(batch, p int, d disturbance, be Backend, rng *rand.Rand) way {
	w := way{batch: batch, disturb: d, backend: be, parallelism: []int{p}}
	if rng != nil {
		w.notReady, w.wire = rng.IntN(4), rng.IntN(2) == 0
		if w.notReady == 1 {
			w.notReady = 0 // every answer would be no
		}
	}
	if d == rescaling || d == crashing {
		at := slices.Index(c.Parallelism, p)
		w.parallelism = append(slices.Clone(c.Parallelism[at:]), c.Parallelism[:at]...)
	}
	return w
}

func shuffled[E any](rng *rand.Rand, s []E) []E {
	out := slices.Clone(s)
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
