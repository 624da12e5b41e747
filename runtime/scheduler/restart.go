package scheduler

import (
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/dataflow/graph"
)

// restarter decides whether and when a job is tried again.
type restarter struct {
	cfg graph.Restart
	rng *rand.Rand
	// failures counts those since the last undisturbed run of ResetAfter.
	failures int
	// recent holds the times of failures within Interval, oldest first; at
	// most AttemptsMax+1 of them.
	recent []time.Time
}

// jitter is the part of an exponential delay by which it varies, up or down:
// jobs that failed together do not come back together.
const jitter = 0.2

// next notes a failure after ran of undisturbed running (0 when the attempt
// never ran) and returns the delay before the next attempt, or false.
func (r *restarter) next(now time.Time, ran time.Duration) (time.Duration, bool) {
	switch r.cfg.Kind {
	case graph.RestartNone:
		return 0, false
	case graph.RestartFixed:
		r.failures++
		return r.cfg.Delay, r.failures <= r.cfg.AttemptsMax
	case graph.RestartFailureRate:
		r.failures++
		return r.cfg.Delay, r.withinRate(now)
	default:
		if ran >= r.cfg.ResetAfter {
			r.failures = 0
		}
		r.failures++
		ok := r.cfg.AttemptsMax == 0 || r.failures <= r.cfg.AttemptsMax
		return r.exponential(), ok
	}
}

func (r *restarter) withinRate(now time.Time) bool {
	r.recent = append(r.recent, now)
	for len(r.recent) > 0 && now.Sub(r.recent[0]) > r.cfg.Interval {
		r.recent = r.recent[1:]
	}
	return len(r.recent) <= r.cfg.AttemptsMax
}

func (r *restarter) exponential() time.Duration {
	d := r.cfg.Delay
	for range r.failures - 1 {
		if d >= r.cfg.DelayMax {
			break
		}
		d *= 2
	}
	d = min(d, r.cfg.DelayMax)
	return time.Duration(float64(d) * (1 + jitter*(2*r.rng.Float64()-1)))
}
