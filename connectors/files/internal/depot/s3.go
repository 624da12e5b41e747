package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/retry"
)

// s3 is one bucket.
type s3 struct {
	bucket, endpoint string
	core             minio.Core
	transport        *http.Transport
	clock            clock.Clock
}

var _ Depot = (*s3)(nil)

// clientTriesMax is how often the client itself tries a request: once, the
// tries are made here.
const clientTriesMax = 1

const (
	idlePerHost   = 16
	dialTimeout   = 10 * time.Second
	keepAliveTime = 30 * time.Second
)

func newS3(bucket string, a Access, clk clock.Clock) (*s3, error) {
	host, secure, err := a.host()
	if err != nil {
		return nil, err
	}
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	if a.SilenceMax == 0 {
		a.SilenceMax = SilenceDefault
	}
	transport.ResponseHeaderTimeout, transport.MaxIdleConnsPerHost = a.SilenceMax, idlePerHost
	dial := net.Dialer{Timeout: dialTimeout, KeepAlive: keepAliveTime}
	transport.DialContext = dialer{dial.DialContext, a.SilenceMax}.DialContext
	client, err := minio.New(host, &minio.Options{Creds: a.credentials(), Secure: secure, Region: a.Region, Transport: transport, MaxRetries: clientTriesMax})
	if err != nil {
		return nil, fmt.Errorf("S3 at %s: %w", host, err)
	}
	return &s3{bucket: bucket, endpoint: host, core: minio.Core{Client: client}, transport: transport, clock: clk}, nil
}

// host returns host and port, and whether TLS is used.
func (a Access) host() (string, bool, error) {
	if !strings.Contains(a.Endpoint, "://") {
		return a.Endpoint, true, nil
	}
	u, err := url.Parse(a.Endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return "", false, errors.New("the endpoint of S3 is not host:port, http://host:port or https://host:port")
	}
	return u.Host, u.Scheme == "https", nil
}

// Validate returns what is wrong with a, nil if nothing.
func (a Access) Validate() error {
	var errs []error
	if a.Endpoint != "" {
		_, _, err := a.host()
		errs = append(errs, err)
	}
	if (a.AccessKey == "") != (a.SecretKey == "") {
		errs = append(errs, errors.New("only one of access key and secret key of S3 is set"))
	}
	if a.SilenceMax < 0 || a.SilenceMax > 0 && a.SilenceMax < time.Millisecond {
		errs = append(errs, fmt.Errorf("S3 may be silent for %v: want a millisecond or more, or 0 for %v", a.SilenceMax, SilenceDefault))
	}
	return errors.Join(errs...)
}

func (a Access) credentials() *credentials.Credentials {
	if a.AccessKey != "" {
		return credentials.NewStaticV4(a.AccessKey, a.SecretKey, a.SessionToken)
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{}, &credentials.IAM{},
	})
}

// Close implements Depot.
func (s *s3) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

func (s *s3) url(key string) string { return scheme + s.bucket + "/" + key }

// Find implements Depot.
func (s *s3) Find(ctx context.Context, pattern string) (out []Info, _ error) {
	_, pattern, err := Bucket(pattern)
	if err != nil {
		return nil, err
	}
	prefix := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		prefix = pattern[:i]
	}
	err = s.do(ctx, func(ctx context.Context) error {
		out = out[:0]
		for o := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
			if o.Err != nil {
				return o.Err
			}
			if ok, err := path.Match(pattern, o.Key); err != nil || !ok || strings.HasSuffix(o.Key, "/") || hidden(path.Base(o.Key), path.Base(pattern)) {
				continue
			}
			out = append(out, Info{Path: s.url(o.Key), Bytes: o.Size, Tag: o.ETag})
		}
		return ctx.Err()
	})
	return out, s.fault("list "+s.url(prefix), err)
}

// Check implements Depot.
func (s *s3) Check(ctx context.Context, root string) error {
	err := s.do(ctx, func(ctx context.Context) error {
		there, err := s.core.BucketExists(ctx, s.bucket)
		if err == nil && !there {
			err = minio.ErrorResponse{Code: "NoSuchBucket", StatusCode: http.StatusNotFound}
		}
		return err
	})
	return s.fault("look at "+root, err)
}

// Open implements Depot.
func (s *s3) Open(ctx context.Context, f Info, offset int64) (io.ReadCloser, error) {
	_, key, err := Bucket(f.Path)
	if err != nil {
		return nil, err
	}
	o := &object{s: s, ctx: ctx, key: key, info: f, next: offset}
	if offset >= f.Bytes {
		return http.NoBody, nil // S3 has no empty ranges
	}
	err = s.do(ctx, func(context.Context) error { return o.open() })
	if err != nil {
		return nil, s.fault("read "+f.Path, err)
	}
	return o, nil
}

// object reads the bytes from next on over as many bodies as it takes.
type object struct {
	s    *s3
	ctx  context.Context //nolint:containedctx // of the Open call, which bounds the reading too
	key  string
	info Info
	next int64
	body io.ReadCloser
	// barren counts the bodies in a row that broke before they gave a byte.
	barren int
}

// open asks for the bytes from next on, of the version that was found.
func (o *object) open() error {
	var opts minio.GetObjectOptions
	err := opts.SetRange(o.next, o.info.Bytes-1)
	if err == nil && o.info.Tag != "" {
		err = opts.SetMatchETag(o.info.Tag)
	}
	if err != nil {
		return err
	}
	body, _, header, err := o.s.core.GetObject(o.ctx, o.s.bucket, o.key, opts)
	if resp := minio.ToErrorResponse(err); err != nil && (resp.Code == "PreconditionFailed" || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable) {
		return retry.Permanent(ErrChanged)
	}
	if err != nil {
		return err
	}
	if tag := strings.Trim(header.Get("Etag"), `"`); o.info.Tag != "" && tag != "" && tag != o.info.Tag {
		return retry.Permanent(errors.Join(ErrChanged, body.Close())) // a server that takes no notice of If-Match
	}
	o.body = body
	return nil
}

func (o *object) Read(p []byte) (int, error) {
	if o.next >= o.info.Bytes {
		return 0, io.EOF
	}
	n, err := o.body.Read(p)
	o.next += int64(n)
	if n > 0 {
		o.barren = 0
	}
	if n > 0 || err == nil {
		return n, nil // an error comes again with the next read
	}
	cause := err
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	_ = o.body.Close() // what is wrong with it is known
	o.body = http.NoBody
	if o.barren++; o.barren > 1 {
		if o.barren > policy.AttemptsMax {
			return 0, o.s.fault(fmt.Sprintf("read %s from byte %d on", o.info.Path, o.next), cause)
		}
		if err := retry.Wait(o.ctx, o.s.clock, policy.Pause(o.barren-1, 1)); err != nil {
			return 0, err
		}
	}
	if err := o.s.do(o.ctx, func(context.Context) error { return o.open() }); err != nil {
		return 0, o.s.fault(fmt.Sprintf("read %s from byte %d on, after %v", o.info.Path, o.next, cause), err)
	}
	return 0, nil
}

func (o *object) Close() error { return o.body.Close() }

// do tries op until it works, fails for good, or has failed often.
func (s *s3) do(ctx context.Context, op func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return retry.Do(ctx, s.clock, policy, func(ctx context.Context, _ int) error {
		err := op(ctx)
		if final(err) {
			return retry.Permanent(err)
		}
		return err
	})
}

// final reports whether an error is the server's considered answer.
func final(err error) bool {
	var resp minio.ErrorResponse
	if err == nil || !errors.As(err, &resp) {
		return false
	}
	switch resp.Code {
	case "BadRequest", "ConditionalRequestConflict", "OperationAborted", "BadDigest", "IncompleteBody", "RequestTimeout":
		return false
	}
	return resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusConflict
}

// denials are the codes that mean "not you".
var denials = map[string]bool{
	"AccessDenied": true, "InvalidAccessKeyId": true, "XAdminUserNotFound": true, "SignatureDoesNotMatch": true, "ExpiredToken": true, "InvalidToken": true,
	"AllAccessDisabled": true, "AccountProblem": true, "RequestTimeTooSkewed": true,
}

// fault says what was done when err came, and what a person can do. No part of
// it holds a key.
func (s *s3) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	var resp minio.ErrorResponse
	_ = errors.As(err, &resp) // none: it is empty
	switch {
	case errors.Is(err, ErrChanged), errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	case resp.Code == "NoSuchBucket":
		return &connectors.FatalError{Code: "LEAT5305", What: fmt.Sprintf("cannot %s", doing), Why: fmt.Sprintf("%s has no bucket %q", s.endpoint, s.bucket),
			Fix: "make the bucket, or correct its name or the endpoint"}
	case denials[resp.Code], resp.StatusCode == http.StatusForbidden:
		return &connectors.FatalError{Code: "LEAT5306", What: fmt.Sprintf("cannot %s", doing), Why: fmt.Sprintf("%s refuses: %s", s.endpoint, resp.Code),
			Fix: "check the keys (the options of the connector, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine's role), their rights on the bucket, and the clock"}
	}
	if !final(err) {
		return &connectors.Trouble{Code: "LEAT5309", What: fmt.Sprintf("S3 at %s does not answer: cannot %s", s.endpoint, doing),
			Fix: "nothing, if it is back soon; else look at the server and the network", Err: err}
	}
	return fmt.Errorf("S3 at %s: cannot %s: %w", s.endpoint, doing, err)
}
