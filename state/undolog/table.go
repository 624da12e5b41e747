package undolog

import "github.com/leatstream/leat/state"

// table notes the old value before a write.
type table struct {
	state.Table
	b *Backend
}

var _ state.Table = (*table)(nil)

// note logs the value under a key.
func (t *table) note(ns int64, k state.Key) {
	if !t.b.on {
		return
	}
	old, ok := t.Table.Get(ns, k)
	t.b.log = append(t.b.log, record{
		undo: undoPut, table: t.Table, ns: ns, hash: k.Hash, key: t.b.keep(k.Bytes), val: t.b.keep(old), exists: ok,
	})
}

func undoPut(r *record, b *Backend) {
	if r.exists {
		r.table.Put(r.ns, r.keyOf(b), b.bytes(r.val))
		return
	}
	r.table.Delete(r.ns, r.keyOf(b))
}

// Put implements state.Table.
func (t *table) Put(ns int64, k state.Key, val []byte) {
	t.note(ns, k)
	t.Table.Put(ns, k, val)
}

// Delete implements state.Table.
func (t *table) Delete(ns int64, k state.Key) {
	t.note(ns, k)
	t.Table.Delete(ns, k)
}

// Upsert implements state.Table.
func (t *table) Upsert(ns int64, k state.Key) (val []byte, created bool) {
	t.note(ns, k)
	return t.Table.Upsert(ns, k)
}

// DropNamespace implements state.Table.
func (t *table) DropNamespace(ns int64) {
	if t.b.on {
		t.Table.Scan(ns, func(key, val []byte) bool {
			k := state.KeyOf(key)
			t.b.log = append(t.b.log, record{
				undo: undoPut, table: t.Table, ns: ns, hash: k.Hash, key: t.b.keep(key), val: t.b.keep(val), exists: true,
			})
			return true
		})
	}
	t.Table.DropNamespace(ns)
}

// appender is a table that can append. What an append needs to be taken back
// is the length before it, so that long lists cost no more than short ones.
type appender struct {
	*table
	app state.Appender
}

// Append implements state.Appender.
func (t *appender) Append(ns int64, k state.Key, val []byte) {
	if t.b.on {
		old, ok := t.Table.Get(ns, k)
		t.b.log = append(t.b.log, record{
			undo: undoAppend, table: t.Table, ns: ns, hash: k.Hash, key: t.b.keep(k.Bytes), exists: ok, length: len(old),
		})
	}
	t.app.Append(ns, k, val)
}

func undoAppend(r *record, b *Backend) {
	if !r.exists {
		r.table.Delete(r.ns, r.keyOf(b))
		return
	}
	now, _ := r.table.Get(r.ns, r.keyOf(b))
	r.table.Put(r.ns, r.keyOf(b), append([]byte(nil), now[:r.length]...))
}

// subTable notes the old value under a subkey before a write.
type subTable struct {
	table
	sub state.SubTable
}

var (
	_ state.Table    = (*subTable)(nil)
	_ state.SubTable = (*subTable)(nil)
)

func (t *subTable) noteSub(ns int64, k state.Key, sub, old []byte, ok bool) {
	t.b.log = append(t.b.log, record{
		undo: undoSub, sub: t.sub, ns: ns, hash: k.Hash, key: t.b.keep(k.Bytes), subKey: t.b.keep(sub), val: t.b.keep(old), exists: ok,
	})
}

func undoSub(r *record, b *Backend) {
	if r.exists {
		r.sub.PutSub(r.ns, r.keyOf(b), b.bytes(r.subKey), b.bytes(r.val))
		return
	}
	r.sub.DeleteSub(r.ns, r.keyOf(b), b.bytes(r.subKey))
}

// GetSub implements state.SubTable.
func (t *subTable) GetSub(ns int64, k state.Key, sub []byte) ([]byte, bool) {
	return t.sub.GetSub(ns, k, sub)
}

// PutSub implements state.SubTable.
func (t *subTable) PutSub(ns int64, k state.Key, sub, val []byte) {
	if t.b.on {
		old, ok := t.sub.GetSub(ns, k, sub)
		t.noteSub(ns, k, sub, old, ok)
	}
	t.sub.PutSub(ns, k, sub, val)
}

// DeleteSub implements state.SubTable.
func (t *subTable) DeleteSub(ns int64, k state.Key, sub []byte) {
	if t.b.on {
		old, ok := t.sub.GetSub(ns, k, sub)
		t.noteSub(ns, k, sub, old, ok)
	}
	t.sub.DeleteSub(ns, k, sub)
}

// ScanSub implements state.SubTable.
func (t *subTable) ScanSub(ns int64, k state.Key, fn func(sub, val []byte) bool) {
	t.sub.ScanSub(ns, k, fn)
}

// LenSub implements state.SubTable.
func (t *subTable) LenSub(ns int64, k state.Key) int { return t.sub.LenSub(ns, k) }

// ClearSub implements state.SubTable.
func (t *subTable) ClearSub(ns int64, k state.Key) {
	t.noteAll(ns, k)
	t.sub.ClearSub(ns, k)
}

// Delete implements state.Table.
func (t *subTable) Delete(ns int64, k state.Key) { t.ClearSub(ns, k) }

// DropNamespace implements state.Table.
func (t *subTable) DropNamespace(ns int64) {
	if t.b.on {
		var keys [][]byte
		t.Table.Scan(ns, func(key, _ []byte) bool {
			keys = append(keys, append([]byte(nil), key...))
			return true
		})
		for _, key := range keys {
			t.noteAll(ns, state.KeyOf(key))
		}
	}
	t.Table.DropNamespace(ns)
}

// noteAll logs all entries under a key, the last first, so that Rollback puts
// them back in their order.
func (t *subTable) noteAll(ns int64, k state.Key) {
	if !t.b.on {
		return
	}
	from := len(t.b.log)
	t.sub.ScanSub(ns, k, func(sub, val []byte) bool {
		t.noteSub(ns, k, sub, val, true)
		return true
	})
	for i, j := from, len(t.b.log)-1; i < j; i, j = i+1, j-1 {
		t.b.log[i], t.b.log[j] = t.b.log[j], t.b.log[i]
	}
}
