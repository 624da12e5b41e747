package localcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	statusFile    = "local.json"
	statusVersion = 1
	// stopMax is how long a cluster may take to end by itself.
	stopMax = 20 * time.Second
)

// ErrRuns is wrapped by the error of Run when the folder is taken.
var ErrRuns = errors.New("a cluster runs already")

// Status is what is known of the cluster in a folder; it lies there as
// local.json while the cluster is up.
type Status struct {
	Version      int    `json:"version"`
	State        string `json:"state"` // up or down
	PID          int    `json:"pid,omitempty"`
	REST         string `json:"rest,omitempty"`
	Control      string `json:"control,omitempty"`
	Kafka        string `json:"kafka,omitempty"`
	Etcd         string `json:"etcd,omitempty"`
	TaskManagers int    `json:"taskmanagers,omitempty"`
	Slots        int    `json:"slots,omitempty"`
	Started      int64  `json:"started,omitempty"`
	Dir          string `json:"dir"`
}

// write replaces the status file atomically.
func (s *Status) write(dir string) error {
	s.Dir = dir
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+statusFile)
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, statusFile))
}

func forget(dir string) { _ = os.Remove(filepath.Join(dir, statusFile)) }

// Read returns the status of the cluster in dir: down when none runs.
func Read(dir string) (Status, error) {
	down := Status{Version: statusVersion, State: "down", Dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, statusFile))
	if errors.Is(err, os.ErrNotExist) {
		return down, nil
	}
	if err != nil {
		return down, err
	}
	var s Status
	if err := json.Unmarshal(b, &s); err != nil {
		return down, fmt.Errorf("%s: %w", filepath.Join(dir, statusFile), err)
	}
	if !alive(s.PID) || !locked(dir) {
		return down, nil
	}
	return s, nil
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

// Stop ends the cluster in dir and waits for it; false when none runs.
func Stop(dir string) (bool, error) {
	s, err := Read(dir)
	if err != nil || s.State != "up" {
		return false, err
	}
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
		return false, fmt.Errorf("ending process %d: %w", s.PID, err)
	}
	for began := time.Now(); locked(dir); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > stopMax {
			return false, fmt.Errorf("process %d did not end within %s: end it by hand", s.PID, stopMax)
		}
	}
	return true, nil
}

// lock takes the folder for this process; the kernel frees it at its end.
func lock(dir string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w in %s", ErrRuns, dir)
	}
	return func() { _ = f.Close() }, nil
}

// locked reports whether some process has taken the folder.
func locked(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR, 0o644)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}
