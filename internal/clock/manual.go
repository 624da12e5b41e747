package clock

import (
	"sync"
	"time"
)

// Manual is a clock that moves only when told to. The zero value is not
// usable; make one with NewManual.
type Manual struct {
	mu     sync.Mutex
	now    time.Time      // guarded by mu
	timers []*manualTimer // guarded by mu
}

var _ Clock = (*Manual)(nil)

// NewManual returns a clock that stands at start.
func NewManual(start time.Time) *Manual { return &Manual{now: start} }

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Since implements Clock.
func (m *Manual) Since(t time.Time) time.Duration { return m.Now().Sub(t) }

// NewTimer implements Clock.
func (m *Manual) NewTimer(d time.Duration) Timer {
	t := &manualTimer{clock: m, c: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

// Sleep implements Clock: it returns once Advance has moved past d.
func (m *Manual) Sleep(d time.Duration) { <-m.NewTimer(d).C() }

// Advance moves the clock and fires the timers that are due, in order.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	m.fireLocked()
}

// Next returns how long it is to the timer that is due first, and whether
// there is one.
func (m *Manual) Next() (d time.Duration, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.timers {
		if left := t.at.Sub(m.now); !ok || left < d {
			d, ok = left, true
		}
	}
	return d, ok
}

func (m *Manual) fireLocked() {
	for {
		var next *manualTimer
		at := -1
		for i, t := range m.timers {
			if !t.at.After(m.now) && (next == nil || t.at.Before(next.at)) {
				next, at = t, i
			}
		}
		if next == nil {
			return
		}
		m.timers = append(m.timers[:at], m.timers[at+1:]...)
		select {
		case next.c <- m.now:
		default:
		}
	}
}

type manualTimer struct {
	clock *Manual
	at    time.Time // guarded by clock.mu
	c     chan time.Time
}

func (t *manualTimer) C() <-chan time.Time { return t.c }

func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.removeLocked()
}

func (t *manualTimer) Reset(d time.Duration) {
	m := t.clock
	m.mu.Lock()
	defer m.mu.Unlock()
	t.removeLocked()
	select {
	case <-t.c:
	default:
	}
	t.at = m.now.Add(d)
	m.timers = append(m.timers, t)
	m.fireLocked()
}

func (t *manualTimer) removeLocked() bool {
	for i, o := range t.clock.timers {
		if o == t {
			t.clock.timers = append(t.clock.timers[:i], t.clock.timers[i+1:]...)
			return true
		}
	}
	return false
}
