package memstate

import "encoding/binary"

// An entry starts with a header of little-endian 32-bit words:
//
//	word 0   flags | stamp << 4 | key length << 11
//	word 1   value length     (not in fixed-size tables)
//	word 2   room for a value (not in fixed-size tables)
//	word 3   length of the key's part before the subkey (sub tables)
//	word 4   reference+1 of the previous entry under the key (sub tables)
//	word 5   reference+1 of the next one (sub tables)
//
// then the key and the value. Word 0 is never 0 in an entry, so a zero ends a
// page that is not full.
const (
	flagUsed = 1 << iota
	flagDead
	flagHead // in sub tables: stands for the key; its value is a subHead
	flagNew  // made in the epoch of its stamp
	flagBits = iota

	// The stamp says in which epoch the entry was last written, see stampOf.
	stampMask = 1<<keyShift - 1<<flagBits
	keyShift  = flagBits + 7
	// ageMask is what changes of word 0 while an entry stays the same.
	ageMask = stampMask | flagNew
)

// layout is what a table knows of its entries.
type layout struct {
	header int
	fixed  int // size of every value, 0: varies
	sub    bool
}

func newLayout(fixed int, sub bool) layout {
	switch {
	case sub:
		return layout{header: 24, sub: true}
	case fixed > 0:
		return layout{header: 4, fixed: fixed}
	}
	return layout{header: 12}
}

func word(e []byte, i int) uint32 { return binary.LittleEndian.Uint32(e[4*i:]) }

func setWord(e []byte, i int, v uint32) { binary.LittleEndian.PutUint32(e[4*i:], v) }

func keyLen(e []byte) int { return int(binary.LittleEndian.Uint32(e) >> keyShift) }

// key returns the whole key, with the subkey.
func (l layout) key(e []byte) []byte {
	end := l.header + keyLen(e)
	return e[l.header:end:end]
}

// room is the number of bytes that a value of this entry may take in place.
func (l layout) room(e []byte) int {
	if l.fixed > 0 {
		return l.fixed
	}
	return int(word(e, 2))
}

// size is the number of bytes that the entry takes in its page.
func (l layout) size(e []byte) int { return align8(l.header + keyLen(e) + l.room(e)) }

func (l layout) value(e []byte) []byte {
	from := l.header + keyLen(e)
	n := l.fixed
	if n == 0 {
		n = int(word(e, 1))
	}
	return e[from : from+n : from+n]
}

// parts splits the key of an entry of a sub table.
func (l layout) parts(e []byte) (key, sub []byte) {
	n := int(word(e, 3))
	whole := l.key(e)
	return whole[:n:n], whole[n:]
}

// subHead is the value of a head entry: how many entries the key has, and the
// first and last of their list, as reference+1.
type subHead struct{ count, first, last uint32 }

const subHeadBytes = 12

func loadHead(v []byte) subHead { return subHead{word(v, 0), word(v, 1), word(v, 2)} }

func (h subHead) store(v []byte) {
	setWord(v, 0, h.count)
	setWord(v, 1, h.first)
	setWord(v, 2, h.last)
}

// each calls fn for every live entry of the pages, until it returns false.
func (l layout) each(bufs [][]byte, fn func(r reference, e []byte) bool) {
	for p, buf := range bufs {
		if !l.eachIn(uint32(p), buf, fn) {
			return
		}
	}
}

func (l layout) eachIn(p uint32, buf []byte, fn func(r reference, e []byte) bool) bool {
	for off := 0; off < len(buf); {
		e := buf[off:]
		w := word(e, 0)
		if w == 0 {
			break
		}
		if w&flagDead == 0 && !fn(refOf(p, off), e) {
			return false
		}
		off += l.size(e)
	}
	return true
}
