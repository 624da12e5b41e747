package memstate

import "github.com/leatstream/leat/dataflow/codec"

// In a sub table each (key, subkey) is an entry of its own, found by a hash
// over both; the entries of a key form a list in order of insertion, which a
// head entry, found by the key alone, holds. So a lookup is one probe, and
// iterating over one key touches that key's entries only.

// subHash treats key and subkey unlike, so that a subkey that is the key, as in
// a map of a customer's own id, does not undo its hash.
func subHash(keyHash uint64, sub []byte) uint64 {
	return (keyHash*0x9e3779b97f4a7c15 + codec.HashKey(sub)) * 0xbf58476d1ce4e5b9
}

func (s *space) findHead(tag uint32, key []byte) (g *segment, pos uint32, r reference, ok bool) {
	want := uint32(flagUsed|flagHead) | uint32(len(key))<<keyShift
	return s.probe(tag, func(e []byte) bool {
		return word(e, 0)&^ageMask == want && string(s.key(e)) == string(key)
	})
}

func (s *space) findSub(tag uint32, key, sub []byte) (g *segment, pos uint32, r reference, ok bool) {
	want := uint32(flagUsed) | uint32(len(key)+len(sub))<<keyShift
	return s.probe(tag, func(e []byte) bool {
		if word(e, 0)&^ageMask != want || word(e, 3) != uint32(len(key)) {
			return false
		}
		k, u := s.parts(e)
		return string(k) == string(key) && string(u) == string(sub)
	})
}

func (s *space) probe(tag uint32, same func(e []byte) bool) (g *segment, pos uint32, r reference, ok bool) {
	g = s.idx.segment(tag)
	mask := uint32(len(g.slots) - 1)
	for pos = g.home(tag); g.slots[pos] != 0; pos = (pos + 1) & mask {
		if uint32(g.slots[pos]>>32) != tag {
			continue
		}
		if r = slotRef(g.slots[pos]); same(s.at(r)) {
			return g, pos, r, true
		}
	}
	return g, pos, 0, false
}

// putSub sets the value under (key, sub); it reports whether it is new.
func (s *space) putSub(keyHash uint64, key, sub, val []byte) bool {
	tag := tagOf(subHash(keyHash, sub))
	g, pos, r, ok := s.findSub(tag, key, sub)
	if ok {
		s.setValue(tag, r, val)
		return false
	}
	limit(len(key)+len(sub), len(val))
	whole := append(append(s.owner.b.scratch[:0], key...), sub...)
	s.owner.b.scratch = whole
	r, e := s.create(g, pos, tag, 0, whole, len(val))
	setWord(e, 1, uint32(len(val)))
	setWord(e, 3, uint32(len(key)))
	copy(s.value(e), val)
	s.link(r, s.headFor(tagOf(keyHash), key))
	return true
}

// headFor returns the head entry of a key, made if need be.
func (s *space) headFor(tag uint32, key []byte) reference {
	g, pos, r, ok := s.findHead(tag, key)
	if ok {
		return r
	}
	r, e := s.create(g, pos, tag, flagHead, key, subHeadBytes)
	setWord(e, 1, subHeadBytes)
	setWord(e, 3, uint32(len(key)))
	s.keys++
	return r
}

// link appends the entry to the list of its head.
func (s *space) link(r, head reference) {
	v := s.value(s.own(head))
	h := loadHead(v)
	setWord(s.own(r), 4, h.last)
	if h.last != 0 {
		setWord(s.own(reference(h.last-1)), 5, uint32(r+1))
	} else {
		h.first = uint32(r + 1)
	}
	h.last = uint32(r + 1)
	h.count++
	h.store(s.value(s.change(head))) // that its list has grown is a change
}

// relink tells the neighbours of an entry that has moved to r.
func (s *space) relink(r reference) {
	e := s.at(r)
	if word(e, 0)&flagHead != 0 {
		return // nothing refers to a head but the index
	}
	prev, next := word(e, 4), word(e, 5)
	if prev != 0 {
		setWord(s.own(reference(prev-1)), 5, uint32(r+1))
	}
	if next != 0 {
		setWord(s.own(reference(next-1)), 4, uint32(r+1))
	}
	if prev != 0 && next != 0 {
		return
	}
	key, _ := s.parts(e)
	_, _, head, _ := s.findHead(tagOf(codec.HashKey(key)), key)
	v := s.value(s.own(head))
	h := loadHead(v)
	if prev == 0 {
		h.first = uint32(r + 1)
	}
	if next == 0 {
		h.last = uint32(r + 1)
	}
	h.store(v)
}

// deleteSub removes the entry under (key, sub); it reports whether it existed.
func (s *space) deleteSub(keyHash uint64, key, sub []byte) bool {
	tag := tagOf(subHash(keyHash, sub))
	_, _, r, ok := s.findSub(tag, key, sub)
	if !ok {
		return false
	}
	s.noteSub(r)
	s.unlink(r, keyHash, key)
	s.removeRef(tag, r)
	s.compact()
	return true
}

func (s *space) unlink(r reference, keyHash uint64, key []byte) {
	e := s.at(r)
	prev, next := word(e, 4), word(e, 5)
	tag := tagOf(keyHash)
	_, _, head, _ := s.findHead(tag, key)
	v := s.value(s.own(head))
	h := loadHead(v)
	if prev != 0 {
		setWord(s.own(reference(prev-1)), 5, next)
	} else {
		h.first = next
	}
	if next != 0 {
		setWord(s.own(reference(next-1)), 4, prev)
	} else {
		h.last = prev
	}
	h.count--
	h.store(s.value(s.own(head)))
	if h.count == 0 {
		s.dropHead(tag, key)
	}
}

func (s *space) dropHead(tag uint32, key []byte) {
	g, pos, r, _ := s.findHead(tag, key)
	s.destroy(g, pos, tag, r)
	s.keys--
}

// clearSub removes all entries under a key and returns how many there were.
func (s *space) clearSub(keyHash uint64, key []byte) int {
	_, _, head, ok := s.findHead(tagOf(keyHash), key)
	if !ok {
		return 0
	}
	s.noteKey(head, key)
	h := loadHead(s.value(s.at(head)))
	for next := h.first; next != 0; {
		r := reference(next - 1)
		e := s.at(r)
		next = word(e, 5)
		s.removeRef(s.tag(e), r)
	}
	s.dropHead(tagOf(keyHash), key)
	s.compact()
	return int(h.count)
}

// removeRef removes an entry known by its place.
func (s *space) removeRef(tag uint32, r reference) {
	g := s.idx.segment(tag)
	mask := uint32(len(g.slots) - 1)
	want := makeSlot(tag, r)
	pos := g.home(tag)
	for g.slots[pos] != want {
		pos = (pos + 1) & mask
	}
	s.destroy(g, pos, tag, r)
}
