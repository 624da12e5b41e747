package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ of Linux, the unit of /proc/PID/stat.
const ticksPerSecond = 100

// times are the processor times of a process and of its children that have
// ended and were waited for.
type times struct{ own, children time.Duration }

func (t times) sum() time.Duration { return t.own + t.children }

func (t times) minus(o times) times { return times{t.own - o.own, t.children - o.children} }

// timesOf reads the times of a process.
func timesOf(pid int) (times, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return times{}, err
	}
	// The name, in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
	f := strings.Fields(rest)
	if len(f) < 15 {
		return times{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	var v [4]int64
	for i := range v { // utime, stime, cutime, cstime
		if v[i], err = strconv.ParseInt(f[11+i], 10, 64); err != nil {
			return times{}, err
		}
	}
	tick := time.Second / ticksPerSecond
	return times{own: time.Duration(v[0]+v[1]) * tick, children: time.Duration(v[2]+v[3]) * tick}, nil
}

// residentMiB reads the resident memory of a process.
func residentMiB(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}

// program is a child process whose output goes to a file.
type program struct {
	name    string
	cmd     *exec.Cmd
	log     *os.File
	logPath string
	exited  chan struct{}
	err     error // after exited
}

func startProgram(dir, name, path string, env []string, args ...string) (*program, error) {
	p := &program{name: name, logPath: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	var err error
	if p.log, err = os.Create(p.logPath); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (run make build first)", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// stop ends the program and waits for it.
func (p *program) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	_ = p.log.Close() // nothing of ours is in it
}

// await calls ready until it returns true.
func (p *program) await(ctx context.Context, most time.Duration, ready func() bool) error {
	deadline := time.Now().Add(most)
	for !ready() {
		select {
		case <-p.exited:
			text, _ := os.ReadFile(p.logPath)
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, text)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %s; its log is %s", p.name, most, p.logPath)
		}
	}
	return nil
}

// freeAddress returns an address to listen on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// self runs this program in a child role to its end and returns what it wrote
// and what it cost.
func self(ctx context.Context, args ...string) (out []byte, cpu time.Duration, err error) {
	return selfWith(ctx, nil, args...)
}

func selfWith(ctx context.Context, env []string, args ...string) (out []byte, cpu time.Duration, err error) {
	path, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err = cmd.Output()
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", args[0], err)
	}
	return out, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
