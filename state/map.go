package state

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"github.com/leatstream/leat/dataflow/codec"
)

// Map is a map for each key and namespace. Its entries are stored singly, so
// that access costs one entry, whatever the size of the map. With a TTL each
// entry expires by itself.
type Map[K, V any] struct {
	k      *Keyed
	name   string
	keys   *codec.Codec[K]
	values *codec.Codec[V]
	table  SubTable
	sub    []byte
	ttl    *expiry // nil: none
	def    []byte  // form of the default, nil: none
}

// NewMap returns a map that is open.
func NewMap[K, V any](k *Keyed, name string, opts ...Option) (*Map[K, V], error) {
	s := new(Map[K, V])
	if err := s.Open(k, name, opts...); err != nil {
		return nil, err
	}
	return s, nil
}

// Open makes s the map state of that name. Keys are equal when their key
// encodings are: -0 equals 0, and NaN equals NaN. Errors are those of
// Value.Open.
func (s *Map[K, V]) Open(k *Keyed, name string, opts ...Option) error {
	*s = Map[K, V]{k: k, name: name}
	if err := s.open(opts); err != nil {
		return named(name, err)
	}
	return nil
}

func (s *Map[K, V]) open(opts []Option) error {
	o, err := optionsOf(opts)
	if err != nil {
		return err
	}
	if s.keys, err = codec.Of[K](); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if s.values, err = codec.Of[V](); err != nil {
		return fmt.Errorf("values: %w", err)
	}
	if s.def, err = defaultOf(o, s.values.Append); err != nil {
		return err
	}
	d := Descriptor{Name: s.name, Schema: schemaOf("map", o.ttl, s.keys.Schema()+" to "+s.values.Schema()).String(), Sub: true}
	t, err := openTable(s.k.backend, d, migrateEntries(s.keys, s.values), s.k.now)
	if err != nil {
		return err
	}
	var ok bool
	if s.table, ok = t.(SubTable); !ok {
		return fmt.Errorf("the backend %T has no maps", s.k.backend)
	}
	if o.ttl != nil {
		s.ttl, err = newExpiry(s.k, t, *o.ttl, oneStamp)
	}
	return err
}

func (s *Map[K, V]) mustBeOpen() {
	if s.table == nil {
		notOpen("state.Map")
	}
}

// Get returns the value of a map key, and whether there is one; if not, v is
// the Default, or zero.
func (s *Map[K, V]) Get(key K) (v V, ok bool) {
	b, ok := s.find(&key)
	switch {
	case ok:
		mustDecode(s.values, s.name, b, &v)
		s.touch(b)
	case s.def != nil:
		mustDecode(s.values, s.name, s.def, &v)
	}
	return v, ok
}

// find returns the form of a key's value. With a TTL the stamp lies before it.
func (s *Map[K, V]) find(key *K) (b []byte, ok bool) {
	s.encodeKey(key)
	b, ok = s.table.GetSub(s.k.ns, s.k.key, s.sub)
	if s.ttl == nil || !ok {
		return b, ok
	}
	if s.ttl.hidden(stampOf(b)) {
		if !s.k.reading {
			s.table.DeleteSub(s.k.ns, s.k.key, s.sub)
		}
		return nil, false
	}
	return b[stampBytes:], true
}

// touch makes the entry under sub young if reads count, given its value.
func (s *Map[K, V]) touch(b []byte) {
	if s.ttl == nil || !s.ttl.refresh {
		return
	}
	s.k.row = append(s.k.row[:0], b...)
	if old, ok := s.table.GetSub(s.k.ns, s.k.key, s.sub); ok && !s.ttl.expired(stampOf(old)) && stampOf(old) < s.ttl.stamp() {
		s.k.buf = append(appendStamp(s.k.buf[:0], s.ttl.stamp()), s.k.row...)
		s.table.PutSub(s.k.ns, s.k.key, s.sub, s.k.buf)
	}
}

// Contains says whether there is a value of a map key.
func (s *Map[K, V]) Contains(key K) bool {
	_, ok := s.find(&key)
	return ok
}

// Put sets the value of a map key.
func (s *Map[K, V]) Put(key K, v V) {
	s.encodeKey(&key)
	s.k.buf = s.k.buf[:0]
	if s.ttl != nil {
		s.k.buf = appendStamp(s.k.buf, s.ttl.stamp())
	}
	s.k.buf = s.values.Append(s.k.buf, &v)
	s.table.PutSub(s.k.ns, s.k.key, s.sub, s.k.buf)
}

// Delete removes a map key.
func (s *Map[K, V]) Delete(key K) {
	s.encodeKey(&key)
	s.table.DeleteSub(s.k.ns, s.k.key, s.sub)
}

func (s *Map[K, V]) encodeKey(key *K) {
	s.mustBeOpen()
	s.sub = s.keys.AppendKey(s.sub[:0], key)
}

// All yields the entries in the backend's order: that in which the keys were
// first put (in memory), or that of Sorted (on disk). It is the same at each
// call until the map changes, and after a restart. The map must not be changed
// meanwhile, nor the key set.
func (s *Map[K, V]) All() iter.Seq2[K, V] {
	s.mustBeOpen()
	return func(yield func(K, V) bool) {
		s.scan(func(sub, val []byte) bool {
			key, v := s.entry(sub, val)
			return yield(key, v)
		})
	}
}

// Keys yields the map keys in the order of All.
func (s *Map[K, V]) Keys() iter.Seq[K] {
	s.mustBeOpen()
	return func(yield func(K) bool) {
		s.scan(func(sub, _ []byte) bool { return yield(s.decodeKey(sub)) })
	}
}

// Values yields the values in the order of All.
func (s *Map[K, V]) Values() iter.Seq[V] {
	s.mustBeOpen()
	return func(yield func(V) bool) {
		s.scan(func(_, val []byte) bool {
			var v V
			mustDecode(s.values, s.name, val, &v)
			return yield(v)
		})
	}
}

type mapEntry struct{ sub, val []byte }

// sortEntries stands alone to be compiled once: in a method of Map it would be
// for each type of keys and values.
func sortEntries(all []mapEntry) {
	slices.SortFunc(all, func(a, b mapEntry) int { return bytes.Compare(a.sub, b.sub) })
}

// Sorted yields the entries in ascending order of their keys: numbers by
// value, strings by bytes, structs field by field. It is the same on every
// backend; it costs memory for a copy of the map's entries.
func (s *Map[K, V]) Sorted() iter.Seq2[K, V] {
	s.mustBeOpen()
	return func(yield func(K, V) bool) {
		var all []mapEntry
		s.scan(func(sub, val []byte) bool {
			all = append(all, mapEntry{bytes.Clone(sub), bytes.Clone(val)})
			return true
		})
		sortEntries(all)
		for _, e := range all {
			if key, v := s.entry(e.sub, e.val); !yield(key, v) {
				return
			}
		}
	}
}

func (s *Map[K, V]) entry(sub, val []byte) (key K, v V) {
	mustDecode(s.values, s.name, val, &v)
	return s.decodeKey(sub), v
}

func (s *Map[K, V]) decodeKey(sub []byte) (key K) {
	if err := s.keys.DecodeKey(sub, &key); err != nil {
		panic(fmt.Sprintf("state %q holds a map key that does not decode: %v", s.name, err))
	}
	return key
}

// scan calls fn with the form of each entry, without its stamp, until it
// returns false. Entries that were given to fn are young then, if reads count.
func (s *Map[K, V]) scan(fn func(sub, val []byte) bool) {
	if s.ttl == nil {
		s.table.ScanSub(s.k.ns, s.k.key, fn)
		return
	}
	var read [][]byte
	s.table.ScanSub(s.k.ns, s.k.key, func(sub, val []byte) bool {
		if s.ttl.hidden(stampOf(val)) {
			return true
		}
		if s.ttl.refresh {
			read = append(read, bytes.Clone(sub))
		}
		return fn(sub, val[stampBytes:])
	})
	for _, sub := range read {
		s.sub = append(s.sub[:0], sub...)
		if b, ok := s.table.GetSub(s.k.ns, s.k.key, s.sub); ok {
			s.touch(b[stampBytes:])
		}
	}
}

// Len returns the number of entries under the current key. With a TTL it
// costs a look at each.
func (s *Map[K, V]) Len() int {
	s.mustBeOpen()
	if s.ttl == nil || s.ttl.show {
		return s.table.LenSub(s.k.ns, s.k.key)
	}
	n := 0
	s.table.ScanSub(s.k.ns, s.k.key, func(_, val []byte) bool {
		if !s.ttl.hidden(stampOf(val)) {
			n++
		}
		return true
	})
	return n
}

// Clear removes all entries under the current key.
func (s *Map[K, V]) Clear() {
	s.mustBeOpen()
	s.table.ClearSub(s.k.ns, s.k.key)
}
