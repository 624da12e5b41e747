package ctlrpc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ha"
)

// SessionHandler is what a Client needs of the taskmanager. Its methods are
// called one at a time, on goroutines of the client.
type SessionHandler interface {
	// Registration describes the taskmanager as it is now; called before each
	// try to register, of which there may be many before a session.
	Registration() *controlv1.Register
	// Connected hands over a session: send queues a message and never blocks,
	// drop ends the session.
	Connected(r *controlv1.Registered, send func(*controlv1.TaskManagerMessage) error, drop func(reason string))
	// Received is called in order, between Connected and Disconnected.
	Received(m *controlv1.JobManagerMessage)
	Disconnected(reason string)
}

// ClientConfig says where the jobmanagers are.
type ClientConfig struct {
	// Addresses of jobmanagers, asked all at once.
	Addresses []string
	// Watch follows the elected leader (ha.Coordination.Watch); nil: only
	// Addresses are known.
	Watch func(ctx context.Context) <-chan *ha.Leader
	// Credentials nil means no encryption.
	Credentials credentials.TransportCredentials
	Clock       clock.Clock
	Log         *slog.Logger
}

// Client keeps a taskmanager in session with the leading jobmanager.
type Client struct {
	cfg ClientConfig

	mu      sync.Mutex
	leader  *ha.Leader    // guarded by mu; the last one seen by Watch
	changed chan struct{} // guarded by mu; closed when leader changes
}

// NewClient returns a client; Run does its work.
func NewClient(cfg ClientConfig) *Client {
	return &Client{cfg: cfg, changed: make(chan struct{})}
}

// Run finds the leader, registers, and hands over what it says, again and
// again, until ctx ends. It never gives up: a cluster without a leader is a
// state to wait in.
func (c *Client) Run(ctx context.Context, h SessionHandler) error {
	var watching sync.WaitGroup
	if c.cfg.Watch != nil {
		watching.Go(func() { c.follow(ctx) })
	}
	defer watching.Wait()
	var wait pause
	for ctx.Err() == nil {
		changed := c.leaderChanged()
		s := c.find(ctx, c.candidates(), h, changed)
		if s == nil {
			continue // another leader was elected, or ctx has ended
		}
		began := c.cfg.Clock.Now()
		if err := c.converse(s, h); ctx.Err() == nil {
			c.cfg.Log.Warn("no session with a jobmanager", "error", err)
		}
		if c.cfg.Clock.Since(began) > backoffMax {
			wait = pause{} // it was a session; those that end at once are spaced out
		}
		c.sleep(ctx, wait.next(), changed)
	}
	return ctx.Err()
}

// follow keeps the elected leader up to date; it ends with ctx.
func (c *Client) follow(ctx context.Context) {
	for l := range c.cfg.Watch(ctx) {
		c.mu.Lock()
		if l != nil && (c.leader == nil || *l != *c.leader) {
			c.leader = l
			close(c.changed)
			c.changed = make(chan struct{})
		}
		c.mu.Unlock()
	}
}

func (c *Client) leaderChanged() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// candidates are the jobmanagers to ask: the elected leader, or all that are
// known when there is no election to follow.
func (c *Client) candidates() []string {
	if l := c.elected(); l != nil {
		return []string{l.Control}
	}
	return c.cfg.Addresses
}

func (c *Client) elected() *ha.Leader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// sleep waits for d, for a new leader, or for ctx's end.
func (c *Client) sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	timer := c.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-changed:
	case <-ctx.Done():
	}
}

func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

// converse runs an admitted session to its end.
func (c *Client) converse(s *admitted, h SessionHandler) error {
	defer s.close()
	out := newOutbox[*controlv1.TaskManagerMessage](QueueMax)
	var helpers sync.WaitGroup
	helpers.Go(func() {
		out.pump(s.ctx, s.stream.Send)
		s.cancel(gone(out.why))
	})
	helpers.Go(func() { c.leave(s, out) })
	c.cfg.Log.Info("in session with the jobmanager", "address", s.address, "epoch", s.registered.GetEpoch())
	h.Connected(s.registered, out.put, out.close)
	var err error
	for {
		var m *controlv1.JobManagerMessage
		if m, err = s.stream.Recv(); err != nil {
			break
		}
		h.Received(m)
	}
	err = cause(s.ctx, err)
	out.close(err.Error())
	s.cancel(err)
	helpers.Wait()
	h.Disconnected(err.Error())
	return fmt.Errorf("session with jobmanager %s ended: %w", s.address, err)
}

// leave ends the session when the election names another, later leader.
func (c *Client) leave(s *admitted, out *outbox[*controlv1.TaskManagerMessage]) {
	for {
		changed := c.leaderChanged()
		if l := c.elected(); l != nil && int64(l.Epoch) > s.registered.GetEpoch() {
			out.close(fmt.Sprintf("%s leads now, at %s", l.ID, l.Control))
			return
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
	}
}
