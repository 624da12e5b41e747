//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
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

// TestDrain ends the input of a job that would run for ever: every window
// fires, also those that wait for a watermark, and the result is complete.
func TestDrain(t *testing.T) {
	r := start(t, 3)
	ctx := t.Context()
	x := &run{
		rig: r, name: "drain", in: proof.Generate(random("drain").Uint64(), *orders, 2*time.Hour), topics: proof.TopicsWith("drain-"),
		wrote: make(chan error, 1), endless: true,
	}
	if err := x.begin(ctx, *pace); err != nil {
		t.Fatal(err)
	}
	if err := <-x.wrote; err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; {
		n, err := proof.GroupOffsets(ctx, r.Brokers(), x.name+"-orders-job", x.topics.Orders)
		if err != nil {
			t.Fatal(err)
		}
		if n == int64(x.in.Len()) {
			break
		}
		if time.Since(began) > aimMax {
			t.Fatalf("%d of %d records are read after %s", n, x.in.Len(), aimMax)
		}
		if err := rig.Pause(ctx, 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if before, err := proof.Check(ctx, r.Brokers(), x.topics, x.in); err != nil || len(before.Faults) == 0 {
		t.Fatalf("all windows have fired before the input has ended: the drain shows nothing (%v)", err)
	}
	where, err := x.stop(ctx, "--drain")
	if err != nil {
		t.Fatal(err)
	}
	res, err := x.prove(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("drained to %s: %d rows equal the answer", where, len(res.Rows))
	if _, err := r.Submit(ctx, filepath.Join(programs, "orders.bundle"), "again", 2, []string{"--from-savepoint", where}, "--topics", "drain-", "--brokers", r.Brokers()); err == nil {
		t.Error("a drained savepoint was started from without --allow-drained")
	}
}
