package pebblestate

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/leatstream/leat/state"
)

// Scans visit entries in the order of the database's keys, whether they come
// from the cache or from the database: the order must not change when the
// cache is written back between two of them.

// Up to so many cached entries of a namespace a scan goes over all of them
// when the database has none: a scan of the namespace, and one of a key.
const (
	scanCachedMax    = 1 << 12
	scanSubCachedMax = 1 << 8
)

// Scan implements state.Table.
func (t *table) Scan(ns int64, fn func(key, val []byte) bool) {
	t.settle()
	n := t.lookup(ns)
	if n == nil || n.empty() {
		return
	}
	if n.stored == 0 && n.cached <= scanCachedMax {
		t.scanCached(n, func(e *entry) bool { return e.kind != kindSub }, func(e *entry) bool {
			if e.kind == kindHead {
				return fn(e.name, nil)
			}
			return fn(e.name, e.val)
		})
		return
	}
	t.flush()
	if t.d.Sub {
		t.scanHeads(n, fn)
		return
	}
	from := appendNamespace(nil, t.id, ns)
	t.b.scan(from, appendAfter(nil, from), func(it *pebble.Iterator) (bool, error) {
		_, key, err := parsePrefix(it.Key())
		if err != nil {
			return false, err
		}
		val, err := valueAt(it)
		return err == nil && fn(key, val), err
	})
}

// scanHeads visits the keys of a table with subkeys. From a head it seeks to
// behind its entries.
func (t *table) scanHeads(n *namespace, fn func(key, val []byte) bool) {
	from := appendNamespace(nil, t.id, n.ns)
	var key, behind []byte
	t.b.scan(from, appendAfter(nil, from), func(it *pebble.Iterator) (bool, error) {
		_, rest, err := parsePrefix(it.Key())
		if err != nil {
			return false, err
		}
		var sub []byte
		if key, sub, err = parseHead(key[:0], rest); err != nil {
			return false, err
		}
		if len(sub) > 0 { // the seek came too early by one: never
			return false, errKey
		}
		behind = appendAfter(behind[:0], it.Key())
		if !fn(key, nil) {
			return false, nil
		}
		it.SeekGE(behind)
		return true, errSought
	})
}

// scanCached visits entries of a namespace that lies in the cache alone. What
// fn reads of the table must evict none of them.
func (t *table) scanCached(n *namespace, want, fn func(*entry) bool) {
	t.scans++
	defer func() { t.scans-- }()
	found := make([]int32, 0, n.cached)
	for i := n.first; i != none; i = t.cache.entries[i].nsNext {
		if e := &t.cache.entries[i]; e.there && want(e) {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(i, j int32) int { return compareEntries(&t.cache.entries[i], &t.cache.entries[j]) })
	for _, i := range found {
		if !fn(&t.cache.entries[i]) {
			return
		}
	}
}

// compareEntries orders entries of one namespace and one kind as the database
// does.
func compareEntries(a, b *entry) int {
	if a.group != b.group {
		return int(a.group) - int(b.group)
	}
	if c := bytes.Compare(a.name[:a.key], b.name[:b.key]); c != 0 {
		return c
	}
	return bytes.Compare(a.name[a.key:], b.name[b.key:])
}

// ScanSub implements state.SubTable, in order of subkey.
func (t *table) ScanSub(ns int64, k state.Key, fn func(sub, val []byte) bool) {
	t.require(t.d.Sub, "ScanSub")
	t.settle()
	if n := t.lookup(ns); n != nil && !n.empty() {
		t.scanSub(n, k, fn)
	}
}

func (t *table) scanSub(n *namespace, k state.Key, fn func(sub, val []byte) bool) {
	if n.stored == 0 && n.cached <= scanSubCachedMax {
		t.scanCached(n, func(e *entry) bool {
			return e.kind == kindSub && bytes.Equal(e.name[:e.key], k.Bytes)
		}, func(e *entry) bool { return fn(e.name[e.key:], e.val) })
		return
	}
	t.flush()
	from, to := t.subRange(n.ns, k)
	t.b.scan(from, to, func(it *pebble.Iterator) (bool, error) {
		val, err := valueAt(it)
		return err == nil && fn(it.Key()[len(from):], val), err
	})
}

// subRange is the range of the entries under a key; its first bytes precede
// each subkey.
func (t *table) subRange(ns int64, k state.Key) (from, to []byte) {
	from = append(appendHead(nil, t.id, ns, k.Group(t.b.maxParallelism), k.Bytes), subMark)
	return from, appendAfter(nil, from)
}
