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
	row     []byte
	ahead   []Prefetcher // the tables of values

	// For state with a TTL.
	timed     bool
	reading   bool
	now       int64 // processing time
	watermark int64
	rowTime   int64
	expiries  []*expiry
	swept     int64   // processing time of the last sweep by time
	marks     []int64 // watermarks of the key groups, from the first; nil: not needed
	mostMark  int64   // of marks
	savedMark int64   // the watermark that marks were last raised to
}

// NewKeyed returns a Keyed with an empty key and namespace 0. Handles with a
// TTL want Advance to be called first.
func NewKeyed(b Backend) *Keyed {
	return &Keyed{backend: b, key: KeyOf(nil), watermark: dataflow.TimeMin, rowTime: dataflow.TimeNone, mostMark: dataflow.TimeMin, savedMark: dataflow.TimeMin}
}

// KeyOf hashes an encoded key, which stays the caller's.
func KeyOf(encoded []byte) Key { return Key{Bytes: encoded, Hash: codec.HashKey(encoded)} }

// Group returns the key group of k.
func (k Key) Group(maxParallelism int) dataflow.KeyGroup {
	return dataflow.KeyGroupOf(k.Hash, maxParallelism)
}

// SetKey sets the key that handles refer to. Its bytes are borrowed until the
// next SetKey.
func (k *Keyed) SetKey(key Key) { k.key = key }

// Prefetch says that the keys, some hundreds at most, become the current one
// soon. Their bytes are borrowed during the call.
func (k *Keyed) Prefetch(keys []Key) {
	for _, t := range k.ahead {
		t.Prefetch(k.ns, keys)
	}
}

// Key returns the current key.
func (k *Keyed) Key() Key { return k.key }

// SetRowTime sets the event time of the row or timer in work, TimeNone when
// it has none.
func (k *Keyed) SetRowTime(t int64) { k.rowTime = t }

// SetNamespace sets the namespace that handles refer to.
func (k *Keyed) SetNamespace(ns int64) { k.ns = ns }

// Namespace returns the current namespace.
func (k *Keyed) Namespace() int64 { return k.ns }

// Backend returns where the state lies.
func (k *Keyed) Backend() Backend { return k.backend }

// cell is one typed value under the current key: what Value, Reducing and
// Aggregating share.
type cell[T any] struct {
	k     *Keyed
	name  string
	codec *codec.Codec[T]
	table Table
	over  Overwriter // the table, if it is one and values are of a fixed size
	fixed int        // size of the value's form, without a stamp
	ttl   *expiry    // nil: none
	def   []byte     // form of the default, nil: none
}

func newCell[T any](k *Keyed, kind, name string, opts []Option) (cell[T], error) {
	c, err := makeCell[T](k, kind, name, opts)
	if err != nil {
		return c, named(name, err)
	}
	return c, nil
}

func makeCell[T any](k *Keyed, kind, name string, opts []Option) (cell[T], error) {
	c := cell[T]{k: k, name: name}
	o, err := optionsOf(opts)
	if err != nil {
		return c, err
	}
	if c.codec, err = codec.Of[T](); err != nil {
		return c, err
	}
	if c.def, err = defaultOf(o, c.codec.Append); err != nil {
		return c, err
	}
	c.fixed = c.codec.Fixed()
	d := Descriptor{Name: name, Schema: schemaOf(kind, o.ttl, c.codec.Schema()).String(), Fixed: c.fixed}
	if o.ttl != nil && c.fixed > 0 {
		d.Fixed += stampBytes
	}
	if c.table, err = openTable(k.backend, d, migrateRows(c.codec), k.now); err != nil {
		return c, err
	}
	if c.fixed > 0 {
		c.over, _ = c.table.(Overwriter)
	}
	if p, ok := c.table.(Prefetcher); ok {
		k.ahead = append(k.ahead, p)
	}
	if o.ttl == nil {
		return c, nil
	}
	c.ttl, err = newExpiry(k, c.table, *o.ttl, oneStamp)
	return c, err
}

// mustBeOpen panics when no Open has succeeded; kind is the handle's type.
func (c *cell[T]) mustBeOpen(kind string) {
	if c.table == nil {
		notOpen(kind)
	}
}

// read makes v what Get returns.
func (c *cell[T]) read(v *T) bool {
	ok := c.get(v)
	if !ok && c.def != nil {
		mustDecode(c.codec, c.name, c.def, v)
	}
	return ok
}

func (c *cell[T]) get(v *T) bool {
	if c.ttl != nil {
		return c.getStamped(v)
	}
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
	if c.ttl != nil {
		c.setStamped(v)
		return
	}
	if c.fixed > 0 {
		c.codec.FixedStore(c.whole(), v)
		return
	}
	c.k.buf = c.codec.Append(c.k.buf[:0], v)
	c.table.Put(c.k.ns, c.k.key, c.k.buf)
}

// whole returns the bytes of a value of a fixed size, to be written whole.
func (c *cell[T]) whole() []byte {
	if c.over != nil {
		return c.over.Overwrite(c.k.ns, c.k.key)
	}
	b, _ := c.table.Upsert(c.k.ns, c.k.key)
	return b
}

func (c *cell[T]) getStamped(v *T) bool {
	b, ok := c.table.Get(c.k.ns, c.k.key)
	if !ok {
		return false
	}
	old := c.ttl.expired(stampOf(b))
	if old && !c.ttl.show {
		if !c.k.reading {
			c.clear()
		}
		return false
	}
	c.load(b[stampBytes:], v)
	if now := c.ttl.stamp(); c.ttl.refresh && !old && stampOf(b) < now {
		if c.fixed > 0 {
			b, _ = c.table.Upsert(c.k.ns, c.k.key)
			putStamp(b, now)
			return true
		}
		c.k.buf = append(appendStamp(c.k.buf[:0], now), b[stampBytes:]...)
		c.table.Put(c.k.ns, c.k.key, c.k.buf)
	}
	return true
}

func (c *cell[T]) setStamped(v *T) {
	if c.fixed > 0 {
		b := c.whole()
		putStamp(b, c.ttl.stamp())
		c.codec.FixedStore(b[stampBytes:], v)
		return
	}
	c.k.buf = c.codec.Append(appendStamp(c.k.buf[:0], c.ttl.stamp()), v)
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
