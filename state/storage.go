package state

import "fmt"

// Failer is implemented by backends that keep state outside memory. Methods
// without an error result cannot say that a read or a write failed: they
// return as if nothing were stored, and Err returns the first failure from
// then on. Whoever uses the backend asks before its results leave the task:
// after each batch, and before a snapshot.
type Failer interface {
	// Err returns the first failure, a *StorageError, or nil. It is cheap and
	// safe for concurrent use.
	Err() error
}

// OnDisk is implemented by backends that keep state in files.
type OnDisk interface {
	// DiskBytes is the size of the files. Safe for concurrent use.
	DiskBytes() int64
}

// StorageError says that local storage of state failed. The state is lost
// with it and comes back from a checkpoint: a restart may help, elsewhere or
// once there is room.
type StorageError struct {
	// Op is what was tried, in one word.
	Op   string
	Path string
	Err  error
}

// Error implements error.
func (e *StorageError) Error() string {
	return fmt.Sprintf("local state: %s %s: %v", e.Op, e.Path, e.Err)
}

// Unwrap gives the cause.
func (e *StorageError) Unwrap() error { return e.Err }
