package scheduler

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow/graph"
)

func newRestarter(r graph.Restart) *restarter {
	c := graph.Config{Restart: r}
	c.EnsureDefaults()
	return &restarter{cfg: c.Restart, rng: rand.New(rand.NewPCG(3, 3))}
}

func TestExponentialDelayGrowsWithinJitterAndResets(t *testing.T) {
	t.Parallel()
	r := newRestarter(graph.Restart{})
	now := time.Unix(0, 0)
	want := 200 * time.Millisecond
	for i := range 12 {
		d, ok := r.next(now, 0)
		if !ok {
			t.Fatalf("failure %d ends the job", i)
		}
		if lo, hi := time.Duration(float64(want)*0.8), time.Duration(float64(want)*1.2); d < lo || d > hi {
			t.Fatalf("failure %d: delay %v, want %v to %v", i, d, lo, hi)
		}
		want = min(2*want, 30*time.Second)
	}
	if d, _ := r.next(now, time.Minute-time.Second); d < 20*time.Second {
		t.Fatalf("delay %v after less than a minute of running, want about 30 s", d)
	}
	if d, _ := r.next(now, time.Minute); d > 300*time.Millisecond {
		t.Fatalf("delay %v after a minute of running, want about 200 ms", d)
	}
}

func TestExponentialDelayWithABound(t *testing.T) {
	t.Parallel()
	r := newRestarter(graph.Restart{AttemptsMax: 2})
	for i, want := range []bool{true, true, false} {
		if _, ok := r.next(time.Unix(0, 0), 0); ok != want {
			t.Fatalf("failure %d: goes on %v, want %v", i, ok, want)
		}
	}
}

func TestFixedDelayNeverForgets(t *testing.T) {
	t.Parallel()
	r := newRestarter(graph.Restart{Kind: graph.RestartFixed})
	for i := range 4 {
		d, ok := r.next(time.Unix(int64(i)*3600, 0), time.Hour)
		if d != time.Second || ok != (i < 3) {
			t.Fatalf("failure %d: delay %v, goes on %v", i, d, ok)
		}
	}
}

func TestFailureRate(t *testing.T) {
	t.Parallel()
	r := newRestarter(graph.Restart{Kind: graph.RestartFailureRate, AttemptsMax: 2, Interval: 10 * time.Second})
	for i, c := range []struct {
		at   int64
		want bool
	}{{0, true}, {5, true}, {11, true}, {22, true}, {23, true}, {24, false}} {
		if _, ok := r.next(time.Unix(c.at, 0), 0); ok != c.want {
			t.Fatalf("failure %d at %d s: goes on %v, want %v", i, c.at, ok, c.want)
		}
	}
}

func TestNoRestart(t *testing.T) {
	t.Parallel()
	if _, ok := newRestarter(graph.Restart{Kind: graph.RestartNone}).next(time.Unix(0, 0), time.Hour); ok {
		t.Fatal("a job without restarts was restarted")
	}
}

// Every state can be left, and only those that are final cannot.
func TestTransitionsReachTheEnd(t *testing.T) {
	t.Parallel()
	for s, next := range transitions {
		if State(s).Terminal() != (len(next) == 0) {
			t.Errorf("state %s has %d transitions", State(s), len(next))
		}
		for _, n := range next {
			if n == State(s) {
				t.Errorf("state %s leads to itself", n)
			}
		}
	}
}
