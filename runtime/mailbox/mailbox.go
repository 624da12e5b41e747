// Package mailbox is how anything outside a single-threaded loop reaches it:
// a bounded queue of functions and a wake-up that is never lost. It does not
// run the loop itself and knows nothing of tasks.
package mailbox

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// MailsMax bounds the mails that wait. Mail is made by a few helpers that
// each have a few results under way; so many waiting means that the loop is
// stuck or that something sends in a circle.
const MailsMax = 1 << 16

// Errors that callers branch on.
var (
	// ErrClosed says that the loop has ended: the mail is dropped.
	ErrClosed = errors.New("mailbox closed")
	// ErrFull says that MailsMax mails wait already.
	ErrFull = errors.New("mailbox full")
)

// Mail is a piece of work for the loop's goroutine. Its error ends the loop.
type Mail func() error

// Mailbox belongs to one loop. Put and Wake are safe from any goroutine, the
// other methods belong to the loop.
//
// A loop that finds nothing to do calls Arm, looks for work once more, and
// then waits on C: whoever makes work afterwards sees the flag and signals.
// Both sides write their own word before they read the other's, so one of
// them always sees the other.
type Mailbox struct {
	waiting atomic.Bool
	some    atomic.Bool // mails is not empty
	wake    chan struct{}

	mu     sync.Mutex
	mails  []Mail // guarded by mu
	closed bool   // guarded by mu
}

// New returns an open mailbox.
func New() *Mailbox { return &Mailbox{wake: make(chan struct{}, 1)} }

// Put queues a mail and wakes the loop. Mails keep their order.
func (m *Mailbox) Put(mail Mail) error {
	if err := m.put(mail); err != nil {
		return err
	}
	m.Wake()
	return nil
}

func (m *Mailbox) put(mail Mail) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return ErrClosed
	case len(m.mails) >= MailsMax:
		return fmt.Errorf("%w: %d mails wait", ErrFull, len(m.mails))
	}
	m.mails = append(m.mails, mail)
	m.some.Store(true)
	return nil
}

// Wake makes the loop look for work, now or as soon as it waits.
func (m *Mailbox) Wake() {
	if m.waiting.CompareAndSwap(true, false) {
		select {
		case m.wake <- struct{}{}:
		default: // a token is there already
		}
	}
}

// Arm announces that the loop is about to wait. It must look for work once
// more before it reads C.
func (m *Mailbox) Arm() { m.waiting.Store(true) }

// Disarm takes Arm back.
func (m *Mailbox) Disarm() {
	if !m.waiting.CompareAndSwap(true, false) {
		select {
		case <-m.wake:
		default: // the waker is between its two steps: a spurious token follows
		}
	}
}

// C delivers a token after Arm when there may be work. Spurious tokens are
// possible.
func (m *Mailbox) C() <-chan struct{} { return m.wake }

// Empty reports whether no mail waits. It costs one atomic read.
func (m *Mailbox) Empty() bool { return !m.some.Load() }

// Take moves all waiting mails to the end of buf and returns it.
func (m *Mailbox) Take(buf []Mail) []Mail {
	if m.Empty() {
		return buf
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	buf = append(buf, m.mails...)
	clear(m.mails)
	m.mails = m.mails[:0]
	m.some.Store(false)
	return buf
}

// Close drops what waits and refuses what comes. It is idempotent.
func (m *Mailbox) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.mails = nil
	m.some.Store(false)
}
