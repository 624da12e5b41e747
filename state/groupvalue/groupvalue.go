// Package groupvalue holds the values that a state backend keeps for whole key
// groups: few and small, so that they lie in memory whatever the backend.
package groupvalue

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state/statefile"
)

// Set is the values of a range of key groups, by name. It belongs to one
// goroutine.
type Set struct {
	groups dataflow.KeyGroupRange
	values []*named // by name, ascending
	epoch  uint64   // counts calls of Freeze
}

// named is the values under one name.
type named struct {
	name  string
	vals  []value // by key group, from the first of the range
	epoch uint64  // of vals, the slice
}

// value is shared with what was frozen when it is of an earlier epoch.
type value struct {
	b     []byte // nil: unset
	epoch uint64
}

// New returns an empty set for groups.
func New(groups dataflow.KeyGroupRange) *Set { return &Set{groups: groups} }

func (s *Set) find(name string) (int, bool) {
	return slices.BinarySearchFunc(s.values, name, func(v *named, n string) int { return strings.Compare(v.name, n) })
}

// Get returns a value, nil when it is unset. It is valid until the next Put
// under its name and group.
func (s *Set) Get(name string, g dataflow.KeyGroup) []byte {
	i, ok := s.find(name)
	if !ok || !s.groups.Contains(g) {
		return nil
	}
	return s.values[i].vals[g-s.groups.First].b
}

// Put copies v; nil unsets. A value of unchanged length is changed in place,
// so that setting it again and again does not allocate. A group outside of the
// set's range is a fault of the caller, and panics.
func (s *Set) Put(name string, g dataflow.KeyGroup, v []byte) {
	if !s.groups.Contains(g) {
		panic(fmt.Sprintf("value %q set for key group %d, which is not in %d to %d", name, g, s.groups.First, s.groups.Last))
	}
	i, ok := s.find(name)
	if !ok {
		s.values = slices.Insert(s.values, i, &named{name: name, vals: make([]value, s.groups.Len()), epoch: s.epoch})
	}
	n := s.values[i]
	if n.epoch != s.epoch {
		n.vals, n.epoch = slices.Clone(n.vals), s.epoch
	}
	p := &n.vals[g-s.groups.First]
	switch {
	case v == nil:
		*p = value{epoch: s.epoch}
	case p.b != nil && len(p.b) == len(v) && p.epoch == s.epoch:
		copy(p.b, v)
	default:
		*p = value{b: append(make([]byte, 0, len(v)), v...), epoch: s.epoch}
	}
}

// Reset unsets all values of a key group.
func (s *Set) Reset(g dataflow.KeyGroup) {
	for _, v := range s.values {
		s.Put(v.name, g, nil)
	}
}

// Frozen is the values at one moment. It is safe for concurrent use, also
// while its set changes.
type Frozen []named

// Freeze returns the values as they are now. It copies no value, but a
// reference for each name.
func (s *Set) Freeze() Frozen {
	f := make(Frozen, len(s.values))
	for i, v := range s.values {
		f[i] = *v
	}
	s.epoch++
	return f
}

// Epoch numbers what the next Freeze will return; what is set after that is of
// a later epoch.
func (s *Set) Epoch() uint64 { return s.epoch }

// ChangedSince reports whether a value of the i-th key group was set or unset
// after the Freeze of that epoch.
func (f Frozen) ChangedSince(epoch uint64, i int) bool {
	return slices.ContainsFunc(f, func(n named) bool { return n.vals[i].epoch > epoch })
}

// AppendTo appends the values of the i-th key group to the body of its section
// in a state file.
func (f Frozen) AppendTo(body []byte, i int) []byte {
	for _, n := range f {
		if v := n.vals[i].b; v != nil {
			body = statefile.AppendGroupValue(body, n.name, v)
		}
	}
	return body
}
