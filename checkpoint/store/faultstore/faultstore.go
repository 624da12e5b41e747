// Package faultstore wraps an object store and has a hook decide, call by
// call, what goes wrong. It is for tests and the simulation; without a hook it
// changes nothing. The wrapper's methods are generated from the interface, so
// that a new method cannot be forgotten.
package faultstore

import (
	"errors"
	"fmt"
	"io"

	"github.com/leatstream/leat/checkpoint/store"
)

//go:generate go run ./gen -in ../store.go -out wrapper.go

// Call is one call of a store's method.
type Call struct {
	// Method is its name, as "Put".
	Method string
	// Key is its key or prefix; of several keys the first.
	Key string
}

// Fault says what happens to a call. The zero value is none.
type Fault struct {
	// Before is returned in place of the call: nothing has happened.
	Before error
	// After is returned although the call was made: its answer is lost. A
	// listing ends with it, after its objects.
	After error
	// CutAfter, if positive, ends the body that Get returns after that many
	// bytes with an unexpected end, as a broken connection does.
	CutAfter int64
}

// Hook decides about a call. It may block, to delay or reorder calls, and is
// called concurrently.
type Hook func(Call) Fault

// Store is a store.Store with faults.
type Store struct {
	inner store.Store
	hook  Hook
}

var _ store.Store = (*Store)(nil)

// ErrInjected is a fault for those that do not care which.
var ErrInjected = errors.New("injected fault")

// New wraps inner; a nil hook means no faults.
func New(inner store.Store, hook Hook) *Store {
	if hook == nil {
		hook = func(Call) Fault { return Fault{} }
	}
	return &Store{inner: inner, hook: hook}
}

func first(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return keys[0]
}

// cut applies CutAfter to what a method returned.
func cut[T any](v T, f Fault, c Call) T {
	body, ok := any(v).(io.ReadCloser)
	if !ok || f.CutAfter <= 0 {
		return v
	}
	short, ok := any(&cutReader{ReadCloser: body, left: f.CutAfter, call: c}).(T)
	if !ok {
		return v
	}
	return short
}

type cutReader struct {
	io.ReadCloser
	left int64
	call Call
}

func (r *cutReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, fmt.Errorf("%s %q: %w", r.call.Method, r.call.Key, io.ErrUnexpectedEOF)
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}
