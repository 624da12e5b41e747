package memstate

import "math/bits"

// The index maps 32-bit tags (the upper half of a hash) to references into
// pages. It is extendible hashing: a directory of segments, selected by the
// upper bits of the tag. A full segment splits into two, so that no call ever
// moves more than one segment's slots, however many keys there are.
const (
	segSlotsMin = 8
	segSlotsMax = 1024 // 8 KiB, the most that one split has to move
	// dirSparseMax bounds the directory against tags that collide by
	// intent: it doubles only while it holds fewer than one segment for
	// each dirSparseMax entries; after that the crowded segment grows alone.
	dirSparseMax = 64
)

// reference is a place in a store: page<<offBits | offset/8. A slot holds it
// plus one, so that an empty slot is zero.
type reference uint32

type index struct {
	dir   []*segment // len == 1<<depth
	depth uint8
	deep  int // segments with depth == index.depth
	count int
	// expect is how many entries there will be by experience, 0: not known.
	expect int
	b      *Backend
	own    int64 // bytes of slots and directory, a part of the backend's
}

// segment is a linear-probing table of slots tag<<32 | reference+1.
// len(slots) is a power of two; at least one slot is empty.
type segment struct {
	slots []uint64
	count int
	depth uint8 // leading tag bits that all of its entries share
	shift uint8 // 32 - log2(len(slots))
}

// begin makes an index, which is new or was released, one without entries.
func (x *index) begin(expect int) {
	x.dir = append(x.dir[:0], x.b.newSegment(segSlotsMin, 0))
	x.depth, x.deep, x.count, x.expect = 0, 1, 0, expect
	x.account(segSlotsMin + 1)
}

// account adds words of 8 bytes to what the index takes.
func (x *index) account(words int) {
	x.own += int64(words) * 8
	x.b.bytes.Add(int64(words) * 8)
}

// release takes the index out of the account and gives its segments up; it is
// not used until begin.
func (x *index) release() {
	x.b.bytes.Add(-x.own)
	x.own = 0
	for i, g := range x.dir {
		if i == 0 || x.dir[i-1] != g {
			x.b.giveSegment(g)
		}
		if i > 0 {
			x.dir[i-1] = nil
		}
	}
	x.dir[len(x.dir)-1] = nil
	if x.dir = x.dir[:0]; cap(x.dir) > spareListMax {
		x.dir = nil
	}
}

// hold makes slots, which are empty, those of the segment.
func (g *segment) hold(slots []uint64) {
	g.slots = slots
	g.shift = 32
	for n := len(slots); n > 1; n >>= 1 {
		g.shift--
	}
}

// segment returns the segment that a tag belongs to.
func (x *index) segment(tag uint32) *segment {
	return x.dir[tag>>(32-x.depth)]
}

// home is the slot at which the search for a tag starts. The tag is mixed, so
// that entries whose tags begin alike, as those do that a scan of another
// table brings one after another, spread over all slots of a segment.
func (g *segment) home(tag uint32) uint32 { return tag * 0x9e3779b1 >> (g.shift & 31) }

func makeSlot(tag uint32, ref reference) uint64 { return uint64(tag)<<32 | uint64(ref+1) }

func slotRef(slot uint64) reference { return reference(uint32(slot)) - 1 }

// put fills the empty slot at pos of g, the segment of tag.
func (x *index) put(g *segment, pos uint32, tag uint32, ref reference) {
	g.slots[pos] = makeSlot(tag, ref)
	g.count++
	x.count++
	if g.count > len(g.slots)/4*3 {
		x.grow(g, tag)
	}
}

// insert puts a slot that is known to be absent.
func (g *segment) insert(slot uint64) {
	mask := uint32(len(g.slots) - 1)
	i := g.home(uint32(slot >> 32))
	for g.slots[i] != 0 {
		i = (i + 1) & mask
	}
	g.slots[i] = slot
	g.count++
}

// remove empties the slot at pos and closes the gap.
func (x *index) remove(g *segment, pos uint32, tag uint32) {
	mask := uint32(len(g.slots) - 1)
	for j := (pos + 1) & mask; g.slots[j] != 0; j = (j + 1) & mask {
		h := g.home(uint32(g.slots[j] >> 32))
		if (j-h)&mask >= (j-pos)&mask {
			g.slots[pos] = g.slots[j]
			pos = j
		}
	}
	g.slots[pos] = 0
	g.count--
	x.count--
	if g.count < len(g.slots)/8 {
		x.shrink(g, tag)
	}
}

// move changes the reference of an entry.
func (x *index) move(tag uint32, from, to reference) {
	g := x.segment(tag)
	mask := uint32(len(g.slots) - 1)
	want := makeSlot(tag, from)
	i := g.home(tag)
	for g.slots[i] != want {
		if g.slots[i] == 0 {
			panic("memstate: entry without index slot")
		}
		i = (i + 1) & mask
	}
	g.slots[i] = makeSlot(tag, to)
}

func (x *index) grow(g *segment, tag uint32) {
	full := len(g.slots) >= segSlotsMax
	if full && x.depth == 0 && x.expect > expectMin {
		x.spread(g)
		return
	}
	canDouble := len(x.dir) <= x.count/dirSparseMax && x.depth < 22
	if !full || (g.depth == x.depth && !canDouble) {
		x.rehash(g, len(g.slots)*2)
		return
	}
	if g.depth == x.depth {
		x.double()
	}
	x.split(g, tag)
}

func (x *index) rehash(g *segment, slots int) {
	old := g.slots
	x.account(slots - len(old))
	g.hold(x.b.newSlots(slots))
	g.count = 0
	for _, s := range old {
		if s != 0 {
			g.insert(s)
		}
	}
	x.b.giveSlots(old)
}

const (
	// expectMin is the number of expected entries from which on the first
	// segment is spread.
	expectMin = 4 * segSlotsMax
	// expectMax bounds what is made at once: what comes is not always like what
	// was.
	expectMax = 1 << 17
	// spreadFill is how many entries a segment is to have after that.
	spreadFill = segSlotsMax * 2 / 3
)

// spread replaces the only segment, which is full, by as many as are expected
// to be needed. Otherwise each of them would come of splits one by one, which
// move each entry about once. Should less come than expected, it takes no more
// than the index it expects to be like.
func (x *index) spread(g *segment) {
	x.depth = uint8(bits.Len(uint((min(x.expect, expectMax) - 1) / spreadFill)))
	n := 1 << x.depth
	x.account((n - 1) * (len(g.slots) + 1))
	slots := len(g.slots)
	x.dir = x.dir[:0]
	for range n {
		x.dir = append(x.dir, x.b.newSegment(slots, x.depth))
	}
	x.deep = n
	for _, s := range g.slots {
		if s != 0 {
			x.segment(uint32(s >> 32)).insert(s)
		}
	}
	x.b.giveSegment(g)
}

func (x *index) double() {
	n := len(x.dir)
	dir := x.dir
	if cap(dir) < 2*n {
		dir = make([]*segment, 2*n)
	}
	dir = dir[:2*n]
	for i := n - 1; i >= 0; i-- { // from the end: it may be the same memory
		g := x.dir[i]
		dir[2*i], dir[2*i+1] = g, g
	}
	x.account(n)
	x.dir = dir
	x.depth++
	x.deep = 0
}

// split replaces g by two segments of one more depth.
func (x *index) split(g *segment, tag uint32) {
	d := g.depth + 1
	halves := [2]*segment{x.b.newSegment(len(g.slots), d), x.b.newSegment(len(g.slots), d)}
	for _, s := range g.slots {
		if s != 0 {
			halves[s>>(64-d)&1].insert(s)
		}
	}
	x.account(len(g.slots))
	if d == x.depth {
		x.deep += 2
	}
	x.cover(halves[0], tag&^(1<<(32-d)))
	x.cover(halves[1], tag|1<<(32-d))
	x.b.giveSegment(g)
}

// cover points the directory at g wherever the tag's first g.depth bits lead.
func (x *index) cover(g *segment, tag uint32) {
	n := 1 << (x.depth - g.depth)
	first := int(tag>>(32-g.depth)) * n
	for i := first; i < first+n; i++ {
		x.dir[i] = g
	}
}

// shrink gives slots back: it merges g with its buddy, or halves g.
func (x *index) shrink(g *segment, tag uint32) {
	if g.depth > 0 {
		bit := uint32(1) << (32 - g.depth)
		buddy := x.segment(tag ^ bit)
		if buddy.depth == g.depth && (g.count+buddy.count)*8 <= 3*max(len(g.slots), len(buddy.slots)) {
			x.merge(g, buddy, tag)
			return
		}
	}
	if len(g.slots) > segSlotsMin {
		x.rehash(g, len(g.slots)/2)
	}
}

func (x *index) merge(a, b *segment, tag uint32) {
	m := x.b.newSegment(max(len(a.slots), len(b.slots)), a.depth-1)
	for _, half := range [2]*segment{a, b} {
		for _, s := range half.slots {
			if s != 0 {
				m.insert(s)
			}
		}
	}
	x.account(len(m.slots) - len(a.slots) - len(b.slots))
	if a.depth == x.depth {
		x.deep -= 2
	}
	x.cover(m, tag)
	x.b.giveSegment(a)
	x.b.giveSegment(b)
	for x.deep == 0 && x.depth > 0 {
		x.halve()
	}
}

func (x *index) halve() {
	n := len(x.dir) / 2
	dir := x.dir[:n]
	if cap(dir) > dirSparseMax && cap(dir) > 4*n {
		dir = make([]*segment, n)
	}
	for i := range dir { // from the front: it may be the same memory
		dir[i] = x.dir[2*i]
	}
	clear(x.dir[n:])
	x.account(-n)
	x.dir = dir
	x.depth--
	for i, g := range dir {
		if g.depth == x.depth && (i == 0 || dir[i-1] != g) {
			x.deep++
		}
	}
}
