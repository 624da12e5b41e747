package memstate

import (
	"math/bits"
	"sync/atomic"

	"github.com/leatstream/leat/internal/invariant"
)

const (
	// spareBytesMin may always be spare. Above it, at most spareTimes what is in
	// use: namespaces that come and go find what those before them left, and
	// after a burst next to nothing stays. Once would do for windows, of which
	// there are two at a time; both sides of a join, though, drop a namespace
	// at once, of up to twice the span that each keeps.
	spareBytesMin = 16 * pageBytes
	spareTimes    = 2
	// spareSpacesMax bounds the empty spaces that a table keeps, and
	// spareListMax the length of the lists that they keep. Lists of so many
	// pages grow so seldom that it does not show.
	spareSpacesMax = 4
	spareListMax   = 1 << 12
	// spareShare is the part of a limit that what is spare may take.
	spareShare = 64

	pageClasses = 9 // of 64, 128, ... 16 Ki bytes
	slotClasses = 8 // of 8, 16, ... 1024 slots
)

// spare is the memory of pages and indexes that was given up, for those that
// are made next. No snapshot shares it. What is beyond spareBytesMin is counted
// in the backend's bytes.
type spare struct {
	pages    [pageClasses][][]byte
	slots    [slotClasses][][]uint64
	segments []*segment
	bytes    atomic.Int64
}

// classOf returns the class of a size that is a power of two from least on.
func classOf(n, least, classes int) (c int, ok bool) {
	if n < least || n&(n-1) != 0 {
		return 0, false
	}
	c = bits.Len(uint(n/least)) - 1
	return c, c < classes
}

// pop takes the last of a list.
func pop[T any](list *[]T) (v T, ok bool) {
	n := len(*list) - 1
	if n < 0 {
		return v, false
	}
	var none T
	v, (*list)[n] = (*list)[n], none
	*list = (*list)[:n]
	return v, true
}

// newPage returns a page of zeros. The caller counts it.
func (b *Backend) newPage(size int) []byte {
	if c, ok := classOf(size, pageBytesMin, pageClasses); ok {
		if buf, ok := pop(&b.spare.pages[c]); ok {
			b.spared(-size)
			clear(buf)
			return buf
		}
	}
	return make([]byte, size)
}

// givePage takes a page that nobody refers to any more and nobody counts.
func (b *Backend) givePage(buf []byte) {
	c, ok := classOf(len(buf), pageBytesMin, pageClasses)
	if !ok {
		return
	}
	if invariant.Enabled {
		for i := range buf {
			buf[i] = 0xdb
		}
	}
	b.spare.pages[c] = append(b.spare.pages[c], buf)
	b.spared(len(buf))
	b.trimSpare()
}

// newSlots returns empty slots. The caller counts them.
func (b *Backend) newSlots(n int) []uint64 {
	if c, ok := classOf(n, segSlotsMin, slotClasses); ok {
		if s, ok := pop(&b.spare.slots[c]); ok {
			b.spared(-8 * n)
			clear(s)
			return s
		}
	}
	return make([]uint64, n)
}

// giveSlots takes slots that nobody refers to any more and nobody counts.
func (b *Backend) giveSlots(s []uint64) {
	c, ok := classOf(len(s), segSlotsMin, slotClasses)
	if !ok {
		return
	}
	b.spare.slots[c] = append(b.spare.slots[c], s)
	b.spared(8 * len(s))
	b.trimSpare()
}

func (b *Backend) spared(bytes int) { b.spare.bytes.Add(int64(bytes)) }

// trimSpare leaves the largest parts to the collector until what is spare is
// no more than spareTimes what is in use.
func (b *Backend) trimSpare() {
	x := &b.spare
	most := spareTimes * b.bytes.Load()
	if b.among != nil && b.among.limit > 0 {
		most = min(most, b.among.limit/spareShare)
	}
	for x.bytes.Load() > max(spareBytesMin, most) {
		if !x.shed(b) {
			return
		}
	}
}

func (x *spare) shed(b *Backend) bool {
	for c := pageClasses - 1; c >= 0; c-- {
		if buf, ok := pop(&x.pages[c]); ok {
			b.spared(-len(buf))
			return true
		}
	}
	for c := slotClasses - 1; c >= 0; c-- {
		if s, ok := pop(&x.slots[c]); ok {
			b.spared(-8 * len(s))
			return true
		}
	}
	return false
}

// drop leaves all of it to the collector.
func (x *spare) drop() {
	clear(x.pages[:])
	clear(x.slots[:])
	x.segments = nil
	x.bytes.Store(0)
}

// spareSegmentsMax bounds the segments without slots that are kept.
const spareSegmentsMax = 1024

func (b *Backend) newSegment(slots int, depth uint8) *segment {
	g, ok := pop(&b.spare.segments)
	if !ok {
		g = new(segment)
	}
	*g = segment{depth: depth}
	g.hold(b.newSlots(slots))
	return g
}

// giveSegment takes a segment that nobody refers to any more and nobody counts.
func (b *Backend) giveSegment(g *segment) {
	b.giveSlots(g.slots)
	g.slots = nil
	if len(b.spare.segments) < spareSegmentsMax {
		b.spare.segments = append(b.spare.segments, g)
	}
}
