package main_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leatstream/leat/internal/devetcd"
	"github.com/leatstream/leat/runtime/restapi"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "lt")
	if err == nil {
		err = os.Setenv("TMPDIR", dir) // what tests build goes with it
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir) // scratch
	os.Exit(code)
}

const waitMax = 60 * time.Second

// binaries builds both programs once.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "leat-cmd-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir, "../jobmanager", "../taskmanager")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

// process is a program that runs; its log is searched as it is written.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(filepath.Join(dir, name), args...), done: make(chan struct{})}
	out, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		s := bufio.NewScanner(out)
		for s.Scan() {
			p.mu.Lock()
			p.log.WriteString(s.Text() + "\n")
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // its state is looked at
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
		if t.Failed() {
			t.Logf("log of %s %v:\n%s", name, args, p.text())
		}
	})
	return p
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// find waits for a match in the log.
func (p *process) find(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found string
	until(p.t, "log line "+pattern, func() bool {
		m := re.FindStringSubmatch(p.text())
		if m != nil {
			found = m[len(m)-1]
		}
		return m != nil
	})
	return found
}

func (p *process) rest() string { return p.find(`rest=(http://[0-9.:]+)`) }

// end sends a signal and returns the exit code.
func (p *process) end(sig os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(waitMax):
		p.t.Fatalf("it does not end:\n%s", p.text())
	}
	return p.cmd.ProcessState.ExitCode()
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s did not come", what)
		}
	}
}

func get(url string) (int, string) {
	r, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	_ = r.Body.Close() // read to its end
	return r.StatusCode, string(b)
}

func taskManagers(t *testing.T, rest string) int {
	t.Helper()
	tms, err := restapi.NewClient(rest, nil).TaskManagers(t.Context())
	if err != nil {
		return -1
	}
	return len(tms)
}

// TestOneLeadsAndTheOtherTakesOver runs the programs with a real etcd: the
// leader is killed, the taskmanager moves to the next one.
func TestOneLeadsAndTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	etcd, err := devetcd.Start(t.Context(), devetcd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	store := "--store-uri=file://" + t.TempDir()
	jobManager := func(id string) *process {
		return start(t, "jobmanager", store, "--ha-endpoints="+etcd.Endpoint(), "--id="+id, "--control-listen=127.0.0.1:0", "--rest-listen=127.0.0.1:0", "--dir="+t.TempDir())
	}
	leader := jobManager("jm-1")
	leader.find("msg=(leading)")
	standby := jobManager("jm-2")
	dir, err := os.MkdirTemp("", "lt") //nolint:usetesting // a unix socket needs a shorter path than t.TempDir has
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tm := start(t, "taskmanager", store, "--ha-endpoints="+etcd.Endpoint(), "--id=tm-1", "--slots=2", "--memory=256MiB", "--dir="+dir, "--metrics-listen=127.0.0.1:0")
	until(t, "the taskmanager at the leader", func() bool { return taskManagers(t, leader.rest()) == 1 })
	if code, _ := get(standby.rest() + "/leader"); code != http.StatusServiceUnavailable {
		t.Errorf("the standby answers /leader with %d", code)
	}
	if code, body := get(leader.rest() + "/metrics"); code != 200 || !strings.Contains(body, "\nleat_jobmanager_leader 1\n") || !strings.Contains(body, "\nflink_jobmanager_taskSlotsTotal 2\n") {
		t.Errorf("metrics of the leader: %d\n%s", code, body)
	}
	if code := leader.end(syscall.SIGKILL); code != -1 {
		t.Errorf("exit code %d", code)
	}
	until(t, "the taskmanager at the next leader", func() bool { return taskManagers(t, standby.rest()) == 1 })
	if code := tm.end(syscall.SIGTERM); code != 0 {
		t.Errorf("the taskmanager ends with code %d", code)
	}
	if code := standby.end(syscall.SIGTERM); code != 0 {
		t.Errorf("the jobmanager ends with code %d", code)
	}
}

func TestAPortInUseIsSaid(t *testing.T) {
	t.Parallel()
	args := []string{"--store-uri=file://" + t.TempDir(), "--ha-kind=memory", "--control-listen=127.0.0.1:0", "--dir=" + t.TempDir()}
	first := start(t, "jobmanager", append(args, "--rest-listen=127.0.0.1:0")...)
	address := strings.TrimPrefix(first.rest(), "http://")
	second := start(t, "jobmanager", append(args, "--rest-listen="+address)...)
	<-second.done
	if code := second.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(second.text(), "error: rest.listen: ") || !strings.Contains(second.text(), "is another process using it?") {
		t.Errorf("exit code %d:\n%s", code, second.text())
	}
}
