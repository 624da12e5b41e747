// Package badinput_test runs what people get wrong, and what the world gets
// wrong, against a cluster with real workers: each has a message that says
// what, where, why and what to do, and nothing is lost. It holds tests only.
package badinput_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/filestore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/launch/roles"
	"github.com/leatstream/leat/runtime/bundle"
	"github.com/leatstream/leat/runtime/dispatcher"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/memha"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/taskexec"
)

// waitMax bounds each wait.
const waitMax = 60 * time.Second

// jobsBundle is built once.
var jobsBundle = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "badinput-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "jobs.bundle")
	_, err = bundle.Build(context.Background(), bundle.BuildOptions{Package: "./testdata/jobs", Output: path})
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := jobsBundle(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // scratch
	}
	os.Exit(code)
}

// config varies a cluster; the zero value is one that works.
type config struct {
	objects      store.Store
	coordination func() (ha.Coordination, error)
	planTimeout  time.Duration
	memory       int64
	dir          string // of the taskmanager
}

// cluster is a jobmanager in this process and a taskmanager with real workers.
type cluster struct {
	t       *testing.T
	cfg     config
	control func() jobview.Control
	objects store.Store
	root    string // of the file store, if it is one
	stopJM  func()
	stopTM  func()
}

func start(t *testing.T, cfg config) *cluster {
	t.Helper()
	c := &cluster{t: t, cfg: cfg, objects: cfg.objects}
	if c.objects == nil {
		c.root = t.TempDir()
		var err error
		if c.objects, err = filestore.New(filestore.Config{Dir: c.root, Durability: filestore.SyncNever}); err != nil {
			t.Fatal(err)
		}
	}
	if c.cfg.coordination == nil {
		service := memha.NewService()
		c.cfg.coordination = func() (ha.Coordination, error) { return service.Contender(), nil }
	}
	c.startJobManager()
	return c
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (c *cluster) log() *slog.Logger { return slog.New(slog.NewTextHandler(c.t.Output(), nil)) }

// startJobManager starts it, and a taskmanager for it.
func (c *cluster) startJobManager() {
	c.t.Helper()
	coordination, err := c.cfg.coordination()
	if err != nil {
		c.t.Fatal(err)
	}
	control, web := listen(c.t), listen(c.t)
	views := make(chan func() jobview.Control, 1)
	jm := roles.JobManager{
		ID: "jm", Control: control, REST: web, AdvertisedControl: control.Addr().String(), AdvertisedREST: "http://" + web.Addr().String(),
		Coordination: coordination, Store: c.objects, TempDir: c.t.TempDir(), Clock: clock.Real{}, Log: c.log(),
		Dispatcher: dispatcher.Config{PlanTimeout: c.cfg.planTimeout},
		Extra: func(control func() jobview.Control) map[string]http.Handler {
			views <- control
			return nil
		},
	}
	c.stopJM = c.run(func(ctx context.Context) error {
		defer func() { _ = coordination.Close() }() // the connection of a test
		return jm.Run(ctx)
	})
	c.control = <-views
	c.startTaskManager(control.Addr().String())
}

func (c *cluster) startTaskManager(jobManager string) {
	dir, err := os.MkdirTemp("", "bi") // sockets need short paths
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = os.RemoveAll(dir) }) // scratch
	sockets := dir
	if c.cfg.dir != "" {
		dir = c.cfg.dir
	}
	memory := c.cfg.memory
	if memory == 0 {
		memory = 2 << 30
	}
	tm := roles.TaskManager{
		Executor:    taskexec.Config{ID: "tm", Host: "localhost", Address: "127.0.0.1", HostID: "here", Slots: 4, MemoryBytes: memory, Dir: dir, SocketDir: sockets},
		JobManagers: []string{jobManager}, Store: c.objects, Clock: clock.Real{}, Log: c.log(),
	}
	c.stopTM = c.run(tm.Run)
}

// with is the cluster for a part of the test.
func (c *cluster) with(t *testing.T) *cluster {
	part := *c
	part.t = t
	return &part
}

// crash ends jobmanager and taskmanager, with the workers.
func (c *cluster) crash() {
	c.stopTM()
	c.stopJM()
}

func (c *cluster) run(work func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(stop)
	return stop
}

func until(t *testing.T, what func() string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s did not come to pass", what())
		}
	}
}

// put stores the bundle, once there is a leader.
func (c *cluster) put() jobview.Bundle {
	c.t.Helper()
	path, err := jobsBundle()
	if err != nil {
		c.t.Fatal(err)
	}
	var b jobview.Bundle
	until(c.t, func() string { return fmt.Sprintf("storing the bundle (%v)", err) }, func() bool {
		v := c.control()
		if v == nil {
			return false
		}
		b, err = v.PutBundle(c.t.Context(), "jobs.bundle", path)
		return err == nil
	})
	return b
}

func (c *cluster) submit(s jobview.Submission, args ...string) (dataflow.JobID, error) {
	c.t.Helper()
	s.BundleSHA, s.Args = c.put().SHA256, args
	return c.control().Submit(c.t.Context(), s)
}

func (c *cluster) mustSubmit(args ...string) dataflow.JobID {
	c.t.Helper()
	id, err := c.submit(jobview.Submission{}, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

// await returns the job once it is as wanted.
func (c *cluster) await(id dataflow.JobID, what string, want func(jobview.Job) bool) (job jobview.Job) {
	c.t.Helper()
	until(c.t, func() string {
		return fmt.Sprintf("%s: the job is %s (%s), checkpoints %d, failures %+v:", what, job.State, job.StateReason, job.Checkpoints.Completed, job.Exceptions)
	}, func() bool {
		v := c.control()
		if v == nil {
			return false
		}
		j, err := v.Job(id)
		if err != nil {
			return false
		}
		job = j
		if j.State.Terminal() && !want(j) {
			c.t.Fatalf("the job is %s (%s) while waiting for %s: %+v", j.State, j.StateReason, what, j.Exceptions)
		}
		return want(j)
	})
	return job
}

func finished(j jobview.Job) bool { return j.State == jobview.JobFinished }
func failed(j jobview.Job) bool   { return j.State == jobview.JobFailed }

func checkpoints(n int) func(jobview.Job) bool {
	return func(j jobview.Job) bool { return j.State == jobview.JobRunning && j.Checkpoints.Completed >= n }
}

func reason(parts ...string) func(jobview.Job) bool {
	return func(j jobview.Job) bool {
		for _, p := range parts {
			if !strings.Contains(j.StateReason, p) {
				return false
			}
		}
		return true
	}
}

// failure is the newest failure of a job that has failed.
func (c *cluster) failure(id dataflow.JobID) jobview.Exception {
	c.t.Helper()
	j := c.await(id, "failure", failed)
	if len(j.Exceptions) == 0 {
		c.t.Fatalf("the job failed (%s) without an exception", j.StateReason)
	}
	return j.Exceptions[0]
}

// wantError checks an error that people see: its code, what it names, and
// that it says what to do.
func wantError(t *testing.T, e *jobview.Error, code string, names ...string) {
	t.Helper()
	all := strings.Join([]string{e.What, e.Where, e.Why, strings.Join(e.Fix, "; ")}, "\n")
	if e.Code != code {
		t.Errorf("code %s, want %s: %+v", e.Code, code, e)
	}
	for _, n := range names {
		if !strings.Contains(all, n) {
			t.Errorf("%s does not name %q:\n%s", e.Code, n, all)
		}
	}
	if len(e.Fix) == 0 || strings.TrimSpace(e.Fix[0]) == "" {
		t.Errorf("%s says nothing of what to do:\n%s", e.Code, all)
	}
}

// stop ends a job with a savepoint and returns where it is.
func (c *cluster) stop(id dataflow.JobID) string {
	c.t.Helper()
	op, err := c.control().Stop(c.t.Context(), id, jobview.StopRequest{Stop: true})
	if err != nil {
		c.t.Fatal(err)
	}
	var o jobview.Operation
	until(c.t, func() string { return "the savepoint" }, func() bool {
		o, err = c.control().Operation(id, op)
		return err == nil && o.Done
	})
	if o.Failure != nil {
		c.t.Fatal(o.Failure)
	}
	return o.Path
}

type row struct{ N, Key, Sum int64 }

// rows reads the committed files of a folder.
func rows(t *testing.T, dir string) []row {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "[^.]*"))
	if err != nil {
		t.Fatal(err)
	}
	var out []row
	for _, f := range list {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var r row
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%s: %q: %v", f, line, err)
			}
			out = append(out, r)
		}
	}
	return out
}

// wantSums checks that each of n rows was committed once and that the last
// sum of each key is the whole one: no state was lost or counted twice.
func wantSums(t *testing.T, dir string, n, keys int64) {
	t.Helper()
	seen, last := map[int64]int{}, map[int64]int64{}
	for _, r := range rows(t, dir) {
		seen[r.N]++
		last[r.Key] = max(last[r.Key], r.Sum)
	}
	want := map[int64]int64{}
	for i := range n {
		want[i%keys] += i
		if seen[i] != 1 {
			t.Errorf("row %d was committed %d times", i, seen[i])
		}
	}
	for k, w := range want {
		if last[k] != w {
			t.Errorf("the sum of key %d is %d, want %d", k, last[k], w)
		}
	}
}
