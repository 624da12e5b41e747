package state

import (
	"fmt"
	"iter"

	"github.com/leatstream/leat/dataflow/codec"
)

// List is a list of elements for each key and namespace. An empty list and
// no list are the same.
type List[T any] struct {
	k     *Keyed
	name  string
	codec *codec.Codec[T]
	table Table
	app   Appender // nil when the table cannot append
}

// NewList returns the list state of that name.
func NewList[T any](k *Keyed, name string) (*List[T], error) {
	c, err := codec.Of[T]()
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", name, err)
	}
	t, err := k.backend.Table(Descriptor{Name: name, Schema: kindSchema("list", c.Schema())})
	if err != nil {
		return nil, err
	}
	app, _ := t.(Appender)
	return &List[T]{k: k, name: name, codec: c, table: t, app: app}, nil
}

// Add appends elements. It costs the size of the elements, not of the list,
// where the backend can append.
func (s *List[T]) Add(vs ...T) {
	if len(vs) == 0 {
		return
	}
	if s.app == nil {
		old, _ := s.table.Get(s.k.ns, s.k.key)
		s.k.buf = append(s.k.buf[:0], old...)
		s.encode(vs)
		s.table.Put(s.k.ns, s.k.key, s.k.buf)
		return
	}
	s.k.buf = s.k.buf[:0]
	s.encode(vs)
	s.app.Append(s.k.ns, s.k.key, s.k.buf)
}

// encode appends elements to the buffer. Each has a mark before it, so that
// an element that encodes to nothing still counts.
func (s *List[T]) encode(vs []T) {
	for i := range vs {
		s.k.buf = s.codec.Append(append(s.k.buf, 1), &vs[i])
	}
}

// All yields the elements in the order added. The list must not be changed
// meanwhile, nor the key set.
func (s *List[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		b, _ := s.table.Get(s.k.ns, s.k.key)
		for len(b) > 0 {
			var v T
			b = mustDecode(s.codec, s.name, b[1:], &v)
			if !yield(v) {
				return
			}
		}
	}
}

// Set replaces the list by vs.
func (s *List[T]) Set(vs []T) {
	if len(vs) == 0 {
		s.Clear()
		return
	}
	s.k.buf = s.k.buf[:0]
	s.encode(vs)
	s.table.Put(s.k.ns, s.k.key, s.k.buf)
}

// Clear removes the list under the current key.
func (s *List[T]) Clear() { s.table.Delete(s.k.ns, s.k.key) }
