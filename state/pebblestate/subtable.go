package pebblestate

import (
	"encoding/binary"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// In a table with subkeys each (key, subkey) is an entry of its own, and so
// is the head, which counts the entries under a key. So LenSub is one read,
// and the keys of a namespace can be counted and visited.

// countBytes is the size of a head's value: the number of entries, uint64.
const countBytes = 8

// head returns the slot of a key's head.
func (t *table) head(n *namespace, k state.Key) int32 {
	return t.access(n, hashOf(k.Hash, n.ns, kindHead), kindHead, k, nil, true)
}

// sub returns the slot of an entry under a key.
func (t *table) sub(n *namespace, k state.Key, sub []byte, withValue bool) int32 {
	return t.access(n, subHash(n, k, sub), kindSub, k, sub, withValue)
}

func subHash(n *namespace, k state.Key, sub []byte) uint64 {
	return hashOf(k.Hash*mix1^codec.HashKey(sub), n.ns, kindSub)
}

func (t *table) headCount(i int32) int {
	e := &t.cache.entries[i]
	if !e.there || len(e.val) != countBytes {
		return 0
	}
	return int(binary.LittleEndian.Uint64(e.val))
}

// setHeadCount changes the number of entries under a key, and with it whether
// the key is there at all.
func (t *table) setHeadCount(n *namespace, i int32, count int) {
	e := &t.cache.entries[i]
	switch {
	case count == 0 && e.there:
		t.addKeys(n, -1)
		t.absent(i)
		return
	case count == 0:
		return
	case !e.there:
		e.there = true
		t.addKeys(n, 1)
	}
	var b [countBytes]byte
	binary.LittleEndian.PutUint64(b[:], uint64(count))
	t.cache.setValue(e, b[:])
	t.cache.mark(i)
}

// addSubs books entries that came or went under a key whose head is at i.
func (t *table) addSubs(n *namespace, i int32, by int) {
	t.setHeadCount(n, i, t.headCount(i)+by)
	n.subs += by
	t.count += by
}

// GetSub implements state.SubTable.
func (t *table) GetSub(ns int64, k state.Key, sub []byte) ([]byte, bool) {
	t.require(t.d.Sub, "GetSub")
	t.settle()
	n := t.lookup(ns)
	if n == nil || n.empty() {
		return nil, false
	}
	e := &t.cache.entries[t.sub(n, k, sub, true)]
	if !e.there {
		return nil, false
	}
	return e.val[:len(e.val):len(e.val)], true
}

// PutSub implements state.SubTable.
func (t *table) PutSub(ns int64, k state.Key, sub, val []byte) {
	t.require(t.d.Sub, "PutSub")
	limit(len(k.Bytes)+len(sub), len(val))
	n := t.obtain(ns)
	i := t.sub(n, k, sub, false)
	e := &t.cache.entries[i]
	t.cache.setValue(e, val)
	if !e.there {
		e.there = true
		t.addSubs(n, t.head(n, k), 1)
	}
	t.cache.mark(i)
	t.settle()
}

// DeleteSub implements state.SubTable.
func (t *table) DeleteSub(ns int64, k state.Key, sub []byte) {
	t.require(t.d.Sub, "DeleteSub")
	n := t.lookup(ns)
	if n == nil || n.empty() {
		return
	}
	if i := t.sub(n, k, sub, false); t.cache.entries[i].there {
		t.absent(i)
		t.addSubs(n, t.head(n, k), -1)
		t.forget(n)
	}
	t.settle()
}

// LenSub implements state.SubTable.
func (t *table) LenSub(ns int64, k state.Key) int {
	t.require(t.d.Sub, "LenSub")
	t.settle()
	n := t.lookup(ns)
	if n == nil || n.empty() {
		return 0
	}
	return t.headCount(t.head(n, k))
}

// clearOneByOneMax is the size up to which a map is cleared entry by entry.
// Above, a tombstone of the range is cheaper, for writer and readers.
const clearOneByOneMax = 256

// ClearSub implements state.SubTable.
func (t *table) ClearSub(ns int64, k state.Key) {
	t.require(t.d.Sub, "ClearSub")
	n := t.lookup(ns)
	if n == nil || n.empty() {
		return
	}
	head := t.head(n, k)
	count := t.headCount(head)
	if count == 0 {
		return
	}
	if t.cache.entries[head].stored { // else no snapshot has it
		t.b.note(t.dbKey(&t.cache.entries[head]))
	}
	switch {
	case count > clearOneByOneMax:
		t.clearRange(n, k, count)
	default:
		t.clearOneByOne(n, k)
	}
	t.addSubs(n, t.head(n, k), -count)
	t.forget(n)
	t.settle()
}

func (t *table) clearOneByOne(n *namespace, k state.Key) {
	var subs [][]byte
	t.scanSub(n, k, func(sub, _ []byte) bool {
		subs = append(subs, append([]byte{}, sub...))
		return true
	})
	for _, sub := range subs {
		i := t.sub(n, k, sub, false)
		t.absent(i)
		t.cache.entries[i].noted = true // with its key
	}
}

// clearRange drops the cached entries of a key, of which the database has
// been told, and then all of its range.
func (t *table) clearRange(n *namespace, k state.Key, count int) {
	t.flush()
	for i := n.first; i != none; {
		e := &t.cache.entries[i]
		next := e.nsNext
		if e.kind == kindSub && string(e.name[:e.key]) == string(k.Bytes) {
			t.cache.remove(i)
		}
		i = next
	}
	from, to := t.subRange(n.ns, k)
	t.b.deleteRange(from, to, count)
	n.stored -= count
}
