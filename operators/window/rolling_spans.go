package window

import (
	"bytes"

	"github.com/leatstream/leat/state"
)

// idleMax bounds the spans that are kept for other keys, timesLooseMax and
// bytesLooseMax the buffers that are kept for times of any key.
const (
	idleMax       = 1024
	timesLooseMax = 4 << 10
	bytesLooseMax = 64 << 10
)

// spanPieces are the buffers of spans.
type spanPieces struct {
	lists pieces[timeOf]
	bytes pieces[byte]
	ends  pieces[int]
}

// review reports whether little of them has been of use since the last review.
func (p *spanPieces) review() bool {
	lists, values, ends := p.lists.review(), p.bytes.review(), p.ends.review()
	return lists || values || ends
}

// spans is a copy of the times of a key, and how far folding them has come.
type spans[A any] struct {
	hash uint64
	key  []byte
	// In order of time; vals holds the encoded accumulators, and dead bytes
	// that are no more of any. room is empty and begins where the memory of list
	// does.
	list, room []timeOf
	vals       []byte
	dead       int

	// The span in work is list[from:to]. Of [from, flip) suffixes holds the
	// sums up to flip, encoded, the last time alone first: ends is where each
	// of them ends. back is the sum of [flip, to).
	from, flip, to int
	suffixes       []byte
	ends           []int
	back           A
}

// timeOf is a time and where its accumulator lies in vals.
type timeOf struct {
	at       int64
	off, end int
}

// put changes the accumulator of a time, or adds it. It returns false when a
// sum may have the time already.
func (x *timesOfKey[A]) put(s *spans[A], t int64, val []byte) bool {
	i := s.search(t)
	if i < s.to && i < len(s.list) {
		return false
	}
	if i == len(s.list) || s.list[i].at != t {
		x.grow(s)
		s.list = s.list[:len(s.list)+1]
		copy(s.list[i+1:], s.list[i:])
		s.list[i] = timeOf{at: t, off: len(s.vals), end: len(s.vals) + len(val)}
		s.vals = append(x.pool.bytes.grow(s.vals, len(val)), val...)
		return true
	}
	e := &s.list[i]
	if e.end-e.off == len(val) {
		copy(s.vals[e.off:], val)
		return true
	}
	s.dead += e.end - e.off
	e.off, e.end = len(s.vals), len(s.vals)+len(val)
	s.vals = append(x.pool.bytes.grow(s.vals, len(val)), val...)
	return true
}

// grow makes room for another time.
func (x *timesOfKey[A]) grow(s *spans[A]) {
	switch {
	case len(s.list) < cap(s.list):
	case 2*len(s.list) < cap(s.room):
		s.list = append(s.room, s.list...)
	default:
		x.relist(s, max(1, 2*cap(s.room)))
	}
}

// relist moves the times to a list with room for n.
func (x *timesOfKey[A]) relist(s *spans[A], n int) {
	room := x.pool.lists.take(n)
	s.list = append(room, s.list...)
	x.pool.lists.give(s.room)
	s.room = room
}

// cut removes the first n times. What has come no further than them is made
// anew with the next span, which begins behind them.
func (s *spans[A]) cut(n int) {
	for _, e := range s.list[:n] {
		s.dead += e.end - e.off
	}
	s.list = s.list[n:]
	s.from, s.flip, s.to = max(0, s.from-n), max(0, s.flip-n), max(0, s.to-n)
}

// lay puts the values in the order of their times, without gaps, and gives
// back what a burst took.
func (x *timesOfKey[A]) lay(s *spans[A]) {
	x.moved = x.moved[:0]
	for i := range s.list {
		e := &s.list[i]
		off := len(x.moved)
		x.moved = append(x.moved, s.vals[e.off:e.end]...)
		e.off, e.end = off, len(x.moved)
	}
	if cap(s.vals) > 4*len(x.moved)+1024 {
		x.pool.bytes.give(s.vals)
		s.vals = x.pool.bytes.take(len(x.moved))
	}
	s.vals, s.dead = append(s.vals[:0], x.moved...), 0
	if cap(s.room) > 4*len(s.list)+64 {
		x.relist(s, len(s.list))
		return
	}
	s.list = append(s.room, s.list...)
}

// find returns the copy of a key, if there is one.
func (x *timesOfKey[A]) find(k state.Key) *spans[A] {
	if s := x.kept[k.Hash]; s != nil && bytes.Equal(s.key, k.Bytes) {
		return s
	}
	return nil
}

// resume loads the times of a key to go on with spans behind those of before.
func (x *timesOfKey[A]) resume(k state.Key) error {
	if x.spans = x.find(k); x.spans != nil {
		return nil
	}
	if other := x.kept[k.Hash]; other != nil { // one of the two keys must do without
		x.drop(other)
	}
	x.spans = x.obtain(k)
	if err := x.scan(k); err != nil {
		return err
	}
	if x.size+len(x.list) > x.max {
		for _, other := range x.kept {
			x.drop(other)
		}
	}
	x.size += len(x.list)
	if len(x.list) == 0 {
		x.empty++
	}
	x.kept[k.Hash] = x.spans
	return nil
}

// obtain returns spans without times for a key.
func (x *timesOfKey[A]) obtain(k state.Key) *spans[A] {
	s := &spans[A]{}
	if n := len(x.idle) - 1; n >= 0 {
		s, x.idle = x.idle[n], x.idle[:n]
	}
	s.hash, s.key = k.Hash, append(x.pool.bytes.take(len(k.Bytes)), k.Bytes...)
	return s
}

// drop gives up the copy of a key.
func (x *timesOfKey[A]) drop(s *spans[A]) {
	x.size -= len(s.list)
	if len(s.list) == 0 {
		x.empty--
	}
	delete(x.kept, s.hash)
	x.strip(s)
	x.pool.bytes.give(s.key)
	s.key = nil
	x.idle = append(x.idle, s)
}

// strip empties spans and gives back what they were made of.
func (x *timesOfKey[A]) strip(s *spans[A]) {
	x.pool.lists.give(s.room)
	x.pool.bytes.give(s.vals)
	x.pool.bytes.give(s.suffixes)
	x.pool.ends.give(s.ends)
	*s = spans[A]{hash: s.hash, key: s.key}
}

// shed gives up the keys without times once they are more than the others.
func (x *timesOfKey[A]) shed() {
	if x.empty <= idleMax+len(x.kept)/2 {
		return
	}
	for _, s := range x.kept {
		if len(s.list) == 0 {
			x.drop(s)
		}
	}
	if len(x.idle) > idleMax {
		clear(x.idle[idleMax:])
		x.idle = x.idle[:idleMax]
	}
}

// review makes all spans anew when, after a burst, little of what they are
// made of is in use. It looks when each key may have been there a few times.
func (x *timesOfKey[A]) review() {
	if x.forgets++; x.forgets < 4*(idleMax+len(x.kept)) {
		return
	}
	x.forgets = 0
	if !x.pool.review() {
		return
	}
	x.strip(&x.loose)
	x.pool = spanPieces{}
	for _, s := range x.kept {
		s.key = x.pool.bytes.move(s.key)
		s.list = x.pool.lists.move(s.list)
		s.room = s.list[:0]
		s.vals, s.suffixes = x.pool.bytes.move(s.vals), x.pool.bytes.move(s.suffixes)
		s.ends = x.pool.ends.move(s.ends)
	}
}
