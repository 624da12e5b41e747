// Package exchangemem joins workers of one process: batches go from task to
// task by reference, as between tasks of one worker. It copies nothing and
// simulates no faults of a network beyond a peer that closes.
package exchangemem

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/exchange"
)

var (
	errClosed = errors.New("the endpoint was closed")
	errLost   = errors.New("connection to the other worker lost")
)

// Network is a place in memory where endpoints find each other by worker id.
// It is safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	endpoints map[string]*endpoint // guarded by mu; key workerKey
}

var _ exchange.Network = (*Network)(nil)

// New returns an empty network.
func New() *Network { return &Network{endpoints: make(map[string]*endpoint)} }

// Listen implements exchange.Network.
func (n *Network) Listen(cfg exchange.ListenConfig) (exchange.Endpoint, error) {
	e := &endpoint{
		network: n, cfg: cfg, address: "mem:" + cfg.WorkerID,
		admitted: make(chan struct{}), closed: make(chan struct{}),
		links: make(map[*link]struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.endpoints[e.address]; taken {
		return nil, fmt.Errorf("worker %q listens already", cfg.WorkerID)
	}
	n.endpoints[e.address] = e
	return e, nil
}

func (n *Network) find(address string) *endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.endpoints[address]
}

func (n *Network) remove(e *endpoint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.endpoints[e.address] == e {
		delete(n.endpoints, e.address)
	}
}

// endpoint is one worker. Lock order: an endpoint's mu alone, never two.
type endpoint struct {
	network  *Network
	cfg      exchange.ListenConfig
	address  string
	admitted chan struct{} // closed by Admit
	closed   chan struct{} // closed by Close
	once     sync.Once

	in       exchange.Inbound                         // set before admitted is closed
	channels map[exchange.ChannelID]*exchange.Channel // likewise

	mu    sync.Mutex
	links map[*link]struct{} // guarded by mu
}

// TCPAddress implements exchange.Endpoint.
func (e *endpoint) TCPAddress() string { return e.address }

// UnixAddress implements exchange.Endpoint.
func (e *endpoint) UnixAddress() string { return "" }

// Admit implements exchange.Endpoint.
func (e *endpoint) Admit(in exchange.Inbound) {
	e.in = in
	e.channels = make(map[exchange.ChannelID]*exchange.Channel, len(in.Channels))
	for _, c := range in.Channels {
		e.channels[c.ID()] = c
	}
	close(e.admitted)
}

// Dial implements exchange.Endpoint.
func (e *endpoint) Dial(ctx context.Context, peer exchange.Peer, out exchange.Outbound) ([]exchange.Sender, error) {
	to := e.network.find(peer.TCPAddress)
	if to == nil {
		return nil, fmt.Errorf("worker %q does not listen at %q", peer.WorkerID, peer.TCPAddress)
	}
	select {
	case <-to.admitted:
	case <-to.closed:
		return nil, fmt.Errorf("worker %q: %w", peer.WorkerID, errClosed)
	case <-e.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := to.check(e.cfg.Job, e.cfg.Attempt, out.Credentials); err != nil {
		return nil, err
	}
	l := &link{out: out.Channels}
	senders := make([]exchange.Sender, len(out.Channels))
	for i, c := range out.Channels {
		ch := to.channels[c.ID]
		if ch == nil {
			return nil, fmt.Errorf("worker %q has no channel %s", peer.WorkerID, c.ID)
		}
		ch.SetProducer(c.Wake)
		s := &sender{channel: ch}
		l.in = append(l.in, s)
		senders[i] = s
	}
	if !e.join(l) || !to.join(l) {
		return nil, errClosed
	}
	return senders, nil
}

func (e *endpoint) check(job dataflow.JobID, attempt dataflow.Attempt, c exchange.Credentials) error {
	switch {
	case job != e.cfg.Job || attempt != e.cfg.Attempt:
		return fmt.Errorf("worker %q runs attempt %d of job %s, not attempt %d of %s", e.cfg.WorkerID, e.cfg.Attempt, e.cfg.Job, attempt, job)
	case c.Token != e.in.Credentials.Token:
		return fmt.Errorf("worker %q refused the token", e.cfg.WorkerID)
	case c.Fingerprint != e.in.Credentials.Fingerprint:
		return fmt.Errorf("worker %q runs another job graph (%s, not %s)", e.cfg.WorkerID, e.in.Credentials.Fingerprint, c.Fingerprint)
	}
	return nil
}

func (e *endpoint) join(l *link) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.links == nil {
		return false
	}
	e.links[l] = struct{}{}
	return true
}

// Close implements exchange.Endpoint.
func (e *endpoint) Close() error {
	e.once.Do(func() {
		e.network.remove(e)
		close(e.closed)
		e.mu.Lock()
		links := e.links
		e.links = nil
		e.mu.Unlock()
		for l := range links {
			l.sever()
		}
	})
	return nil
}

// link is a connection: what both ends must hear when one of them goes.
type link struct {
	out  []exchange.OutboundChannel
	in   []*sender
	once sync.Once
}

// sever fails the channels that have not ended, on both sides.
func (l *link) sever() {
	l.once.Do(func() {
		for i, s := range l.in {
			if s.sever() {
				s.channel.Fail(errLost)
				l.out[i].Fail(errLost)
			}
		}
	})
}

// sender passes elements on until the connection is severed. The lock orders
// an element that is being sent before the failure, or drops it.
type sender struct {
	channel *exchange.Channel
	mu      sync.Mutex
	ended   bool // guarded by mu
	severed bool // guarded by mu
}

var _ exchange.Sender = (*sender)(nil)

// Send implements exchange.Sender.
func (s *sender) Send(el exchange.Element) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.severed {
		return 0
	}
	s.ended = s.ended || el.Kind == exchange.KindEnd
	return s.channel.Send(el)
}

// Ready implements exchange.Sender.
func (s *sender) Ready() bool { return s.channel.Ready() }

// sever reports whether the channel had not ended.
func (s *sender) sever() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.severed = true
	return !s.ended
}
