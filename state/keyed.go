package state

import (
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
)

// Keyed is the place that typed handles read and write: a backend, the
// current key and the current namespace. An operator makes one, makes its
// handles from it in Open, and sets the key before it runs user code. It and
// its handles are used on the task's goroutine.
type Keyed struct {
	backend Backend
	key     Key
	ns      int64
	buf     []byte
}

// NewKeyed returns a Keyed with an empty key and namespace 0.
func NewKeyed(b Backend) *Keyed { return &Keyed{backend: b, key: KeyOf(nil)} }

// KeyOf hashes an encoded key, which stays the caller's.
func KeyOf(encoded []byte) Key { return Key{Bytes: encoded, Hash: codec.HashKey(encoded)} }

// Group returns the key group of k.
func (k Key) Group(maxParallelism int) dataflow.KeyGroup {
	return dataflow.KeyGroupOf(k.Hash, maxParallelism)
}

// SetKey sets the key that handles refer to. Its bytes are borrowed until the
// next SetKey.
func (k *Keyed) SetKey(key Key) { k.key = key }

// Key returns the current key.
func (k *Keyed) Key() Key { return k.key }

// SetNamespace sets the namespace that handles refer to.
func (k *Keyed) SetNamespace(ns int64) { k.ns = ns }

// Backend returns where the state lies.
func (k *Keyed) Backend() Backend { return k.backend }

// cell is one typed value under the current key: what Value, Reducing and
// Aggregating share.
type cell[T any] struct {
	k     *Keyed
	name  string
	codec *codec.Codec[T]
	table Table
	fixed int
}

// kindSchema is the schema text of a table: what the bytes mean is the kind of
// state and the type in it.
func kindSchema(kind, schema string) string { return kind + " " + schema }

func newCell[T any](k *Keyed, kind, name string) (cell[T], error) {
	c, err := codec.Of[T]()
	if err != nil {
		return cell[T]{}, fmt.Errorf("state %q: %w", name, err)
	}
	t, err := k.backend.Table(Descriptor{Name: name, Schema: kindSchema(kind, c.Schema()), Fixed: c.Fixed()})
	if err != nil {
		return cell[T]{}, err
	}
	return cell[T]{k: k, name: name, codec: c, table: t, fixed: c.Fixed()}, nil
}

func (c *cell[T]) get(v *T) bool {
	b, ok := c.table.Get(c.k.ns, c.k.key)
	if !ok {
		return false
	}
	c.load(b, v)
	return true
}

func (c *cell[T]) load(b []byte, v *T) {
	if c.fixed > 0 {
		c.codec.FixedLoad(b, v)
		return
	}
	mustDecode(c.codec, c.name, b, v)
}

func (c *cell[T]) set(v *T) {
	if c.fixed > 0 {
		b, _ := c.table.Upsert(c.k.ns, c.k.key)
		c.codec.FixedStore(b, v)
		return
	}
	c.k.buf = c.codec.Append(c.k.buf[:0], v)
	c.table.Put(c.k.ns, c.k.key, c.k.buf)
}

func (c *cell[T]) clear() { c.table.Delete(c.k.ns, c.k.key) }

// mustDecode panics on bytes that do not decode: the backend checked them
// against corruption and the schema against the type, so this is a bug.
func mustDecode[T any](c *codec.Codec[T], name string, b []byte, v *T) []byte {
	rest, err := c.Decode(b, v)
	if err != nil {
		panic(fmt.Sprintf("state %q holds bytes that do not decode: %v", name, err))
	}
	return rest
}
