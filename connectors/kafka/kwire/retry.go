package kwire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/internal/clock"
)

// Backoff is the wait before a retry: doubled from Base up to Max, each with
// up to a quarter taken off at random so that many clients spread out.
type Backoff struct {
	Base, Max time.Duration
}

// DefaultBackoff suits requests to a broker.
func DefaultBackoff() Backoff { return Backoff{Base: 20 * time.Millisecond, Max: 2 * time.Second} }

// Wait returns the wait before retry number n, which counts from 0.
func (b Backoff) Wait(n int) time.Duration {
	d := b.Max
	if n < 16 {
		d = min(b.Max, b.Base<<n)
	}
	return d - time.Duration(rand.Int64N(int64(d/4)+1))
}

// Sleep waits for d; it returns ctx's error when that ends first.
func Sleep(ctx context.Context, clk clock.Clock, d time.Duration) error {
	t := clk.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryMax bounds the tries of one call, about 25 s with DefaultBackoff; calls
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
	b := DefaultBackoff()
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
		if serr := Sleep(ctx, c.cfg.Clock, b.Wait(n)); serr != nil {
			return fmt.Errorf("%s: %w", what, errors.Join(serr, err))
		}
	}
	return fmt.Errorf("%s: gave up after %d tries: %w", what, retryMax, err)
}
