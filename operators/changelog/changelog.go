// Package changelog holds the operators on tables: a table is what the
// changes of its rows, in order, make of it. There are operators that make
// one of the latest row of each key, map and filter it, join two, join by a
// foreign key, and aggregate by another key. It knows nothing of event time
// but to pass it on, and of streams that are no changes only how they become
// a table.
//
// Every operator keeps three promises, and relies on its input for them. The
// changes of one key come in order. Before is the value that the change
// before of the same key left. A change that leaves the row as it was, by its
// encoding, is not emitted.
package changelog

import (
	"bytes"
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Op says what a change does to the row of its key.
type Op uint8

// The kinds of a change.
const (
	Insert Op = iota
	Update
	Delete
)

// String returns the kind in words.
func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// Change is a change of one row of a table.
type Change[K comparable, V any] struct {
	// Op is Insert, Update or Delete.
	Op Op
	// Key is the key of the row.
	Key K
	// Value is the row from now on; the zero V after a Delete.
	Value V
	// Before is the row that was; the zero V at an Insert.
	Before V
}

// Deleted reports whether the row is gone: what Kafka calls a tombstone.
func (c Change[K, V]) Deleted() bool { return c.Op == Delete }

// String implements fmt.Stringer: the change in words.
func (c Change[K, V]) String() string {
	switch c.Op {
	case Delete:
		return fmt.Sprintf("delete %v: %v", c.Key, c.Before)
	case Update:
		return fmt.Sprintf("update %v: %v to %v", c.Key, c.Before, c.Value)
	}
	return fmt.Sprintf("insert %v: %v", c.Key, c.Value)
}

// KeyOf returns the key of a change.
func KeyOf[K comparable, V any](c Change[K, V]) K { return c.Key }

// Keys says how the keys of rows T are found and encoded.
type Keys[K comparable, T any] struct {
	Of     func(T) K
	Hasher columnar.KeyHasher // of the keys of a batch of T
	Codec  *codec.Codec[K]
}

// keys sets the key of a row as the current one of the state.
type keys[K comparable, T any] struct {
	Keys[K, T]
	keyed  *state.Keyed
	hashes []uint64
	enc    []byte
}

func newKeys[K comparable, T any](k Keys[K, T], keyed *state.Keyed) keys[K, T] {
	return keys[K, T]{Keys: k, keyed: keyed}
}

func (k *keys[K, T]) begin(rows []T) { k.hashes = k.Hasher.HashRows(k.hashes[:0], rows) }

func (k *keys[K, T]) set(i int, row T) K {
	key := k.Of(row)
	k.enc = k.Codec.AppendKey(k.enc[:0], &key)
	k.keyed.SetKey(state.Key{Bytes: k.enc, Hash: k.hashes[i]})
	return key
}

// optional is a row that may be missing.
type optional[V any] struct {
	v  V
	ok bool
}

func some[V any](v V) optional[V] { return optional[V]{v, true} }

// now is the row that a change leaves.
func now[K comparable, V any](c *Change[K, V]) optional[V] {
	return optional[V]{c.Value, c.Op != Delete}
}

// before is the row that a change found.
func before[K comparable, V any](c *Change[K, V]) optional[V] {
	return optional[V]{c.Before, c.Op != Insert}
}

// sink emits the changes of a table.
type sink[K comparable, V any] struct {
	operators.Collector[Change[K, V]]
	same same[V]
}

// change emits what makes was into is, unless it is nothing.
func (s *sink[K, V]) change(key K, was, is optional[V], t int64) {
	c := Change[K, V]{Key: key, Value: is.v, Before: was.v}
	switch {
	case is.ok && was.ok:
		if s.same.as(&was.v, &is.v) {
			return
		}
		c.Op = Update
	case was.ok:
		c.Op = Delete
	case !is.ok:
		return
	}
	s.Add(c, t)
}

// same compares rows by their encoding.
type same[V any] struct {
	codec *codec.Codec[V]
	a, b  []byte
}

func (s *same[V]) as(a, b *V) bool {
	s.a, s.b = s.codec.Append(s.a[:0], a), s.codec.Append(s.b[:0], b)
	return bytes.Equal(s.a, s.b)
}

// cell keeps the row of the current key.
type cell[V any] struct {
	value *state.Value[V]
	same  same[V]
}

func openCell[V any](k *state.Keyed, name string, c *codec.Codec[V]) (cell[V], error) {
	v, err := state.NewValue[V](k, name)
	return cell[V]{value: v, same: same[V]{codec: c}}, err
}

func (c *cell[V]) get() optional[V] {
	v, ok := c.value.Get()
	return optional[V]{v, ok}
}

// put makes is the row; it returns the row that was, and whether they differ.
func (c *cell[V]) put(is optional[V]) (was optional[V], changed bool) {
	was = c.get()
	switch {
	case !is.ok && !was.ok:
		return was, false
	case !is.ok:
		c.value.Clear()
		return was, true
	case was.ok && c.same.as(&was.v, &is.v):
		return was, false
	}
	c.value.Set(is.v)
	return was, true
}

// none is embedded by operators without resources of their own.
type none struct{}

// Close implements operators.Operator.
func (none) Close() error { return nil }
