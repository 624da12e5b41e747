package taskexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// folders is the working folder of a taskmanager:
//
//	lock                 held while the owner lives
//	run/<worker>/        a worker's own folder, removed after its end
//	run/<worker>.pid     its process, ended at the next start if it lives on
//	run/<worker>.inputs  its recorded inputs
//	logs/<job>/<worker>.log
type folders struct {
	root, run, logs string
	lock            *os.File
}

// claim takes a working folder over and removes what a process that was
// killed left there. One that has a living owner is refused.
func claim(root string) (*folders, error) {
	f := &folders{root: root, run: filepath.Join(root, "run"), logs: filepath.Join(root, "logs")}
	for _, dir := range []string{root, f.logs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("working folder: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("working folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // not ours
		return nil, fmt.Errorf("working folder %s belongs to a taskmanager that runs: give each its own", root)
	}
	f.lock = lock
	if err := f.clear(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

// clear ends leftover workers and removes their folders.
func (f *folders) clear() error {
	entries, err := os.ReadDir(f.run)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("working folder: %w", err)
	}
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), ".pid"); ok {
			f.endLeftover(id)
		}
	}
	if err := os.RemoveAll(f.run); err != nil {
		return fmt.Errorf("working folder: %w", err)
	}
	if err := os.MkdirAll(f.run, 0o700); err != nil {
		return fmt.Errorf("working folder: %w", err)
	}
	return nil
}

// endLeftover kills a worker of an earlier taskmanager. They die with it by
// themselves; this is for one that is stuck in the kernel's queue to die.
func (f *folders) endLeftover(id string) {
	b, err := os.ReadFile(filepath.Join(f.run, id+".pid"))
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 || !environmentHas(pid, EnvWorker, id) {
		return // the id is another process's by now
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // it may have gone meanwhile
}

// checkID refuses worker ids that are no file names.
func checkID(id string) error {
	if id == "" || len(id) > 128 || strings.ContainsAny(id, "/\\\x00") || strings.HasPrefix(id, ".") {
		return fmt.Errorf("worker id %q cannot name a folder", id)
	}
	return nil
}

func (f *folders) workerDir(id string) (string, error) {
	if err := checkID(id); err != nil {
		return "", err
	}
	dir := filepath.Join(f.run, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("worker's folder: %w", err)
	}
	return dir, nil
}

func (f *folders) planDir() (string, error) {
	dir, err := os.MkdirTemp(f.run, "plan-")
	if err != nil {
		return "", fmt.Errorf("plan's folder: %w", err)
	}
	return dir, nil
}

func (f *folders) notePID(id string, pid int64) error {
	return os.WriteFile(filepath.Join(f.run, id+".pid"), []byte(strconv.FormatInt(pid, 10)), 0o600)
}

func (f *folders) removeWorker(id string) error {
	if checkID(id) != nil {
		return nil
	}
	dir := filepath.Join(f.run, id)
	return errors.Join(f.remove(dir), f.remove(dir+".pid"), f.remove(dir+".inputs"))
}

func (f *folders) remove(path string) error { return os.RemoveAll(path) }

func (f *folders) release() {
	_ = os.RemoveAll(f.run) // what stays goes at the next start
	_ = f.lock.Close()      // and with it the lock
}
