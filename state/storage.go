package state

import (
	"fmt"

	"github.com/leatstream/leat/dataflow"
)

// Backends makes the backends of one worker process, which may share memory
// and a folder. It is safe for concurrent use.
type Backends interface {
	// New makes the keyed state of one operator's subtask, empty.
	New(groups dataflow.KeyGroupRange, maxParallelism int) (Backend, error)
	// Close comes after the Close of all backends and the Release of all
	// their snapshots.
	Close() error
}

// Failer is implemented by backends that can fail: those that keep state
// outside memory, and those that have a limit. Methods without an error result
// cannot say that a read or a write failed: they return as if nothing were
// stored, and Err returns the first failure from then on. Whoever uses the
// backend asks before its results leave the task: after each batch, after a
// restore, and before a snapshot.
type Failer interface {
	// Err returns the first failure, a *StorageError or a *LimitError, or nil.
	// It is cheap, and is called on the goroutine that uses the backend.
	Err() error
}

// OnDisk is implemented by backends that keep state in files. Its methods are
// safe for concurrent use, also after Close.
type OnDisk interface {
	// DiskBytes is the size of the files.
	DiskBytes() int64
	// CacheBytes is what the backend holds in memory of its own.
	CacheBytes() int64
}

// StorageError says that local storage of state failed. The state is lost
// with it and comes back from a checkpoint: a restart may help, elsewhere or
// once there is room.
type StorageError struct {
	// Op is what was tried, in one word.
	Op string
	// Path is the file or folder.
	Path string
	// Err is what the file system said.
	Err error
}

// Error implements error.
func (e *StorageError) Error() string {
	return fmt.Sprintf("local state: %s %s: %v", e.Op, e.Path, e.Err)
}

// Unwrap implements what package errors asks for: it returns the cause.
func (e *StorageError) Unwrap() error { return e.Err }
