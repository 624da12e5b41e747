// Package clock is the only place that reads the machine's time: components
// take a Clock so that tests and the simulation can drive it. It does not
// schedule work; timers deliver on channels that their owner reads.
package clock

import "time"

// Clock tells the time and makes timers. Implementations are safe for
// concurrent use. Decisions about time-outs use Since (monotonic), never the
// difference of two wall times.
type Clock interface {
	// Now returns the current wall time with a monotonic reading.
	Now() time.Time
	// Since returns the monotonic time elapsed since t, a value from Now.
	Since(t time.Time) time.Duration
	// NewTimer returns a timer that fires once after d.
	NewTimer(d time.Duration) Timer
	// Sleep blocks for d.
	Sleep(d time.Duration)
}

// Timer fires once. Its channel has room for the one value.
type Timer interface {
	C() <-chan time.Time
	// Stop prevents firing; it reports whether the timer was still pending.
	Stop() bool
	// Reset re-arms the timer for d from now; a value not yet read is dropped.
	Reset(d time.Duration)
}

// Millis returns c's wall time as milliseconds since the Unix epoch.
func Millis(c Clock) int64 { return c.Now().UnixMilli() }

// Real is the machine's clock.
type Real struct{}

var _ Clock = Real{}

// Now implements Clock.
func (Real) Now() time.Time { return stepped(time.Now()) }

// Since implements Clock.
func (Real) Since(t time.Time) time.Duration { return time.Since(t) }

// NewTimer implements Clock.
func (Real) NewTimer(d time.Duration) Timer { return realTimer{time.NewTimer(d)} }

// Sleep implements Clock.
func (Real) Sleep(d time.Duration) { time.Sleep(d) }

type realTimer struct{ t *time.Timer }

func (r realTimer) C() <-chan time.Time   { return r.t.C }
func (r realTimer) Stop() bool            { return r.t.Stop() }
func (r realTimer) Reset(d time.Duration) { r.t.Reset(d) }
