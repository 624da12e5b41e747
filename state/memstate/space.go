package memstate

import (
	"encoding/binary"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// space is the entries of one namespace: an index over a store. Namespaces
// are separate so that dropping one frees its pages without a look at the
// entries, and scanning one touches nothing else.
type space struct {
	layout
	store
	idx  index
	keys int    // keys that hold a value; in sub tables the heads
	born uint32 // epoch
}

func tagOf(hash uint64) uint32 { return uint32(hash >> 32) }

// find looks an entry up by its key. When it is absent, pos is the empty slot
// of g that it would take.
func (s *space) find(tag uint32, want []byte) (g *segment, pos uint32, r reference, ok bool) {
	g = s.idx.segment(tag)
	slots := g.slots
	mask := uint32(len(slots) - 1)
	for pos = g.home(tag) & mask; ; pos = (pos + 1) & mask {
		slot := slots[pos]
		if slot == 0 {
			return g, pos, 0, false
		}
		if uint32(slot>>32) != tag {
			continue
		}
		r = slotRef(slot)
		if s.matches(s.at(r), want) {
			return g, pos, r, true
		}
	}
}

// matches compares the key of a live entry of a table without subkeys.
func (s *space) matches(e, want []byte) bool {
	if binary.LittleEndian.Uint32(e)&^ageMask != flagUsed|uint32(len(want))<<keyShift {
		return false
	}
	k := e[s.header : s.header+len(want)]
	if len(want) == 8 {
		return binary.LittleEndian.Uint64(k) == binary.LittleEndian.Uint64(want)
	}
	return string(k) == string(want)
}

// create adds an entry with room for a value and returns it, value zeroed.
func (s *space) create(g *segment, pos, tag uint32, flags uint32, key []byte, room int) (reference, []byte) {
	size := align8(s.header + len(key) + room)
	r, e := s.alloc(size)
	setWord(e, 0, flagUsed|flagNew|flags|s.owner.b.stamp|uint32(len(key))<<keyShift)
	if s.fixed == 0 {
		setWord(e, 2, uint32(size-s.header-len(key)))
	}
	copy(e[s.header:], key)
	s.idx.put(g, pos, tag, r)
	return r, e
}

// limit panics with a *state.LimitError when something is too large to be
// stored.
func limit(key, val int) {
	switch {
	case key >= state.KeyBytesMax:
		panic(&state.LimitError{Entry: int64(key), Limit: state.KeyBytesMax})
	case val >= state.EntryBytesMax:
		panic(&state.LimitError{Entry: int64(val), Limit: state.EntryBytesMax})
	}
}

// destroy removes the entry at pos of g.
func (s *space) destroy(g *segment, pos, tag uint32, r reference) {
	s.idx.remove(g, pos, tag)
	s.kill(r, s.size(s.at(r)))
}

// setValue stores the value of an existing entry of a table whose values
// vary, in place when it fits and does not waste most of its room.
func (s *space) setValue(tag uint32, r reference, val []byte) {
	e := s.at(r)
	if room := s.room(e); len(val) <= room && (room <= 64 || len(val) >= room/4) {
		e = s.change(r)
		setWord(e, 1, uint32(len(val)))
		copy(s.value(e), val)
		return
	}
	s.resize(tag, r, len(val), val)
}

// resize moves an entry to where its value has room, and stores val.
func (s *space) resize(tag uint32, r reference, room int, val []byte) reference {
	limit(0, len(val))
	old := s.change(r) // its stamp is that of the copy
	size := align8(s.header + keyLen(old) + room)
	to, e := s.alloc(size)
	copy(e, s.at(r)[:s.header+keyLen(old)])
	setWord(e, 1, uint32(len(val)))
	setWord(e, 2, uint32(size-s.header-keyLen(e)))
	copy(s.value(e), val)
	s.moved(tag, r, to)
	s.kill(r, s.size(old))
	return to
}

// moved tells whoever refers to an entry where it is now.
func (s *space) moved(tag uint32, from, to reference) {
	s.idx.move(tag, from, to)
	if s.sub {
		s.relink(to)
	}
}

// appendValue appends to a value, doubling its room as it grows.
func (s *space) appendValue(tag uint32, r reference, val []byte) {
	e := s.at(r)
	n := int(word(e, 1))
	limit(0, n+len(val))
	if n+len(val) > s.room(e) {
		r = s.resize(tag, r, (n+len(val))*3/2, s.value(e))
	}
	e = s.change(r)
	setWord(e, 1, uint32(n+len(val)))
	copy(s.value(e)[n:], val)
}

// compact moves what lives in the scheduled pages and frees them.
func (s *space) compact() {
	for len(s.victims) > 0 {
		n := len(s.victims) - 1
		p := s.victims[n]
		s.victims = s.victims[:n]
		s.evacuate(p)
	}
}

func (s *space) evacuate(p uint32) {
	for off := 0; off < int(s.meta[p].used); {
		e := s.pages.bufs[p][off:] // read anew: relinking may have copied the page
		size := s.size(e)
		if word(e, 0)&flagDead == 0 {
			to, dst := s.alloc(size)
			s.live -= int64(size)
			copy(dst, e[:size])
			s.carry(dst, s.pages.epochs[p])
			s.moved(s.tag(e), refOf(p, off), to)
		}
		off += size
	}
	s.freePage(p)
}

// tag computes an entry's tag from its key.
func (s *space) tag(e []byte) uint32 {
	if !s.sub {
		return tagOf(codec.HashKey(s.key(e)))
	}
	key, sub := s.parts(e)
	if word(e, 0)&flagHead != 0 {
		return tagOf(codec.HashKey(key))
	}
	return tagOf(subHash(codec.HashKey(key), sub))
}
