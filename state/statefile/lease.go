package statefile

import (
	"errors"
	"sync"
)

// ErrReleased is the error of a WriteTo whose snapshot was released.
var ErrReleased = errors.New("snapshot was released")

// Lease says how long a snapshot's resources are needed: until it was released
// and nobody writes it any more. Its methods are safe for concurrent use.
type Lease struct {
	mu       sync.Mutex
	writers  int    // guarded by mu
	released bool   // guarded by mu
	giveUp   func() // called once
}

// NewLease returns a lease; giveUp is called once, when it ends.
func NewLease(giveUp func()) *Lease { return &Lease{giveUp: giveUp} }

// Enter begins a write; Leave must follow. It fails after Release.
func (l *Lease) Enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return ErrReleased
	}
	l.writers++
	return nil
}

// Leave ends a write.
func (l *Lease) Leave() {
	l.mu.Lock()
	l.writers--
	last := l.released && l.writers == 0
	l.mu.Unlock()
	if last {
		l.giveUp()
	}
}

// Check returns ErrReleased after Release: a write ends soon then.
func (l *Lease) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return ErrReleased
	}
	return nil
}

// Release ends the lease, at once or when the last write has left. Calls after
// the first do nothing.
func (l *Lease) Release() {
	l.mu.Lock()
	ends := !l.released && l.writers == 0
	l.released = true
	l.mu.Unlock()
	if ends {
		l.giveUp()
	}
}
