package launch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/filestore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/launch/roles"
	"github.com/leatstream/leat/runtime/bundle"
	"github.com/leatstream/leat/runtime/ha/memha"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/taskexec"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "lt")
	if err == nil {
		err = os.Setenv("TMPDIR", dir) // what tests build goes with it
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // scratch
		os.Exit(code)
	}))
}

const waitMax = 120 * time.Second

type total struct{ Shop, From, Sum, Count int64 }

// expected computes what testdata/totals makes of its rows.
func expected(rows int64) map[total]int {
	sums := map[[2]int64][2]int64{}
	for i := range rows {
		rng := rand.New(rand.NewPCG(uint64(i), 7))
		shop, amount := int64(rng.IntN(7)), int64(rng.IntN(1000))
		k := [2]int64{shop, i / 1000 * 1000}
		sums[k] = [2]int64{sums[k][0] + amount, sums[k][1] + 1}
	}
	out := map[total]int{}
	for k, s := range sums {
		out[total{Shop: k[0], From: k[1], Sum: s[0], Count: s[1]}]++
	}
	return out
}

func written(t *testing.T, dir string) map[total]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[total]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var rows []total
		if err := json.Unmarshal(b, &rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			out[r]++
		}
	}
	return out
}

// programs are built once: the job's bundle and the program itself.
var programs = sync.OnceValues(func() ([2]string, error) {
	dir, err := os.MkdirTemp("", "launch-test-")
	if err != nil {
		return [2]string{}, err
	}
	path := filepath.Join(dir, "totals.bundle")
	_, err = bundle.Build(context.Background(), bundle.BuildOptions{Package: "./testdata/totals", Output: path})
	if err != nil {
		return [2]string{}, err
	}
	b, err := bundle.Open(path)
	if err != nil {
		return [2]string{}, err
	}
	program := filepath.Join(dir, "totals")
	if err := b.Extract("linux/amd64", program); err != nil {
		return [2]string{}, err
	}
	return [2]string{path, program}, b.Close()
})

// cluster is a jobmanager in this process and taskmanagers with real workers.
type cluster struct {
	properties map[string]string // of the jobs submitted
	t          *testing.T
	control    func() jobview.Control
	address    string
	objects    store.Store
	service    *memha.Service
}

func testLog(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func startCluster(t *testing.T, taskManagers int) *cluster {
	t.Helper()
	objects, err := filestore.New(filestore.Config{Dir: t.TempDir(), Durability: filestore.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, objects: objects, service: memha.NewService()}
	control, web := listen(t), listen(t)
	c.address = control.Addr().String()
	views := make(chan func() jobview.Control, 1)
	jm := roles.JobManager{
		ID: "jm", Control: control, REST: web, AdvertisedControl: c.address, AdvertisedREST: "http://" + web.Addr().String(),
		Coordination: c.service.Contender(), Store: objects, TempDir: t.TempDir(), Clock: clock.Real{}, Log: testLog(t),
		Extra: func(control func() jobview.Control) map[string]http.Handler {
			views <- control
			return nil
		},
	}
	c.run(func(ctx context.Context) error { return jm.Run(ctx) })
	c.control = <-views
	for i := range taskManagers {
		c.startTaskManager(fmt.Sprintf("tm-%d", i+1))
	}
	return c
}

// run works until the test's end or until stop is called.
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

func (c *cluster) startTaskManager(id string) (stop func()) {
	dir, err := os.MkdirTemp("", "lt")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tm := roles.TaskManager{
		Executor: taskexec.Config{
			ID: id, Host: "localhost", Address: "127.0.0.1", HostID: "here", Slots: 2, MemoryBytes: 1 << 30, Dir: dir,
		},
		JobManagers: []string{c.address}, Store: c.objects, Clock: clock.Real{}, Log: testLog(c.t),
	}
	return c.run(tm.Run)
}

func (c *cluster) submit(parallelism int, args ...string) (dataflow.JobID, error) {
	c.t.Helper()
	paths, err := programs()
	if err != nil {
		c.t.Fatal(err)
	}
	c.until("a leader", func() bool { return c.control() != nil })
	b, err := c.control().PutBundle(c.t.Context(), "totals.bundle", paths[0])
	if err != nil {
		return "", err
	}
	return c.control().Submit(c.t.Context(), jobview.Submission{
		BundleSHA: b.SHA256, Parallelism: parallelism, Args: args, Properties: c.properties,
	})
}

func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), waitMax)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			c.t.Fatalf("%s did not come to pass", what)
		}
	}
}

// await returns the job once it is as wanted.
func (c *cluster) await(id dataflow.JobID, what string, want func(jobview.Job) bool) (job jobview.Job) {
	c.t.Helper()
	c.until(what, func() bool {
		v := c.control()
		if v == nil {
			return false
		}
		j, err := v.Job(id)
		job = j
		if err == nil && j.State.Terminal() && !want(j) {
			c.t.Fatalf("the job is %s (%s) while waiting for %s: %+v", j.State, j.StateReason, what, j.Exceptions)
		}
		return err == nil && want(j)
	})
	return job
}

func (c *cluster) workers() (pids []int64) {
	if v := c.control(); v != nil {
		for _, tm := range v.TaskManagers() {
			for _, w := range tm.Workers {
				pids = append(pids, w.PID)
			}
		}
	}
	return pids
}

func finished(j jobview.Job) bool { return j.State == jobview.JobFinished }

func alive(pid int64) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

// TestRealWorkersSurviveKills runs the job in real processes: kill -9 of
// workers, the loss of a taskmanager and of the leadership change nothing.
func TestRealWorkersSurviveKills(t *testing.T) {
	t.Parallel()
	const rows = 60_000
	c := startCluster(t, 2)
	out := t.TempDir()
	id, err := c.submit(3, "-rows", fmt.Sprint(rows), "-rate", "10000", "-out", out)
	if err != nil {
		t.Fatal(err)
	}
	progress := func(n int) {
		t.Helper()
		seen := -1
		c.await(id, "progress", func(j jobview.Job) bool {
			if seen < 0 {
				seen = j.Checkpoints.Completed
			}
			return j.State == jobview.JobRunning && j.Checkpoints.Completed >= seen+n
		})
	}
	progress(3)
	all := c.workers()
	if len(all) != 2 {
		t.Fatalf("workers %v, want one on each taskmanager", all)
	}
	if err := syscall.Kill(int(all[0]), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.await(id, "a restart", func(j jobview.Job) bool { return j.Restarts >= 1 })
	progress(3)
	stop := c.startTaskManager("tm-3")
	all = append(all, c.workers()...)
	c.service.Depose()
	progress(3)
	stop()
	c.await(id, "the end", finished)
	if got, want := written(t, out), expected(rows); !maps.Equal(got, want) {
		t.Errorf("%d distinct rows, want %d", len(got), len(want))
	}
	c.until("the workers' end", func() bool { return len(c.workers()) == 0 })
	for _, pid := range all {
		if alive(pid) {
			t.Errorf("worker process %d lives on", pid)
		}
	}
}

func TestProgramsThatHaveNoGraphAreRefused(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	for broken, code := range map[string]string{"error": launch.CodeGraph, "panic": launch.CodePanic} {
		id, err := c.submit(1, "-broken", broken)
		text := fmt.Sprint(err)
		if err == nil {
			j := c.await(id, "a failure", func(j jobview.Job) bool { return j.State == jobview.JobFailed })
			text = fmt.Sprintf("%s %+v", j.StateReason, j.Exceptions)
		}
		if !strings.Contains(text, code) {
			t.Errorf("%s: %s does not name %s", broken, text, code)
		}
	}
}

// TestStartedByHand runs the program itself, without a cluster.
func TestStartedByHand(t *testing.T) {
	t.Parallel()
	paths, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	for _, test := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"--local", "-rows", "5000", "--local-parallelism=2", "-out", out}, 0, "totals FINISHED"},
		{[]string{"-broken", "error"}, 1, "error LEAT1217: the job graph cannot be built"},
		{[]string{"-broken", "poison", "-out", out}, 8, "error LEAT3101: panic: poison"},
		{[]string{"--local-parallelism", "many"}, 2, "error LEAT1219"},
	} {
		cmd := exec.Command(paths[1], test.args...)
		b, err := cmd.CombinedOutput()
		for range 50 { // a fork elsewhere in this process may keep the file busy
			if !strings.Contains(fmt.Sprint(err), "text file busy") {
				break
			}
			cmd = exec.Command(paths[1], test.args...)
			b, err = cmd.CombinedOutput()
		}
		if cmd.ProcessState.ExitCode() != test.code || !strings.Contains(string(b), test.text) {
			t.Errorf("%v: exit code %d, printed:\n%s", test.args, cmd.ProcessState.ExitCode(), b)
		}
	}
	if got, want := written(t, out), expected(5000); !maps.Equal(got, want) {
		t.Errorf("%d distinct rows, want %d", len(got), len(want))
	}
}
