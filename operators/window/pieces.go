package window

import (
	"math/bits"
	"unsafe"
)

const (
	// pieceClasses are the sizes of pieces, 1, 2, 4, ... 16384 elements. What
	// needs more has memory of its own, which the collector takes back.
	pieceClasses = 15
	// blockBytesMin is the size of the first block, the next ones are twice as
	// large each, up to blockBytesMax.
	blockBytesMin = 4 << 10
	blockBytesMax = 64 << 10
	// blocksSlack is what blocks may take however little of them is in use.
	blocksSlack = 1 << 20
)

// pieces makes small buffers, of which each key of many has some, out of few
// allocations: a buffer is a piece of a block, and one that was given back is
// the next one of its size. The zero value is ready.
type pieces[E any] struct {
	block []E // what is left of the last one
	given [pieceClasses][][]E
	// Elements: of all blocks, of the next one, of the pieces in use, and the
	// most of these since review.
	made, next, taken, peak int
}

// take returns an empty buffer with room for n elements, of no given content.
func (p *pieces[E]) take(n int) []E {
	if n <= 0 {
		return nil
	}
	c := bits.Len(uint(n - 1))
	if c >= pieceClasses {
		return make([]E, 0, n)
	}
	p.taken += 1 << c
	p.peak = max(p.peak, p.taken)
	if last := len(p.given[c]) - 1; last >= 0 {
		b := p.given[c][last]
		p.given[c] = p.given[c][:last]
		return b
	}
	return p.cut(c)
}

// cut makes a new piece.
func (p *pieces[E]) cut(c int) []E {
	size := 1 << c
	for rest := len(p.block); rest > 0 && rest < size; rest = len(p.block) {
		p.cutInto(bits.Len(uint(rest)) - 1)
	}
	if len(p.block) == 0 {
		var e E
		least, most := blockBytesMin/int(unsafe.Sizeof(e)), blockBytesMax/int(unsafe.Sizeof(e))
		n := max(min(max(p.next, least), most), size)
		p.block, p.next = make([]E, n), 2*n
		p.made += n
	}
	b := p.block[:0:size]
	p.block = p.block[size:]
	return b
}

// cutInto makes a piece for later out of what is left of a block.
func (p *pieces[E]) cutInto(c int) {
	p.given[c] = append(p.given[c], p.block[:0:1<<c])
	p.block = p.block[1<<c:]
}

// give takes a buffer that take returned, of which nothing is needed any more.
func (p *pieces[E]) give(b []E) {
	n := cap(b)
	if n == 0 || n >= 1<<pieceClasses || n&(n-1) != 0 {
		return
	}
	p.taken -= n
	c := bits.Len(uint(n)) - 1
	p.given[c] = append(p.given[c], b[:0])
}

// grow returns the buffer with room for n elements more.
func (p *pieces[E]) grow(b []E, n int) []E {
	if need := len(b) + n; need > cap(b) {
		to := append(p.take(max(need, 2*cap(b))), b...)
		p.give(b)
		return to
	}
	return b
}

// move returns a copy of the buffer, which is another pieces', without room.
func (p *pieces[E]) move(b []E) []E { return append(p.take(len(b)), b...) }

// review reports whether most of the blocks has been of no use since the last
// review.
func (p *pieces[E]) review() bool {
	var e E
	idle := p.made > 4*p.peak+blocksSlack/int(unsafe.Sizeof(e))
	p.peak = p.taken
	return idle
}
