package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/runtime/bundle"
)

// TestScripts plays every script of testdata/scripts against one cluster.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	c := start(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			p := c.player(t)
			p.play(file)
		})
	}
	t.Run("upgrade interrupted", func(t *testing.T) {
		t.Parallel()
		c.interruptedUpgrade(t)
	})
	t.Run("rescale", func(t *testing.T) {
		t.Parallel()
		c.rescale(t)
	})
}

// cluster is what all scripts share.
type cluster struct {
	bin, dir, rest, kafka string
	ticker, orders        string // bundles
	old, foreign          string // bundles that cannot run
}

// start builds flinkctl and the bundles and brings a cluster up.
func start(t *testing.T) *cluster {
	t.Helper()
	tmp := t.TempDir()
	c := &cluster{
		bin: filepath.Join(tmp, "flinkctl"), dir: filepath.Join(tmp, "cluster"),
		ticker: filepath.Join(tmp, "ticker.bundle"), orders: filepath.Join(tmp, "orders.bundle"),
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", c.bin, "../../cmd/flinkctl")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for bundle, pkg := range map[string]string{c.ticker: "./testdata/ticker", c.orders: "../../examples/orders"} {
		c.must(t, "bundle", "build", pkg, "-o", bundle)
	}
	out := c.must(t, "local", "up", "--detach", "--dir", c.dir, "--rest-port", "0", "--kafka", "--kafka-port", "0", "--slots", "24", "--memory-mib", "8192", "-o", "json")
	t.Cleanup(func() {
		// The test's context has ended by now.
		cmd := exec.CommandContext(context.Background(), c.bin, "local", "down", "--dir", c.dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("local down: %v\n%s", err, out)
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(c.dir, "cluster.log")) // for the failure's sake
			t.Logf("the cluster's log ends with:\n%s", log[max(0, len(log)-8000):])
		}
	})
	var s struct{ REST, Kafka string }
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.REST == "" || s.Kafka == "" {
		t.Fatalf("local up printed %q: %v", out, err)
	}
	c.rest, c.kafka = s.REST, s.Kafka
	c.old, c.foreign = oddBundles(t, c.ticker, tmp)
	for _, id := range []string{"open-1", "open-2"} {
		openTransaction(t, c.kafka, id)
	}
	return c
}

func (c *cluster) env() []string {
	return []string{"LEAT_JOBMANAGER=" + c.rest, "LEAT_KAFKA=" + c.kafka}
}

func (c *cluster) must(t *testing.T, args ...string) string {
	t.Helper()
	res := run(t, c.bin, c.env(), args...)
	if res.code != 0 {
		t.Fatalf("flinkctl %s: exit code %d\n%s%s", strings.Join(args, " "), res.code, res.out, res.err)
	}
	return res.out
}

func (c *cluster) player(t *testing.T) *player {
	t.Helper()
	return &player{t: t, bin: c.bin, env: c.env(), vars: map[string]string{
		"rest": c.rest, "kafka": c.kafka, "dir": c.dir, "ticker": c.ticker, "orders": c.orders, "tmp": t.TempDir(),
		"src": source(t), "taken": takenPort(t),
		"old": c.old, "foreign": c.foreign, "open": "open-1", "open2": "open-2",
	}}
}

func source(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// takenPort is a port that something else listens on.
func takenPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// openTransaction leaves a transaction open, with a record in it.
func openTransaction(t *testing.T, kafka, id string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.TransactionalID(id), kgo.TransactionTimeout(5*time.Minute), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "left-open", Value: []byte(id)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// oddBundles makes a bundle of a worker protocol that is too old, and one
// that has no program for this machine.
func oddBundles(t *testing.T, from, dir string) (old, foreign string) {
	t.Helper()
	b, err := bundle.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if err := errors.Join(b.Extract("linux/amd64", program), b.Close()); err != nil {
		t.Fatal(err)
	}
	write := func(name string, protocol int, platform string) string {
		m := b.Manifest
		m.Protocol, m.Programs = protocol, nil
		path := filepath.Join(dir, name)
		if _, err := bundle.Write(path, m, []bundle.Executable{{OS: "linux", Arch: platform, Path: program}}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("old.bundle", 0, "amd64"), write("foreign.bundle", release.Protocol, "riscv64")
}
