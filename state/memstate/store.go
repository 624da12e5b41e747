package memstate

import (
	"encoding/binary"
	"math/bits"

	"github.com/leatstream/leat/state"
)

const (
	// pageBytes is the unit of copy-on-write: small, so that the first write
	// to a page after a snapshot copies for about a microsecond.
	pageBytes = 16 << 10
	// pageBytesMin is the first page of a namespace with one small entry.
	pageBytesMin = 64
	// jumboBytes is the size from which an entry has a page of its own, so
	// that the unused tail of a page stays under a quarter.
	jumboBytes = pageBytes / 4
	offBits    = 11 // log2(pageBytes / 8): entries start at multiples of 8
	pagesMax   = 1 << (32 - offBits)
)

// pageList is what a snapshot needs of a namespace. It and the pages in it
// are frozen while an unreleased snapshot shares them.
type pageList struct {
	ns     int64
	bufs   [][]byte // nil: free
	epochs []uint32 // of the backend when the page was last written to
}

type pageMeta struct {
	scrubbed uint32 // epoch since which old stamps were taken out
	used     uint32 // bytes taken by entries, live and dead
	dead     uint32 // bytes of dead entries
}

// store is the pages of one namespace. Entries are appended to the active
// page. Invariant after each operation: a page that is not active has at
// least half of its bytes in live entries, so memory follows what is stored.
type store struct {
	owner     *table
	slot      int // in owner.lists
	pages     *pageList
	listEpoch uint32
	meta      []pageMeta
	free      []uint32 // unused page numbers
	victims   []uint32 // pages to compact before the operation ends
	active    int32    // -1: none
	live      int64    // bytes of live entries
}

func align8(n int) int { return (n + 7) &^ 7 }

func refOf(page uint32, off int) reference { return reference(page<<offBits | uint32(off>>3)) }

func (r reference) page() uint32 { return uint32(r) >> offBits }

func (r reference) off() int { return int(r&(1<<offBits-1)) << 3 }

// at returns the bytes from an entry's start to the end of its page, for reading.
func (s *store) at(r reference) []byte { return s.pages.bufs[r.page()][r.off():] }

// own is at for writing: the first time in an epoch it copies the page when a
// snapshot shares it, and books that it is written to.
func (s *store) own(r reference) []byte {
	p := r.page()
	if s.pages.epochs[p] != s.owner.b.epoch {
		s.enter(p)
	}
	return s.pages.bufs[p][r.off():]
}

// change is own for what a snapshot has to write of the entry.
func (s *store) change(r reference) []byte {
	b, p := s.owner.b, r.page()
	e := s.pages.bufs[p][r.off():]
	if s.pages.epochs[p] == b.epoch && word(e, 0)&stampMask == b.stamp {
		return e
	}
	return s.restamp(r)
}

func (s *store) restamp(r reference) []byte {
	e := s.own(r)
	if w := word(e, 0); w&stampMask != s.owner.b.stamp {
		setWord(e, 0, w&^ageMask|s.owner.b.stamp)
	}
	return e
}

// enter makes a page writable in this epoch.
func (s *store) enter(p uint32) {
	b := s.owner.b
	s.ownList()
	if s.pages.epochs[p] <= b.shared.Load() {
		s.copyPage(p)
	}
	if b.epoch-s.meta[p].scrubbed >= scrubEpochs {
		s.scrub(p)
	}
	s.pages.epochs[p] = b.epoch
}

func (s *store) copyPage(p uint32) {
	old := s.pages.bufs[p]
	buf := make([]byte, len(old))
	copy(buf, old[:s.meta[p].used])
	s.pages.bufs[p] = buf
	s.owner.b.hold(len(old))
}

// ownList makes the list of pages writable.
func (s *store) ownList() {
	if s.listEpoch > s.owner.b.shared.Load() {
		return
	}
	n := len(s.pages.bufs)
	s.pages = &pageList{
		ns:     s.pages.ns,
		bufs:   append(make([][]byte, 0, n+1), s.pages.bufs...),
		epochs: append(make([]uint32, 0, n+1), s.pages.epochs...),
	}
	s.listEpoch = s.owner.b.epoch
	s.owner.setList(s.slot, s.pages)
}

// alloc returns room for an entry of size bytes (a multiple of 8), zeroed.
func (s *store) alloc(size int) (reference, []byte) {
	s.live += int64(size)
	if size >= jumboBytes {
		p := s.newPage(size)
		s.meta[p].used = uint32(size)
		return refOf(p, 0), s.pages.bufs[p]
	}
	if s.active < 0 || int(s.meta[s.active].used)+size > len(s.pages.bufs[s.active]) {
		s.retire()
		s.active = int32(s.newPage(s.pageSize(size)))
	}
	p := uint32(s.active)
	off := int(s.meta[p].used)
	r := refOf(p, off)
	buf := s.own(r)
	s.meta[p].used += uint32(size)
	return r, buf[:size]
}

// pageSize grows the pages with the namespace.
func (s *store) pageSize(size int) int {
	want := max(int64(size), s.live, pageBytesMin)
	if want >= pageBytes {
		return pageBytes
	}
	return 1 << bits.Len64(uint64(want-1))
}

func (s *store) newPage(size int) uint32 {
	s.ownList()
	s.owner.b.bytes.Add(int64(size))
	epoch := s.owner.b.epoch
	m := pageMeta{scrubbed: epoch}
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		s.pages.bufs[p], s.pages.epochs[p], s.meta[p] = s.owner.b.newPage(size), epoch, m
		return p
	}
	if len(s.meta) >= pagesMax {
		panic(&state.LimitError{Window: s.owner.d.Name, Limit: pagesMax * pageBytes})
	}
	s.pages.bufs = append(s.pages.bufs, s.owner.b.newPage(size))
	s.pages.epochs = append(s.pages.epochs, epoch)
	s.meta = append(s.meta, m)
	return uint32(len(s.meta) - 1)
}

// retire ends the active page.
func (s *store) retire() {
	if s.active < 0 {
		return
	}
	p := uint32(s.active)
	s.active = -1
	s.check(p)
}

// kill marks the entry dead. The caller has removed it from the index and
// calls compact before it returns.
func (s *store) kill(r reference, size int) {
	buf := s.own(r)
	binary.LittleEndian.PutUint32(buf, binary.LittleEndian.Uint32(buf)|flagDead)
	p := r.page()
	s.meta[p].dead += uint32(size)
	s.live -= int64(size)
	s.check(p)
	if s.active >= 0 {
		s.check(uint32(s.active))
	}
}

// check schedules a page for compaction when too little of it lives. The
// active page has room that waits to be used, so it goes when half of what
// was written to it is dead, or when it is large for the whole namespace; each
// way as much must die between two compactions as the second one moves.
func (s *store) check(p uint32) {
	m, size := &s.meta[p], len(s.pages.bufs[p])
	live := int(m.used - m.dead)
	if int32(p) == s.active {
		dead := live < size/4 && 2*m.dead >= m.used
		if size == pageBytesMin || !dead && int64(size) <= 4*max(s.live, pageBytesMin) {
			return
		}
		s.active = -1
	} else if live >= (size+1)/2 {
		return
	}
	for _, v := range s.victims {
		if v == p {
			return
		}
	}
	s.victims = append(s.victims, p)
}

func (s *store) freePage(p uint32) {
	s.dropPage(p)
	s.free = append(s.free, p)
	s.trim()
}

// dropPage gives the memory of a page back.
func (s *store) dropPage(p uint32) {
	s.ownList()
	buf := s.pages.bufs[p]
	s.pages.bufs[p] = nil
	if len(buf) > 0 {
		s.giveUp(buf, s.pages.epochs[p] <= s.owner.b.shared.Load())
	}
	s.pages.epochs[p], s.meta[p] = 0, pageMeta{}
}

// giveUp takes a page out of the live state; shared: a snapshot has it still.
func (s *store) giveUp(buf []byte, shared bool) {
	s.owner.b.bytes.Add(-int64(len(buf)))
	if shared {
		s.owner.b.hold(len(buf))
		return
	}
	s.owner.b.givePage(buf)
}

// trimMin is the length up to which the lists of a store are left as they are.
const trimMin = 64

// trim shortens the lists when most page numbers are unused, after a burst.
func (s *store) trim() {
	if len(s.free) <= len(s.meta)/4*3 || cap(s.meta) <= trimMin {
		return
	}
	n := len(s.meta)
	for n > 0 && s.pages.bufs[n-1] == nil {
		n--
	}
	if n == len(s.meta) || n > cap(s.meta)/4 {
		return
	}
	s.pages.bufs = append(make([][]byte, 0, n+1), s.pages.bufs[:n]...)
	s.pages.epochs = append(make([]uint32, 0, n+1), s.pages.epochs[:n]...)
	s.meta = append(make([]pageMeta, 0, n+1), s.meta[:n]...)
	kept := make([]uint32, 0, n)
	for _, p := range s.free {
		if int(p) < n {
			kept = append(kept, p)
		}
	}
	s.free = kept
}

// release gives all pages back when the namespace is dropped. The store is
// not used until begin.
func (s *store) release() {
	b := s.owner.b
	shared := b.shared.Load()
	for p, buf := range s.pages.bufs {
		if buf != nil {
			s.giveUp(buf, s.pages.epochs[p] <= shared)
		}
	}
	switch {
	case s.listEpoch <= shared:
		s.pages = nil // a snapshot has it
	case cap(s.pages.bufs) > spareListMax:
		s.pages.bufs, s.pages.epochs = nil, nil
	default:
		clear(s.pages.bufs) // the pages are others' from now on
		s.pages.bufs, s.pages.epochs = s.pages.bufs[:0], s.pages.epochs[:0]
	}
	if cap(s.meta) > spareListMax {
		s.meta, s.free, s.victims = nil, nil, nil
	}
}

// begin makes a store, which is new or was released, one without pages.
func (s *store) begin(t *table, ns int64) {
	if s.pages == nil {
		s.pages = &pageList{}
	}
	s.pages.ns = ns
	s.owner, s.slot, s.listEpoch, s.active, s.live = t, len(t.lists), t.b.epoch, -1, 0
	s.meta, s.free, s.victims = s.meta[:0], s.free[:0], s.victims[:0]
}
