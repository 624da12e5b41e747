// Package cage runs a test program in process, mount and network namespaces of
// its own. What it starts, mounts and configures there ends with it, by the
// kernel and not by the test's clean-up: also when the test is killed. It
// needs root. Files are the exception: they lie in a folder that is removed
// when the program succeeds, and by the next run when it was killed.
package cage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// The variables by which the program knows which of its three lives it is in.
const (
	envStage = "LEAT_CAGE"
	envDir   = "LEAT_CAGE_DIR"
)

// The lives in the cage.
const (
	stageInit   = "init"   // process 1: it reaps
	stageInside = "inside" // what is to be run
)

// Config says what to run.
type Config struct {
	// Name begins the folder's name.
	Name string
	// Prepare runs outside, before: the cage has no network. May be nil.
	Prepare func() error
	// Inside is the program; dir is an empty folder for its data.
	Inside func(dir string) int
	// Keep leaves the folder also after a success.
	Keep bool
}

// Run runs the calling program again, in the cage, with the same arguments,
// and returns its exit code. It is the first thing that main does, and the
// last: what follows in main runs in each of the lives.
func Run(c Config) int {
	switch os.Getenv(envStage) {
	case stageInside:
		return c.Inside(os.Getenv(envDir))
	case stageInit:
		code, err := reap()
		if err != nil {
			fmt.Fprintln(os.Stderr, "cage:", err)
			return 1
		}
		return code
	}
	code, err := c.outside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cage:", err)
		return 1
	}
	return code
}

// Outside reports whether the program is in its first life, which has not yet
// entered the cage.
func Outside() bool { return os.Getenv(envStage) == "" }

func (c *Config) outside() (int, error) {
	if os.Getuid() != 0 {
		return 1, errors.New("namespaces and links between them need root: run it as root")
	}
	if c.Prepare != nil {
		if err := c.Prepare(); err != nil {
			return 1, err
		}
	}
	removeStale(c.Name)
	dir, lock, err := claim(c.Name)
	if err != nil {
		return 1, err
	}
	defer lock.Close()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		return 1, err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), envStage+"="+stageInit, envDir+"="+data)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL, // and with process 1 the kernel ends all others
	}
	runtime.LockOSThread() // the signal comes when this thread ends
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			return 1, fmt.Errorf("new namespaces: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, keepName), nil, 0o600); err != nil {
			return 1, err
		}
		return max(1, ended.ExitCode()), nil
	}
	if c.Keep {
		return 0, os.WriteFile(filepath.Join(dir, keepName), nil, 0o600)
	}
	return 0, os.RemoveAll(dir)
}

// reap is process 1: it starts the program and buries what it leaves.
func reap() (int, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 1, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return 1, fmt.Errorf("mount /proc: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return 1, err
	}
	if err := os.Setenv(envStage, stageInside); err != nil {
		return 1, err
	}
	p, err := os.StartProcess(program, os.Args, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		return 1, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait: %w", err)
		case pid == p.Pid && status.Signaled():
			return 1, fmt.Errorf("ended by signal %d (%s)", status.Signal(), status.Signal())
		case pid == p.Pid:
			return status.ExitStatus(), nil
		}
	}
}
