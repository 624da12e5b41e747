package taskexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/fault"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/bundle"
)

const (
	// heapShare of a worker's memory is GOMEMLIMIT: the rest is for what the
	// collector does not see, so that it works before the watch kills.
	heapShare = 0.85
	// heapGrowth is a worker's GOGC unless it is given another: most jobs hold
	// little and make much garbage, and with the usual 100 the collector runs
	// for every few megabytes. GOMEMLIMIT bounds what this may take.
	heapGrowth = "400"
	// busyTriesMax bounds the starts of an executable that another start's
	// copy of its descriptor keeps busy for a moment.
	busyTriesMax  = 50
	busyTriesWait = 10 * time.Millisecond
	// outputGrace is how long the pipes of an ended process may stay open in
	// processes that it left behind.
	outputGrace = 500 * time.Millisecond
)

// ProcessConfig says how programs are started.
type ProcessConfig struct {
	Cache *bundle.Cache
	// Socket is where workers reach the taskmanager.
	Socket string
	// PassEnv names variables of the taskmanager's environment that workers
	// get too, for secrets that are resolved in them. Plans do not get them.
	PassEnv []string
	// StateBackend is that of jobs that name none; empty: in memory.
	StateBackend string
	// PlanMemoryBytes bounds a plan child; 0: 1 GiB.
	PlanMemoryBytes int64
	Clock           clock.Clock
}

// ProcessLauncher starts bundles' executables as child processes.
type ProcessLauncher struct {
	cfg     ProcessConfig
	spawner *spawner
}

var _ Launcher = (*ProcessLauncher)(nil)

// NewProcessLauncher returns a launcher; Close ends its helper, not its
// processes.
func NewProcessLauncher(cfg ProcessConfig) *ProcessLauncher {
	if cfg.PlanMemoryBytes <= 0 {
		cfg.PlanMemoryBytes = 1 << 30
	}
	return &ProcessLauncher{cfg: cfg, spawner: newSpawner()}
}

// Close releases the thread from which children were started. Children that
// still run get the signal of their parent's death.
func (l *ProcessLauncher) Close() { l.spawner.close() }

// Start implements Launcher.
func (l *ProcessLauncher) Start(ctx context.Context, s Spec) (Process, error) {
	program, release, err := l.cfg.Cache.Acquire(ctx, s.Start.GetBundle())
	if err != nil {
		return nil, err
	}
	p, err := l.startWorker(program, s)
	if err != nil {
		release()
		return nil, err
	}
	p.release = release
	return p, nil
}

func (l *ProcessLauncher) startWorker(program string, s Spec) (*process, error) {
	inputs := s.Dir + ".inputs"
	if err := writeInputs(inputs, s.Start.GetInputs()); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, s.Start.GetInputs().GetArgs()...)
	cmd.Dir = s.Dir
	own := map[string]string{
		EnvRole: RoleWorker, EnvSocket: l.cfg.Socket, EnvInputs: inputs, EnvDir: s.Dir,
		EnvWorker: s.Start.GetWorkerId(), EnvToken: s.Token, EnvLifeline: "3",
		"GOMEMLIMIT": strconv.FormatInt(int64(float64(s.MemoryBytes)*heapShare), 10) + "B",
		"GOMAXPROCS": strconv.Itoa(s.CPUs),
	}
	if l.cfg.StateBackend != "" {
		own[EnvStateBackend] = l.cfg.StateBackend
	}
	if folder := os.Getenv(EnvProfile); folder != "" {
		own[EnvProfile] = folder
	}
	cmd.Env = l.environment(s.Start.GetInputs(), l.cfg.PassEnv, own)
	errTail := &tail{}
	cmd.Stdout = s.Log
	cmd.Stderr = io.MultiWriter(s.Log, errTail)
	p, err := l.spawn(cmd, nil)
	if err != nil {
		return nil, errors.Join(err, os.Remove(inputs))
	}
	p.tail, p.inputs = errTail, inputs
	return p, nil
}

// writeInputs hands over by file what may be too long for the environment.
func writeInputs(path string, in *controlv1.ProgramInputs) error {
	b, err := json.Marshal(Inputs{Args: in.GetArgs(), Properties: in.GetProperties()})
	if err != nil {
		return fmt.Errorf("program inputs: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("program inputs: %w", err)
	}
	return nil
}

// environment is an allow-list: a few variables of the machine, those named,
// the recorded ones, and ours last, so that none of the others replaces them.
func (l *ProcessLauncher) environment(in *controlv1.ProgramInputs, pass []string, own map[string]string) []string {
	vars := map[string]string{"GOGC": heapGrowth}
	for _, name := range append([]string{"PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOCOVERDIR"}, pass...) {
		if v, ok := os.LookupEnv(name); ok {
			vars[name] = v
		}
	}
	for k, v := range in.GetEnvironment() {
		vars[k] = v
	}
	for k := range vars {
		if strings.HasPrefix(k, "LEAT_") {
			delete(vars, k)
		}
	}
	vars["TZ"] = "UTC"
	for k, v := range own {
		vars[k] = v
	}
	maps.Copy(vars, fault.Environment())
	out := make([]string, 0, len(vars))
	for k, v := range vars {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// spawn starts a prepared command in its own process group with a lifeline on
// descriptor 3 and extra, if any, on 4.
func (l *ProcessLauncher) spawn(cmd *exec.Cmd, extra *os.File) (*process, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(cmd.Path), err)
	}
	cmd.ExtraFiles = []*os.File{theirs}
	if extra != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, extra)
	}
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = processAttributes()
	err = l.startRetrying(cmd)
	_ = theirs.Close() // the child has its own
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", filepath.Base(cmd.Path), err), ours.Close())
	}
	return &process{cmd: cmd, lifeline: ours}, nil
}

// startRetrying starts cmd. A file that was just written can be busy while a
// child forked meanwhile still holds its descriptor.
func (l *ProcessLauncher) startRetrying(cmd *exec.Cmd) error {
	for try := 1; ; try++ {
		err := l.spawner.start(cmd)
		if !errors.Is(err, syscall.ETXTBSY) || try == busyTriesMax {
			return err
		}
		// A command cannot be started twice.
		fresh := &exec.Cmd{
			Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
			ExtraFiles: cmd.ExtraFiles, SysProcAttr: cmd.SysProcAttr, WaitDelay: cmd.WaitDelay,
		}
		*cmd = *fresh
		l.cfg.Clock.Sleep(busyTriesWait)
	}
}

// process is a child and its process group.
type process struct {
	cmd      *exec.Cmd
	lifeline io.Closer
	tail     *tail
	inputs   string
	release  func()

	mu   sync.Mutex
	gone bool // guarded by mu; its pid may be another's
}

var _ Process = (*process)(nil)

// PID implements Process.
func (p *process) PID() int64 { return int64(p.cmd.Process.Pid) }

// Terminate implements Process.
func (p *process) Terminate() { p.signal(syscall.SIGTERM) }

// Kill implements Process.
func (p *process) Kill() { p.signal(syscall.SIGKILL) }

// signal reaches the whole group, and only while it is ours.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig) // it may be gone this moment
	}
}

// Memory implements Process.
func (p *process) Memory() int64 { return residentMemory(p.cmd.Process.Pid) }

// Wait implements Process. Whatever the program left running in its group
// ends with it.
func (p *process) Wait() Exit {
	// Waiting without reaping keeps the group's id ours until it was killed.
	if !waitExit(p.cmd.Process.Pid) {
		_ = p.cmd.Wait() // ProcessState says it all
	}
	p.mu.Lock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // an empty group is no error for us
	p.gone = true
	p.mu.Unlock()
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Wait() // as above
	}
	_ = p.lifeline.Close()
	if p.inputs != "" {
		_ = os.Remove(p.inputs) // leftovers go with the folder at the next start
	}
	if p.release != nil {
		p.release()
	}
	exit := Exit{Code: int32(p.cmd.ProcessState.ExitCode())}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		exit.Code, exit.Signal = -1, ws.Signal().String()
	}
	if p.tail != nil {
		exit.StderrTail = p.tail.String()
	}
	return exit
}
