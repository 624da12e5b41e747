//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/test/e2e/rig"
)

// aimMax is how long a round waits for the window that it aims at.
const aimMax = 30 * time.Second

// kill is one line of the report.
type kill struct {
	target   rig.Target
	victim   string
	aimed    rig.Window
	hit      rig.Window
	restarts int
	took     time.Duration
	fault    string
}

// TestKills kills every kind of process, in every window of a checkpoint and
// at random moments. After each the committed output must be the answer.
func TestKills(t *testing.T) {
	r := start(t, 3)
	var done []kill
	var parts []*part
	for _, target := range rig.Targets() {
		if *only == "" || strings.Contains(","+*only+",", ","+string(target)+",") {
			rng := random("kills of " + string(target))
			parts = append(parts, &part{target, rng, aimsOf(rng)})
		}
	}
	for n := range *rounds {
		for _, p := range parts {
			if spent() {
				t.Logf("%s: round %d is left out, the budget of %s is used up", p.target, n+1, *budget)
				continue
			}
			k := round(t.Context(), r, p.target, p.aims[n%len(p.aims)], fmt.Sprintf("%s-%d", p.target, n+1), p.rng)
			done = append(done, k)
			t.Logf("%-11s %-24s aimed %-10s hit %-10s restarts %d  %5.1f s  %s", k.target, k.victim, k.aimed, k.hit, k.restarts, k.took.Seconds(), k.fault)
			if k.fault != "" {
				t.Errorf("%s round %d: %s", p.target, n+1, k.fault)
				return // what follows on a broken cluster says nothing
			}
		}
	}
	reportKills(t, done)
}

// part is the kills of one target: its numbers and windows do not depend on
// what else is killed.
type part struct {
	target rig.Target
	rng    *rand.Rand
	aims   []rig.Window
}

// aimsOf returns the windows in a seeded order, and last a random moment.
func aimsOf(rng *rand.Rand) []rig.Window {
	aims := []rig.Window{rig.Preparing, rig.Prepared, rig.Written, rig.Moved, rig.Committing}
	rng.Shuffle(len(aims), func(i, j int) { aims[i], aims[j] = aims[j], aims[i] })
	return append(aims, rig.Between)
}

// round runs one job, kills the target once and proves the output.
func round(ctx context.Context, r *rig.Rig, target rig.Target, aim rig.Window, name string, rng *rand.Rand) kill {
	began := time.Now()
	k := kill{target: target, aimed: aim}
	if err := k.run(ctx, r, name, rng); err != nil {
		k.fault = err.Error()
	}
	k.took = time.Since(began)
	return k
}

func (k *kill) run(ctx context.Context, r *rig.Rig, name string, rng *rand.Rand) error {
	x, err := begin(ctx, r, name, rng, *orders, 2*time.Hour, *pace)
	if err != nil {
		return err
	}
	if err := k.strike(ctx, x, rng); err != nil {
		return err
	}
	if k.restarts, err = x.finish(ctx); err != nil {
		return err
	}
	if k.target == rig.JobManager {
		j, err := r.Job(ctx, x.id)
		if err != nil {
			return err
		}
		if j.Attempt != 1 || k.restarts != 0 {
			return fmt.Errorf("the leader was killed, and the job ended in attempt %d after %d restarts: its workers were not taken over", j.Attempt, k.restarts)
		}
	}
	if (k.target == rig.Worker || k.target == rig.TaskManager) && k.restarts == 0 {
		return fmt.Errorf("%s was killed, but the job has not restarted", k.victim)
	}
	if _, err := x.prove(ctx); err != nil {
		return err
	}
	return r.AwaitTaskManagers(ctx)
}

// strike waits for the moment, kills, waits a seeded while and starts again
// what was killed.
func (k *kill) strike(ctx context.Context, x *run, rng *rand.Rand) error {
	if err := x.awaitCheckpoint(ctx); err != nil {
		return err
	}
	if err := rig.Pause(ctx, time.Duration(rng.Int64N(int64(*pace/3)))); err != nil {
		return err
	}
	if p, aimed := rig.Windows()[k.aimed]; aimed {
		if err := x.rig.Trace.Hold(ctx, p, aimMax); err != nil {
			return err
		}
		if err := rig.Pause(ctx, time.Duration(rng.Int64N(int64(30*time.Millisecond)))); err != nil {
			return err
		}
	}
	at := time.Now()
	restart, victim, err := x.rig.Kill(ctx, k.target, x.id, rng)
	k.victim = victim
	if err != nil {
		return err
	}
	hits, err := x.rig.Trace.Hits()
	if err != nil {
		return err
	}
	k.hit = rig.WindowAt(hits, at)
	if err := x.rig.Trace.Disarm(); err != nil {
		return err
	}
	if err := rig.Pause(ctx, 200*time.Millisecond+time.Duration(rng.Int64N(int64(3*time.Second)))); err != nil {
		return err
	}
	return restart(ctx)
}

// awaitCheckpoint returns when the job has completed a checkpoint.
func (x *run) awaitCheckpoint(ctx context.Context) error {
	return x.rig.AwaitCheckpoints(ctx, x.id, 1, aimMax)
}

// reportKills prints how many kills hit which window; one that none hit fails
// a full run.
func reportKills(t *testing.T, done []kill) {
	columns := []rig.Window{rig.Between, rig.Preparing, rig.Prepared, rig.Written, rig.Moved, rig.Committing, rig.Recovering}
	var b strings.Builder
	fmt.Fprintf(&b, "\nseed %d: %d kills, each followed by a full proof\n%-12s", *seed, len(done), "KILLED")
	for _, w := range columns {
		fmt.Fprintf(&b, " %10s", strings.ToUpper(string(w)))
	}
	total := make(map[rig.Window]int)
	for _, target := range rig.Targets() {
		fmt.Fprintf(&b, "\n%-12s", target)
		for _, w := range columns {
			n := 0
			for _, k := range done {
				if k.target == target && k.hit == w {
					n++
				}
			}
			total[w] += n
			fmt.Fprintf(&b, " %10d", n)
		}
	}
	b.WriteString("\n")
	t.Log(b.String())
	save(t, "kills.txt", b.String())
	if *rounds < 5 || *only != "" || spent() {
		return
	}
	for w := range rig.Windows() {
		if total[w] == 0 {
			t.Errorf("no kill has hit the window %q: the run proves nothing about it", w)
		}
	}
}
