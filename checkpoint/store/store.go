// Package store is the contract of the object stores that hold checkpoints
// and bundles. Implementations are in its sub-packages; storetest is the
// conformance suite that each of them passes.
package store

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Errors that callers branch on; implementations wrap them.
var (
	// ErrNotFound says that the object is known not to exist. A server that
	// could not answer is never reported so.
	ErrNotFound = errors.New("object not found")
	// ErrExists is PutIfAbsent's answer when another's object is there.
	ErrExists = errors.New("object exists")
)

// Info describes an object.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time
}

// Store keeps immutable objects under slash-separated keys such as
// "jobs/4be1…/chk-12/tm-1.state". Keys have no empty, "." or ".." segment.
// All methods are safe for concurrent use and retry transient faults
// themselves within ctx. A write is visible as a whole or not at all.
type Store interface {
	// Put writes size bytes of r, replacing what was there.
	Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error
	// PutIfAbsent writes data unless the key exists. When the answer of a
	// successful write was lost, a retry recognises its own object.
	PutIfAbsent(ctx context.Context, key string, data []byte) error
	// Get reads length bytes from offset; length < 0 means to the end. The
	// reader returns an error, never a short read, when bytes are missing.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	Stat(ctx context.Context, key string) (Info, error)
	// List yields the objects under a prefix in order of their keys.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes objects; keys that do not exist are no error.
	Delete(ctx context.Context, keys ...string) error
	// URI names the place of a key for people ("s3://bucket/prefix/key").
	URI(key string) string
}
