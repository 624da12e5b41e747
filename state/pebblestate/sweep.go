package pebblestate

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

var (
	_ state.Sweeper  = (*table)(nil)
	_ state.Migrator = (*Backend)(nil)
)

// OnSnapshot implements state.Sweeper.
func (t *table) OnSnapshot(fn func() state.Trim) { t.onSnapshot = fn }

// Sweep implements state.Sweeper, in the order of the database's keys. A round
// begins with what the cache holds written back, so that it is seen.
func (t *table) Sweep(n int, trim state.Trim) (end bool) {
	from := appendTable(nil, t.id)
	to := appendAfter(nil, from)
	if len(t.swept) == 0 {
		t.flush()
	} else {
		from = t.swept
	}
	end = true
	w := sweep{t: t, trim: trim}
	t.b.scan(from, to, func(it *pebble.Iterator) (bool, error) {
		if n <= 0 {
			t.swept, end = append(t.swept[:0], it.Key()...), false
			return false, nil
		}
		n--
		return true, w.look(it)
	})
	if end {
		t.swept = t.swept[:0]
	}
	if w.removed > 0 {
		t.flush()
	}
	t.settle()
	return end
}

// sweep is one call's work. Entries that it changes come into the cache.
type sweep struct {
	t       *table
	trim    state.Trim
	key     []byte
	removed int
}

func (w *sweep) look(it *pebble.Iterator) error {
	t := w.t
	at, key, err := parsePrefix(it.Key())
	if err != nil {
		return err
	}
	var sub []byte
	k := kindValue
	if t.d.Sub {
		if w.key, sub, err = parseHead(w.key[:0], key); err != nil || len(sub) == 0 {
			return err
		}
		key, sub, k = w.key, sub[1:], kindSub
	}
	val, err := valueAt(it)
	if err != nil {
		return err
	}
	n := t.obtain(at.ns)
	sk := state.Key{Bytes: key, Hash: codec.HashKey(key)}
	hash := hashOf(sk.Hash, at.ns, kindValue)
	if k == kindSub {
		hash = subHash(n, sk, sub)
	}
	i := t.cache.find(n, hash, k, key, sub)
	if i != none {
		if !t.cache.entries[i].there {
			return nil
		}
		val = t.cache.entries[i].val
	}
	left, keep := w.trim(val)
	if keep && bytes.Equal(left, val) {
		return nil
	}
	if i == none {
		var e *entry
		i, e = t.cache.add(n, hash, k, key, sub)
		e.group, e.there, e.stored = at.group, true, true
	}
	if keep {
		t.require(t.d.Fixed == 0 || len(left) == t.d.Fixed, fmt.Sprintf("Sweep to %d bytes", len(left)))
		t.cache.setValue(&t.cache.entries[i], left)
		t.cache.mark(i)
		return nil
	}
	w.remove(n, sk, i)
	return nil
}

func (w *sweep) remove(n *namespace, k state.Key, i int32) {
	t := w.t
	w.removed++
	t.absent(i)
	if t.d.Sub {
		t.addSubs(n, t.head(n, k), -1)
		return
	}
	t.addKeys(n, -1)
	t.count--
}

// Restored implements state.Migrator.
func (b *Backend) Restored(name string) (state.Descriptor, bool) {
	for _, t := range b.tables {
		if t.d.Name == name && !b.opened[name] {
			return t.d, true
		}
	}
	return state.Descriptor{}, false
}

// Migrate implements state.Migrator: the entries move to a table of another
// number, and the old range is dropped.
func (b *Backend) Migrate(d state.Descriptor, rewrite state.Rewrite) error {
	for i, old := range b.tables {
		if old.d.Name != d.Name {
			continue
		}
		old.require(!b.opened[d.Name] && old.d.Sub == d.Sub, "Migrate")
		if d.Sub {
			d.Fixed = 0
		}
		now, err := b.newTable(d)
		if err != nil {
			return err
		}
		if err := now.take(old, rewrite); err != nil {
			return err
		}
		b.tables[i] = now
		b.startAnew()
		return b.Err()
	}
	return nil
}

// take moves all entries of another table, past the caches.
func (t *table) take(old *table, rewrite state.Rewrite) (err error) {
	old.flush()
	from := appendTable(nil, old.id)
	to := appendAfter(nil, from)
	var key, scratch []byte
	t.b.scan(from, to, func(it *pebble.Iterator) (bool, error) {
		var val []byte
		if val, err = valueAt(it); err != nil {
			return false, err
		}
		key = append(appendTable(key[:0], t.id), it.Key()[tableBytes:]...)
		if key, val, scratch, err = t.rewritten(key, val, scratch, rewrite); err != nil {
			return false, nil
		}
		t.b.set(key, val)
		return true, nil
	})
	t.b.apply()
	if err != nil {
		return err
	}
	count := 0
	for ns, n := range old.spaces {
		t.spaces[ns] = &namespace{ns: ns, keys: n.keys, subs: n.subs, stored: n.stored, first: none}
		count += n.stored
	}
	t.count = old.count
	old.drop()
	t.b.deleteRange(from, to, count)
	return nil
}

// rewritten returns an entry of the new table; key is that of the old entry
// under the new number.
func (t *table) rewritten(key, val, scratch []byte, rewrite state.Rewrite) (newKey, newVal, s []byte, err error) {
	if !t.d.Sub {
		_, val, err = rewrite(nil, val)
		return key, val, scratch, err
	}
	scratch, sub, err := parseHead(scratch[:0], key[prefixBytes:])
	if err != nil || len(sub) == 0 {
		return key, val, scratch, err
	}
	head := len(key) - len(sub) + 1
	sub, val, err = rewrite(append([]byte{}, sub[1:]...), val)
	return append(key[:head], sub...), val, scratch, err
}

// drop empties the cache of a table that is not used again.
func (t *table) drop() {
	for _, n := range t.spaces {
		for n.first != none {
			t.cache.remove(n.first)
		}
	}
	t.spaces, t.last = nil, nil
}
