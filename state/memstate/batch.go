package memstate

import (
	"encoding/binary"

	"github.com/leatstream/leat/state"
)

// batchStride is how many keys go through each step together. A step whose
// loads miss the cache decides nothing on what it loads, so that the misses
// of a stride overlap instead of waiting for one another.
const batchStride = 64

// probes is what the steps of a stride know of each key.
type probes struct {
	segs  [batchStride]*segment
	slots [batchStride]uint64 // at the key's home, then with the key's tag, or 0
	words [batchStride]uint32 // word 0 of the entry
}

// UpsertBatch implements state.BatchUpserter.
func (t *table) UpsertBatch(ns int64, keys []state.Key, vals [][]byte, created []bool) {
	t.require(t.d.Fixed > 0, "UpsertBatch")
	if len(keys) == 0 {
		return
	}
	s := t.obtain(ns)
	s.compact() // not after: what is returned must stay where it is
	var p probes
	for from := 0; from < len(keys); from += batchStride {
		part := keys[from:min(from+batchStride, len(keys))]
		s.touchIndex(part, &p)
		s.match(part, &p)
		s.touchEntries(part, &p)
		for i := range part {
			v, isNew := t.upsertProbed(s, part[i], p.slots[i])
			vals[from+i] = v
			if created != nil {
				created[from+i] = isNew
			}
		}
	}
}

func (s *space) touchIndex(keys []state.Key, p *probes) {
	for i := range keys {
		tag := tagOf(keys[i].Hash)
		g := s.idx.segment(tag)
		p.segs[i&(batchStride-1)] = g
		p.slots[i&(batchStride-1)] = g.slots[g.home(tag)]
	}
}

// match looks for slots with the keys' tags.
func (s *space) match(keys []state.Key, p *probes) {
	for i := range keys {
		tag, slot := tagOf(keys[i].Hash), p.slots[i&(batchStride-1)]
		if slot == 0 || uint32(slot>>32) == tag {
			continue
		}
		g := p.segs[i&(batchStride-1)]
		mask := uint32(len(g.slots) - 1)
		for pos := g.home(tag) + 1; slot != 0 && uint32(slot>>32) != tag; pos++ {
			slot = g.slots[pos&mask]
		}
		p.slots[i&(batchStride-1)] = slot
	}
}

func (s *space) touchEntries(keys []state.Key, p *probes) {
	for i := range keys {
		if slot := p.slots[i&(batchStride-1)]; slot != 0 {
			p.words[i&(batchStride-1)] = binary.LittleEndian.Uint32(s.at(slotRef(slot)))
		}
	}
}

// upsertProbed is upsert for a key whose tag is most likely at slot. An
// earlier key of the batch may have been created since, also this one.
func (t *table) upsertProbed(s *space, k state.Key, slot uint64) ([]byte, bool) {
	if slot != 0 {
		r := slotRef(slot)
		if s.matches(s.at(r), k.Bytes) {
			e := s.change(r)
			from := s.header + len(k.Bytes)
			return e[from : from+s.fixed : from+s.fixed], false
		}
	}
	return t.upsert(s, k)
}

// prefetchMin is the number of entries from which on a namespace is too large
// for the processor's caches, so that Prefetch pays.
const prefetchMin = 1 << 12

// Prefetch implements state.Prefetcher: the misses of many keys overlap, and
// whoever asks for one of them soon finds it in the processor's cache.
func (t *table) Prefetch(ns int64, keys []state.Key) {
	s := t.lookup(ns)
	if s == nil || s.idx.count < prefetchMin || t.d.Sub {
		return
	}
	var p probes
	for from := 0; from < len(keys); from += batchStride {
		part := keys[from:min(from+batchStride, len(keys))]
		s.touchIndex(part, &p)
		s.match(part, &p)
		s.touchEntries(part, &p)
		for i := range part {
			t.touched += p.words[i] // else the loads might be left out
		}
	}
}
