package etcdha

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/devetcd"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/hatest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The embedded server and its gRPC gateway leave these for the rest of
		// the process.
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
	)
}

// endpoints returns an etcd: the one named by LEAT_ETCD (comma-separated
// URLs), else one in this process.
func endpoints(t testing.TB) []string {
	t.Helper()
	if urls := os.Getenv("LEAT_ETCD"); urls != "" {
		return strings.Split(urls, ",")
	}
	s, err := devetcd.Start(t.Context(), devetcd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return []string{s.Endpoint()}
}

type cluster struct {
	t   *testing.T
	cfg Config
	raw *clientv3.Client
}

var prefixes atomic.Int64

func newCluster(t *testing.T, urls []string) *cluster {
	t.Helper()
	raw, err := clientv3.New(clientv3.Config{Endpoints: urls, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	prefix := fmt.Sprintf("test/%d/%d", os.Getpid(), prefixes.Add(1))
	t.Cleanup(func() {
		if _, err := raw.Delete(context.Background(), prefix+"/", clientv3.WithPrefix()); err != nil {
			t.Logf("delete the test's keys: %v", err)
		}
	})
	return &cluster{t: t, raw: raw, cfg: Config{Endpoints: urls, Prefix: prefix, LeaseTTL: 2 * time.Second}}
}

func (c *cluster) open(cfg Config) *Coordination {
	c.t.Helper()
	co, err := New(cfg, clock.Real{})
	if err != nil {
		c.t.Fatal(err)
	}
	return co
}

func (c *cluster) Contender() ha.Coordination { return c.open(c.cfg) }

// Depose deletes the leader key, as the end of its lease does.
func (c *cluster) Depose() error {
	_, err := c.raw.Delete(c.t.Context(), c.cfg.Prefix+"/leader")
	return err
}

func TestConformance(t *testing.T) {
	t.Parallel()
	urls := endpoints(t)
	hatest.Run(t, func(t *testing.T) hatest.Cluster { return newCluster(t, urls) })
}

func lead(t *testing.T, c *Coordination, id string) *leadership {
	t.Helper()
	l, err := c.Campaign(t.Context(), ha.Leader{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return l.(*leadership)
}

func TestConfigFaultsAreNamedTogether(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Prefix: "/x/", LeaseTTL: 1500 * time.Millisecond, RetryPause: -1}, clock.Real{})
	for _, want := range []string{"endpoints", `"/x/"`, "1.5s", "retry pause"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
