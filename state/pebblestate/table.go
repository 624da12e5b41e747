package pebblestate

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// table implements state.Table, and state.SubTable when its descriptor says so.
type table struct {
	b     *Backend
	d     state.Descriptor
	id    uint16
	cache *cache

	spaces  map[int64]*namespace
	last    *namespace // of the last call, which is most often that of the next
	count   int        // values, over all namespaces, as keys counts them
	maybe   int        // over all namespaces
	exact   bool       // somebody asks for lengths: look before each put
	wanted  bool       // a value was read since the last Prefetch
	doubted []*namespace
	missing []int32 // of fetch
	order   []int64 // namespaces that hold a key, ascending; nil: to be made again
	scans   int     // under way: nothing is evicted meanwhile

	swept      []byte // where the sweep under way goes on; empty: at the start
	onSnapshot func() state.Trim
}

// namespace is what is known of a namespace without reading. The table
// forgets one that holds no key, in the cache or in the database.
//
// Puts that do not look leave open whether a key came: the number of keys is
// at least keys, which may be below zero, and at most keys+maybe. Without such
// puts both numbers, keys and stored, are exact.
type namespace struct {
	ns      int64
	keys    int // with a value
	maybe   int // by how many keys may fall short
	subs    int // entries of the maps under them
	stored  int // keys in the database, heads among them, at most
	first   int32
	cached  int
	doubted bool // in table.doubted
}

// empty says that there is certainly no key.
func (n *namespace) empty() bool { return n.keys+n.maybe <= 0 }

var (
	_ state.Table         = (*table)(nil)
	_ state.SubTable      = (*table)(nil)
	_ state.BatchUpserter = (*table)(nil)
	_ state.Appender      = (*table)(nil)
	_ state.Prefetcher    = (*table)(nil)
	_ state.Overwriter    = (*table)(nil)
	_ state.Estimator     = (*table)(nil)
)

func newTable(b *Backend, d state.Descriptor, id uint16) *table {
	return &table{b: b, d: d, id: id, cache: newCache(b.tableCache, &b.cached), spaces: map[int64]*namespace{}}
}

func (t *table) lookup(ns int64) *namespace {
	if t.last != nil && t.last.ns == ns {
		return t.last
	}
	n := t.spaces[ns]
	if n != nil {
		t.last = n
	}
	return n
}

func (t *table) obtain(ns int64) *namespace {
	n := t.lookup(ns)
	if n == nil {
		n = &namespace{ns: ns, first: none}
		t.spaces[ns] = n
		t.last = n
	}
	return n
}

// addKeys books keys that came or went.
func (t *table) addKeys(n *namespace, by int) {
	if (n.keys > 0) != (n.keys+by > 0) {
		t.order = nil
	}
	n.keys += by
	if n.maybe > 0 {
		t.doubt(n)
	}
}

// forget gives up a namespace that holds nothing. Its cached entries are
// absent, and the database has none.
func (t *table) forget(n *namespace) {
	if !n.empty() || n.stored > 0 {
		return
	}
	t.certain(n)
	for n.first != none {
		t.cache.remove(n.first)
	}
	delete(t.spaces, n.ns)
	if t.last == n {
		t.last = nil
	}
}

// require panics when a method is used on a table of another kind: that is a
// mistake in the operator, not a matter of data.
func (t *table) require(ok bool, method string) {
	if !ok {
		panic(fmt.Sprintf("pebblestate: %s on table %q, which has fixed=%d sub=%t", method, t.d.Name, t.d.Fixed, t.d.Sub))
	}
}

// limit panics with a *state.LimitError on a key or value that no entry can
// hold.
func limit(key, val int) {
	switch {
	case key >= state.KeyBytesMax:
		panic(&state.LimitError{Entry: int64(key), Limit: state.KeyBytesMax})
	case val >= state.EntryBytesMax:
		panic(&state.LimitError{Entry: int64(val), Limit: state.EntryBytesMax})
	}
}

const (
	mix1 = 0x9e3779b97f4a7c15
	mix2 = 0xbf58476d1ce4e5b9
)

// hashOf spreads an entry over the buckets; the key's hash alone would put a
// key of many namespaces into one.
func hashOf(keyHash uint64, ns int64, k kind) uint64 {
	h := keyHash ^ (uint64(ns)+uint64(k))*mix1
	return (h ^ h>>32) * mix2
}

// access returns the slot of an entry, read from the database when the cache
// does not have it; its value only when withValue is set. It evicts nothing.
func (t *table) access(n *namespace, hash uint64, k kind, key state.Key, sub []byte, withValue bool) int32 {
	i := t.cache.find(n, hash, k, key.Bytes, sub)
	if i != none {
		return i
	}
	i, e := t.cache.add(n, hash, k, key.Bytes, sub)
	e.group = dataflow.KeyGroupOf(key.Hash, t.b.maxParallelism)
	if n.stored > 0 {
		t.b.load(t, e, withValue)
	}
	return i
}

// blindMin is the number of keys in the database above which a put does not
// look: the few blocks of fewer are at hand. It also makes what counts and
// seeks for want of a look rare beside the puts.
const blindMin = 1024

// overwritten returns the slot of an entry that gets a new value, whatever it
// has. In a namespace that holds much of the database the database is not
// asked: the new value hides the old one there, and whether the key is new is
// left open until somebody wants to know.
func (t *table) overwritten(n *namespace, k state.Key) int32 {
	if t.exact || n.stored < t.b.blindMin || n.keys <= 0 {
		return t.value(n, k, false)
	}
	hash := hashOf(k.Hash, n.ns, kindValue)
	i := t.cache.find(n, hash, kindValue, k.Bytes, nil)
	if i != none {
		return i
	}
	i, e := t.cache.add(n, hash, kindValue, k.Bytes, nil)
	e.group = dataflow.KeyGroupOf(k.Hash, t.b.maxParallelism)
	e.there, e.stored, e.unsure = true, true, true
	n.maybe++
	t.maybe++
	return i
}

// value is access for a table without subkeys.
func (t *table) value(n *namespace, k state.Key, withValue bool) int32 {
	return t.access(n, hashOf(k.Hash, n.ns, kindValue), kindValue, k, nil, withValue)
}

// settle evicts what is above the limit. It comes first in a method that
// returns a value, which must stay, and last in one that takes a value, which
// may be of the cache.
func (t *table) settle() {
	if t.cache.bytes > t.cache.max && t.scans == 0 {
		t.evict()
	}
}

func (t *table) evict() {
	for t.cache.bytes > t.cache.max && t.cache.used > 0 {
		i := t.cache.victim()
		if t.cache.entries[i].dirty {
			t.flush()
			if !t.cache.entries[i].live { // its namespace was forgotten
				continue
			}
		}
		t.cache.remove(i)
	}
}

// Get implements state.Table.
func (t *table) Get(ns int64, k state.Key) ([]byte, bool) {
	t.settle()
	t.wanted = true
	n := t.lookup(ns)
	if n == nil || n.empty() {
		return nil, false
	}
	if t.d.Sub {
		return nil, t.cache.entries[t.head(n, k)].there
	}
	e := &t.cache.entries[t.value(n, k, true)]
	if !e.there {
		return nil, false
	}
	return e.val[:len(e.val):len(e.val)], true
}

// Put implements state.Table.
func (t *table) Put(ns int64, k state.Key, val []byte) {
	t.require(!t.d.Sub, "Put")
	t.require(t.d.Fixed == 0 || len(val) == t.d.Fixed, fmt.Sprintf("Put of %d bytes", len(val)))
	limit(len(k.Bytes), len(val))
	n := t.obtain(ns)
	i := t.overwritten(n, k)
	t.cache.setValue(&t.cache.entries[i], val)
	t.written(n, i)
	t.settle()
}

// Overwrite implements state.Overwriter.
func (t *table) Overwrite(ns int64, k state.Key) []byte {
	t.require(t.d.Fixed > 0, "Overwrite")
	limit(len(k.Bytes), 0)
	t.settle()
	n := t.obtain(ns)
	i := t.overwritten(n, k)
	e := &t.cache.entries[i]
	if len(e.val) != t.d.Fixed {
		t.cache.setValue(e, t.b.zeros(t.d.Fixed))
	}
	t.written(n, i)
	return e.val[:t.d.Fixed:t.d.Fixed]
}

// written books that an entry of a table without subkeys has a value now, and
// reports whether it had none before.
func (t *table) written(n *namespace, i int32) (created bool) {
	e := &t.cache.entries[i]
	if created = !e.there; created {
		e.there = true
		t.addKeys(n, 1)
		t.count++
	}
	t.cache.mark(i)
	return created
}

// Append implements state.Appender.
func (t *table) Append(ns int64, k state.Key, val []byte) {
	t.require(!t.d.Sub && t.d.Fixed == 0, "Append")
	t.wanted = true
	n := t.obtain(ns)
	i := t.value(n, k, true)
	e := &t.cache.entries[i]
	if !e.there {
		e.val = e.val[:0]
	}
	limit(len(k.Bytes), len(e.val)+len(val))
	t.cache.appendValue(e, val)
	t.written(n, i)
	t.settle()
}

// Delete implements state.Table.
func (t *table) Delete(ns int64, k state.Key) {
	if t.d.Sub {
		t.ClearSub(ns, k)
		return
	}
	n := t.lookup(ns)
	if n == nil || n.empty() {
		return
	}
	i := t.value(n, k, false)
	if t.cache.entries[i].there {
		t.absent(i)
		t.addKeys(n, -1)
		t.count--
		t.forget(n)
	}
	t.settle()
}

// absent makes an entry one of an absent key. The database is told only if it
// has the key.
func (t *table) absent(i int32) {
	e := &t.cache.entries[i]
	e.there = false
	e.val = e.val[:0]
	if e.stored {
		t.cache.mark(i)
	} else {
		e.dirty = false
	}
}

// Upsert implements state.Table. The value is written to the database by a
// later call, which ends the caller's right to change it.
func (t *table) Upsert(ns int64, k state.Key) ([]byte, bool) {
	t.require(t.d.Fixed > 0, "Upsert")
	t.settle()
	t.wanted = true
	return t.upsert(t.obtain(ns), k)
}

func (t *table) upsert(n *namespace, k state.Key) ([]byte, bool) {
	i := t.value(n, k, true)
	e := &t.cache.entries[i]
	if !e.there {
		limit(len(k.Bytes), 0)
		t.cache.setValue(e, t.b.zeros(t.d.Fixed))
	}
	created := t.written(n, i)
	return e.val[:t.d.Fixed:t.d.Fixed], created
}

// UpsertBatch implements state.BatchUpserter. The cache grows by what the
// batch needs and is brought back by the next call.
func (t *table) UpsertBatch(ns int64, keys []state.Key, vals [][]byte, created []bool) {
	t.require(t.d.Fixed > 0, "UpsertBatch")
	if len(keys) == 0 {
		return
	}
	t.settle()
	n := t.obtain(ns)
	t.fetch(n, keys)
	for i := range keys {
		v, isNew := t.upsert(n, keys[i])
		vals[i] = v
		if created != nil {
			created[i] = isNew
		}
	}
}

// Prefetch implements state.Prefetcher. It reads nothing ahead of a batch
// when nothing was read in the one before: a program that only writes is
// spared what it does not ask for.
func (t *table) Prefetch(ns int64, keys []state.Key) {
	n := t.lookup(ns)
	if n == nil || t.d.Sub || !t.wanted {
		return
	}
	t.wanted = false
	t.fetch(n, keys)
}

// fetch reads what the cache does not have of some keys, in the order in which
// they lie in the database: neighbours share files and blocks.
func (t *table) fetch(n *namespace, keys []state.Key) {
	if n.stored == 0 {
		return
	}
	missing := t.missing[:0]
	for _, k := range keys {
		hash := hashOf(k.Hash, n.ns, kindValue)
		if t.cache.find(n, hash, kindValue, k.Bytes, nil) != none {
			continue
		}
		i, e := t.cache.add(n, hash, kindValue, k.Bytes, nil)
		e.group = dataflow.KeyGroupOf(k.Hash, t.b.maxParallelism)
		missing = append(missing, i)
	}
	slices.SortFunc(missing, func(i, j int32) int {
		a, b := &t.cache.entries[i], &t.cache.entries[j]
		return cmp.Or(cmp.Compare(a.group, b.group), bytes.Compare(a.name, b.name))
	})
	for _, i := range missing {
		t.b.load(t, &t.cache.entries[i], true)
	}
	t.missing = missing
}

// Namespaces implements state.Table.
func (t *table) Namespaces() []int64 {
	t.askDoubted()
	if t.order == nil {
		t.order = make([]int64, 0, len(t.spaces))
		for ns, n := range maps.All(t.spaces) {
			if n.keys > 0 {
				t.order = append(t.order, ns)
			}
		}
		slices.Sort(t.order)
	}
	return t.order[:len(t.order):len(t.order)]
}

// DropNamespace implements state.Table.
func (t *table) DropNamespace(ns int64) {
	n := t.lookup(ns)
	if n == nil {
		return
	}
	t.count -= n.keys
	if t.d.Sub {
		t.count += n.keys - n.subs // heads are no values
	}
	t.certain(n)
	for n.first != none {
		t.cache.remove(n.first)
	}
	if n.stored > 0 {
		t.b.noteDrop(t.id, ns)
		from := appendNamespace(nil, t.id, ns)
		t.b.deleteRange(from, appendAfter(nil, from), n.stored)
	}
	t.addKeys(n, -n.keys)
	n.subs, n.stored = 0, 0
	t.forget(n)
}
