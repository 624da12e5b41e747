package ctlrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ha"
)

// SessionHandler is what a Client needs of the taskmanager. Its methods are
// called one at a time.
type SessionHandler interface {
	// Registration describes the taskmanager as it is now; called at the
	// start of each session.
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
	// Addresses of jobmanagers, tried in turn.
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
	hint    string        // guarded by mu; address that a standby named
	changed chan struct{} // guarded by mu; closed when leader changes
	turn    int           // next of Addresses; used by Run alone
	said    string        // last fault logged; used by Run alone
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
		watching.Add(1)
		go func() {
			defer watching.Done()
			c.follow(ctx)
		}()
	}
	defer watching.Wait()
	backoff := backoffFirst
	for ctx.Err() == nil {
		changed := c.leaderChanged()
		established, err := c.session(ctx, c.address(), h)
		if established {
			backoff = backoffFirst
		}
		c.complain(ctx, err)
		if !c.pause(ctx, jitter(backoff), changed) {
			backoff = min(2*backoff, backoffMax)
		}
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

// address prefers what the election says, then what a standby said, then the
// list in turn.
func (c *Client) address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != nil {
		return c.leader.Control
	}
	if c.hint != "" {
		hint := c.hint
		c.hint = ""
		return hint
	}
	if len(c.cfg.Addresses) == 0 {
		return ""
	}
	a := c.cfg.Addresses[c.turn%len(c.cfg.Addresses)]
	c.turn++
	return a
}

func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}

// pause waits for d or for a new leader; it reports whether there is one.
func (c *Client) pause(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	timer := c.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return false
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// complain logs a fault once, not at each try.
func (c *Client) complain(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	if text := err.Error(); text != c.said {
		c.said = text
		c.cfg.Log.Warn("no session with a jobmanager", "error", text)
	}
}

// session runs one session; established reports whether it was admitted.
func (c *Client) session(ctx context.Context, address string, h SessionHandler) (established bool, err error) {
	if address == "" {
		return false, errors.New("no jobmanager is known yet")
	}
	conn, err := grpc.NewClient(address, dialOptions(c.cfg.Credentials)...)
	if err != nil {
		return false, fmt.Errorf("jobmanager %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }() // nothing is left to be sent
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := c.limit(ctx, registerTimeout, cancel)
	stream, err := controlv1.NewJobManagerClient(conn).Session(ctx)
	if err != nil {
		stop()
		return false, fmt.Errorf("jobmanager %s: %w", address, cause(ctx, err))
	}
	registered, err := register(stream, h.Registration())
	stop()
	if err != nil {
		return false, fmt.Errorf("jobmanager %s: %w", address, cause(ctx, err))
	}
	if why := registered.GetRefused(); why != "" {
		c.noteHint(why)
		return false, fmt.Errorf("jobmanager %s refused: %s", address, why)
	}
	c.said = ""
	return true, c.converse(ctx, cancel, stream, registered, address, h)
}

func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

// limit cancels ctx unless stop is called within d.
func (c *Client) limit(ctx context.Context, d time.Duration, cancel context.CancelCauseFunc) (stop func()) {
	timer := c.cfg.Clock.NewTimer(d)
	done := make(chan struct{})
	go func() {
		select {
		case <-timer.C():
			cancel(fmt.Errorf("no answer within %s", d))
		case <-done:
		case <-ctx.Done():
		}
		timer.Stop()
	}()
	return sync.OnceFunc(func() { close(done) })
}

type jobManagerStream = grpc.BidiStreamingClient[controlv1.TaskManagerMessage, controlv1.JobManagerMessage]

func register(stream jobManagerStream, reg *controlv1.Register) (*controlv1.Registered, error) {
	err := stream.Send(&controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_Register{Register: reg}})
	if err != nil {
		return nil, err
	}
	m, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if m.GetRegistered() == nil {
		return nil, errors.New("it answered the registration with something else: run the same release on all machines")
	}
	return m.GetRegistered(), nil
}

// noteHint remembers the leader that a standby named.
func (c *Client) noteHint(why string) {
	if _, address, ok := strings.Cut(why, standbyMark+"; the leader is "); ok && !strings.Contains(address, " ") {
		c.mu.Lock()
		c.hint = address
		c.mu.Unlock()
	}
}

// converse runs an admitted session to its end.
func (c *Client) converse(ctx context.Context, cancel context.CancelCauseFunc, stream jobManagerStream, r *controlv1.Registered, address string, h SessionHandler) error {
	out := newOutbox[*controlv1.TaskManagerMessage](QueueMax)
	var helpers sync.WaitGroup
	helpers.Add(2)
	go func() {
		defer helpers.Done()
		out.pump(ctx, stream.Send)
		cancel(gone(out.why))
	}()
	go func() {
		defer helpers.Done()
		c.leave(ctx, r, address, out)
	}()
	c.cfg.Log.Info("in session with the jobmanager", "address", address, "epoch", r.GetEpoch())
	h.Connected(r, out.put, out.close)
	var err error
	for {
		var m *controlv1.JobManagerMessage
		if m, err = stream.Recv(); err != nil {
			break
		}
		h.Received(m)
	}
	err = cause(ctx, err)
	out.close(err.Error())
	cancel(err)
	helpers.Wait()
	h.Disconnected(err.Error())
	return fmt.Errorf("session with jobmanager %s ended: %w", address, err)
}

// leave ends the session when the election names another, later leader.
func (c *Client) leave(ctx context.Context, r *controlv1.Registered, address string, out *outbox[*controlv1.TaskManagerMessage]) {
	for {
		changed := c.leaderChanged()
		if l := c.elected(); l != nil && int64(l.Epoch) > r.GetEpoch() {
			out.close(fmt.Sprintf("%s leads now, at %s", l.ID, l.Control))
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Client) elected() *ha.Leader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}
