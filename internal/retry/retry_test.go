package retry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatstream/leat/internal/clock"
)

var policy = Policy{AttemptsMax: 5, PauseFirst: 100 * time.Millisecond, PauseMax: 300 * time.Millisecond}

func TestPausesGrowWithinBounds(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{1: 100, 2: 200, 3: 300, 4: 300, 60: 300} {
		want *= time.Millisecond
		if got := policy.Pause(attempt, 0); got != want/2 {
			t.Errorf("least pause after attempt %d is %v, want %v", attempt, got, want/2)
		}
		if got := policy.Pause(attempt, 0.999); got > want || got < want*9/10 {
			t.Errorf("longest pause after attempt %d is %v, want almost %v", attempt, got, want)
		}
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		results []error
		tries   int
		want    error
	}{
		"at once":   {[]error{nil}, 1, nil},
		"third":     {[]error{boom, boom, nil}, 3, nil},
		"never":     {[]error{boom, boom, boom, boom, boom}, 5, boom},
		"permanent": {[]error{boom, Permanent(boom)}, 2, boom},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := Do(t.Context(), clock.Real{}, policy, func(_ context.Context, attempt int) error {
				tries++
				if attempt != tries {
					t.Errorf("%s: told attempt %d in try %d", name, attempt, tries)
				}
				return c.results[tries-1]
			})
			if !errors.Is(err, c.want) || tries != c.tries {
				t.Errorf("%s: %v after %d tries", name, err, tries)
			}
		})
	}
}

func TestDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		clk := clock.Real{}
		start := clk.Now()
		boom := errors.New("boom")
		err := Do(ctx, clk, policy, func(context.Context, int) error { return boom })
		if !errors.Is(err, boom) || !errors.Is(err, context.DeadlineExceeded) || clk.Since(start) > 20*time.Millisecond {
			t.Errorf("%v after %v", err, clk.Since(start))
		}
	})
}

func TestPermanentNil(t *testing.T) {
	t.Parallel()
	if Permanent(nil) != nil {
		t.Error("an error out of nothing")
	}
}

// A try that only ran out of time must not hide why the one before failed.
func TestDoTellsTheCauseBeforeATimeOut(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused")
	err := Do(t.Context(), clock.Real{}, Policy{AttemptsMax: 2}, func(_ context.Context, attempt int) error {
		if attempt == 1 {
			return cause
		}
		return fmt.Errorf("put: %w", context.DeadlineExceeded)
	})
	if !errors.Is(err, cause) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %q, want the time-out and %q", err, cause)
	}
}
