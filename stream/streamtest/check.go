package streamtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/stream"
)

// Environment variables that Check reads.
const (
	// EnvSeed repeats the ways, and the order of splits, of an earlier run.
	EnvSeed = "LEAT_SEED"
	// EnvMatrix set to "full" makes Check run every way.
	EnvMatrix = "LEAT_MATRIX"
)

// Case is a topology with its inputs and the rows that must come out however
// it is run.
type Case struct {
	// Build makes the topology. It is called once for each way and must do
	// the same each time.
	Build func(b *Bench)
	// Timing says how splits take turns; default: Free.
	Timing Timing
	// Parallelism, Batch and Backends are the values to run with; defaults:
	// 1, 2, 7; 1, 3, 1024; all that there are (Backends).
	Parallelism []int
	Batch       []int
	Backends    []Backend
	// MaxParallelism is the number of key groups; default 16.
	MaxParallelism int
	// Seed is what chance is drawn from; 0: Seed's. A test that draws its
	// input from Seed passes it on.
	Seed uint64
}

func (c *Case) ensureDefaults() {
	if len(c.Parallelism) == 0 {
		c.Parallelism = []int{1, 2, 7}
	}
	if len(c.Batch) == 0 {
		c.Batch = []int{1, 3, 1024}
	}
	if len(c.Backends) == 0 {
		c.Backends = Backends()
	}
	if c.MaxParallelism == 0 {
		c.MaxParallelism = 16
	}
}

// Check runs a case many ways, each a subtest: batches of one row, three and
// many; at parallelism 1, 2 and 7; undisturbed, with a snapshot and a restore
// after every step, with a change of parallelism after every step, with
// crashes between checkpoints; on every state backend; with and without room
// downstream; by reference and in wire form. Each time the same must come out. A sample of the ways is run,
// in which each value of each dimension occurs, unless LEAT_MATRIX is full. A
// failure tells the seed; LEAT_SEED repeats it.
func Check(t *testing.T, c Case) {
	t.Helper()
	c.ensureDefaults()
	seed := c.Seed
	if seed == 0 {
		seed = Seed(t)
	}
	var first []expected
	for _, w := range c.ways(rand.New(rand.NewPCG(seed, 0)), os.Getenv(EnvMatrix) == "full") {
		ok := t.Run(w.String(), func(t *testing.T) {
			b, err := c.run(t.Context(), w, seed)
			if first == nil {
				first = b.outputs
			}
			if err == nil {
				err = b.compare(first)
			}
			if err != nil {
				t.Error(err)
			}
		})
		if !ok && w.disturb == calm && len(first) == 0 {
			return // it cannot be built: the other ways would say the same
		}
	}
}

// Seed returns a number to draw random inputs from: LEAT_SEED, else another
// each time. When the test fails it is printed.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(EnvSeed); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%s is no number", EnvSeed, text)
		}
		seed = n
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to repeat this: %s=%d go test -run '^%s$'", EnvSeed, seed, t.Name())
		}
	})
	return seed
}

func (b *Bench) compare(first []expected) error {
	if len(b.outputs) == 0 {
		return errors.New("the case has no output: call Expect in Build")
	}
	if len(b.outputs) != len(first) {
		return fmt.Errorf("there are %d outputs, but %d at first: Build must do the same each time", len(b.outputs), len(first))
	}
	var errs []error
	for i, o := range b.outputs {
		if err := o.compare(first[i].to); err != nil {
			errs = append(errs, fmt.Errorf("output %q: %w", o.uid, err))
		}
	}
	return errors.Join(errs...)
}

// run runs a case one way. The bench is never nil.
func (c *Case) run(ctx context.Context, w way, seed uint64) (*Bench, error) {
	b := &Bench{Env: stream.NewEnv(stream.MaxParallelism(c.MaxParallelism))}
	c.Build(b)
	g, err := b.Env.Graph()
	if err != nil {
		return b, err
	}
	r := newRunner(ctx, g, Options{Parallelism: w.parallelism, Backend: w.backend})
	r.notReady, r.wire, r.waitMax = w.notReady, w.wire, mailWaitMax
	b.install(r, c.Timing == InOrder)
	d := &disturber{
		run: r, way: w, rng: rand.New(rand.NewPCG(seed, 1)),
		conductor: &conductor{feeds: b.inputs, timing: c.Timing, batch: w.batch, rng: rand.New(rand.NewPCG(seed, 2))},
	}
	return b, errors.Join(d.drive(), r.end())
}

// install makes the bench's inputs and outputs stand in for the graph's.
// Whatever else the topology writes is of no interest.
func (b *Bench) install(r *runner, whole bool) {
	r.exactlyOnce = true
	for _, f := range b.inputs {
		f.whole = whole
		r.feeds = append(r.feeds, f)
		r.standIn(f.uid, fed{})
	}
	for _, o := range b.outputs {
		r.capture(port{uid: o.uid}, o.to)
	}
	r.captureSinks()
}

// captureSinks makes captures stand in for all sinks.
func (r *runner) captureSinks() {
	for _, n := range r.graph.Nodes {
		if n.Kind == graph.KindSink {
			r.standIn(n.UID, capturing{run: r, uid: n.UID})
		}
	}
}

// disturber runs a job to its end and does to it what a way asks for.
type disturber struct {
	run       *runner
	way       way
	rng       *rand.Rand
	conductor *conductor
	steps     int
	every     int // steps between two restores
	crashes   int
}

const (
	// restoresMax bounds the restores of a run over a long input.
	restoresMax = 300
	// crashesMax bounds the crashes of a run, so that it comes to its end.
	crashesMax = 20
)

func (d *disturber) drive() error {
	elements := 0
	for _, f := range d.conductor.feeds {
		for i := range f.splits {
			elements += f.script.len(i) + 1
		}
	}
	most := d.way.backend.RestoresMax
	if most == 0 {
		most = restoresMax
	}
	d.every = 1 + elements/most
	if err := d.run.start(); err != nil {
		return err
	}
	for {
		var more bool
		err := d.run.life.protect(func() (err error) {
			more, err = d.conductor.step(d.run.life)
			return err
		})
		if err != nil {
			return err
		}
		if !more && (d.way.disturb != crashing || d.crashes > 0) {
			return d.run.checkpoint(true)
		}
		if err := d.disturb(more); err != nil {
			return fmt.Errorf("after step %d: %w", d.steps, err)
		}
	}
}

// disturb is called between two steps, and at the end if nothing crashed.
func (d *disturber) disturb(more bool) error {
	d.steps++
	switch d.way.disturb {
	case restoring, rescaling:
		if d.steps%d.every != 0 {
			return nil
		}
		if err := d.run.checkpoint(false); err != nil {
			return err
		}
		return d.restart()
	case crashing:
		if more && d.rng.IntN(3) == 0 {
			return d.run.checkpoint(false)
		}
		if !more || (d.crashes < crashesMax && d.rng.IntN(4) == 0) {
			d.crashes++
			return d.restart()
		}
	}
	return nil
}

func (d *disturber) restart() error {
	d.run.figures.Crashes++ // moves on to the next parallelism
	if err := d.run.close(); err != nil {
		return err
	}
	return d.run.start()
}
