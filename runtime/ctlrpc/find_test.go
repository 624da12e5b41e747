package ctlrpc_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ctlrpc"
)

// turncoat is a standby that becomes the leader after some refusals.
type turncoat struct {
	*board
	refusals int    // still to come
	says     string // how it refuses

	mu    sync.Mutex
	leads time.Time // of the last refusal
	found time.Duration
}

func (x *turncoat) Connect(reg *controlv1.Register, s ctlrpc.Session) (*controlv1.Registered, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.refusals > 0 {
		x.refusals--
		x.leads = time.Now()
		return nil, errors.New(x.says)
	}
	x.found = time.Since(x.leads)
	return x.board.Connect(reg, s)
}

// silent accepts connections and never says a word, as a stopped process does.
func silent(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return l.Addr().String()
}

// TestANewLeaderIsFoundSoon: however long there was none, and though the old
// leader's machine accepts connections and is named by the standby, the new
// one has its taskmanager within a second (and as much again for slow machines).
func TestANewLeaderIsFoundSoon(t *testing.T) {
	t.Parallel()
	old := silent(t)
	for name, says := range map[string]string{
		"it knows no leader":      "not the leader; the leader is unknown",
		"it names the old leader": "not the leader; the leader is " + old,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := serveJobManager(t)
			x := &turncoat{board: newBoard(3), refusals: 7, says: says}
			j.Lead(x)
			tm := newTM("tm")
			runClient(t, tm, ctlrpc.ClientConfig{Addresses: []string{old, "127.0.0.1:1", j.address}})
			if r := wait(t, tm.connected, "the session"); r.GetEpoch() != 3 {
				t.Errorf("registered %v", r)
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.found > 2*time.Second {
				t.Errorf("the new leader was found after %s", x.found)
			}
		})
	}
}

// TestALeaderOfTwoNamesSeesOneSession: the later session of a taskmanager ends
// the earlier one, so there must be no second registration.
func TestALeaderOfTwoNamesSeesOneSession(t *testing.T) {
	t.Parallel()
	j := serveJobManager(t)
	b := newBoard(1)
	j.Lead(b)
	_, port, err := net.SplitHostPort(j.address)
	if err != nil {
		t.Fatal(err)
	}
	x := newTM("tm")
	runClient(t, x, ctlrpc.ClientConfig{Addresses: []string{j.address, net.JoinHostPort("localhost", port)}})
	const sessions = 10
	for i := range sessions {
		wait(t, x.connected, "the session")
		if n := b.connects(); n != i+1 {
			t.Fatalf("after %d sessions the jobmanager has seen %d registrations", i+1, n)
		}
		b.session("tm").Close("the test says so")
		wait(t, x.ended, "its end")
		wait(t, b.gone, "Disconnect")
	}
}
