package depot_test

import (
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // what the proxy of net/http logs through
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
	"github.com/leatstream/leat/internal/clock"
)

// silent gives some bytes and then nothing, until it is closed.
type silent struct {
	io.ReadCloser
	left   int
	closed chan struct{}
	once   sync.Once
}

func (s *silent) Read(p []byte) (int, error) {
	if s.left <= 0 {
		<-s.closed
		return 0, errors.New("closed")
	}
	n, err := s.ReadCloser.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

func (s *silent) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.ReadCloser.Close()
}

// stalling is a proxy whose answers stop in their middle as often as change
// says how.
func stalling(t *testing.T, change func(n int64, r *http.Response)) (a depot.Access) {
	t.Helper()
	target, err := url.Parse(access.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog, proxy.FlushInterval = log.New(io.Discard, "", 0), -1
	proxy.ModifyResponse = func(r *http.Response) error {
		change(n.Add(1), r)
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	a = access
	a.Endpoint, a.SilenceMax = server.URL, 500*time.Millisecond
	return a
}

// stall makes a body silent after some bytes; it ends with its request.
func stall(r *http.Response, after int) {
	body := &silent{ReadCloser: r.Body, left: after, closed: make(chan struct{})}
	done := r.Request.Context().Done()
	go func() {
		<-done
		body.once.Do(func() { close(body.closed) })
	}()
	r.Body = body
}

// A body that stalls is left, and the rest read by its range.
func TestReadingGoesOnAfterSilence(t *testing.T) {
	t.Parallel()
	direct := open(t, fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)), access)
	direct.put(t, "a", big)
	f := direct.find(t, "a")[0]
	var mu sync.Mutex
	var ranges []string
	a := stalling(t, func(n int64, r *http.Response) {
		mu.Lock()
		ranges = append(ranges, r.Request.Header.Get("Range"))
		mu.Unlock()
		if n <= 3 {
			stall(r, 1_000_000*int(n-1)) // the first: not a byte
		}
	})
	s := open(t, direct.root, a)
	if got := s.read(t, f, 7); got != big[7:] {
		t.Errorf("%d bytes were read, want %d", len(got), len(big)-7)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ranges) < 4 {
		t.Errorf("%d requests: %q", len(ranges), ranges)
	}
	for i, want := range []string{"bytes=7-", "bytes=7-", "bytes=1000007-", "bytes=3000007-"} {
		if i < len(ranges) && !strings.HasPrefix(ranges[i], want) {
			t.Errorf("request %d asked for %s, want %s", i, ranges[i], want)
		}
	}
}

// hurried is a clock whose timers are quick: what waits is tried again soon.
type hurried struct{ clock.Real }

func (h hurried) NewTimer(d time.Duration) clock.Timer { return h.Real.NewTimer(d / 1000) }

// A listing that stalls is asked for again; a server that is silent for good
// is an error that says so.
func TestSilenceIsExplained(t *testing.T) {
	t.Parallel()
	direct := open(t, fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)), access)
	direct.put(t, "a", big)
	f := direct.find(t, "a")[0]
	once := open(t, direct.root, stalling(t, func(n int64, r *http.Response) {
		if n == 1 {
			stall(r, 20)
		}
	}))
	if got := once.names(t, "*"); len(got) != 1 {
		t.Errorf("listed %q", got)
	}
	a := stalling(t, func(_ int64, r *http.Response) { stall(r, 0) })
	a.SilenceMax = 10 * time.Millisecond
	never, err := depot.New(direct.root, a, hurried{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := never.Close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := never.Open(t.Context(), f, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(r)
	var trouble *connectors.Trouble
	if !errors.As(err, &trouble) || trouble.Code != "LEAT5309" || !strings.Contains(err.Error(), "no byte came for 10ms") || !strings.Contains(err.Error(), "from byte 0 on") {
		t.Errorf("a server that is silent for good: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	bad := access
	bad.SilenceMax = -1
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "S3 may be silent for -1ns") {
		t.Errorf("a negative limit: %v", err)
	}
}
