//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/test/e2e/rig"
)

// TestRescale lets a job grow and shrink while it runs, at random moments, and
// each time kills something while it does: the result is that of one run.
func TestRescale(t *testing.T) {
	r := start(t, 4)
	ctx, rng := t.Context(), random("rescale")
	x, err := begin(ctx, r, "rescale", rng, 3**orders, 2*time.Hour, 3**pace)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		parallelism int
		kill        rig.Target // while the job is rescaled
	}{{4, ""}, {1, ""}, {3, rig.Worker}, {2, rig.JobManager}, {4, rig.TaskManager}} {
		if err := x.awaitCheckpoint(ctx); err != nil {
			t.Fatal(err)
		}
		if err := rig.Pause(ctx, time.Duration(rng.Int64N(int64(time.Second)))); err != nil {
			t.Fatal(err)
		}
		if err := x.rescale(ctx, step.parallelism, step.kill, rng); err != nil {
			t.Fatalf("to %d, %s killed: %v", step.parallelism, step.kill, err)
		}
		t.Logf("rescaled to %d, killed meanwhile: %q", step.parallelism, step.kill)
	}
	if err := x.drain(ctx, rng); err != nil {
		t.Fatal(err)
	}
	if _, err := x.finish(ctx); err != nil {
		t.Fatal(err)
	}
	res, err := x.prove(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows equal the answer, %d late, %d dead letters", len(res.Rows), res.Late, res.DeadLetters)
}

// drain takes the job down to two subtasks, and has one of their taskmanagers
// end with SIGTERM: the job moves to others, which is no failure.
func (x *run) drain(ctx context.Context, rng *rand.Rand) error {
	if err := x.rescale(ctx, 2, "", rng); err != nil {
		return err
	}
	before, err := x.rig.Job(ctx, x.id)
	if err != nil {
		return err
	}
	restart, name, err := x.rig.End(ctx, x.id, rng)
	if err != nil {
		return err
	}
	if err := x.rescaled(ctx, 2, nil); err != nil {
		return err
	}
	after, err := x.rig.Job(ctx, x.id)
	if err == nil && (after.Attempt != before.Attempt+1 || after.Restarts != before.Restarts) {
		err = fmt.Errorf("%s was to end: the job went from attempt %d to %d, %d restarts before and %d after", name, before.Attempt, after.Attempt, before.Restarts, after.Restarts)
	}
	return errors.Join(err, restart(ctx))
}

// rescale changes the parallelism and kills the target, if any, while that is
// under way. It returns once the job runs as was wanted.
func (x *run) rescale(ctx context.Context, parallelism int, target rig.Target, rng *rand.Rand) error {
	if target == "" {
		_, err := x.rig.Flinkctl(ctx, "job", "rescale", x.id, fmt.Sprint(parallelism))
		return x.rescaled(ctx, parallelism, err)
	}
	if _, err := x.rig.Flinkctl(ctx, "job", "rescale", x.id, fmt.Sprint(parallelism), "--no-wait"); err != nil {
		return err
	}
	if err := rig.Pause(ctx, time.Duration(rng.Int64N(int64(400*time.Millisecond)))); err != nil {
		return err
	}
	restart, _, err := x.rig.Kill(ctx, target, x.id, rng)
	if err != nil {
		return err
	}
	if err := rig.Pause(ctx, time.Second); err != nil {
		return err
	}
	return x.rescaled(ctx, parallelism, restart(ctx))
}

// rescaled waits until the job runs at a parallelism.
func (x *run) rescaled(ctx context.Context, parallelism int, err error) error {
	for began := time.Now(); err == nil; err = rig.Pause(ctx, 100*time.Millisecond) {
		j, err := x.rig.Job(ctx, x.id)
		switch {
		case err == nil && j.State == "RUNNING" && j.Parallelism == parallelism:
			return nil
		case time.Since(began) > aimMax:
			return fmt.Errorf("the job is %s (%s) at parallelism %d, want %d: %w", j.State, j.StateReason, j.Parallelism, parallelism, err)
		}
	}
	return err
}
