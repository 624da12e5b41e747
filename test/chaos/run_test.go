//go:build e2e

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/test/e2e/rig"
	"github.com/leatstream/leat/test/proof"
)

// Bounds of waiting. What takes longer is stuck.
const (
	startMax   = time.Minute
	recoverMax = 90 * time.Second
	finishMax  = 3 * time.Minute
)

// calmMost is how long at most the cluster is left alone between two faults.
const calmMost = 2 * time.Second

// eventPerSecond is the event time that the orders of a second cover.
const eventPerSecond = time.Minute

// secondFault is the part of faults during which another one begins.
const secondFault = 0.25

// TestChaos is the run.
func TestChaos(t *testing.T) {
	c := startCluster(t)
	calm, err := begin(t.Context(), c, "calm", rand.New(rand.NewPCG(*seed, 1)), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := calm.finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := c.leftovers(t.Context(), calm.id)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(*seed, 2))
	x, err := begin(t.Context(), c, "chaos", rng, *length)
	if err != nil {
		t.Fatal(err)
	}
	rep := newReport(t)
	if err := x.breakAll(t, rep, rng); err != nil {
		x.explain(t)
		t.Fatal(err)
	}
	if err := x.finish(t.Context()); err != nil {
		x.explain(t)
		t.Fatal(err)
	}
	rep.end()
	if rep.faults == 0 {
		t.Error("no fault has begun: the run proves nothing")
	}
	after, err := c.leftovers(t.Context(), x.id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := before.differ(after); diff != "" {
		t.Errorf("the job leaves other things than one that nothing happened to: %s", diff)
	}
	orphans, all, err := c.unreferenced(x.id)
	if err != nil {
		t.Fatal(err)
	}
	if len(orphans) > 0 || all == 0 {
		t.Errorf("of %d objects with state these belong to no checkpoint: %q", all, orphans)
	}
}

// run is one job over an input of its own.
type run struct {
	*cluster
	name, id string
	in       *proof.Input
	topics   proof.Topics
	ledger   string
	wrote    chan error
	until    time.Time // when its input ends
}

// begin creates topics, submits the job and starts to write its input.
func begin(ctx context.Context, c *cluster, name string, rng *rand.Rand, span time.Duration) (*run, error) {
	n := int(span.Seconds()) * *rate
	x := &run{
		cluster: c, name: name, ledger: name + "-ledger", topics: proof.TopicsWith(name + "-"), wrote: make(chan error, 2),
		in: proof.Generate(rng.Uint64(), n, eventPerSecond*span/time.Second),
	}
	payments := name + "-payments"
	if err := proof.Create(ctx, c.Brokers(), x.topics.Orders, payments, x.topics.Revenue, x.topics.Late, x.topics.DLQ, x.ledger); err != nil {
		return nil, err
	}
	paid := paymentsOf(x.in)
	var err error
	if x.id, err = c.Submit(ctx, filepath.Join(programs(), "job.bundle"), name, 2, nil, "--brokers", c.Brokers(), "--topics", name+"-",
		"--orders-end", ends(x.in), "--payments-end", ends(paid)); err != nil {
		return nil, err
	}
	go func() { x.wrote <- proof.Produce(ctx, c.Brokers(), x.topics.Orders, x.in, span, nil) }()
	go func() { x.wrote <- proof.Produce(ctx, c.Brokers(), payments, paid, span, nil) }()
	x.until = time.Now().Add(span)
	return x, nil
}

func ends(in *proof.Input) string {
	var out []string
	for p, recs := range in.Partitions {
		out = append(out, fmt.Sprintf("%d:%d", p, len(recs)))
	}
	return strings.Join(out, ",")
}

// finish waits for the job's end and proves what it has committed.
func (x *run) finish(ctx context.Context) error {
	for range 2 {
		if err := <-x.wrote; err != nil {
			return fmt.Errorf("writing the input: %w", err)
		}
	}
	if _, err := x.AwaitFinished(ctx, x.id, finishMax); err != nil {
		return err
	}
	res, err := proof.Check(ctx, x.Brokers(), x.topics, x.in)
	if err != nil {
		return err
	}
	if len(res.Faults) > 0 {
		return fmt.Errorf("%s: the committed output is not the answer: %q", x.name, res.Faults)
	}
	if sum := res.Counted + res.Late + res.DeadLetters + res.Rules; sum != x.in.Len() {
		return fmt.Errorf("%s: %d orders are accounted for, not %d", x.name, sum, x.in.Len())
	}
	return checkLedger(ctx, x.Brokers(), x.ledger, x.in)
}

// breakAll begins one fault after another until the input ends.
func (x *run) breakAll(t *testing.T, rep *report, rng *rand.Rand) error {
	ctx := t.Context()
	seen := follow(t, x.Brokers(), x.ledger)
	if err := x.AwaitCheckpoints(ctx, x.id, 3, startMax); err != nil {
		return err
	}
	d := newDeck(rng)
	b := &breaker{x.cluster, x.id, rng}
	for {
		if err := rig.Pause(ctx, time.Duration(rng.Int64N(int64(calmMost)))); err != nil {
			return err
		}
		f := d.next()
		if time.Now().Add(f.most + calmMost).After(x.until) {
			return nil
		}
		e := &event{began: time.Now()}
		err := x.strike(ctx, b, e, d, f)
		if err == nil {
			err = x.recover(ctx, e, seen)
		}
		rep.line(e, err)
		if err != nil {
			return err
		}
	}
}

// strike begins a fault, for some of them another one too, and mends all.
func (x *run) strike(ctx context.Context, b *breaker, e *event, d *deck, f fault) error {
	hold := f.lasts(b.rng)
	both := b.rng.Float64() < secondFault
	if err := x.aim(ctx, b.rng); err != nil {
		return err
	}
	if err := x.look(ctx, e); err != nil {
		return err
	}
	mend, err := e.break1(ctx, b, f)
	if err != nil {
		return err
	}
	if err := x.Trace.Disarm(); err != nil {
		return err
	}
	mends := []func(context.Context) error{mend}
	if both {
		part := time.Duration(b.rng.Int64N(int64(hold) + 1))
		second := d.next()
		if err := rig.Pause(ctx, part); err != nil {
			return err
		}
		hold -= part
		// What it would hit may be gone by the first.
		if mend, err := e.break1(ctx, b, second); err == nil {
			mends = append(mends, mend)
			hold = max(hold, second.lasts(b.rng))
		}
	}
	if err := rig.Pause(ctx, hold); err != nil {
		return err
	}
	for _, mend := range mends {
		if err := mend(ctx); err != nil {
			return err
		}
	}
	e.mended = time.Now()
	return nil
}

// aim holds the cluster, for half of the faults, in a window of a checkpoint.
// Without it most would come between two.
func (x *run) aim(ctx context.Context, rng *rand.Rand) error {
	windows := []rig.Window{rig.Preparing, rig.Prepared, rig.Written, rig.Moved, rig.Committing}
	i := rng.IntN(2 * len(windows))
	if i >= len(windows) {
		return nil
	}
	return x.Trace.Hold(ctx, rig.Windows()[windows[i]], recoverMax)
}

// recover waits until the job commits again, and the cluster is whole.
func (x *run) recover(ctx context.Context, e *event, seen *arrivals) error {
	for began := time.Now(); len(seen.since(e.mended)) < 2; {
		// The input may have ended meanwhile.
		if j, err := x.Job(ctx, x.id); err == nil && j.State == "FINISHED" {
			break
		}
		if time.Since(began) > recoverMax {
			return fmt.Errorf("stuck: nothing was committed within %s of the end of the fault", recoverMax)
		}
		if err := rig.Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	e.gap = seen.gap(e.began)
	if err := x.awaitUp(ctx); err != nil {
		return fmt.Errorf("stuck: %w", err)
	}
	if err := x.AwaitTaskManagers(ctx); err != nil {
		return fmt.Errorf("stuck: %w", err)
	}
	return x.learn(ctx, e)
}

// awaitUp returns when the job runs, or has finished.
func (x *run) awaitUp(ctx context.Context) error {
	for began := time.Now(); ; {
		j, err := x.Job(ctx, x.id)
		if err == nil && (j.State == "RUNNING" || j.State == "FINISHED") {
			return nil
		}
		if time.Since(began) > recoverMax {
			return fmt.Errorf("the job is %s (%s) after %s: %w", j.State, j.StateReason, recoverMax, err)
		}
		if err := rig.Pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}
