package pebblestate

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statetest"
)

// factory makes backends with the least budget, so that caches evict and
// memtables are written out all the time. Every other one puts without a look
// wherever the database holds a key.
func factory(tb testing.TB, fs vfs.FS) statetest.Factory {
	tb.Helper()
	dir := tb.TempDir()
	var made atomic.Int64
	return func(groups dataflow.KeyGroupRange, maxParallelism int) state.Backend {
		n := made.Add(1)
		s, err := Open(Config{Dir: filepath.Join(dir, fmt.Sprint(n)), MemoryBytes: MemoryMin, fs: fs, blindAbove: int(n % 2)})
		if err != nil {
			tb.Fatal(err)
		}
		b, err := s.New(groups, maxParallelism)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := errors.Join(b.Close(), s.Close()); err != nil {
				tb.Error(err)
			}
		})
		return b
	}
}

func memory(groups dataflow.KeyGroupRange, maxParallelism int) state.Backend {
	return memstate.New(groups, maxParallelism)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	statetest.Run(t, factory(t, vfs.NewMem()))
}

func TestAgainstReference(t *testing.T) {
	t.Parallel()
	steps := 6000
	if testing.Short() {
		steps = 2000
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			statetest.Compare(t, factory(t, vfs.NewMem()), statetest.NewReference, seed, steps)
		})
	}
}

// Chains that memory wrote restore on disk, and files of disk in memory.
func TestChains(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]statetest.Factory{"memory": memory, "disk": factory(t, vfs.NewMem())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statetest.RunChains(t, from, factory(t, vfs.NewMem()), memory)
		})
	}
}

// Snapshots go from memory to disk and back all along.
func TestAgainstMemoryOnDisk(t *testing.T) {
	t.Parallel()
	statetest.Compare(t, factory(t, nil), memory, 50, 3000)
}

func TestTTL(t *testing.T) {
	t.Parallel()
	statetest.RunTTL(t, factory(t, vfs.NewMem()))
}
