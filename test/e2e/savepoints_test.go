//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/leatstream/leat/test/e2e/rig"
	"github.com/leatstream/leat/test/proof"
)

// TestSavepoints stops a job with a savepoint and starts it at another
// parallelism, twice: the result is that of one run.
func TestSavepoints(t *testing.T) {
	r := start(t, 3)
	ctx, rng := t.Context(), random("savepoints")
	x, err := begin(ctx, r, "savepoint", rng, 2**orders, 2*time.Hour, 2**pace)
	if err != nil {
		t.Fatal(err)
	}
	for _, parallelism := range []int{3, 1} {
		if err := x.awaitCheckpoint(ctx); err != nil {
			t.Fatal(err)
		}
		if err := rig.Pause(ctx, time.Duration(rng.Int64N(int64(time.Second)))); err != nil {
			t.Fatal(err)
		}
		where, err := x.stop(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.submit(ctx, parallelism, "--from-savepoint", where); err != nil {
			t.Fatal(err)
		}
		t.Logf("stopped with %s, started at parallelism %d", where, parallelism)
	}
	if _, err := x.finish(ctx); err != nil {
		t.Fatal(err)
	}
	res, err := x.prove(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows equal the answer, %d late, %d dead letters", len(res.Rows), res.Late, res.DeadLetters)
	readers(t, x)
}

// stop ends the job with a savepoint and returns its place.
func (x *run) stop(ctx context.Context, more ...string) (string, error) {
	out, err := x.rig.Flinkctl(ctx, append([]string{"job", "stop", x.id, "-o", "json"}, more...)...)
	if err != nil {
		return "", err
	}
	var op struct {
		Location string `json:"location"`
	}
	if err := json.Unmarshal([]byte(out), &op); err != nil || op.Location == "" {
		return "", fmt.Errorf("job stop printed %q: %v", out, err)
	}
	j, err := x.rig.AwaitFinished(ctx, x.id, finishMax)
	if err != nil {
		return "", fmt.Errorf("job %s after its savepoint: %w", j.Name, err)
	}
	return op.Location, nil
}

// TestDrain ends the input of a running job: every window fires, and the
// result is that of the records that were read.
func TestDrain(t *testing.T) {
	r := start(t, 3)
	ctx := t.Context()
	x, err := begin(ctx, r, "drain", random("drain"), *orders, 2*time.Hour, *pace)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.awaitCheckpoint(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := x.stop(ctx, "--drain"); err != nil {
		t.Fatal(err)
	}
	if err := <-x.wrote; err != nil {
		t.Fatal(err)
	}
	read, err := proof.GroupPositions(ctx, r.Brokers(), x.name+"-orders-job", x.topics.Orders)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for p, n := range read {
		if n > int64(len(x.in.Partitions[p])) {
			t.Fatalf("partition %d was read up to %d, it has %d records", p, n, len(x.in.Partitions[p]))
		}
		x.in.Partitions[p] = x.in.Partitions[p][:n]
		total += int(n)
	}
	if total == 0 {
		t.Fatal("nothing was read before the drain")
	}
	res, err := x.prove(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("drained after %d records at %v: %d rows equal the answer", total, read, len(res.Rows))
}
