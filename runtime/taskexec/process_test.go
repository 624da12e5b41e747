package taskexec_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/bundle"
	"github.com/leatstream/leat/runtime/taskexec"
)

func TestAWorkerRunsTalksAndStops(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.startWorker("w1", 2, "talk")
	pid := next(t, c.leader, started).GetPid()
	if got, want := next(t, c.leader, ready), fmt.Sprintf("%dB 2", int64(float64(200<<20)*0.85)); got != want {
		t.Errorf("the worker's limits are %q, want %q", got, want)
	}
	c.command("w1", "hello")
	if got := next(t, c.leader, ready); got != "hello" {
		t.Errorf("got %q", got)
	}
	c.leader.send(&controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_ReadLog{ReadLog: &controlv1.ReadLog{RequestId: "r", JobId: "0123", Offset: -100}}})
	chunk := next(t, c.leader, func(m *controlv1.TaskManagerMessage) (*controlv1.LogChunk, bool) {
		return m.GetLogChunk(), m.GetLogChunk() != nil
	})
	if string(chunk.GetData()) != "working on orders\n" || chunk.GetSize() != int64(len(chunk.GetData())) {
		t.Errorf("log: %v", chunk)
	}
	c.stopWorker("w1", 10*time.Second)
	x := next(t, c.leader, exited)
	if x.GetReason() != taskexec.ReasonStopped || x.GetExitCode() != 0 {
		t.Errorf("got %v", x)
	}
	waitDead(t, pid)
	if entries, err := os.ReadDir(filepath.Join(c.dir, "work", "run")); err != nil || len(entries) != 0 {
		t.Errorf("left in the working folder: %v, %v", entries, err)
	}
	c.stopWorker("w1", time.Second)
	if x := next(t, c.leader, exited); x.GetReason() != taskexec.ReasonUnknown {
		t.Errorf("stopped again: %v", x)
	}
}

func TestHowAWorkerEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args    []string
		do      func(c *cluster, pid int64)
		reason  string
		code    int32
		signal  string
		printed string
	}{
		{args: []string{"talk"}, do: func(c *cluster, _ int64) { c.command("w", "exit") }, reason: taskexec.ReasonExited},
		{args: []string{"talk"}, do: func(c *cluster, _ int64) { c.command("w", "panic") }, reason: taskexec.ReasonCrash, code: 2, printed: "panic: as asked"},
		{args: []string{"talk"}, do: func(_ *cluster, pid int64) { _ = syscall.Kill(int(pid), syscall.SIGKILL) }, reason: taskexec.ReasonCrash, code: -1, signal: "killed"},
		{args: []string{"talk"}, do: func(c *cluster, _ int64) { c.command("w", "eat") }, reason: taskexec.ReasonOOM, code: -1, signal: "killed", printed: "its share is 100 MiB"},
		{args: []string{"stubborn"}, do: func(c *cluster, _ int64) { c.stopWorker("w", 100*time.Millisecond) }, reason: taskexec.ReasonStopped, code: -1, signal: "killed"},
		{args: []string{"die"}, reason: taskexec.ReasonCrash, code: 7, printed: "goodbye"},
		{args: []string{"hang-worker"}, reason: "no-hello", code: -1, signal: "killed", printed: "did not reach launch.Main"},
	} {
		t.Run(strings.Join(test.args, " ")+" "+test.reason, func(t *testing.T) {
			t.Parallel()
			c := start(t)
			c.startWorker("w", 1, test.args...)
			pid := next(t, c.leader, started).GetPid()
			if test.do != nil {
				next(t, c.leader, ready)
				test.do(c, pid)
			}
			x := next(t, c.leader, exited)
			if x.GetReason() != test.reason || x.GetExitCode() != test.code || x.GetSignal() != test.signal || !strings.Contains(x.GetStderrTail(), test.printed) {
				t.Errorf("got %v", x)
			}
			waitDead(t, pid)
		})
	}
}

func TestWhatAWorkerLeavesRunningEndsWithIt(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.startWorker("w", 1, "fork")
	pid := next(t, c.leader, started).GetPid()
	next(t, c.leader, ready)
	child := childOf(t, pid)
	c.command("w", "exit")
	next(t, c.leader, exited)
	waitDead(t, child)
}

func childOf(t *testing.T, pid int64) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil || len(b) == 0 {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, f := range tasks {
			if b, err = os.ReadFile(f); err == nil && len(b) > 0 {
				break
			}
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Skipf("NOT TESTED: children of a process are not listed here: %v", err)
	}
	return n
}

func TestPlansRunWithinLimits(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.plan("ok", 30*time.Second, "plan")
	r := next(t, c.leader, planned)
	if r.GetError() != nil {
		t.Fatal(r.GetError())
	}
	g, err := graph.Unmarshal(r.GetGraph())
	if err != nil || g.Fingerprint() != r.GetFingerprint() {
		t.Fatalf("graph: %v", err)
	}
	env := "\n" + g.Name + "\n"
	for _, want := range []string{"\nSHOP=7\n", "\nTZ=UTC\n", "\nLEAT_ROLE=plan\n"} {
		if !strings.Contains(env, want) {
			t.Errorf("%q is not in the environment:%s", want, env)
		}
	}
	for _, bad := range []string{"LEAT_WORKER_TOKEN=", "GOFLAGS="} {
		if strings.Contains(env, bad) {
			t.Errorf("%q is in the environment:%s", bad, env)
		}
	}
	for _, test := range []struct {
		mode, code, why string
		timeout         time.Duration
	}{
		{mode: "hang-plan", code: taskexec.CodePlanTimeout, why: "hanging", timeout: 300 * time.Millisecond},
		{mode: "eat", code: taskexec.CodePlanMemory, timeout: 30 * time.Second},
		{mode: "die", code: taskexec.CodePlanFailed, why: "goodbye", timeout: 30 * time.Second},
	} {
		c.plan(test.mode, test.timeout, test.mode)
		r := next(t, c.leader, planned)
		if r.GetRequestId() != test.mode || r.GetError().GetCode() != test.code || !strings.Contains(r.GetError().GetWhy(), test.why) {
			t.Errorf("%s: got %v", test.mode, r)
		}
	}
	c.leader.send(&controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_Plan{Plan: &controlv1.PlanRequest{
		RequestId: "gone", Bundle: &controlv1.BundleRef{Sha256: strings.Repeat("0", 64)},
	}}})
	if r := next(t, c.leader, planned); r.GetError().GetCode() != bundle.CodeNotFound {
		t.Errorf("a bundle that is not there: got %v", r)
	}
}

func TestWorkersOutliveTheSession(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.startWorker("w", 1, "talk")
	pid := next(t, c.leader, started).GetPid()
	next(t, c.leader, ready)
	c.leader.mu.Lock()
	session := c.leader.session
	c.leader.mu.Unlock()
	session.Close("the leader steps down")
	reg := c.waitRegistered(t)
	if len(reg.GetWorkers()) != 1 || reg.GetWorkers()[0].GetPid() != pid || reg.GetWorkers()[0].GetWorkerId() != "w" {
		t.Errorf("registered again with %v", reg.GetWorkers())
	}
	c.command("w", "still there")
	if got := next(t, c.leader, func(m *controlv1.TaskManagerMessage) (string, bool) {
		s, ok := ready(m)
		return s, ok && s == "still there"
	}); got != "still there" {
		t.Errorf("got %q", got)
	}
}

// TestNoWorkerSurvivesItsTaskmanager kills a real taskmanager process.
func TestNoWorkerSurvivesItsTaskmanager(t *testing.T) {
	t.Parallel()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	c := serve(t, 1)
	c.dir = shortDir(t)
	victim := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envTaskManager+"="+strings.Join([]string{c.dir, c.addr, path}, " "))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		c.ref = &controlv1.BundleRef{Sha256: strings.TrimSpace(line)}
		return cmd
	}
	first := victim()
	c.waitRegistered(t)
	c.startWorker("w1", 1, "talk")
	c.startWorker("w2", 1, "stubborn")
	pids := []int64{next(t, c.leader, started).GetPid(), next(t, c.leader, started).GetPid()}
	next(t, c.leader, ready)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	for _, pid := range pids {
		waitDead(t, pid)
	}
	second := victim()
	reg := c.waitRegistered(t)
	if len(reg.GetWorkers()) != 0 {
		t.Errorf("the new process claims %v", reg.GetWorkers())
	}
	entries, err := os.ReadDir(filepath.Join(c.dir, "work", "run"))
	if err != nil || len(entries) != 0 {
		t.Errorf("leftovers in the working folder: %v, %v", entries, err)
	}
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = second.Wait() // killed
}

func runVictim(spec string) {
	parts := strings.Split(spec, " ")
	objects := memstore.New(clock.Real{})
	b, err := bundle.NewRepository(objects, clock.Real{}).Put(context.Background(), "job", parts[2])
	if err != nil {
		panic(err)
	}
	fmt.Println(b.SHA256)
	if err := runTaskManager(context.Background(), parts[0], parts[1:2], objects, slog.New(slog.DiscardHandler)); err != nil {
		panic(err)
	}
}

func TestAFolderHasOneOwner(t *testing.T) {
	t.Parallel()
	c := start(t)
	_, err := taskexec.New(taskexec.Config{
		ID: "other", Slots: 1, MemoryBytes: 1, Dir: filepath.Join(c.dir, "work"), Clock: clock.Real{},
		Launcher: taskexec.NewInProcessLauncher(taskexec.InProcessConfig{}),
	})
	if err == nil || !strings.Contains(err.Error(), "belongs to a taskmanager that runs") {
		t.Errorf("got %v", err)
	}
}
