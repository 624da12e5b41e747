// Package etcdha coordinates jobmanagers through etcd. It keeps small records
// and pointers there, never blobs, and nothing but jobmanagers uses it.
//
// Keys under the cluster's prefix:
//
//	<prefix>/leader      the leader's JSON, attached to its lease
//	<prefix>/sequence    "<epoch>/<n>" of the leader's latest commit
//	<prefix>/data/<key>  what Commit writes
//
// The epoch of a leadership is the create revision of its leader key: it grows
// with every election. Every commit compares it, and the sequence key's
// revision as well, so that the commits of one leader are ordered: a request
// whose answer was lost either took effect before the next commit or never will.
package etcdha

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/ha"
)

// Config says where etcd is and how patient to be.
type Config struct {
	Endpoints []string
	// Prefix of the cluster's keys, without a final slash. Clusters that share
	// an etcd differ in it.
	Prefix   string
	Username string
	Password string
	TLS      *tls.Config
	// LeaseTTL is how long a leader that died stands in the way. Whole
	// seconds; etcd raises it to one and a half election time-outs.
	LeaseTTL time.Duration
	// RequestTimeout bounds each try of a request.
	RequestTimeout time.Duration
	// RetryPause is the time between tries.
	RetryPause time.Duration
	// RereadInterval is how often a watcher reads anew in any case.
	RereadInterval time.Duration
	// Log is told of lost leaderships and etcd's faults; nil: nobody is.
	Log *slog.Logger
}

// EnsureDefaults fills what is zero.
func (c *Config) EnsureDefaults() {
	setDefault(&c.Prefix, "leat/default")
	setDefault(&c.LeaseTTL, 2*time.Second)
	setDefault(&c.RequestTimeout, time.Second)
	setDefault(&c.RetryPause, 100*time.Millisecond)
	setDefault(&c.RereadInterval, time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate returns all faults in one error.
func (c *Config) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("etcd: "+format, args...))
		}
	}
	fault(len(c.Endpoints) == 0, "no endpoints are set")
	fault(strings.HasPrefix(c.Prefix, "/") || strings.HasSuffix(c.Prefix, "/") || c.Prefix == "",
		"prefix %q is empty, or starts or ends with a slash", c.Prefix)
	fault(c.LeaseTTL < time.Second || c.LeaseTTL%time.Second != 0, "lease TTL %v is not a whole number of seconds", c.LeaseTTL)
	fault(c.RequestTimeout <= 0 || c.RequestTimeout > c.LeaseTTL, "request timeout %v is not within the lease TTL %v", c.RequestTimeout, c.LeaseTTL)
	fault(c.RetryPause <= 0, "retry pause %v is not positive", c.RetryPause)
	fault(c.RereadInterval <= 0, "reread interval %v is not positive", c.RereadInterval)
	return errors.Join(errs...)
}

// Coordination is a ha.Coordination on etcd.
type Coordination struct {
	cfg    Config
	clock  clock.Clock
	client *clientv3.Client
	// ctx ends with Close; every goroutine of the package lives within it.
	ctx    context.Context //nolint:containedctx // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

var _ ha.Coordination = (*Coordination)(nil)

// New returns a way into etcd. It does not wait for etcd to answer.
func New(cfg Config, clk clock.Clock) (*Coordination, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, Username: cfg.Username, Password: cfg.Password, TLS: cfg.TLS,
		DialTimeout: cfg.RequestTimeout, DialKeepAliveTime: cfg.LeaseTTL, DialKeepAliveTimeout: cfg.LeaseTTL,
		Logger: zap.NewNop(), PermitWithoutStream: true,
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %v: %w", cfg.Endpoints, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Coordination{cfg: cfg, clock: clk, client: client, ctx: ctx, cancel: cancel}, nil
}

// Close implements ha.Coordination. A leadership that was not resigned ends
// here, and in etcd when its lease runs out.
func (c *Coordination) Close() error {
	c.cancel()
	c.wg.Wait()
	if err := c.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd client: %w", err)
	}
	return nil
}

func (c *Coordination) leaderKey() string   { return c.cfg.Prefix + "/leader" }
func (c *Coordination) sequenceKey() string { return c.cfg.Prefix + "/sequence" }
func (c *Coordination) dataPrefix() string  { return c.cfg.Prefix + "/data/" }

// within returns a context that ends with ctx or Close.
func (c *Coordination) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (c *Coordination) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.RequestTimeout)
}

// pause waits for d, or until ctx ends, which it returns as an error.
func (c *Coordination) pause(ctx context.Context, d time.Duration) error {
	t := c.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return c.cause(ctx)
	}
}

func (c *Coordination) cause(ctx context.Context) error {
	if c.ctx.Err() != nil {
		return ha.ErrClosed
	}
	return ctx.Err()
}

// readLeader reads the leader key: nil when there is none.
func (c *Coordination) readLeader(ctx context.Context) (*ha.Leader, int64, error) {
	ctx, cancel := c.request(ctx)
	defer cancel()
	resp, err := c.client.Get(ctx, c.leaderKey())
	if err != nil {
		return nil, 0, fmt.Errorf("read the leader: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return nil, resp.Header.Revision, nil
	}
	l, err := decodeLeader(resp.Kvs[0].Value, resp.Kvs[0].CreateRevision)
	return l, resp.Header.Revision, err
}

func decodeLeader(value []byte, createRevision int64) (*ha.Leader, error) {
	l := &ha.Leader{}
	if err := json.Unmarshal(value, l); err != nil {
		return nil, fmt.Errorf("decode the leader %q: %w", value, err)
	}
	l.Epoch = dataflow.Epoch(createRevision)
	return l, nil
}
