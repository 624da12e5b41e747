package mailbox_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/runtime/mailbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMailsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	m := mailbox.New()
	var ran []int
	for i := range 5 {
		if err := m.Put(func() error { ran = append(ran, i); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if m.Empty() {
		t.Error("empty with five mails")
	}
	for _, fn := range m.Take(nil) {
		if err := fn(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(ran, []int{0, 1, 2, 3, 4}) || !m.Empty() || len(m.Take(nil)) != 0 {
		t.Errorf("ran %v, empty %v", ran, m.Empty())
	}
}

func TestLimitAndClose(t *testing.T) {
	t.Parallel()
	m := mailbox.New()
	nothing := func() error { return nil }
	for range mailbox.MailsMax {
		if err := m.Put(nothing); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Put(nothing); !errors.Is(err, mailbox.ErrFull) {
		t.Errorf("mail beyond the limit: %v", err)
	}
	m.Close()
	m.Close()
	if err := m.Put(nothing); !errors.Is(err, mailbox.ErrClosed) || len(m.Take(nil)) != 0 {
		t.Errorf("mail after close: %v", err)
	}
}

func TestWakeOnlyWhenArmed(t *testing.T) {
	t.Parallel()
	m := mailbox.New()
	m.Wake()
	select {
	case <-m.C():
		t.Error("a loop that does not wait was signalled")
	default:
	}
	m.Arm()
	m.Wake()
	m.Wake()
	<-m.C()
	m.Arm()
	m.Disarm()
	m.Wake()
	select {
	case <-m.C():
		t.Error("signalled after Disarm")
	default:
	}
}

// A loop that waits after it found nothing is always woken: with a lost
// wake-up this test would hang.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Parallel()
	const producers, each = 4, 5000
	m := mailbox.New()
	var wg sync.WaitGroup
	for range producers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range each {
				if err := m.Put(func() error { return nil }); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for got := 0; got < producers*each; {
		got += len(m.Take(nil))
		m.Arm()
		if n := len(m.Take(nil)); n > 0 {
			got += n
			m.Disarm()
			continue
		}
		if got < producers*each {
			<-m.C()
		}
	}
	wg.Wait()
}
