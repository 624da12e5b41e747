// Package s3store keeps objects in S3 or a server that speaks its protocol.
// It is the only place of the engine's core that knows the S3 client. The
// bucket must exist; incomplete multipart uploads that crashes leave behind
// are for the bucket's lifecycle rules.
package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/retry"
	"github.com/leatstream/leat/internal/tcplink"
)

// Config says where the objects are and with which rights.
type Config struct {
	// Endpoint is a host with an optional port, or a URL whose scheme decides
	// about TLS. Empty: AWS.
	Endpoint string
	Bucket   string
	// Prefix is put before every key; with or without a final slash.
	Prefix string
	Region string
	// PathStyle puts the bucket into the path and not into the host name, as
	// most servers other than AWS want it.
	PathStyle bool
	// AccessKey and SecretKey; both empty: from the environment (AWS_…, MINIO_…),
	// the AWS credentials file, or the machine's role, in this order.
	AccessKey, SecretKey, SessionToken string
	Checksums                          Checksums
	// Retry is about whole operations.
	Retry retry.Policy
	// TryTimeout bounds one try of a small request.
	TryTimeout time.Duration
	// PartBytes is the size of the parts of large objects, at least 5 MiB; one
	// part is held in memory for each Put.
	PartBytes uint64
	// Transport replaces the HTTP transport, in tests and behind proxies.
	Transport http.RoundTripper
}

// Checksums says whether the server can check and store checksums.
type Checksums int

// Use of checksums.
const (
	// ChecksumsVerify sends CRC32C with uploads that are not signed chunk by
	// chunk, and verifies whole objects against what the server has stored.
	ChecksumsVerify Checksums = iota
	// ChecksumsNone is for old servers that refuse them.
	ChecksumsNone
)

// EnsureDefaults fills what is zero.
func (c *Config) EnsureDefaults() {
	if c.Endpoint == "" {
		c.Endpoint = "https://s3.amazonaws.com"
	}
	if c.Retry == (retry.Policy{}) {
		c.Retry = retry.Policy{AttemptsMax: 8, PauseFirst: 100 * time.Millisecond, PauseMax: 5 * time.Second}
	}
	if c.TryTimeout == 0 {
		c.TryTimeout = 30 * time.Second
	}
	if c.PartBytes == 0 {
		c.PartBytes = partBytesDefault
	}
	c.Prefix = strings.Trim(c.Prefix, "/")
}

const (
	partBytesDefault = 16 << 20
	partBytesMin     = 5 << 20
	// clientTriesMax is how often the client itself tries a request.
	clientTriesMax = 3
)

// Validate returns all faults in one error.
func (c *Config) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("S3 store: "+format, args...))
		}
	}
	fault(c.Bucket == "", "no bucket is set")
	fault((c.AccessKey == "") != (c.SecretKey == ""), "only one of access key and secret key is set")
	fault(c.Retry.AttemptsMax < 1, "%d attempts are less than 1", c.Retry.AttemptsMax)
	fault(c.TryTimeout < 0, "timeout %v is negative", c.TryTimeout)
	fault(c.PartBytes < partBytesMin, "parts of %d bytes are smaller than %d", c.PartBytes, partBytesMin)
	if c.Prefix != "" {
		if err := store.CheckKey(c.Prefix); err != nil {
			errs = append(errs, fmt.Errorf("S3 store: prefix: %w", err))
		}
	}
	if _, _, err := c.host(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// host returns host and port, and whether TLS is used.
func (c *Config) host() (string, bool, error) {
	if !strings.Contains(c.Endpoint, "://") {
		return c.Endpoint, true, nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
		return "", false, fmt.Errorf("S3 store: endpoint %q is not host:port, http://host:port or https://host:port", c.Endpoint)
	}
	return u.Host, u.Scheme == "https", nil
}

// Store is a store.Store in an S3 bucket.
type Store struct {
	cfg    Config
	client *minio.Client
	core   minio.Core
	// plain sends no checksums after the body; it is for empty objects.
	plain  *minio.Client
	clock  clock.Clock
	prefix string // empty, or with a final slash
}

var _ store.Store = (*Store)(nil)

// dialTimeout bounds connecting to the server.
const dialTimeout = 5 * time.Second

// New returns a store. It does not talk to the server.
func New(cfg Config, clk clock.Clock) (*Store, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	host, secure, err := cfg.host()
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		transport, err := minio.DefaultTransport(secure)
		if err != nil {
			return nil, fmt.Errorf("S3 store at %s: %w", cfg.Endpoint, err)
		}
		transport.DialContext = tcplink.Dialer(dialTimeout).DialContext
		cfg.Transport = transport
	}
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	opts := minio.Options{Creds: cfg.credentials(), Secure: secure, Region: cfg.Region, BucketLookup: lookup,
		Transport: cfg.Transport, MaxRetries: clientTriesMax}
	plain, err := minio.New(host, &opts)
	if err != nil {
		return nil, fmt.Errorf("S3 store at %s: %w", cfg.Endpoint, err)
	}
	opts.TrailingHeaders = cfg.Checksums == ChecksumsVerify
	client, err := minio.New(host, &opts)
	if err != nil {
		return nil, fmt.Errorf("S3 store at %s: %w", cfg.Endpoint, err)
	}
	s := &Store{cfg: cfg, client: client, core: minio.Core{Client: client}, plain: plain, clock: clk}
	if cfg.Prefix != "" {
		s.prefix = cfg.Prefix + "/"
	}
	return s, nil
}

func (c *Config) credentials() *credentials.Credentials {
	if c.AccessKey != "" {
		return credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.SessionToken)
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
	})
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, fmt.Errorf("stat: %w", err)
	}
	var info store.Info
	err := s.do(ctx, func(ctx context.Context) error {
		o, err := s.client.StatObject(ctx, s.cfg.Bucket, s.prefix+key, minio.StatObjectOptions{})
		info = store.Info{Key: key, Size: o.Size, Modified: o.LastModified}
		return s.confirmMissing(ctx, err)
	})
	return info, s.fault("stat", key, err)
}

// List implements store.Store. A page that fails is asked for again, from the
// last key on.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		after, failures := "", 0
		for {
			done, err := s.listOnce(ctx, prefix, &after, &failures, yield)
			if done {
				return
			}
			failures++
			if !retryable(err) || failures >= s.cfg.Retry.AttemptsMax || s.pause(ctx, failures) != nil {
				yield(store.Info{}, s.fault("list", prefix, errors.Join(err, ctx.Err())))
				return
			}
		}
	}
}

// listOnce yields objects after a key and moves it on. It is done at the end
// of the list, and when yield wants no more.
func (s *Store) listOnce(ctx context.Context, prefix string, after *string, failures *int, yield func(store.Info, error) bool) (done bool, _ error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, StartAfter: *after}
	for o := range s.client.ListObjectsIter(ctx, s.cfg.Bucket, opts) {
		if o.Err != nil {
			return false, o.Err
		}
		*after, *failures = o.Key, 0
		if strings.HasSuffix(o.Key, "/") {
			continue // a folder made by a person
		}
		if !yield(store.Info{Key: strings.TrimPrefix(o.Key, s.prefix), Size: o.Size, Modified: o.LastModified}, nil) {
			return true, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return true, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	names := make([]minio.ObjectInfo, 0, len(keys))
	for _, key := range keys {
		if err := store.CheckKey(key); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		names = append(names, minio.ObjectInfo{Key: s.prefix + key})
	}
	if len(keys) == 0 {
		return nil
	}
	if len(keys) == 1 {
		err := s.do(ctx, func(ctx context.Context) error {
			return ignoreMissing(s.client.RemoveObject(ctx, s.cfg.Bucket, names[0].Key, minio.RemoveObjectOptions{}))
		})
		return s.fault("delete", keys[0], err)
	}
	err := retry.Do(ctx, s.clock, s.cfg.Retry, func(ctx context.Context, _ int) error {
		left, err := s.deleteOnce(ctx, names)
		names = left
		return s.classify(err)
	})
	return s.fault("delete", keys[0]+" and others", err)
}

// deleteOnce deletes by groups of 1,000 and returns what is left with the
// first error.
func (s *Store) deleteOnce(ctx context.Context, names []minio.ObjectInfo) ([]minio.ObjectInfo, error) {
	if err := ctx.Err(); err != nil {
		return names, err
	}
	results, err := s.client.RemoveObjectsWithIter(ctx, s.cfg.Bucket, func(yield func(minio.ObjectInfo) bool) {
		for _, n := range names {
			if !yield(n) {
				return
			}
		}
	}, minio.RemoveObjectsOptions{})
	if err != nil {
		return names, err
	}
	gone := map[string]bool{}
	var failed error
	for r := range results {
		switch err := ignoreMissing(r.Err); {
		case err == nil:
			gone[r.ObjectName] = true
		case failed == nil:
			failed = err
		}
	}
	var left []minio.ObjectInfo
	for _, n := range names {
		if !gone[n.Key] {
			left = append(left, n)
		}
	}
	if failed == nil && ctx.Err() != nil {
		failed = ctx.Err()
	}
	if failed == nil && len(left) > 0 {
		failed = fmt.Errorf("the server did not answer for %d objects: %w", len(left), io.ErrUnexpectedEOF)
	}
	return left, failed
}

// URI implements store.Store.
func (s *Store) URI(key string) string { return "s3://" + s.cfg.Bucket + "/" + s.prefix + key }
