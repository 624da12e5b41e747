package streamtest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// Backend makes the keyed state of subtasks.
type Backend struct {
	Name string
	// OnDisk backends are given a folder of their own.
	OnDisk bool
	// New makes an empty backend. dir is "" unless OnDisk; else it is an
	// empty folder that is removed after the run.
	New func(dir string, groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error)
}

// Backends returns every state backend there is: Check uses them all.
func Backends() []Backend {
	return []Backend{memory()}
}

func memory() Backend {
	return Backend{Name: "memory", New: func(_ string, groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error) {
		return memstate.New(groups, maxParallelism), nil
	}}
}

// backendDirs are the folders of a run's backends on disk.
type backendDirs struct {
	root string
	used int
}

func (d *backendDirs) next(b Backend) (string, error) {
	if !b.OnDisk {
		return "", nil
	}
	if d.root == "" {
		root, err := os.MkdirTemp("", "leat-streamtest-")
		if err != nil {
			return "", err
		}
		d.root = root
	}
	d.used++
	dir := filepath.Join(d.root, fmt.Sprint(d.used))
	return dir, os.Mkdir(dir, 0o700)
}

func (d *backendDirs) remove() error {
	if d.root == "" {
		return nil
	}
	root := d.root
	d.root = ""
	return os.RemoveAll(root)
}
