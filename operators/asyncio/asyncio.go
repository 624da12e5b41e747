// Package asyncio holds the operator that asks something outside for each row
// without waiting for one answer before it asks the next: so many requests at
// once, in goroutines of its own, with time-outs, retries and a cache. Answers
// come back to the task's goroutine as mail. It knows no protocol: what is
// asked, and how, is the user's function.
package asyncio

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/leatstream/leat/operators"
)

// CapacityDefault is the number of requests in flight when nothing is said.
const CapacityDefault = 100

// Metrics of the operator.
const (
	MetricInFlight  = "asyncRequestsInFlight"
	MetricRetries   = "asyncRetries"
	MetricTimeouts  = "asyncTimeouts"
	MetricCacheHits = "asyncCacheHits"
	MetricCacheMiss = "asyncCacheMisses"
)

// Config describes an operator over rows T whose function answers with A and
// that emits R.
type Config[T, A, R any] struct {
	// Ask is called on goroutines of the operator. Its context ends at the
	// time-out and when the task is cancelled.
	Ask func(ctx context.Context, v T) (A, error)
	// Emit adds the rows of an answer, on the task's goroutine. What a points
	// at may be in the cache.
	Emit func(out *operators.Collector[R], v T, t int64, a *A)
	// Fallback answers for a row whose time is up, nil: that is an error of
	// the row. It is called on the task's goroutine.
	Fallback func(v T) (A, error)
	// Unordered emits answers as they come, and no later than the next
	// watermark; else they are emitted in the order of their rows.
	Unordered bool
	// Capacity bounds the rows that are asked for and not emitted.
	Capacity int
	// Timeout bounds the time of a row, with all attempts; 0: no bound.
	Timeout time.Duration
	Retry   Retry
	// Cache makes the cache of a subtask, nil: there is none.
	Cache func() Cache[T, A]
}

// Retry says how often a request that failed is tried again.
type Retry struct {
	// Attempts is how often a row is asked for at most; 0 and 1: once.
	Attempts int
	// Delay is the time before the second attempt.
	Delay time.Duration
	// Factor multiplies the delay before each further one; 0: 2.
	Factor float64
	// DelayMax bounds the delay; 0: a minute.
	DelayMax time.Duration
	// If says which errors are worth another attempt; nil: all.
	If func(error) bool
}

const (
	factorDefault   = 2
	delayMaxDefault = time.Minute
)

// pause returns the time to wait after so many attempts.
func (r *Retry) pause(attempts int) time.Duration {
	factor, most := r.Factor, r.DelayMax
	if factor == 0 {
		factor = factorDefault
	}
	if most == 0 {
		most = delayMaxDefault
	}
	d := float64(r.Delay) * math.Pow(factor, float64(attempts-1))
	return time.Duration(min(d, float64(most)))
}

// again reports whether err is worth another attempt.
func (r *Retry) again(attempts int, err error) bool {
	return attempts < r.Attempts && (r.If == nil || r.If(err))
}

// New returns the operator's factory.
func New[T, A, R any](cfg Config[T, A, R]) operators.Factory {
	if cfg.Capacity == 0 {
		cfg.Capacity = CapacityDefault
	}
	return operators.FactoryFunc(func() operators.Operator { return &operator[T, A, R]{cfg: cfg} })
}

// TimeoutError is the error of a row that was not answered in time.
type TimeoutError struct{ After time.Duration }

// Error implements error.
func (e *TimeoutError) Error() string { return fmt.Sprintf("no answer within %s", e.After) }

// Unwrap makes it a context.DeadlineExceeded.
func (e *TimeoutError) Unwrap() error { return context.DeadlineExceeded }
