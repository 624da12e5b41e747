//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/internal/fault"
	"github.com/leatstream/leat/test/e2e/rig"
)

// TestFailpoints crashes a process at every failpoint that the code has. One
// that no process passes fails the run.
func TestFailpoints(t *testing.T) {
	r := start(t, 3)
	var b strings.Builder
	fmt.Fprintf(&b, "\nseed %d: a crash at each failpoint, each followed by a full proof\n", *seed)
	for i, p := range fault.Names() {
		if spent() {
			t.Logf("failpoints from %s on are left out, the budget of %s is used up", p, *budget)
			break
		}
		began := time.Now()
		restarts, err := crashAt(t.Context(), r, p, fmt.Sprintf("point-%d", i+1), random("failpoint "+string(p)))
		fmt.Fprintf(&b, "%-28s restarts %d  %5.1f s\n", p, restarts, time.Since(began).Seconds())
		t.Logf("%-28s restarts %d  %5.1f s", p, restarts, time.Since(began).Seconds())
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
	}
	save(t, "failpoints.txt", b.String())
}

func crashAt(ctx context.Context, r *rig.Rig, p fault.Point, name string, rng *rand.Rand) (restarts int, err error) {
	x, err := begin(ctx, r, name, rng, *orders, 2*time.Hour, *pace)
	if err != nil {
		return 0, err
	}
	if err := x.awaitCheckpoint(ctx); err != nil {
		return 0, err
	}
	if err := rig.Pause(ctx, time.Duration(rng.Int64N(int64(time.Second)))); err != nil {
		return 0, err
	}
	if err := r.Trace.Crash(p); err != nil {
		return 0, err
	}
	if isRecovery(p) {
		// It is passed when a job starts again with sealed transactions.
		if err := r.Trace.Crash(fault.KafkaSinkBeforeCommit); err != nil {
			return 0, err
		}
	}
	if err := r.Trace.AwaitCrash(ctx, p, aimMax); err != nil {
		return 0, err
	}
	if err := rig.Pause(ctx, time.Duration(rng.Int64N(int64(2*time.Second)))); err != nil {
		return 0, err
	}
	if err := r.Revive(); err != nil {
		return 0, err
	}
	if restarts, err = x.finish(ctx); err != nil {
		return restarts, err
	}
	if restarts == 0 && !strings.HasPrefix(string(p), "jobmaster.") {
		return restarts, fmt.Errorf("a worker has crashed, but the job has not restarted")
	}
	if _, err := x.prove(ctx); err != nil {
		return restarts, err
	}
	return restarts, r.AwaitTaskManagers(ctx)
}

// isRecovery tells the failpoints that a job passes only when it starts.
func isRecovery(p fault.Point) bool {
	return p == fault.KafkaSinkBeforeRecover || p == fault.KafkaSinkRecommitted || p == fault.KafkaSinkAfterFence
}
