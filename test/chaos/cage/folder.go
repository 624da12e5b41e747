package cage

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The files beside the data: one that is locked while the program runs, and
// one that says that the folder is for people to look at.
const (
	lockName = "lock"
	keepName = "keep"
)

// claim makes a folder that is locked until the file is closed or this
// process ends.
func claim(name string) (dir string, lock *os.File, err error) {
	if dir, err = os.MkdirTemp("", name+"-"); err != nil {
		return "", nil, err
	}
	if lock, err = os.Create(filepath.Join(dir, lockName)); err != nil {
		return "", nil, err
	}
	return dir, lock, unix.Flock(int(lock.Fd()), unix.LOCK_EX)
}

// removeStale removes the folders of runs that were killed.
func removeStale(name string) {
	list, _ := filepath.Glob(filepath.Join(os.TempDir(), name+"-*", lockName)) // the pattern is well-formed
	for _, path := range list {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, keepName)); err == nil {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(dir) // the next run tries again
		}
		_ = f.Close() // it only asked
	}
}
