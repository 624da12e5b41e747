package kwire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/tcplink"
)

// Mechanism is a SASL mechanism.
type Mechanism string

// The mechanisms that are implemented.
const (
	Plain       Mechanism = "PLAIN"
	ScramSHA256 Mechanism = "SCRAM-SHA-256"
	ScramSHA512 Mechanism = "SCRAM-SHA-512"
)

// SASL names the user of a connection. The zero value: no authentication.
type SASL struct {
	Mechanism Mechanism
	User      string
	Password  string
}

// String leaves the password out.
func (s SASL) String() string { return fmt.Sprintf("%s as %q", s.Mechanism, s.User) }

// GoString leaves the password out.
func (s SASL) GoString() string { return s.String() }

// Config says how to reach a cluster.
type Config struct {
	Brokers  []string // host:port
	ClientID string   // default "leat"
	TLS      *tls.Config
	SASL     SASL
	// DialTimeout bounds connecting and authenticating; default 10 s.
	DialTimeout time.Duration
	// RequestTimeout bounds the wait for one answer; default 30 s.
	RequestTimeout time.Duration
	Clock          clock.Clock  // default the machine's
	Log            *slog.Logger // default none
	// Trying is told why a request is tried again, and with nil that it was
	// answered in the end; nil: nobody is told. Safe for concurrent use.
	Trying func(err error)
	// Dial replaces the TCP dialler.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// EnsureDefaults fills in what was left zero.
func (c *Config) EnsureDefaults() {
	if c.ClientID == "" {
		c.ClientID = "leat"
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 10 * time.Second
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 30 * time.Second
	}
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = tcplink.Dialer(0).DialContext
	}
}

// Validate returns all faults of the configuration in one error.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("no broker address is given"))
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("broker address %q: want host:port: %w", b, err))
		}
	}
	switch c.SASL.Mechanism {
	case "", Plain, ScramSHA256, ScramSHA512:
	default:
		errs = append(errs, fmt.Errorf("SASL mechanism %q: want %s, %s or %s", c.SASL.Mechanism, Plain, ScramSHA256, ScramSHA512))
	}
	if c.SASL.Mechanism != "" && c.SASL.User == "" {
		errs = append(errs, errors.New("a SASL mechanism is given without a user"))
	}
	return errors.Join(errs...)
}

// dial connects, negotiates versions and authenticates.
func dial(ctx context.Context, cfg *Config, addr string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	nc, err := cfg.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to broker %s: %w", addr, err)
	}
	if cfg.TLS != nil {
		if nc, err = handshake(ctx, cfg, addr, nc); err != nil {
			return nil, err
		}
	}
	c := &Conn{
		addr: addr, clientID: cfg.ClientID, clk: cfg.Clock, timeout: cfg.RequestTimeout, nc: nc,
		closed: make(chan struct{}), slot: make(chan struct{}, inFlightMax),
	}
	go c.readLoop()
	if err := c.open(ctx, cfg); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func handshake(ctx context.Context, cfg *Config, addr string, nc net.Conn) (net.Conn, error) {
	tc := cfg.TLS.Clone()
	if tc.ServerName == "" && !tc.InsecureSkipVerify {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("broker address %q: %w", addr, err), nc.Close())
		}
		tc.ServerName = host
	}
	t := tls.Client(nc, tc)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("TLS with broker %s (is it a plaintext port, is the CA right?): %w", addr, err)
	}
	return t, nil
}

func (c *Conn) open(ctx context.Context, cfg *Config) error {
	// A broker answers ApiVersions before authentication. The answer is decoded
	// here, as the peer may be anything: kafka-go trusts the lengths in it.
	cur, err := c.callRaw(ctx, versionsKey, 0, false, nil)
	if err != nil {
		return err
	}
	versions, code, err := readVersions(cur)
	if err == nil {
		err = code.Err()
	}
	if err != nil {
		return fmt.Errorf("versions of broker %s: %w", c.addr, err)
	}
	c.versions = versions
	if cfg.SASL.Mechanism == "" {
		return nil
	}
	if err := c.authenticate(ctx, cfg.SASL); err != nil {
		return fmt.Errorf("SASL %v at broker %s: %w", cfg.SASL, c.addr, err)
	}
	return nil
}

const versionsKey = 18

func readVersions(cur *cursor) (out [apiKeyMax]versionRange, code Code, err error) {
	for i := range out {
		out[i] = versionRange{-1, -1}
	}
	code = Code(cur.i16())
	for range cur.count(6) {
		key, r := cur.i16(), versionRange{cur.i16(), cur.i16()}
		if key >= 0 && key < apiKeyMax {
			out[key] = r
		}
	}
	return out, code, cur.end("versions")
}

// AuthError is a refused authentication: retrying does not help.
type AuthError struct{ Reason error }

// Error implements error.
func (e *AuthError) Error() string { return "authentication refused: " + e.Reason.Error() }

// Unwrap returns the reason.
func (e *AuthError) Unwrap() error { return e.Reason }

func (c *Conn) authenticate(ctx context.Context, s SASL) error {
	hs, err := as[saslhandshake.Response](c.call(ctx, 1, 1, &saslhandshake.Request{Mechanism: string(s.Mechanism)}))
	if err != nil {
		return err
	}
	if err := Code(hs.ErrorCode).Err(); err != nil {
		return &AuthError{fmt.Errorf("the broker offers %q: %w", hs.Mechanisms, err)}
	}
	step := func(out []byte) ([]byte, error) {
		res, err := as[saslauthenticate.Response](c.call(ctx, 0, 1, &saslauthenticate.Request{AuthBytes: out}))
		if err != nil {
			return nil, fmt.Errorf("%w (brokers close the connection on a wrong password)", err)
		}
		if res.ErrorCode != 0 {
			return nil, &AuthError{fmt.Errorf("%s: %w", res.ErrorMessage, Code(res.ErrorCode))}
		}
		return res.AuthBytes, nil
	}
	if s.Mechanism == Plain {
		_, err := step([]byte("\x00" + s.User + "\x00" + s.Password))
		return err
	}
	return scramExchange(s, step)
}
