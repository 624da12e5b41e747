package window

import (
	"bytes"
	"math/bits"
)

// slot is one (window, key) that records of the batch in work touch.
type slot[K comparable, A any] struct {
	hash uint64
	win  Window
	key  K
	acc  A
	// enc is the range of the encoded key in slots.keys.
	encFrom, encTo int
	// refire: the window has fired before; its result is emitted again.
	refire bool
	fired  int64 // how far windows of the key had fired then
}

// slots finds the slot of a record by hash, window and key: an
// open-addressing table made anew for each batch, so that state is read and
// written once per batch, window and key instead of once per record.
type slots[K comparable, A any] struct {
	list  []slot[K, A]
	index []int32 // slot number + 1; a power of two, at least twice the rows
	keys  []byte  // encoded keys
	shift uint

	encode  func(dst []byte, key *K) []byte
	scratch []byte
}

// reset empties the table and makes room for a batch of rows.
func (s *slots[K, A]) reset(rows int) {
	size := 1 << bits.Len(uint(max(rows, 8)*2-1))
	// A table much larger than the batch is cut, so that clearing it costs
	// what the batch does.
	if size > cap(s.index) {
		s.index = make([]int32, size)
	} else {
		s.index = s.index[:size]
		clear(s.index)
	}
	s.shift = uint(64 - bits.Len(uint(size-1)))
}

// release lets go of keys and accumulators, which may hold on to the batch.
func (s *slots[K, A]) release() {
	clear(s.list)
	s.list = s.list[:0]
	s.keys = s.keys[:0]
}

// find returns the number of the slot, or -1 and the place in the index where
// it belongs.
func (s *slots[K, A]) find(hash uint64, start int64, key K) (n int32, place int) {
	mask := len(s.index) - 1
	// The start is mixed in so that one key's windows do not collide.
	at := int((hash ^ uint64(start)*0x9e3779b97f4a7c15) >> s.shift)
	for {
		n := s.index[at]
		if n == 0 {
			return -1, at
		}
		if x := &s.list[n-1]; x.hash == hash && x.win.start == start && (x.key == key || s.same(x, key)) {
			return n - 1, at
		}
		at = (at + 1) & mask
	}
}

// same compares encoded keys: NaN differs from itself in Go, but all NaN are
// one key in state. It is not inlined, so that find's key stays off the heap.
//
//go:noinline
func (s *slots[K, A]) same(x *slot[K, A], key K) bool {
	k := key
	s.scratch = s.encode(s.scratch[:0], &k)
	return bytes.Equal(s.scratch, s.encoded(x))
}

// add makes a slot at a place that find returned.
func (s *slots[K, A]) add(place int, x slot[K, A]) *slot[K, A] {
	s.list = append(s.list, x)
	added := &s.list[len(s.list)-1]
	added.encFrom = len(s.keys)
	s.keys = s.encode(s.keys, &added.key)
	added.encTo = len(s.keys)
	s.index[place] = int32(len(s.list))
	return added
}

func (s *slots[K, A]) encoded(x *slot[K, A]) []byte { return s.keys[x.encFrom:x.encTo] }
