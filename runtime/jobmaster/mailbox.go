package jobmaster

import (
	"context"
	"sync"
)

// MailboxMax bounds the events that taskmanagers may have waiting at a job:
// beyond it they are held up, and figures are dropped well before.
const MailboxMax = 8192

// mailbox holds the events of a job in order. Internal events always fit, so
// that neither the driver nor the dispatcher can block on it: their number is
// bounded by the commands under way.
type mailbox struct {
	mu     sync.Mutex
	events []Event       // guarded by mu
	closed bool          // guarded by mu
	room   chan struct{} // closed and replaced when events are taken; guarded by mu
	notify chan struct{} // has room for one token
}

func newMailbox() *mailbox {
	return &mailbox{room: make(chan struct{}), notify: make(chan struct{}, 1)}
}

// post adds an event; it never blocks. After close it is dropped.
func (m *mailbox) post(ev Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.postLocked(ev)
}

func (m *mailbox) postLocked(ev Event) {
	if m.closed {
		return
	}
	m.events = append(m.events, ev)
	select {
	case m.notify <- struct{}{}:
	default:
	}
}

// offer is post for what may be dropped: it does so when half full.
func (m *mailbox) offer(ev Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) < MailboxMax/2 {
		m.postLocked(ev)
	}
}

// deliver is post for what comes from outside: it waits for room.
func (m *mailbox) deliver(ctx context.Context, ev Event) {
	for {
		m.mu.Lock()
		if m.closed || len(m.events) < MailboxMax {
			m.postLocked(ev)
			m.mu.Unlock()
			return
		}
		room := m.room
		m.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return
		}
	}
}

// take returns all waiting events.
func (m *mailbox) take() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	evs := m.events
	m.events = nil
	close(m.room)
	m.room = make(chan struct{})
	return evs
}

// close drops what waits and comes.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.events = true, nil
	close(m.room)
	m.room = make(chan struct{})
}
