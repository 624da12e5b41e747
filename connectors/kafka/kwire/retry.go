package kwire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/internal/retry"
)

// Pause returns the pause before retry number n of a request to a broker,
// which counts from 0.
func Pause(n int) time.Duration {
	p := retry.Policy{PauseFirst: 20 * time.Millisecond, PauseMax: 2 * time.Second}
	return p.Pause(n+1, rand.Float64())
}

// retryMax bounds the tries of one call, about 20 s in all; calls
// that must go on for longer are repeated by their caller.
const retryMax = 20

// Retriable reports whether err may pass by itself: a broker's retriable code
// or a fault of a connection, but not a refused authentication. The caller
// looks at its own context.
func Retriable(err error) bool {
	var auth *AuthError
	var c Code
	switch {
	case err == nil, errors.Is(err, ErrClosed), errors.As(err, &auth):
		return false
	case errors.As(err, &c):
		return c.Retriable()
	default:
		return true
	}
}

// retry calls f until it succeeds, fails for good or the tries are used up.
func (c *Client) retry(ctx context.Context, what string, f func() error) error {
	var err error
	for n := range retryMax {
		if err = f(); err == nil {
			if n > 0 && c.cfg.Trying != nil {
				c.cfg.Trying(nil)
			}
			return nil
		}
		if ctx.Err() != nil || !Retriable(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if c.cfg.Trying != nil {
			c.cfg.Trying(err)
		}
		c.cfg.Log.Debug("kafka request is retried", "request", what, "try", n+1, "error", err)
		if serr := retry.Wait(ctx, c.cfg.Clock, Pause(n)); serr != nil {
			return fmt.Errorf("%s: %w", what, errors.Join(serr, err))
		}
	}
	return fmt.Errorf("%s: gave up after %d tries: %w", what, retryMax, err)
}
