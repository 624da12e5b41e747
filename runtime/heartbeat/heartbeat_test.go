package heartbeat_test

import (
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/runtime/heartbeat"
)

func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

func TestSilentPeerExpires(t *testing.T) {
	t.Parallel()
	m := heartbeat.New(2 * time.Second)
	m.Add("a", 0)
	m.Add("b", 0)
	for ms := 0; ms <= 2000; ms += 500 {
		m.Beat("b", at(ms))
		if got := m.Expired(at(ms)); got != nil {
			t.Fatalf("at %d ms: expired %v, want none", ms, got)
		}
	}
	if got := m.Expired(at(2500)); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("expired %v, want [a]", got)
	}
	m.Remove("a")
	if got := m.Expired(at(2600)); got != nil {
		t.Fatalf("expired %v after remove", got)
	}
}

func TestUnknownPeerIsNotAdded(t *testing.T) {
	t.Parallel()
	m := heartbeat.New(time.Second)
	m.Beat("ghost", 0)
	if got := m.Expired(at(10_000)); got != nil {
		t.Fatalf("expired %v, want none", got)
	}
}

// A leader that was suspended for a minute must not declare everybody dead.
func TestPauseOfTheWatcherIsForgiven(t *testing.T) {
	t.Parallel()
	m := heartbeat.New(2 * time.Second)
	m.Add("a", 0)
	m.Expired(at(500))
	if got := m.Expired(at(60_500)); got != nil {
		t.Fatalf("expired %v right after the pause, want none", got)
	}
	for ms := 61_000; ms < 62_500; ms += 500 {
		if got := m.Expired(at(ms)); got != nil {
			t.Fatalf("at %d ms: expired %v", ms, got)
		}
	}
	if got := m.Expired(at(63_000)); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("expired %v, want [a]: a pause forgives once only", got)
	}
}
