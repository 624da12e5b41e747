package exchange

import "sync/atomic"

// segmentLen is the number of elements in a segment of a ring.
const segmentLen = 16

// ring is a queue between one producer and one consumer, without locks: a
// list of segments of which the consumed one is used again. It takes any
// number of elements; the limit is the channel's, which stops the producer's
// input and not its step.
//
// Each side owns its fields; pushed and popped order the accesses to the
// elements: the consumer reads element i only after pushed > i, and the
// producer reuses a segment only after it was handed back through spare.
type ring struct {
	pushed  atomic.Int64
	tail    *segment
	tailPos int
	_       [64]byte // the two sides write different cache lines
	popped  atomic.Int64
	head    *segment
	headPos int
	spare   atomic.Pointer[segment]
}

type segment struct {
	elements [segmentLen]Element
	next     *segment // published by pushed
}

func newRing() *ring {
	s := &segment{}
	return &ring{tail: s, head: s}
}

// push is called by the producer.
func (r *ring) push(el Element) {
	if r.tailPos == segmentLen {
		s := r.spare.Swap(nil)
		if s == nil {
			s = &segment{}
		}
		r.tail.next = s
		r.tail, r.tailPos = s, 0
	}
	r.tail.elements[r.tailPos] = el
	r.tailPos++
	r.pushed.Add(1)
}

// peek tells the kind of the element that pop would return.
func (r *ring) peek() (Kind, bool) {
	if r.pushed.Load() == r.popped.Load() {
		return 0, false
	}
	r.advance()
	return r.head.elements[r.headPos].Kind, true
}

// advance leaves a segment that is used up; there is a next one when an
// element waits.
func (r *ring) advance() {
	if r.headPos == segmentLen {
		used := r.head
		r.head, r.headPos = used.next, 0
		used.next = nil
		r.spare.Store(used)
	}
}

// pop is called by the consumer.
func (r *ring) pop() (Element, bool) {
	if r.pushed.Load() == r.popped.Load() {
		return Element{}, false
	}
	r.advance()
	el := r.head.elements[r.headPos]
	r.head.elements[r.headPos] = Element{}
	r.headPos++
	r.popped.Add(1)
	return el, true
}

// each calls fn for the elements that wait, oldest first, from the one of the
// given number on, until fn says no; it is the consumer's. The first element
// that was ever pushed has number 0.
func (r *ring) each(from int64, fn func(el *Element) bool) {
	n, end := r.popped.Load(), r.pushed.Load()
	for s, i := r.head, r.headPos; n < end; n++ {
		if i == segmentLen {
			s, i = s.next, 0
		}
		if n >= from && !fn(&s.elements[i]) {
			return
		}
		i++
	}
}

// len is exact for both sides as far as their own work goes.
func (r *ring) len() int { return int(r.pushed.Load() - r.popped.Load()) }
