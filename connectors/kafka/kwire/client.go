package kwire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Lane separates connections to one broker by use, so that a fetch that waits
// for data, or a produce request that fills the socket, holds up nothing else.
type Lane uint8

// The lanes.
const (
	LaneControl Lane = iota
	LaneFetch
	LaneProduce
)

// seedID is the first of the ids under which the configured addresses are kept
// until metadata has named the brokers; they count down from it.
const seedID int32 = -2

// Client is a connection to a cluster: it dials brokers when they are needed
// and drops connections that failed. It is safe for concurrent use and must be
// closed.
type Client struct {
	cfg Config

	mu     sync.Mutex
	conns  map[connKey]*Conn    // guarded by mu
	dials  map[connKey]*dialing // guarded by mu; one dial at a time for each key
	meta   cache                // guarded by mu
	coords map[coordKey]int32   // guarded by mu; broker ids
	closed bool                 // guarded by mu
}

type connKey struct {
	broker int32
	lane   Lane
}

type dialing struct {
	done chan struct{}
	conn *Conn
	err  error
}

// NewClient checks the configuration; it dials nothing yet.
func NewClient(cfg Config) (*Client, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Client{
		cfg: cfg, conns: map[connKey]*Conn{}, dials: map[connKey]*dialing{},
		coords: map[coordKey]int32{}, meta: cache{brokers: map[int32]string{}, topics: map[string]Topic{}},
	}, nil
}

// Close closes all connections and fails the calls in flight.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	conns := c.conns
	c.conns = map[connKey]*Conn{}
	c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
}

// Broker returns the connection to a broker for a lane, dialling it when there
// is none. Metadata must have named the broker.
func (c *Client) Broker(ctx context.Context, id int32, lane Lane) (*Conn, error) {
	addr, err := c.addrOf(id)
	if err != nil {
		return nil, err
	}
	return c.connect(ctx, connKey{id, lane}, addr)
}

func (c *Client) addrOf(id int32) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if addr, ok := c.meta.brokers[id]; ok {
		return addr, nil
	}
	return "", fmt.Errorf("broker %d is not in the cluster's metadata: %w", id, LeaderNotAvailable)
}

func (c *Client) connect(ctx context.Context, key connKey, addr string) (*Conn, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	if conn := c.conns[key]; conn != nil {
		if conn.Err() == nil && conn.addr == addr {
			c.mu.Unlock()
			return conn, nil
		}
		delete(c.conns, key)
		_ = conn.nc.Close() // its reader ends by itself
	}
	d := c.dials[key]
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		c.dials[key] = d
		c.mu.Unlock()
		c.dialKey(ctx, key, addr, d)
		return d.conn, d.err
	}
	c.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Client) dialKey(ctx context.Context, key connKey, addr string, d *dialing) {
	d.conn, d.err = dial(ctx, &c.cfg, addr)
	c.mu.Lock()
	delete(c.dials, key)
	closed := c.closed
	if d.err == nil && !closed {
		c.conns[key] = d.conn
	}
	c.mu.Unlock()
	if d.err == nil && closed {
		d.conn.Close()
		d.conn, d.err = nil, ErrClosed
	}
	close(d.done)
}

// Any returns a control connection to any broker that can be reached: those
// that are known, then the configured ones. The error names each that failed.
func (c *Client) Any(ctx context.Context) (*Conn, error) {
	type target struct {
		key  connKey
		addr string
	}
	var targets []target
	c.mu.Lock()
	for id, addr := range c.meta.brokers {
		if conn := c.conns[connKey{id, LaneControl}]; conn != nil && conn.Err() == nil && conn.addr == addr && !c.closed {
			c.mu.Unlock()
			return conn, nil
		}
		targets = append(targets, target{connKey{id, LaneControl}, addr})
	}
	c.mu.Unlock()
	rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	for i, addr := range c.cfg.Brokers {
		targets = append(targets, target{connKey{seedID - int32(i), LaneControl}, addr})
	}
	var errs []error
	for _, t := range targets {
		conn, err := c.connect(ctx, t.key, t.addr)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		var auth *AuthError
		if ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.As(err, &auth) {
			break
		}
	}
	return nil, fmt.Errorf("no broker can be reached: %w", errors.Join(errs...))
}

func hostPort(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
