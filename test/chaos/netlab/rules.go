package netlab

import "net/netip"

// Set replaces what becomes of packets from one host to another. The other
// direction has its own rule. The zero Rule lets all pass.
func (l *Lab) Set(from, to string, r Rule) {
	n, p := l.sw, pair{netip.MustParseAddr(from), netip.MustParseAddr(to)}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r == (Rule{}) {
		delete(n.rules, p)
		return
	}
	n.rules[p] = r
}

// Heal lets all packets pass again. Connections that were killed stay dead.
func (l *Lab) Heal() {
	l.sw.mu.Lock()
	defer l.sw.mu.Unlock()
	clear(l.sw.rules)
}

// KillFlows makes the open connections between two hosts half-open for ever:
// neither end hears of the other again, nor that it has gone. New connections
// work. It returns how many there were, those that have ended unseen included.
func (l *Lab) KillFlows(one, other string) int {
	a, b := netip.MustParseAddr(one), netip.MustParseAddr(other)
	l.sw.mu.Lock()
	defer l.sw.mu.Unlock()
	killed := 0
	for f, dead := range l.sw.flows {
		x, y := f.a.Addr(), f.b.Addr()
		if !dead && (x == a && y == b || x == b && y == a) {
			l.sw.flows[f] = true
			killed++
		}
	}
	return killed
}
