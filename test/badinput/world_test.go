package badinput_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint/store/s3store"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/devbroker"
	"github.com/leatstream/leat/internal/devetcd"
	"github.com/leatstream/leat/internal/devs3"
	"github.com/leatstream/leat/internal/retry"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/etcdha"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/test/proof"
)

// s3Behind is a client of the test's S3 server whose network can be cut.
func s3Behind(t *testing.T, server *devs3.Server, secret string, cut *atomic.Bool) *s3store.Store {
	t.Helper()
	s, err := s3store.New(s3store.Config{
		Endpoint: "http://" + server.Address(), Bucket: "ckpt", Region: devs3.Region, PathStyle: true,
		AccessKey: devs3.AccessKey, SecretKey: secret, TryTimeout: time.Second,
		Retry:     retry.Policy{AttemptsMax: 3, PauseFirst: 50 * time.Millisecond, PauseMax: 200 * time.Millisecond},
		Transport: cuttable{cut},
	}, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type cuttable struct{ cut *atomic.Bool }

// RoundTrip implements http.RoundTripper.
func (c cuttable) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.cut.Load() {
		if r.Body != nil {
			_ = r.Body.Close() // as a transport must
		}
		return nil, errors.New("connection refused (cut by the test)")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestObjectStore: wrong keys are named at the first use; a store that goes
// away in the middle fails checkpoints loudly, and the job goes on.
func TestObjectStore(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("NOT TESTED: with -short; the S3 server takes long to build")
	}
	server, err := devs3.Start(t.Context(), t.TempDir(), "ckpt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("wrong keys", func(t *testing.T) {
		t.Parallel()
		c := start(t, config{objects: s3Behind(t, server, "not-the-secret", &atomic.Bool{})})
		path, err := jobsBundle()
		if err != nil {
			t.Fatal(err)
		}
		until(t, func() string { return "a leader" }, func() bool { return c.control() != nil })
		_, err = c.control().PutBundle(t.Context(), "jobs.bundle", path)
		wantError(t, asError(t, err), "LEAT1215", "Check your key", "credentials")
	})
	t.Run("away in the middle", func(t *testing.T) {
		t.Parallel()
		var cut atomic.Bool
		c := start(t, config{objects: s3Behind(t, server, devs3.SecretKey, &cut)})
		out := t.TempDir()
		const n = 12_000
		id := c.mustSubmit("-what", "sums", "-rate", "1500", "-rows", fmt.Sprint(n), "-out", out, "-retry")
		c.await(id, "checkpoints", checkpoints(2))
		cut.Store(true)
		j := c.await(id, "a failed checkpoint", func(j jobview.Job) bool { return j.Checkpoints.Failed > 0 })
		if f := j.Checkpoints.LastFailed; !strings.Contains(f.Failure, "cut by the test") {
			t.Errorf("the failed checkpoint does not say why: %q", f.Failure)
		}
		if j.State != jobview.JobRunning {
			t.Errorf("the job is %s", j.State)
		}
		cut.Store(false)
		c.await(id, "end", finished)
		wantSums(t, out, n, 5)
	})
}

// link is a TCP proxy that can be cut.
type link struct {
	listener net.Listener
	target   string
	cut      atomic.Bool
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn // guarded by mu
}

func newLink(t *testing.T, target string) *link {
	k := &link{listener: listen(t), target: target}
	k.wg.Go(func() {
		for {
			client, err := k.listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", k.target)
			if k.cut.Load() || err != nil {
				_ = client.Close() // refused
				continue
			}
			k.mu.Lock()
			k.conns = append(k.conns, client, server)
			k.mu.Unlock()
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				k.wg.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])                  // until either ends
					_ = errors.Join(pair[0].Close(), pair[1].Close()) // both may be closed
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = k.listener.Close() // once
		k.setCut(true)
		k.wg.Wait()
	})
	return k
}

func (k *link) setCut(cut bool) {
	k.cut.Store(cut)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		_ = c.Close() // may be closed
	}
	k.conns = nil
}

// TestCoordination: etcd is away at the start and in the middle; the cluster
// waits, the job goes on, and its output is complete.
func TestCoordination(t *testing.T) {
	t.Parallel()
	server, err := devetcd.Start(t.Context(), devetcd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	k := newLink(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	k.setCut(true)
	c := start(t, config{coordination: func() (ha.Coordination, error) {
		return etcdha.New(etcdha.Config{Endpoints: []string{"http://" + k.listener.Addr().String()}, Prefix: "leat/badinput", LeaseTTL: 3 * time.Second}, clock.Real{})
	}})
	sleep(t, time.Second)
	if c.control() != nil {
		t.Fatal("there is a leader without etcd")
	}
	k.setCut(false)
	out := t.TempDir()
	const n = 12_000
	id := c.mustSubmit("-what", "sums", "-rate", "1500", "-rows", fmt.Sprint(n), "-out", out, "-retry")
	c.await(id, "checkpoints", checkpoints(2))
	k.setCut(true)
	sleep(t, 2*time.Second)
	k.setCut(false)
	c.await(id, "end", finished)
	wantSums(t, out, n, 5)
}

func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// broker starts a broker at an address, which it can leave and take again.
func broker(t *testing.T, cfg devbroker.Config) *devbroker.Broker {
	t.Helper()
	var b *devbroker.Broker
	var err error
	until(t, func() string { return fmt.Sprintf("the broker's start (%v)", err) }, func() bool {
		b, err = devbroker.Start(cfg)
		return err == nil
	})
	return b
}

func freePort(t *testing.T) int {
	t.Helper()
	l := listen(t)
	defer func() { _ = l.Close() }() // the broker takes it
	return l.Addr().(*net.TCPAddr).Port
}

// TestKafka: what the brokers refuse, and brokers that are away.
func TestKafka(t *testing.T) {
	t.Parallel()
	c := start(t, config{})
	t.Run("unknown topic", func(t *testing.T) {
		t.Parallel()
		c := c.with(t)
		b := broker(t, devbroker.Config{Topics: map[string]int{"out": proof.Partitions}})
		t.Cleanup(b.Close)
		f := c.failure(c.mustSubmit("-what", "copy", "-brokers", b.Bootstrap()))
		wantError(t, &f.Error, "LEAT5113", `topic "in"`)
	})
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		c := c.with(t)
		b := broker(t, devbroker.Config{Topics: map[string]int{"in": 1, "out": proof.Partitions}, Users: []devbroker.User{{Mechanism: "PLAIN", Name: "job", Password: "right"}}})
		t.Cleanup(b.Close)
		f := c.failure(c.mustSubmit("-what", "copy", "-brokers", b.Bootstrap(), "-user", "job", "-secret", "hunter2"))
		// This broker closes the connection instead of saying no, so that the
		// job cannot be sure: brokers that say no get LEAT5102.
		wantError(t, &f.Error, "LEAT5101", "password", `as "job"`)
		if strings.Contains(fmt.Sprintf("%+v", f), "hunter2") {
			t.Errorf("the failure shows the password: %+v", f)
		}
	})
	t.Run("panic at a record", func(t *testing.T) {
		t.Parallel()
		c := c.with(t)
		b := broker(t, devbroker.Config{Topics: map[string]int{"in": 1, "out": proof.Partitions}})
		t.Cleanup(b.Close)
		write(t, b.Bootstrap(), 0, 50)
		f := c.failure(c.mustSubmit("-what", "copy", "-brokers", b.Bootstrap(), "-at", "33"))
		wantError(t, &f.Error, "LEAT3101", "row 33 is not what I expected")
		if f.Record != "in-0@33" {
			t.Errorf("the record is %q, want in-0@33", f.Record)
		}
	})
	t.Run("away at the start and in the middle", func(t *testing.T) {
		t.Parallel()
		c := c.with(t)
		port := freePort(t)
		cfg := devbroker.Config{Ports: []int{port}, DataDir: filepath.Join(t.TempDir(), "kafka"), Topics: map[string]int{"in": 1, "out": proof.Partitions}}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		id := c.mustSubmit("-what", "copy", "-brokers", address, "-end", "400", "-retry")
		c.await(id, "a reason", reason("LEAT5101", address, "tries again"))
		b := broker(t, cfg)
		write(t, address, 0, 200)
		c.await(id, "checkpoints", checkpoints(3))
		c.await(id, "no reason", func(j jobview.Job) bool { return j.StateReason == "" })
		b.Close()
		c.await(id, "a reason again", reason("LEAT5101", address))
		b = broker(t, cfg)
		t.Cleanup(b.Close)
		write(t, address, 200, 400)
		c.await(id, "end", finished)
		wantCopied(t, address, 400)
	})
}
