package state

import "bytes"

// KeyScanner is a handle that can tell the keys that have an entry in it, as
// all handles of this package can.
type KeyScanner interface {
	// ScanKeys calls fn for each encoded key with an entry in the current
	// namespace, in any order, until it returns false. The state must not be
	// changed meanwhile; key is borrowed until fn returns.
	ScanKeys(fn func(key []byte) bool)
}

var (
	_ KeyScanner = (*Value[int])(nil)
	_ KeyScanner = (*List[int])(nil)
	_ KeyScanner = (*Map[int, int])(nil)
	_ KeyScanner = (*Reducing[int])(nil)
	_ KeyScanner = (*Aggregating[int, int, int])(nil)
)

// ScanKeys implements KeyScanner.
func (s *Value[T]) ScanKeys(fn func(key []byte) bool) { s.cell.scanKeys(fn) }

// ScanKeys implements KeyScanner.
func (s *Reducing[T]) ScanKeys(fn func(key []byte) bool) { s.cell.scanKeys(fn) }

// ScanKeys implements KeyScanner.
func (s *Aggregating[In, Acc, Out]) ScanKeys(fn func(key []byte) bool) { s.cell.scanKeys(fn) }

// ScanKeys implements KeyScanner.
func (s *List[T]) ScanKeys(fn func(key []byte) bool) { scanKeys(s.table, s.k.ns, s.ttl, fn) }

// ScanKeys implements KeyScanner.
func (s *Map[K, V]) ScanKeys(fn func(key []byte) bool) {
	t, ok := s.table.(Table)
	if !ok {
		return
	}
	if s.ttl == nil {
		scanKeys(t, s.k.ns, nil, fn)
		return
	}
	var keys [][]byte
	scanKeys(t, s.k.ns, nil, func(key []byte) bool { keys = append(keys, bytes.Clone(key)); return true })
	for _, key := range keys {
		some := false
		s.table.ScanSub(s.k.ns, KeyOf(key), func(_, val []byte) bool { some = s.ttl.shows(val); return !some })
		if some && !fn(key) {
			return
		}
	}
}

func (c *cell[T]) scanKeys(fn func(key []byte) bool) { scanKeys(c.table, c.k.ns, c.ttl, fn) }

func scanKeys(t Table, ns int64, ttl *expiry, fn func(key []byte) bool) {
	t.Scan(ns, func(key, val []byte) bool {
		if ttl != nil && !ttl.shows(val) {
			return true
		}
		return fn(key)
	})
}
