package streamtest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/pebblestate"
)

// Backend is a kind of keyed state.
type Backend struct {
	// Name is that of the backend in the names of subtests.
	Name string
	// Open is called once for each run.
	Open func() (BackendStore, error)
	// RestoresMax bounds the restores of one run by Check, for backends that
	// are slow to open; 0: 300.
	RestoresMax int
}

// BackendStore makes the keyed state of the subtasks of a run.
type BackendStore interface {
	// New makes the backend of one subtask.
	New(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error)
	// Close is called when all backends are closed.
	Close() error
}

// Backends returns every state backend there is: Check uses them all.
func Backends() []Backend { return []Backend{Memory(), Pebble()} }

// Memory keeps state in memory.
func Memory() Backend {
	return Backend{Name: "memory", Open: func() (BackendStore, error) { return memory{}, nil }}
}

type memory struct{}

// New implements BackendStore.
func (memory) New(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error) {
	return memstate.New(groups, maxParallelism), nil
}

// Close implements BackendStore.
func (memory) Close() error { return nil }

// Pebble keeps state on disk, in a folder for temporary files.
func Pebble() Backend {
	return Backend{Name: "pebble", RestoresMax: 40, Open: func() (BackendStore, error) {
		dir, err := os.MkdirTemp("", "leat-streamtest-")
		if err != nil {
			return nil, err
		}
		s, err := pebblestate.Open(pebblestate.Config{Dir: filepath.Join(dir, "state"), MemoryBytes: pebblestate.MemoryMin})
		if err != nil {
			return nil, err
		}
		return &pebble{s, dir}, nil
	}}
}

type pebble struct {
	*pebblestate.Store
	dir string
}

// Close implements BackendStore.
func (p *pebble) Close() error {
	if err := p.Store.Close(); err != nil {
		return fmt.Errorf("closing the state of the test: %w", err)
	}
	return os.RemoveAll(p.dir)
}
