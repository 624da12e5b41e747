// Package opstate is the state of an operator that belongs to no key: lists
// whose elements are dealt out anew over the subtasks when these change, lists
// that every subtask gets whole, and maps of which each subtask holds the same
// copy (broadcast state). It lies in the operator's snapshot, not in a state
// backend: it is for what is small.
package opstate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Kind says what becomes of a state at a restore.
type Kind byte

// Kinds of state; the numbers are part of the format.
const (
	// KindList deals the elements of all old subtasks out evenly, in order.
	KindList Kind = 1
	// KindUnion gives the elements of all old subtasks to each new one.
	KindUnion Kind = 2
	// KindBroadcast gives each new subtask the copy of one old one.
	KindBroadcast Kind = 3
)

// String names the kind for people.
func (k Kind) String() string {
	switch k {
	case KindList:
		return "list"
	case KindUnion:
		return "union list"
	case KindBroadcast:
		return "broadcast map"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Set is the state of one subtask. Its handles are made in the operator's
// Open; all methods are called on the task's goroutine.
type Set struct {
	// restored is what no handle has claimed; it goes on into snapshots.
	restored map[string]form
	handles  map[string]handle
	names    []string // of handles, in the order of their making
	undoing  bool
}

// Owner is a context whose Open may make state that belongs to no key: that of
// any processor.
type Owner interface {
	// OperatorState returns the set in which handles are opened.
	OperatorState() *Set
}

// handle is one state in use.
type handle interface {
	form() form
	// mark begins what undo takes back.
	mark()
	undo()
}

// Open returns the set of a subtask, with what its operator's old subtasks
// had in their snapshots.
func Open(ctx *operators.Context) (*Set, error) {
	s := &Set{handles: make(map[string]handle)}
	var err error
	s.restored, err = merge(ctx.Restored, ctx.Info.Subtask, ctx.Info.Parallelism)
	if err != nil {
		return nil, fmt.Errorf("state of operator %q: %w", ctx.Info.UID, err)
	}
	return s, nil
}

// Snapshot returns the set as of now, nil when there is no state at all. See
// docs/formats/operator-state.md.
func (s *Set) Snapshot() []byte {
	all := make(map[string]form, len(s.handles)+len(s.restored))
	for name, f := range s.restored {
		all[name] = f
	}
	for name, h := range s.handles {
		all[name] = h.form()
	}
	if len(all) == 0 {
		return nil
	}
	return appendForms(nil, all)
}

// Mark begins a row: what is changed from now on can be taken back.
func (s *Set) Mark() {
	s.undoing = true
	for _, name := range s.names {
		s.handles[name].mark()
	}
}

// Undo takes back what was changed since Mark.
func (s *Set) Undo() {
	for _, name := range s.names {
		s.handles[name].undo()
	}
}

// claim registers the handle of a state and returns what was restored of it.
// values of an older type are made those of c, whose schema is behind prefix.
func (s *Set) claim(name string, kind Kind, prefix string, c values, h handle) (form, error) {
	schema := prefix + c.Schema()
	if _, twice := s.handles[name]; twice {
		return form{}, fmt.Errorf("state %q is made twice: give each state of an operator a name of its own", name)
	}
	f, ok := s.restored[name]
	old, same := strings.CutPrefix(f.schema, prefix)
	switch {
	case ok && (f.kind != kind || !same):
		return form{}, mismatch(name, f, kind, schema)
	case ok && f.schema != schema:
		if err := f.renew(old, c); err != nil {
			return form{}, fmt.Errorf("%w (%w)", mismatch(name, f, kind, schema), err)
		}
	}
	delete(s.restored, name)
	s.handles[name] = h
	s.names = append(s.names, name)
	return f, nil
}

// mismatch ends the job: no restart mends it.
func mismatch(name string, f form, kind Kind, schema string) error {
	return &state.MismatchError{Table: name, Why: fmt.Sprintf("is a %s of schema %q in the checkpoint, but the operator wants a %s of schema %q: keep the type, or give the new state another name",
		f.kind, f.schema, kind, schema)}
}

// values is what claim needs to know of a codec.Codec, whatever its type.
type values interface {
	Schema() string
	RowsFrom(oldSchema string) (func(dst, src []byte) (out, rest []byte, err error), error)
}

// renew makes the values of a type with that schema those of c.
func (f *form) renew(old string, c values) error {
	next, err := c.RowsFrom(old)
	if err != nil {
		return err
	}
	entries := make([]entry, len(f.entries))
	for i, e := range f.entries {
		val, rest, err := next(nil, e.val)
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			return fmt.Errorf("%d bytes follow a value of %d", len(rest), len(e.val)-len(rest))
		}
		entries[i] = entry{key: e.key, val: val}
	}
	f.entries = entries
	return nil
}

// merge makes a subtask's share of the states in all old subtasks' snapshots.
func merge(old [][]byte, subtask, parallelism int) (map[string]form, error) {
	gathered := make(map[string][]part)
	for i, b := range old {
		if len(b) == 0 {
			continue
		}
		forms, err := parseForms(b)
		if err != nil {
			return nil, fmt.Errorf("old subtask %d: %w", i, err)
		}
		for name, f := range forms {
			gathered[name] = append(gathered[name], part{f, i})
		}
	}
	out := make(map[string]form, len(gathered))
	for name, parts := range gathered {
		f, err := share(parts, subtask, parallelism, len(old) == parallelism)
		if err != nil {
			return nil, fmt.Errorf("state %q: %w", name, err)
		}
		out[name] = f
	}
	return out, nil
}

// part is what one old subtask had of a state.
type part struct {
	form
	subtask int
}

// share picks a subtask's entries out of those of all old subtasks. At the same
// parallelism a list stays where it was: what it holds came by a partitioning,
// and a subtask whose input has ended is not run again.
func share(parts []part, subtask, parallelism int, same bool) (form, error) {
	f := form{kind: parts[0].kind, schema: parts[0].schema}
	for _, p := range parts[1:] {
		if p.kind != f.kind || p.schema != f.schema {
			return f, fmt.Errorf("subtasks disagree: %s of schema %q and %s of schema %q", f.kind, f.schema, p.kind, p.schema)
		}
	}
	if f.kind == KindBroadcast {
		f.entries = parts[subtask%len(parts)].entries
		return f, nil
	}
	var all []entry
	for _, p := range parts {
		if f.kind != KindList || !same || p.subtask == subtask {
			all = append(all, p.entries...)
		}
	}
	if f.kind == KindList && !same {
		n := len(all)
		all = all[subtask*n/parallelism : (subtask+1)*n/parallelism]
	}
	f.entries = slices.Clip(all)
	return f, nil
}
