// Package state is the contract of keyed state: tables of bytes that a
// backend keeps by key, and the typed handles (Value, List, Map, Reducing,
// Aggregating) that user code holds. Backends are in its sub-packages;
// statetest compares them. It does not upload anything: snapshots write
// themselves to where the caller says.
package state

import (
	"io"

	"github.com/leatstream/leat/dataflow"
)

// Key is an encoded key with its hash. Bytes is borrowed by every call.
type Key struct {
	// Bytes is the encoded key.
	Bytes []byte
	// Hash is codec.HashKey(Bytes); the key group follows from it.
	Hash uint64
}

// Descriptor names a table.
type Descriptor struct {
	// Name is unique in the operator.
	Name string
	// Schema is the canonical text of the value's codec, checked at restore.
	Schema string
	// Fixed is the size of every value, or 0 when it varies. Values of a
	// fixed-size table are changed in place.
	Fixed int
	// Sub tables hold a map under each key (MapState).
	Sub bool
}

// Backend holds the keyed state of one operator's subtask: tables, and one
// small value for each key group. Methods are called on the task's goroutine;
// a Snapshot is used from another. No method blocks on I/O for long.
type Backend interface {
	// Table returns the table of that name, made on first use. A descriptor
	// that contradicts restored data is an error naming both schemas.
	Table(d Descriptor) (Table, error)
	// GroupValue returns the value of a key group under a name, nil if unset;
	// borrowed until the next call.
	GroupValue(name string, g dataflow.KeyGroup) []byte
	// SetGroupValue sets it; v is copied. nil removes it.
	SetGroupValue(name string, g dataflow.KeyGroup, v []byte)
	// KeyGroups is the range that this backend owns.
	KeyGroups() dataflow.KeyGroupRange
	// MaxParallelism is the number of key groups of the job.
	MaxParallelism() int
	// Snapshot freezes the state as of now, in time that does not grow with
	// the state (pages are shared, copied on the next write).
	Snapshot(cp dataflow.CheckpointID) (Snapshot, error)
	// Restore adds what a file (of any parallelism with the same maximum) holds
	// of this backend's key groups. It is called before any Table and Snapshot:
	// for each old subtask that overlaps for its files, oldest first. r yields
	// what WriteTo or WriteDelta wrote. After an error the backend is closed.
	Restore(r io.Reader, part RestorePart) error
	// Bytes is the memory in use, for limits and metrics.
	Bytes() int64
	// Close frees what the backend holds; it is called last, once.
	Close() error
}

// Snapshot is frozen state. WriteTo may run on another goroutine while the
// backend goes on; Release must be called once, on any goroutine.
type Snapshot interface {
	// WriteTo writes the versioned, self-contained form (docs/formats/state.md).
	io.WriterTo
	// Release frees the snapshot; it is called once, also without WriteTo.
	Release()
}

// RestorePart says how a file is restored. The zero value is for a file that
// is all there is of an old subtask.
type RestorePart struct {
	// Follows says that the file adds to the one restored just before it: both
	// are of the chain of one old subtask. The others begin one.
	Follows bool
	// Groups are the key groups to read, those whose newest whole file is this
	// one or an older one of the chain: of the others a newer file has all, and
	// what is here is out of date. nil: all key groups.
	Groups []dataflow.KeyGroupRange
}

// Table maps (namespace, key) to a value. The namespace is a window's or
// pane's start, a timer's time, or 0. Slices returned are borrowed until the
// next call on the table; those given are copied.
type Table interface {
	// Get returns the value, borrowed until the next call.
	Get(ns int64, k Key) (val []byte, ok bool)
	// Put sets the value, which is copied.
	Put(ns int64, k Key, val []byte)
	// Delete removes the value, if there is one.
	Delete(ns int64, k Key)
	// Upsert returns the value in place, made of zero bytes when it did not
	// exist. Only for fixed-size tables; the slice is written to directly and
	// is valid until the next call on the table.
	Upsert(ns int64, k Key) (val []byte, created bool)
	// Namespaces returns those that hold an entry, ascending.
	Namespaces() []int64
	// Scan calls fn for each entry of a namespace, in any order, until it
	// returns false. The table must not be changed meanwhile. The order is the
	// same again as long as the table is not changed, so that a scan can be
	// resumed by skipping.
	Scan(ns int64, fn func(key, val []byte) bool)
	// DropNamespace removes all entries of a namespace at once.
	DropNamespace(ns int64)
	// LenNamespace returns the number of keys in a namespace, Len over all.
	LenNamespace(ns int64) int
	Len() int
}

// SubTable is the form of Table for descriptors with Sub set: a map of subkey
// to value under each (namespace, key). Backends' tables implement it then.
// Of Table's methods, Get says whether the key has an entry, Delete is
// ClearSub, Scan visits the keys with a nil value, LenNamespace counts keys,
// Len counts entries, and Put and Upsert must not be called.
type SubTable interface {
	// GetSub returns the value of a subkey, borrowed until the next call.
	GetSub(ns int64, k Key, sub []byte) (val []byte, ok bool)
	// PutSub sets the value of a subkey; both are copied.
	PutSub(ns int64, k Key, sub, val []byte)
	// DeleteSub removes a subkey, if it is there.
	DeleteSub(ns int64, k Key, sub []byte)
	// ScanSub calls fn for each entry under the key, in order of insertion or
	// of subkey, until it returns false. The table must not be changed meanwhile.
	ScanSub(ns int64, k Key, fn func(sub, val []byte) bool)
	// LenSub returns the number of subkeys of a key.
	LenSub(ns int64, k Key) int
	// ClearSub removes all subkeys of a key.
	ClearSub(ns int64, k Key)
	// Len returns the number of subkeys of all keys.
	Len() int
}

// TableLister is implemented by backends that can say which tables they hold,
// those that were restored and not yet asked for included.
type TableLister interface {
	// Tables returns the descriptors, by name.
	Tables() []Descriptor
}
