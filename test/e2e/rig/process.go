package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// marker is a variable that every process of a rig has in its environment, so
// that one that outlives the rig is found.
const marker = "E2E_RIG"

// stopMax is how long a process may take to end by itself.
const stopMax = 20 * time.Second

// process is a program with its log; it can be killed and started again.
type process struct {
	name string
	argv []string
	env  []string
	dir  string // of the log
	// network starts it in the group of its name.
	network Network

	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
}

// start runs the program, in a group of its own.
func (p *process) start() error {
	f, err := os.OpenFile(filepath.Join(p.dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the child has its own
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.network.Start(p.name, cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is seen by what it served
	}()
	p.cmd, p.exited = cmd, exited
	return nil
}

// running reports whether the program runs.
func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends it with SIGKILL and waits.
func (p *process) kill() error {
	if !p.running() {
		return fmt.Errorf("%s does not run: it ended by itself", p.name)
	}
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.exited
	return nil
}

func (p *process) victim() (*Victim, error) {
	if !p.running() {
		return nil, fmt.Errorf("%s does not run: it ended by itself", p.name)
	}
	return &Victim{
		Name: p.name, Group: p.name, PID: p.cmd.Process.Pid,
		kill:  func(context.Context) error { return p.kill() },
		again: func(context.Context) error { return p.start() },
	}, nil
}

// stop asks it to end; one that does not is killed and reported.
func (p *process) stop() error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil // it has ended meanwhile
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopMax):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.name, stopMax)
	}
}

// marked returns the live processes whose environment names the rig's folder.
func marked(dir string) map[int]string {
	out := make(map[int]string)
	list, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is well-formed
	for _, f := range list {
		b, err := os.ReadFile(f)
		if err != nil || !strings.Contains("\x00"+string(b), "\x00"+marker+"="+dir+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		if err != nil || len(line) == 0 {
			continue // gone, or not yet reaped
		}
		out[pid] = strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")
	}
	return out
}
