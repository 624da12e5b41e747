package memstate

import "github.com/leatstream/leat/state"

// GetSub implements state.SubTable.
func (t *table) GetSub(ns int64, k state.Key, sub []byte) ([]byte, bool) {
	t.require(t.d.Sub, "GetSub")
	s := t.lookup(ns)
	if s == nil {
		return nil, false
	}
	_, _, r, ok := s.findSub(tagOf(subHash(k.Hash, sub)), k.Bytes, sub)
	if !ok {
		return nil, false
	}
	return s.value(s.at(r)), true
}

// PutSub implements state.SubTable.
func (t *table) PutSub(ns int64, k state.Key, sub, val []byte) {
	t.require(t.d.Sub, "PutSub")
	s := t.obtain(ns)
	if s.putSub(k.Hash, k.Bytes, sub, val) {
		t.count++
	}
	s.compact()
}

// DeleteSub implements state.SubTable.
func (t *table) DeleteSub(ns int64, k state.Key, sub []byte) {
	t.require(t.d.Sub, "DeleteSub")
	if s := t.lookup(ns); s != nil && s.deleteSub(k.Hash, k.Bytes, sub) {
		t.count--
		t.settle(s)
	}
}

// ScanSub implements state.SubTable, in order of insertion.
func (t *table) ScanSub(ns int64, k state.Key, fn func(sub, val []byte) bool) {
	t.require(t.d.Sub, "ScanSub")
	s := t.lookup(ns)
	if s == nil {
		return
	}
	_, _, head, ok := s.findHead(tagOf(k.Hash), k.Bytes)
	if !ok {
		return
	}
	for next := loadHead(s.value(s.at(head))).first; next != 0; {
		e := s.at(reference(next - 1))
		_, sub := s.parts(e)
		if !fn(sub, s.value(e)) {
			return
		}
		next = word(e, 5)
	}
}

// LenSub implements state.SubTable.
func (t *table) LenSub(ns int64, k state.Key) int {
	t.require(t.d.Sub, "LenSub")
	s := t.lookup(ns)
	if s == nil {
		return 0
	}
	_, _, head, ok := s.findHead(tagOf(k.Hash), k.Bytes)
	if !ok {
		return 0
	}
	return int(loadHead(s.value(s.at(head))).count)
}

// ClearSub implements state.SubTable.
func (t *table) ClearSub(ns int64, k state.Key) {
	t.require(t.d.Sub, "ClearSub")
	if s := t.lookup(ns); s != nil {
		t.count -= s.clearSub(k.Hash, k.Bytes)
		t.settle(s)
	}
}
