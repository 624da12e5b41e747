package memstate

import (
	"encoding/binary"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// scanRows is how many entries a scan gives out together: as many as it takes
// for the misses of their reads to overlap, and few enough for what was read to
// be in the processor's cache when it is used.
const scanRows = 128

// scanned is what ScanBatch works with.
type scanned struct {
	refs [scanRows]reference
	keys [scanRows]state.Key
	vals [scanRows][]byte
}

// ScanBatch implements state.BatchScanner. It follows the index, not the
// pages: entries of a segment have hashes with the same upper bits, and so lie
// in one segment of any other index, and close together in pages that were
// written by such a scan. Each entry read costs a miss, but they overlap.
func (t *table) ScanBatch(ns int64, fn func(keys []state.Key, vals [][]byte) bool) {
	t.require(!t.d.Sub, "ScanBatch")
	s := t.lookup(ns)
	if s == nil {
		return
	}
	if t.scanned == nil {
		t.scanned = new(scanned)
	}
	x, n := t.scanned, 0
	for i, g := range s.idx.dir {
		if i > 0 && s.idx.dir[i-1] == g {
			continue
		}
		for _, slot := range g.slots {
			if slot == 0 {
				continue
			}
			x.refs[n] = slotRef(slot)
			if n++; n == scanRows {
				n = 0
				if t.load(s, scanRows); !fn(x.keys[:], x.vals[:]) {
					return
				}
			}
		}
	}
	if n > 0 {
		t.load(s, n)
		fn(x.keys[:n], x.vals[:n])
	}
}

// load reads the first n entries of the scan. No step decides anything on what
// it is the first to load.
func (t *table) load(s *space, n int) {
	x := t.scanned
	var sum uint32
	for _, r := range x.refs[:n] {
		sum += binary.LittleEndian.Uint32(s.at(r))
	}
	for _, r := range x.refs[:n] {
		e := s.at(r)
		sum += uint32(e[s.size(e)-1]) // it may lie in another line of the cache
	}
	t.touched += sum // else the loads might be left out
	for i, r := range x.refs[:n] {
		e := s.at(r)
		k := s.key(e)
		x.keys[i] = state.Key{Bytes: k, Hash: codec.HashKey(k)}
		x.vals[i] = s.value(e)
	}
}
