// Package retry repeats what may fail for a while, with growing pauses and
// within limits. Whether an error is worth another try is for the caller to
// say; nothing is retried for ever.
package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/internal/clock"
)

// Policy says how often and how long apart.
type Policy struct {
	// AttemptsMax is how often the operation is tried in all; at least 1.
	AttemptsMax int
	// PauseFirst is the pause after the first failure; each further one is
	// twice as long, up to PauseMax. Half of every pause is random, so that
	// many clients that failed together do not come back together.
	PauseFirst, PauseMax time.Duration
}

// Pause returns the pause after the given failed attempt (from 1), with
// random in [0,1) deciding its random half.
func (p Policy) Pause(attempt int, random float64) time.Duration {
	d := p.PauseFirst
	for i := 1; i < attempt && d < p.PauseMax; i++ {
		d *= 2
	}
	d = min(d, p.PauseMax)
	return d/2 + time.Duration(random*float64(d/2))
}

// Do calls op until it returns nil, a permanent error, or the attempts or ctx
// end. It returns op's last error, without the mark of Permanent. op is told
// the number of the attempt, from 1.
func Do(ctx context.Context, clk clock.Clock, p Policy, op func(ctx context.Context, attempt int) error) error {
	var telling error // the last that says more than that time ran out
	for attempt := 1; ; attempt++ {
		err := op(ctx, attempt)
		if err == nil {
			return nil
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			telling = err
		} else if telling != nil {
			err = fmt.Errorf("%w; before that: %w", err, telling)
		}
		var stop permanent
		if errors.As(err, &stop) {
			return stop.err
		}
		if ctx.Err() != nil {
			return err
		}
		if attempt >= p.AttemptsMax {
			return fmt.Errorf("%w (tried %d times)", err, attempt)
		}
		if Wait(ctx, clk, p.Pause(attempt, rand.Float64())) != nil {
			return fmt.Errorf("%w (tried %d times, then %w)", err, attempt, ctx.Err())
		}
	}
}

// Wait returns nil after d, or ctx's error when it ends before.
func Wait(ctx context.Context, clk clock.Clock, d time.Duration) error {
	t := clk.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent marks an error that another try cannot help. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}
