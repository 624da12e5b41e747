package pebblestate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
)

// Group values are few and small, and lie in memory.

// groupValues is the values of all key groups under one name.
type groupValues struct {
	name string
	vals []groupValue // by key group, from the backend's first
}

type groupValue struct {
	b     []byte // nil: unset
	epoch uint64 // of b; a snapshot may share what is of an earlier one
}

func (b *Backend) findValues(name string) (int, bool) {
	return slices.BinarySearchFunc(b.values, name, func(v *groupValues, n string) int { return strings.Compare(v.name, n) })
}

// GroupValue implements state.Backend.
func (b *Backend) GroupValue(name string, g dataflow.KeyGroup) []byte {
	i, ok := b.findValues(name)
	if !ok || !b.groups.Contains(g) {
		return nil
	}
	return b.values[i].vals[g-b.groups.First].b
}

// SetGroupValue implements state.Backend. A value of unchanged length is
// changed in place, so that setting it again and again does not allocate.
func (b *Backend) SetGroupValue(name string, g dataflow.KeyGroup, v []byte) {
	if !b.groups.Contains(g) {
		panic(fmt.Sprintf("pebblestate: value %q set for key group %d, which is not in %d to %d", name, g, b.groups.First, b.groups.Last))
	}
	i, ok := b.findValues(name)
	if !ok {
		b.values = slices.Insert(b.values, i, &groupValues{name: name, vals: make([]groupValue, b.groups.Len())})
	}
	p := &b.values[i].vals[g-b.groups.First]
	switch {
	case v == nil:
		*p = groupValue{}
	case p.b != nil && len(p.b) == len(v) && p.epoch == b.epoch:
		copy(p.b, v)
	default:
		*p = groupValue{b: append(make([]byte, 0, len(v)), v...), epoch: b.epoch}
	}
}

// freezeValues returns the values as they are now.
func (b *Backend) freezeValues() (frozen []groupValues) {
	for _, v := range b.values {
		frozen = append(frozen, groupValues{v.name, slices.Clone(v.vals)})
	}
	b.epoch++
	return frozen
}
