package pebblestate

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// Puts that do not look whether a key is there leave the number of keys open.
// It is settled here, by reading, when somebody asks; a table that is asked
// for a length looks before each put from then on, so that it is not counted
// again and again.

// LenNamespace implements state.Table.
func (t *table) LenNamespace(ns int64) int {
	n := t.lookup(ns)
	if n == nil {
		return 0
	}
	t.countKeys(n)
	return max(n.keys, 0)
}

// Len implements state.Table and state.SubTable.
func (t *table) Len() int {
	if t.maybe > 0 {
		for _, n := range t.spaces {
			t.countKeys(n)
		}
	}
	return max(t.count, 0)
}

// LenAbout implements state.Estimator: of what is not known the files say how
// many entries they hold, with old values of a key counted, and other tables
// in the same file.
func (t *table) LenAbout() int {
	if t.maybe == 0 {
		return t.count
	}
	from := appendTable(nil, t.id)
	levels, err := t.b.db.SSTables(pebble.WithProperties(), pebble.WithKeyRangeFilter(from, appendAfter(nil, from)))
	if err != nil {
		t.b.fail("read", err)
		return max(t.count, 0)
	}
	n := 0
	for _, level := range levels {
		for i := range level {
			p := level[i].Properties
			n += int(p.NumEntries) - 2*int(p.NumDeletions)
		}
	}
	return min(max(n, t.count, 0), t.count+t.maybe)
}

// countKeys counts the keys of a namespace if their number is open.
func (t *table) countKeys(n *namespace) {
	if n.maybe == 0 {
		return
	}
	t.flush()
	t.exact = t.b.store.cfg.blindAbove == 0
	count := 0
	from := appendNamespace(nil, t.id, n.ns)
	t.b.scan(from, appendAfter(nil, from), func(*pebble.Iterator) (bool, error) {
		count++
		return true, nil
	})
	if t.b.disk.failed.Load() == nil {
		t.found(n, count)
	}
}

// found books that the database, which was told of all, has so many keys of a
// namespace.
func (t *table) found(n *namespace, count int) {
	t.count += count - n.keys
	t.certain(n)
	t.addKeys(n, count-n.keys)
	n.stored = count
	t.forget(n)
}

// certain says that the number of keys of a namespace is no more open.
func (t *table) certain(n *namespace) {
	t.maybe -= n.maybe
	n.maybe = 0
}

// doubt remembers a namespace that may have lost its last key, and settles
// the matter when it certainly has.
func (t *table) doubt(n *namespace) {
	switch {
	case n.empty():
		t.count -= n.keys
		n.keys = 0
		t.certain(n)
	case n.keys <= 0 && !n.doubted:
		n.doubted = true
		t.doubted = append(t.doubted, n)
	}
}

// askDoubted asks the database whether the doubted namespaces have a key. One
// that has none is forgotten.
func (t *table) askDoubted() {
	if len(t.doubted) == 0 {
		return
	}
	t.flush()
	doubted := t.doubted
	t.doubted = nil
	for _, n := range doubted {
		n.doubted = false
		if n.keys > 0 || n.empty() || t.b.disk.failed.Load() != nil {
			continue
		}
		if t.holdsKey(n) {
			t.atLeastOne(n)
		} else {
			t.found(n, 0)
		}
	}
}

// holdsKey says whether the database has a key of a namespace.
func (t *table) holdsKey(n *namespace) (ok bool) {
	from := appendNamespace(nil, t.id, n.ns)
	t.b.scan(from, appendAfter(nil, from), func(it *pebble.Iterator) (bool, error) {
		ok = bytes.HasPrefix(it.Key(), from)
		return false, nil
	})
	return ok
}

// atLeastOne raises the least number of keys to one.
func (t *table) atLeastOne(n *namespace) {
	by := 1 - n.keys
	t.count += by
	n.maybe -= by
	t.maybe -= by
	t.addKeys(n, by)
}
