package state

import (
	"fmt"
	"iter"

	"github.com/leatstream/leat/dataflow/codec"
)

// Map is a map for each key and namespace. Its entries are stored singly, so
// that access costs one entry, whatever the size of the map.
type Map[K, V any] struct {
	k      *Keyed
	name   string
	keys   *codec.Codec[K]
	values *codec.Codec[V]
	table  SubTable
	sub    []byte
}

// NewMap returns the map state of that name. Keys are equal when their key
// encodings are: -0 equals 0, and NaN equals NaN.
func NewMap[K, V any](k *Keyed, name string) (*Map[K, V], error) {
	kc, err := codec.Of[K]()
	if err != nil {
		return nil, fmt.Errorf("keys of state %q: %w", name, err)
	}
	vc, err := codec.Of[V]()
	if err != nil {
		return nil, fmt.Errorf("values of state %q: %w", name, err)
	}
	t, err := k.backend.Table(Descriptor{Name: name, Schema: kindSchema("map", kc.Schema()+" to "+vc.Schema()), Sub: true})
	if err != nil {
		return nil, err
	}
	st, ok := t.(SubTable)
	if !ok {
		return nil, fmt.Errorf("state %q: the backend %T has no maps", name, k.backend)
	}
	return &Map[K, V]{k: k, name: name, keys: kc, values: vc, table: st}, nil
}

// Get returns the value of a map key, and whether there is one.
func (s *Map[K, V]) Get(key K) (v V, ok bool) {
	s.encodeKey(&key)
	b, ok := s.table.GetSub(s.k.ns, s.k.key, s.sub)
	if ok {
		mustDecode(s.values, s.name, b, &v)
	}
	return v, ok
}

// Put sets the value of a map key.
func (s *Map[K, V]) Put(key K, v V) {
	s.encodeKey(&key)
	s.k.buf = s.values.Append(s.k.buf[:0], &v)
	s.table.PutSub(s.k.ns, s.k.key, s.sub, s.k.buf)
}

// Delete removes a map key.
func (s *Map[K, V]) Delete(key K) {
	s.encodeKey(&key)
	s.table.DeleteSub(s.k.ns, s.k.key, s.sub)
}

func (s *Map[K, V]) encodeKey(key *K) { s.sub = s.keys.AppendKey(s.sub[:0], key) }

// All yields the entries in the backend's order, which is the same at each
// call until the map changes. The map must not be changed meanwhile, nor the
// key set.
func (s *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		s.table.ScanSub(s.k.ns, s.k.key, func(sub, val []byte) bool {
			var key K
			var v V
			if err := s.keys.DecodeKey(sub, &key); err != nil {
				panic(fmt.Sprintf("state %q holds a map key that does not decode: %v", s.name, err))
			}
			mustDecode(s.values, s.name, val, &v)
			return yield(key, v)
		})
	}
}

// Len returns the number of entries under the current key.
func (s *Map[K, V]) Len() int { return s.table.LenSub(s.k.ns, s.k.key) }

// Clear removes all entries under the current key.
func (s *Map[K, V]) Clear() { s.table.ClearSub(s.k.ns, s.k.key) }
