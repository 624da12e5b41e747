//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/test/e2e/rig"
)

var results = flag.String("results", "", "file for the measured gaps; default: gaps.json in build/e2e-report")

// What the measured job does: windows close all the time, so that each commit
// has something to show.
const (
	gapOrdersPerSecond = 3000
	gapEventPerSecond  = 20 * time.Minute
	gapPace            = 12 * time.Second
)

// figures are the gaps after the kills of one target.
type figures struct {
	Target       string  `json:"target"`
	MedianMillis int64   `json:"median_ms"`
	WorstMillis  int64   `json:"worst_ms"`
	Millis       []int64 `json:"raw_ms"`
}

// rescaling is measured like a kill: the job goes from two subtasks to four.
const rescaling rig.Target = "rescale 2-4"

// TestGaps measures for how long no new committed row can be read when a
// worker, a taskmanager or the leading jobmanager is killed, and when the job
// is rescaled. Each kill has a job of its own: the delay
// of a restart grows with the failures before it, which is not to be measured.
func TestGaps(t *testing.T) {
	if *gaps == 0 {
		t.Skip("NOT TESTED: -gaps 0: nothing is measured")
	}
	r := start(t, 4)
	var quiet []int64
	var all []figures
	for _, target := range []rig.Target{rig.Worker, rig.TaskManager, rig.JobManager, rescaling} {
		rng := random("gaps of " + string(target))
		var millis []int64
		for n := range *gaps {
			before, gap, err := measure(t, r, target, fmt.Sprintf("gap-%s-%d", strings.Fields(string(target))[0], n+1), rng)
			if err != nil {
				t.Fatalf("%s kill %d: %v", target, n+1, err)
			}
			quiet, millis = append(quiet, before...), append(millis, gap)
		}
		all = append(all, summary(string(target), millis))
	}
	report(t, append([]figures{summary("none", quiet)}, all...))
}

// measure runs a job, kills the target once and proves the output. It returns
// the times between rows before the kill, and the longest after it.
func measure(t *testing.T, r *rig.Rig, target rig.Target, name string, rng *rand.Rand) (quiet []int64, gap int64, err error) {
	ctx := t.Context()
	x, err := begin(ctx, r, name, rng, int(gapPace/time.Second)*gapOrdersPerSecond, gapEventPerSecond*(gapPace/time.Second), gapPace)
	if err != nil {
		return nil, 0, err
	}
	seen, stop := follow(t, r.Brokers(), x.topics.Revenue)
	defer stop()
	if err := x.rig.AwaitCheckpoints(ctx, x.id, 2, aimMax); err != nil {
		return nil, 0, err
	}
	steady := time.Now()
	if err := rig.Pause(ctx, 2*time.Second+time.Duration(rng.Int64N(int64(time.Second)))); err != nil {
		return nil, 0, err
	}
	at, err := disturb(ctx, x, target, rng)
	if err != nil {
		return nil, 0, err
	}
	gap = slices.Max(seen.intervals(at, time.Now()))
	restarts, err := x.finish(ctx)
	if err != nil {
		return nil, 0, err
	}
	if want := restartsOf(target); restarts != want {
		return nil, 0, fmt.Errorf("%s was killed once: %d restarts, want %d", target, restarts, want)
	}
	if _, err := x.prove(ctx); err != nil {
		return nil, 0, err
	}
	return seen.intervals(steady, at), gap, nil
}

// restartsOf is how often a job restarts when the target is killed once.
func restartsOf(target rig.Target) int {
	if target == rig.JobManager || target == rescaling {
		return 0
	}
	return 1
}

// disturb kills the target and returns when, once the job commits again.
func disturb(ctx context.Context, x *run, target rig.Target, rng *rand.Rand) (time.Time, error) {
	before, err := x.rig.Job(ctx, x.id)
	if err != nil {
		return time.Time{}, err
	}
	done, err := x.rig.Checkpoints(ctx, x.id)
	if err != nil {
		return time.Time{}, err
	}
	if target == rig.JobManager {
		done = 0 // the next leader counts its own
	}
	at := time.Now()
	if target == rescaling {
		if _, err := x.rig.Flinkctl(ctx, "job", "rescale", x.id, "4"); err != nil {
			return at, err
		}
		return at, x.rig.AwaitCheckpoints(ctx, x.id, done+3, aimMax)
	}
	restart, _, err := x.rig.Kill(ctx, target, x.id, rng)
	if err != nil {
		return at, err
	}
	if target == rig.TaskManager {
		if err := rig.Pause(ctx, time.Second); err != nil {
			return at, err
		}
	}
	if err := restart(ctx); err != nil {
		return at, err
	}
	if err := x.rig.AwaitRunning(ctx, x.id, before.Attempt+int64(restartsOf(target)), aimMax); err != nil {
		return at, err
	}
	if err := x.rig.AwaitCheckpoints(ctx, x.id, done+2, aimMax); err != nil {
		return at, err
	}
	return at, x.rig.AwaitTaskManagers(ctx)
}

// arrivals are the times at which committed rows were read.
type arrivals struct {
	mu sync.Mutex
	at []time.Time // guarded by mu
}

// follow reads a topic's committed rows until stop is called.
func follow(t *testing.T, brokers, topic string) (*arrivals, func()) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	a := &arrivals{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if fs := cl.PollFetches(ctx); fs.NumRecords() > 0 {
				a.add(time.Now())
			}
		}
	})
	return a, func() { cancel(); wg.Wait(); cl.Close() }
}

// sameCommit is how far apart rows of one commit are read: its partitions
// become readable one after another.
const sameCommit = 200 * time.Millisecond

func (a *arrivals) add(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.at); n == 0 || at.Sub(a.at[n-1]) > sameCommit {
		a.at = append(a.at, at)
	}
}

// intervals returns the times between rows in milliseconds, from the last
// one before from to the last one before to.
func (a *arrivals) intervals(from, to time.Time) []int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []int64
	for i := 1; i < len(a.at); i++ {
		if a.at[i].After(from) && a.at[i].Before(to) {
			out = append(out, a.at[i].Sub(a.at[i-1]).Milliseconds())
		}
	}
	if len(out) == 0 {
		return []int64{to.Sub(from).Milliseconds()}
	}
	return out
}

func summary(target string, millis []int64) figures {
	sorted := slices.Sorted(slices.Values(millis))
	median := (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
	return figures{Target: target, MedianMillis: median, WorstMillis: sorted[len(sorted)-1], Millis: millis}
}

// report prints and writes the figures with what they depend on.
func report(t *testing.T, all []figures) {
	t.Helper()
	load, _ := os.ReadFile("/proc/loadavg") // empty where there is none
	for _, f := range all {
		t.Logf("killed %-12s gap in committed output: median %d ms, worst %d ms of %d", f.Target, f.MedianMillis, f.WorstMillis, len(f.Millis))
	}
	b, err := json.MarshalIndent(map[string]any{
		"what":          "time without a new committed row around a SIGKILL, read with read_committed from Apache Kafka; none: between rows while nothing is killed",
		"seed":          *seed,
		"checkpoint_ms": 1000, "parallelism": 2, "orders_per_second": gapOrdersPerSecond,
		"processors": runtime.NumCPU(), "load_average": string(load), "build_tags": "failpoints",
		"gaps": all,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *results == "" {
		save(t, "gaps.json", string(b)+"\n")
		return
	}
	path := *results
	if !filepath.IsAbs(path) {
		path = filepath.Join(module(), path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		t.Fatal(fmt.Errorf("results: %w", err))
	}
}
