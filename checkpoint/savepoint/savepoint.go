// Package savepoint reads what a savepoint or checkpoint holds, for people: the
// tables of its operators, and every entry of keyed state as JSON. It restores
// nothing into a job and changes nothing; what a start makes of a savepoint is
// decided in runtime/jobmaster.
package savepoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
	"github.com/leatstream/leat/state/stateform"
)

// ErrNoSuch is wrapped by errors about an operator or a state that the
// savepoint does not have.
var ErrNoSuch = errors.New("the savepoint has no such state")

// Damaged reports whether an error says that state is not as it was written.
func Damaged(err error) bool { return errors.Is(err, statefile.ErrCorrupt) }

// Objects is the part of store.Store that is read. Get's contract is that of
// store.Store.
type Objects interface {
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
}

// Snapshot is a savepoint or checkpoint whose manifest was read. It is safe for
// concurrent use.
type Snapshot struct {
	manifest *checkpointv1.Manifest
	objects  Objects
}

// New returns the snapshot of a manifest, whose keys lead to objects. The
// manifest is not changed.
func New(m *checkpointv1.Manifest, objects Objects) *Snapshot {
	return &Snapshot{manifest: m, objects: objects}
}

// Manifest is that which New was given.
func (s *Snapshot) Manifest() *checkpointv1.Manifest { return s.manifest }

// Operator is one with keyed state.
type Operator struct {
	ID        dataflow.OperatorID
	UID, Name string
	// KeySchema is that of the keys, "" when the state does not say.
	KeySchema string
	// Tables are all, those of the engine's own included, by name.
	Tables []state.Descriptor
}

// Operators returns the operators with keyed state in the order of the
// manifest, by the newest file of each subtask.
func (s *Snapshot) Operators(ctx context.Context) ([]Operator, error) {
	var out []Operator
	for _, o := range s.operators() {
		for _, files := range s.chains(o.ID) {
			h, err := s.header(ctx, files[len(files)-1])
			if err != nil {
				return nil, err
			}
			for _, d := range h.Tables {
				o.add(d)
			}
		}
		slices.SortFunc(o.Tables, func(a, b state.Descriptor) int { return cmp.Compare(a.Name, b.Name) })
		out = append(out, o)
	}
	return out, nil
}

func (o *Operator) add(d state.Descriptor) {
	if slices.ContainsFunc(o.Tables, func(t state.Descriptor) bool { return t.Name == d.Name }) {
		return
	}
	o.Tables = append(o.Tables, d)
	if key, ok := stateform.KeySchema(d.Name, d.Schema); ok {
		o.KeySchema = key
	}
}

func (s *Snapshot) header(ctx context.Context, h *controlv1.StateHandle) (statefile.Header, error) {
	f := s.open(ctx, h)
	defer f.close()
	r, err := statefile.NewReader(f)
	if err != nil {
		return statefile.Header{}, located(h, err)
	}
	return r.Header(), nil
}

// operators returns those that have files of keyed state.
func (s *Snapshot) operators() []Operator {
	keyed := make(map[string]bool)
	for _, h := range s.manifest.GetHandles() {
		keyed[h.GetOperatorId()] = keyed[h.GetOperatorId()] || h.GetKind() == controlv1.StateKind_STATE_KIND_KEYED
	}
	var out []Operator
	for _, o := range s.manifest.GetOperators() {
		if keyed[o.GetId()] {
			out = append(out, Operator{ID: dataflow.OperatorID(o.GetId()), UID: o.GetUid(), Name: o.GetName()})
		}
	}
	return out
}

// named returns the operators of that UID, name or id, all if it is empty.
func (s *Snapshot) named(name string) ([]Operator, error) {
	all := s.operators()
	if name == "" {
		return all, nil
	}
	var have []string
	for _, o := range all {
		have = append(have, o.UID)
	}
	found := slices.DeleteFunc(all, func(o Operator) bool { return o.UID != name && o.Name != name && string(o.ID) != name })
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: no operator with keyed state has UID, name or id %q; it has: %s", ErrNoSuch, name, cmp.Or(strings.Join(have, ", "), "none"))
	}
	return found, nil
}

// chains returns the files of an operator's keyed state, by old subtask, each
// the oldest first.
func (s *Snapshot) chains(op dataflow.OperatorID) [][]*controlv1.StateHandle {
	var files []*controlv1.StateHandle
	for _, h := range s.manifest.GetHandles() {
		if h.GetKind() == controlv1.StateKind_STATE_KIND_KEYED && h.GetOperatorId() == string(op) {
			files = append(files, h)
		}
	}
	slices.SortStableFunc(files, func(a, b *controlv1.StateHandle) int {
		return cmp.Or(cmp.Compare(a.GetSubtask(), b.GetSubtask()), cmp.Compare(a.GetWritten(), b.GetWritten()))
	})
	var out [][]*controlv1.StateHandle
	for i, f := range files {
		if i == 0 || f.GetSubtask() != files[i-1].GetSubtask() {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], f)
	}
	return out
}

// located says which file an error is about.
func located(h *controlv1.StateHandle, err error) error {
	return fmt.Errorf("state of operator %s, subtask %d, at %d of %q: %w", h.GetOperatorId(), h.GetSubtask(), h.GetOffset(), cmp.Or(h.GetObject(), "the manifest"), err)
}
