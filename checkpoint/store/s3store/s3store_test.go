package s3store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/s3store"
	"github.com/leatstream/leat/checkpoint/store/storetest"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/devs3"
	"github.com/leatstream/leat/internal/retry"
)

const bucket = "leat-store-test"

// base is the configuration of the server under test: the one that LEAT_S3
// names (http://ACCESS:SECRET@host:port/bucket), else a child process.
var base s3store.Config

func TestMain(m *testing.M) {
	code, err := runWithServer(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
			goleak.IgnoreTopFunction("internal/poll.runtime_pollWait")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func runWithServer(m *testing.M) (code int, err error) {
	if external := os.Getenv("LEAT_S3"); external != "" {
		u, err := url.Parse(external)
		if err != nil || u.User == nil {
			return 1, fmt.Errorf("LEAT_S3 is not http://ACCESS:SECRET@host:port/bucket")
		}
		secret, _ := u.User.Password()
		base = s3store.Config{Endpoint: u.Scheme + "://" + u.Host, Bucket: strings.Trim(u.Path, "/"), AccessKey: u.User.Username(),
			SecretKey: secret, Region: "us-east-1", PathStyle: true}
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "leat-s3store-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := devs3.Start(context.Background(), dir, bucket)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	base = s3store.Config{Endpoint: "http://" + server.Address(), Bucket: bucket, AccessKey: devs3.AccessKey,
		SecretKey: devs3.SecretKey, Region: devs3.Region, PathStyle: true}
	return m.Run(), nil
}

var prefixes atomic.Int64

// open returns a store with a prefix of its own and pauses that suit a test.
func open(t *testing.T, change func(*s3store.Config)) *s3store.Store {
	t.Helper()
	cfg := base
	cfg.Prefix = fmt.Sprintf("test-%d/%d", os.Getpid(), prefixes.Add(1))
	cfg.Retry = retry.Policy{AttemptsMax: 6, PauseFirst: time.Millisecond, PauseMax: 10 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	s, err := s3store.New(cfg, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, nil) })
}

func TestConformanceWithoutChecksums(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, func(c *s3store.Config) { c.Checksums = s3store.ChecksumsNone })
	})
}

// faults is a transport that spoils some requests.
type faults struct {
	mu sync.Mutex
	// spoil is asked for each request, with the number of earlier ones that
	// it is told of; it may answer in the server's place.
	spoil func(n int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error)
	n     int
}

func (f *faults) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	n := f.n
	f.n++
	f.mu.Unlock()
	return f.spoil(n, req, func() (*http.Response, error) { return http.DefaultTransport.RoundTrip(req) })
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func spoiled(t *testing.T, spoil func(n int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error)) (*s3store.Store, *faults) {
	f := &faults{spoil: spoil}
	return open(t, func(c *s3store.Config) { c.Transport = f }), f
}

var errCut = errors.New("connection reset")

// drop has the request done and loses its answer.
func drop(send func() (*http.Response, error)) (*http.Response, error) {
	resp, err := send()
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return nil, errors.Join(errCut, err, resp.Body.Close())
}

func status(req *http.Request, code int, s3code string) *http.Response {
	body := fmt.Sprintf("<Error><Code>%s</Code><Message>injected</Message></Error>", s3code)
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{"Content-Type": {"application/xml"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}
}

func get(ctx context.Context, s store.Store, key string, offset, length int64) (string, error) {
	r, err := s.Get(ctx, key, offset, length)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

// The first answers of a conditional put are lost: the writer finds that the
// object there is its own.
func TestLostAnswersOfPutIfAbsent(t *testing.T) {
	t.Parallel()
	var puts atomic.Int64
	s, _ := spoiled(t, func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if req.Method == http.MethodPut && puts.Add(1) <= 5 {
			return drop(send)
		}
		return send()
	})
	if err := s.PutIfAbsent(t.Context(), "k", []byte("mine")); err != nil {
		t.Fatalf("own object was not recognised: %v", err)
	}
	if puts.Load() < 5 {
		t.Fatalf("%d puts: nothing was lost", puts.Load())
	}
	if err := s.PutIfAbsent(t.Context(), "k", []byte("mine")); !errors.Is(err, store.ErrExists) {
		t.Fatalf("another writer's equal object was taken for its own: %v", err)
	}
	if got, err := get(t.Context(), s, "k", 0, -1); got != "mine" || err != nil {
		t.Fatal(got, err)
	}
}

// Two writers race and every first answer is lost: exactly one wins and both
// know who.
func TestRaceWithLostAnswers(t *testing.T) {
	t.Parallel()
	var puts sync.Map
	s, _ := spoiled(t, func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if req.Method == http.MethodPut {
			if _, seen := puts.LoadOrStore(req.URL.Path+req.Header.Get("X-Amz-Meta-Leat-Token"), true); !seen {
				return drop(send)
			}
		}
		return send()
	})
	for round := range 10 {
		key := fmt.Sprintf("race/%d", round)
		results := make([]error, 2)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() { results[i] = s.PutIfAbsent(t.Context(), key, fmt.Append(nil, i)) })
		}
		wg.Wait()
		won := -1
		for i, err := range results {
			switch {
			case err == nil && won >= 0:
				t.Fatalf("round %d: both won", round)
			case err == nil:
				won = i
			case !errors.Is(err, store.ErrExists):
				t.Fatal(err)
			}
		}
		if got, err := get(t.Context(), s, key, 0, -1); err != nil || got != fmt.Sprint(won) {
			t.Fatalf("round %d: winner %d, object %q, %v", round, won, got, err)
		}
	}
}

// 409 in a race is no answer.
func TestConflictIsTriedAgain(t *testing.T) {
	t.Parallel()
	s, f := spoiled(t, func(n int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if req.Method == http.MethodPut && n < 2 {
			return status(req, http.StatusConflict, "ConditionalRequestConflict"), nil
		}
		return send()
	})
	if err := s.PutIfAbsent(t.Context(), "k", []byte("x")); err != nil || f.count() < 3 {
		t.Fatalf("%v after %d requests", err, f.count())
	}
}

// cutBody ends a body early, cleanly or with an error.
type cutBody struct {
	io.ReadCloser
	left int
	end  error
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, c.end
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Bodies that end early at every step, with and without an error, for whole
// objects and ranges: the reader gets every byte.
func TestShortBodiesAreContinued(t *testing.T) {
	t.Parallel()
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(i * 7 / 3)
	}
	for _, end := range []error{io.EOF, errCut} {
		var gets atomic.Int64
		s, _ := spoiled(t, func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			resp, err := send()
			if err == nil && req.Method == http.MethodGet && !strings.Contains(req.URL.RawQuery, "list-type") && resp.StatusCode < 300 {
				gets.Add(1)
				resp.Body = &cutBody{resp.Body, 64 << 10, end}
			}
			return resp, err
		})
		if err := s.Put(t.Context(), "k", bytes.NewReader(data), int64(len(data))); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ offset, length int64 }{{0, -1}, {0, 300_000}, {1, -1}, {100, 200_000}, {65536, 65536}} {
			got, err := get(t.Context(), s, "k", c.offset, c.length)
			to := c.offset + c.length
			if c.length < 0 {
				to = int64(len(data))
			}
			if err != nil || got != string(data[c.offset:to]) {
				t.Errorf("%v: %d bytes at %d: %d came, %v", end, c.length, c.offset, len(got), err)
			}
		}
		if gets.Load() < 12 {
			t.Errorf("%d requests: nothing was cut", gets.Load())
		}
	}
}

// A body that never gets further ends in an error that says what is missing.
func TestBodyThatNeverComes(t *testing.T) {
	t.Parallel()
	s, _ := spoiled(t, func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if err == nil && req.Method == http.MethodGet {
			resp.Body = &cutBody{resp.Body, 0, io.EOF}
		}
		return resp, err
	})
	if err := s.Put(t.Context(), "k", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), s, "k", 0, -1); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "10 bytes are missing at 0") {
		t.Fatal(err)
	}
}

// An object that is replaced while it is read is never mixed.
func TestReplacedWhileRead(t *testing.T) {
	t.Parallel()
	plain := open(t, nil)
	var cutting atomic.Bool
	s := open(t, func(c *s3store.Config) {
		c.Prefix = strings.TrimPrefix(strings.TrimPrefix(plain.URI("x"), "s3://"+base.Bucket+"/"), "")
		c.Prefix = strings.TrimSuffix(c.Prefix, "/x")
		c.Transport = &faults{spoil: func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			resp, err := send()
			if err == nil && req.Method == http.MethodGet && cutting.Load() {
				resp.Body = &cutBody{resp.Body, 1000, errCut}
			}
			return resp, err
		}}
	})
	if err := plain.Put(t.Context(), "k", bytes.NewReader(bytes.Repeat([]byte("a"), 5000)), 5000); err != nil {
		t.Fatal(err)
	}
	cutting.Store(true)
	r, err := s.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if err := plain.Put(t.Context(), "k", bytes.NewReader(bytes.Repeat([]byte("b"), 5000)), 5000); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err == nil || bytes.ContainsRune(rest, 'b') {
		t.Fatalf("%d bytes, %v", len(rest), err)
	}
}

// A flipped byte in a whole object is seen.
func TestFlippedByteIsSeen(t *testing.T) {
	t.Parallel()
	s, _ := spoiled(t, func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if err == nil && req.Method == http.MethodGet && resp.StatusCode == http.StatusOK {
			data, readErr := io.ReadAll(resp.Body)
			if readErr != nil {
				return nil, readErr
			}
			data[3] ^= 1
			resp.Body = io.NopCloser(bytes.NewReader(data))
		}
		return resp, err
	})
	if err := s.Put(t.Context(), "k", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t.Context(), s, "k", 0, -1); err == nil {
		t.Fatalf("%q was believed", got)
	}
}

// Throttling and broken servers are waited for; refusals are not repeated.
func TestServerFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
		wait   bool
	}{
		{503, "SlowDown", true}, {500, "InternalError", true}, {429, "TooManyRequests", true}, {502, "", true},
		{403, "AccessDenied", false}, {404, "NoSuchBucket", false}, {501, "NotImplemented", false},
	} {
		var n atomic.Int64
		s, _ := spoiled(t, func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			if n.Add(1) <= 5 {
				return status(req, c.status, c.code), nil
			}
			return send()
		})
		err := s.Put(t.Context(), "k", strings.NewReader("x"), 1)
		if c.wait != (err == nil) {
			t.Errorf("%d %s: %v after %d requests", c.status, c.code, err, n.Load())
		}
		if !c.wait && (n.Load() > 3 || errors.Is(err, store.ErrNotFound)) {
			t.Errorf("%d %s: %d requests, %v", c.status, c.code, n.Load(), err)
		}
	}
}

// "Not found" from a server that has lost the bucket, or from something that
// is no S3 server, is not the absence of an object.
func TestDoubtfulNotFound(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *s3store.Config) { c.Bucket = "no-such-bucket-here" })
	_, statErr := s.Stat(t.Context(), "k")
	_, getErr := get(t.Context(), s, "k", 0, -1)
	for _, err := range []error{statErr, getErr, s.Put(t.Context(), "k", strings.NewReader("x"), 1), s.PutIfAbsent(t.Context(), "k", nil)} {
		if err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "bucket") {
			t.Errorf("missing bucket: %v", err)
		}
	}
	broken, _ := spoiled(t, func(_ int, req *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		return &http.Response{StatusCode: 404, Status: "404", Header: http.Header{}, Body: io.NopCloser(strings.NewReader("404 page not found")), Request: req}, nil
	})
	if _, err := broken.Stat(t.Context(), "k"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("404 of something else: %v", err)
	}
}

// The answer to the completion of a multipart upload is lost, and the server
// no longer knows the upload when it is asked again.
func TestCompletedTwice(t *testing.T) {
	t.Parallel()
	var completions atomic.Int64
	s, _ := spoiled(t, func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if req.Method == http.MethodPost && req.URL.Query().Has("uploadId") {
			if completions.Add(1) == 1 {
				return drop(send)
			}
			return status(req, http.StatusNotFound, "NoSuchUpload"), nil
		}
		return send()
	})
	data := bytes.Repeat([]byte("0123456789abcdef"), (20<<20)/16)
	if err := s.Put(t.Context(), "k", bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if completions.Load() < 2 {
		t.Fatalf("%d completions: nothing was lost", completions.Load())
	}
	if got, err := get(t.Context(), s, "k", 0, -1); err != nil || got != string(data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

// A listing whose second page fails goes on where it was.
func TestListGoesOn(t *testing.T) {
	t.Parallel()
	var lists atomic.Int64
	s, _ := spoiled(t, func(_ int, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if req.URL.Query().Has("list-type") {
			if n := lists.Add(1); n >= 2 && n <= 5 {
				return nil, errCut
			}
		}
		return send()
	})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < 1010; i += 8 {
				if err := s.PutIfAbsent(t.Context(), fmt.Sprintf("k/%04d", i), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n, last := 0, ""
	for info, err := range s.List(t.Context(), "k/") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Key <= last {
			t.Fatalf("%s follows %s", info.Key, last)
		}
		n, last = n+1, info.Key
	}
	if n != 1010 || lists.Load() < 5 {
		t.Fatalf("%d objects with %d requests", n, lists.Load())
	}
}

func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, f := spoiled(t, func(n int, _ *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		if n == 2 {
			cancel()
		}
		return nil, errCut
	})
	if err := s.PutIfAbsent(ctx, "k", nil); !errors.Is(err, context.Canceled) && !errors.Is(err, errCut) {
		t.Error(err)
	}
	if f.count() > 4 {
		t.Errorf("%d requests", f.count())
	}
}

func TestConfigFaultsAreNamedTogether(t *testing.T) {
	t.Parallel()
	_, err := s3store.New(s3store.Config{Endpoint: "ftp://x", AccessKey: "a", PartBytes: 1, Prefix: "a/../b"}, clock.Real{})
	for _, want := range []string{"no bucket", "ftp://x", "secret key", "parts of 1 bytes", `".."`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "secret-value") {
		t.Error("the error shows a secret")
	}
}
