// Package heartbeat is a failure detector: it tells which peers have been
// silent for too long. It is pure: time is given to it as the monotonic time
// elapsed since some start. It does not send heartbeats.
package heartbeat

import (
	"maps"
	"slices"
	"time"
)

// Monitor watches peers by name. It is not safe for concurrent use.
//
// When the caller itself was held up (a suspended process, a starved
// machine), Expired sees a gap between its own calls; silence during the gap
// is then not held against the peers, else one pause of the leader would look
// like the death of the whole cluster.
type Monitor struct {
	timeout time.Duration
	seen    map[string]time.Duration
	checked time.Duration
	started bool
}

// New returns a monitor that reports peers silent for longer than timeout.
func New(timeout time.Duration) *Monitor {
	return &Monitor{timeout: timeout, seen: make(map[string]time.Duration)}
}

// CheckInterval is how often Expired should be called.
func (m *Monitor) CheckInterval() time.Duration { return m.timeout / 4 }

// Add starts watching a peer, as seen now.
func (m *Monitor) Add(peer string, now time.Duration) { m.seen[peer] = now }

// Beat notes a sign of life; peers that are not watched are ignored.
func (m *Monitor) Beat(peer string, now time.Duration) {
	if last, ok := m.seen[peer]; ok {
		m.seen[peer] = max(last, now)
	}
}

// Remove stops watching a peer.
func (m *Monitor) Remove(peer string) { delete(m.seen, peer) }

// Expired returns the peers silent for longer than the timeout, sorted; they
// are watched on until removed.
func (m *Monitor) Expired(now time.Duration) []string {
	gap := now - m.checked
	late := m.started && gap > 2*m.CheckInterval()
	m.checked, m.started = max(m.checked, now), true
	if late {
		m.forgive(gap)
	}
	var out []string
	for _, peer := range slices.Sorted(maps.Keys(m.seen)) {
		if now-m.seen[peer] > m.timeout {
			out = append(out, peer)
		}
	}
	return out
}

// forgive moves every sign of life forward by the time nobody looked.
func (m *Monitor) forgive(gap time.Duration) {
	for peer, last := range m.seen {
		m.seen[peer] = min(last+gap, m.checked)
	}
}
