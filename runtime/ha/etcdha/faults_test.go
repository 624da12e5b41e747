package etcdha

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/ha"
)

// link is a TCP proxy to etcd whose two directions can be held: bytes then
// neither pass nor is anybody told.
type link struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	cond  *sync.Cond
	held  [2]bool // guarded by mu; 0 to the server, 1 to the client
	ended bool    // guarded by mu
	conns []net.Conn
}

const (
	toServer = 0
	toClient = 1
)

func newLink(t *testing.T, url string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, target: strings.TrimPrefix(url, "http://")}
	k.cond = sync.NewCond(&k.mu)
	k.wg.Go(k.accept)
	t.Cleanup(k.close)
	return k
}

func (k *link) url() string { return "http://" + k.listener.Addr().String() }

func (k *link) hold(direction int, held bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[direction] = held
	k.cond.Broadcast()
}

func (k *link) accept() {
	for {
		client, err := k.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", k.target)
		if err != nil {
			client.Close()
			continue
		}
		k.mu.Lock()
		k.conns = append(k.conns, client, server)
		k.mu.Unlock()
		k.wg.Go(func() { k.copy(toServer, server, client) })
		k.wg.Go(func() { k.copy(toClient, client, server) })
	}
}

func (k *link) copy(direction int, to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		k.mu.Lock()
		for k.held[direction] && !k.ended {
			k.cond.Wait()
		}
		k.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil && !errors.Is(err, io.EOF) || n == 0 {
			return
		}
	}
}

func (k *link) close() {
	k.listener.Close()
	k.mu.Lock()
	k.ended = true
	k.cond.Broadcast()
	for _, c := range k.conns {
		c.Close()
	}
	k.mu.Unlock()
	k.wg.Wait()
}

// through returns a contender whose traffic passes the link.
func (c *cluster) through(k *link, change func(*Config)) *Coordination {
	cfg := c.cfg
	cfg.Endpoints = []string{k.url()}
	cfg.RequestTimeout = 300 * time.Millisecond
	cfg.RetryPause = 20 * time.Millisecond
	if change != nil {
		change(&cfg)
	}
	co := c.open(cfg)
	c.t.Cleanup(func() {
		if err := co.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return co
}

// A leader that hears nothing from etcd any more, not even an error, stops
// before its lease has run out; another leads only after that.
func TestBlackHoledLeaderStopsBeforeItsLease(t *testing.T) {
	t.Parallel()
	urls := endpoints(t)
	c := newCluster(t, urls)
	k := newLink(t, urls[0])
	a, b := c.through(k, nil), c.Contender()
	defer b.Close()
	clk := clock.Real{}
	old := lead(t, a, "a")
	for _, direction := range []int{toServer, toClient} {
		k.hold(direction, true)
	}
	ended := make(chan time.Time, 1)
	go func() {
		<-old.Done()
		ended <- clk.Now()
	}()
	won, err := b.Campaign(t.Context(), ha.Leader{ID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	next := clk.Now()
	select {
	case at := <-ended:
		if at.After(next) {
			t.Errorf("the old leader ended %v after the new one began", at.Sub(next))
		}
	default:
		t.Error("two lead at once")
	}
	if won.Epoch() <= old.Epoch() {
		t.Errorf("epoch %d after %d", won.Epoch(), old.Epoch())
	}
	for _, direction := range []int{toServer, toClient} {
		k.hold(direction, false)
	}
	if err := old.Commit(t.Context(), []ha.Write{{Key: "k", Value: []byte("stale")}}); !errors.Is(err, ha.ErrFenced) {
		t.Errorf("commit of the old leader: %v", err)
	}
	if data, err := won.Load(t.Context(), ""); err != nil || len(data) != 0 {
		t.Errorf("%v, %v", data, err)
	}
}

// Answers are lost for a while: the commit is made once, and is known to be.
func TestCommitWhoseAnswersAreLost(t *testing.T) {
	t.Parallel()
	urls := endpoints(t)
	c := newCluster(t, urls)
	k := newLink(t, urls[0])
	l := lead(t, c.through(k, func(cfg *Config) { cfg.LeaseTTL = 5 * time.Second }), "a")
	seen := c.raw.Watch(t.Context(), c.cfg.Prefix+"/data/k")
	k.hold(toClient, true)
	result := make(chan error, 1)
	go func() { result <- l.Commit(t.Context(), []ha.Write{{Key: "k", Value: []byte("v")}}) }()
	resp := <-seen // the server has it
	if len(resp.Events) != 1 || string(resp.Events[0].Kv.Value) != "v" {
		t.Fatalf("%v", resp.Events)
	}
	select {
	case err := <-result:
		t.Fatalf("the commit ended without an answer: %v", err)
	default:
	}
	k.hold(toClient, false)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	got, err := c.raw.Get(t.Context(), c.cfg.Prefix+"/data/k")
	if err != nil || got.Kvs[0].Version != 1 {
		t.Fatalf("written %d times, %v", got.Kvs[0].Version, err)
	}
}

// The caller's time ends without an answer: the result is unknown, and the
// next commit settles it.
func TestUnknownCommitCannotArriveLate(t *testing.T) {
	t.Parallel()
	urls := endpoints(t)
	c := newCluster(t, urls)
	k := newLink(t, urls[0])
	l := lead(t, c.through(k, func(cfg *Config) { cfg.LeaseTTL = 5 * time.Second }), "a")
	k.hold(toServer, true)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := l.Commit(ctx, []ha.Write{{Key: "k", Value: []byte("first")}})
	if !errors.Is(err, ha.ErrUnknown) || errors.Is(err, ha.ErrFenced) {
		t.Fatal(err)
	}
	k.hold(toServer, false)
	if err := l.Commit(t.Context(), []ha.Write{{Key: "k", Value: []byte("second")}}); err != nil {
		t.Fatal(err)
	}
	data, err := l.Load(t.Context(), "k")
	if err != nil || string(data["k"]) != "second" {
		t.Fatalf("%s, %v", data["k"], err)
	}
}

// The request itself, sent again with what it compared when it was made, has
// no effect after a later commit.
func TestEarlierRequestIsRefusedAfterALaterCommit(t *testing.T) {
	t.Parallel()
	c := newCluster(t, endpoints(t))
	co := c.open(c.cfg)
	defer co.Close()
	l := lead(t, co, "a")
	before := l.sequence
	if err := l.Commit(t.Context(), []ha.Write{{Key: "k", Value: []byte("later")}}); err != nil {
		t.Fatal(err)
	}
	l.sequence = before
	outcome, err := l.tryCommit(t.Context(), l.ops([]ha.Write{{Key: "k", Value: []byte("earlier")}}, "x"), "x")
	if outcome != outcomeStale || err != nil {
		t.Fatalf("outcome %d, %v", outcome, err)
	}
	if data, err := l.Load(t.Context(), "k"); err != nil || string(data["k"]) != "later" {
		t.Fatalf("%s, %v", data["k"], err)
	}
}

// A watcher that was away while the leader changed and the history was
// compacted shows the present leader.
func TestWatchAfterCompaction(t *testing.T) {
	t.Parallel()
	urls := endpoints(t)
	c := newCluster(t, urls)
	k := newLink(t, urls[0])
	watcher, leader := c.through(k, nil), c.open(c.cfg)
	defer leader.Close()
	first := lead(t, leader, "a")
	ch := watcher.Watch(t.Context())
	if l := <-ch; l == nil || l.ID != "a" {
		t.Fatalf("%+v", l)
	}
	k.hold(toServer, true)
	k.hold(toClient, true)
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := lead(t, leader, "b")
	for i := range 5 {
		if err := second.Commit(t.Context(), []ha.Write{{Key: "k", Value: fmt.Append(nil, i)}}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := c.raw.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.raw.Compact(t.Context(), resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	k.hold(toServer, false)
	k.hold(toClient, false)
	for l := range ch {
		if l != nil && l.ID == "b" && l.Epoch == second.Epoch() {
			return
		}
	}
	t.Error("the watch ended")
}

// Somebody deletes the leader key by hand: the leader notices by itself.
func TestDeletedLeaderKey(t *testing.T) {
	t.Parallel()
	c := newCluster(t, endpoints(t))
	co := c.open(c.cfg)
	defer co.Close()
	l := lead(t, co, "a")
	if err := c.Depose(); err != nil {
		t.Fatal(err)
	}
	<-l.Done()
}

// An idle leader keeps its lease over several lease times.
func TestIdleLeaderStays(t *testing.T) {
	t.Parallel()
	c := newCluster(t, endpoints(t))
	co := c.open(c.cfg)
	defer co.Close()
	l := lead(t, co, "a")
	timer := clock.Real{}.NewTimer(3 * c.cfg.LeaseTTL)
	defer timer.Stop()
	select {
	case <-l.Done():
		t.Fatal("the leadership ended")
	case <-timer.C():
	}
	if err := l.Commit(t.Context(), []ha.Write{{Key: "k", Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
}
