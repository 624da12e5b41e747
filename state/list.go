package state

import (
	"iter"

	"github.com/leatstream/leat/dataflow/codec"
)

// List is a list of elements for each key and namespace. An empty list and
// no list are the same. With a TTL each element expires by itself. Open is called
// before anything else.
type List[T any] struct {
	k     *Keyed
	name  string
	codec *codec.Codec[T]
	table Table
	app   Appender // nil when the table cannot append
	ttl   *expiry  // nil: none
}

// NewList returns a list that is open.
func NewList[T any](k *Keyed, name string, opts ...Option) (*List[T], error) {
	s := new(List[T])
	if err := s.Open(k, name, opts...); err != nil {
		return nil, err
	}
	return s, nil
}

// Open makes s the list state of that name. Errors are those of Value.Open.
func (s *List[T]) Open(k *Keyed, name string, opts ...Option) error {
	*s = List[T]{k: k, name: name}
	if err := s.open(append(opts[:len(opts):len(opts)], withoutDefault)); err != nil {
		return named(name, err)
	}
	return nil
}

func (s *List[T]) open(opts []Option) error {
	o, err := optionsOf(opts)
	if err != nil {
		return err
	}
	if s.codec, err = codec.Of[T](); err != nil {
		return err
	}
	d := Descriptor{Name: s.name, Schema: schemaOf("list", o.ttl, s.codec.Schema()).String()}
	s.table, err = openTable(s.k.backend, d, migrateElements(s.codec), s.k.now)
	if err != nil {
		return err
	}
	s.app, _ = s.table.(Appender)
	if o.ttl != nil {
		s.ttl, err = newExpiry(s.k, s.table, *o.ttl, manyStamps)
	}
	return err
}

func (s *List[T]) mustBeOpen() {
	if s.table == nil {
		notOpen("state.List")
	}
}

// Add appends elements. It costs the size of the elements, not of the list,
// where the backend can append.
func (s *List[T]) Add(vs ...T) {
	s.mustBeOpen()
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
// an element that encodes to nothing still counts, or a stamp and its size.
func (s *List[T]) encode(vs []T) {
	if s.ttl == nil {
		for i := range vs {
			s.k.buf = s.codec.Append(append(s.k.buf, 1), &vs[i])
		}
		return
	}
	stamp := s.ttl.stamp()
	for i := range vs {
		s.k.row = s.codec.Append(s.k.row[:0], &vs[i])
		s.k.buf = appendElement(s.k.buf, stamp, s.k.row)
	}
}

// All yields the elements in the order added. The list must not be changed
// meanwhile, nor the key set.
func (s *List[T]) All() iter.Seq[T] {
	s.mustBeOpen()
	return func(yield func(T) bool) {
		b, _ := s.table.Get(s.k.ns, s.k.key)
		if s.ttl != nil {
			s.allStamped(b, yield)
			return
		}
		for len(b) > 0 {
			var v T
			b = mustDecode(s.codec, s.name, b[1:], &v)
			if !yield(v) {
				return
			}
		}
	}
}

func (s *List[T]) allStamped(b []byte, yield func(T) bool) {
	if s.ttl.refresh {
		b = s.refresh(b)
	}
	for len(b) > 0 {
		stamp, row, size := element(b)
		b = b[size:]
		if s.ttl.hidden(stamp) {
			continue
		}
		var v T
		mustDecode(s.codec, s.name, row, &v)
		if !yield(v) {
			return
		}
	}
}

// refresh makes all elements that have not expired young, and returns the
// list as it is then.
func (s *List[T]) refresh(b []byte) []byte {
	now, changed := s.ttl.stamp(), false
	s.k.buf = s.k.buf[:0]
	for len(b) > 0 {
		stamp, row, size := element(b)
		b = b[size:]
		switch {
		case !s.ttl.expired(stamp):
			changed = changed || stamp < now
			s.k.buf = appendElement(s.k.buf, max(stamp, now), row)
		case s.ttl.show:
			s.k.buf = appendElement(s.k.buf, stamp, row)
		default:
			changed = true
		}
	}
	if changed {
		s.store()
	}
	b, _ = s.table.Get(s.k.ns, s.k.key)
	return b
}

// store puts the buffer in the place of the list.
func (s *List[T]) store() {
	if len(s.k.buf) == 0 {
		s.Clear()
		return
	}
	s.table.Put(s.k.ns, s.k.key, s.k.buf)
}

// Len returns the number of elements. It costs a look at each.
func (s *List[T]) Len() int {
	s.mustBeOpen()
	b, _ := s.table.Get(s.k.ns, s.k.key)
	n := 0
	for len(b) > 0 {
		if s.ttl == nil {
			var v T
			b = mustDecode(s.codec, s.name, b[1:], &v)
			n++
			continue
		}
		stamp, _, size := element(b)
		b = b[size:]
		if !s.ttl.hidden(stamp) {
			n++
		}
	}
	return n
}

// Set replaces the list by vs.
func (s *List[T]) Set(vs []T) {
	s.mustBeOpen()
	s.k.buf = s.k.buf[:0]
	s.encode(vs)
	s.store()
}

// Retain removes the elements for which keep returns false; the others keep
// their order and, with a TTL, their age. keep must not use the list.
func (s *List[T]) Retain(keep func(T) bool) {
	s.mustBeOpen()
	b, _ := s.table.Get(s.k.ns, s.k.key)
	whole := len(b)
	left := make([]byte, 0, len(b))
	for len(b) > 0 {
		var v T
		all, size := b, 0
		if s.ttl == nil {
			b = mustDecode(s.codec, s.name, b[1:], &v)
			size = len(all) - len(b)
		} else {
			var stamp int64
			var row []byte
			stamp, row, size = element(b)
			b = b[size:]
			if s.ttl.hidden(stamp) {
				continue
			}
			mustDecode(s.codec, s.name, row, &v)
		}
		if keep(v) {
			left = append(left, all[:size]...)
		}
	}
	if len(left) != whole {
		s.k.buf = append(s.k.buf[:0], left...)
		s.store()
	}
}

// Clear removes the list under the current key.
func (s *List[T]) Clear() {
	s.mustBeOpen()
	s.table.Delete(s.k.ns, s.k.key)
}
