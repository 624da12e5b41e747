package cepop

import (
	"encoding/binary"
	"errors"
	"slices"
)

// stateVersion begins the state of a key. The form is in docs/formats/operator-state.md.
const stateVersion = 1

var errState = errors.New("pattern state is damaged")

// reader reads numbers from the state of a key.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		r.b = nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		r.b = nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// below reads a number that must be less than n.
func (r *reader) below(n int) int32 {
	v := r.uvarint()
	if v >= uint64(n) {
		r.bad = true
		return 0
	}
	return int32(v)
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// count reads the length of a list whose elements take at least a byte each.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad = true
		return 0
	}
	return int(n)
}

// Load makes the state of a key, which is copied, the matcher's.
func (m *Matcher[T]) Load(b []byte) error {
	m.Reset()
	m.buf = append(m.buf[:0], b...)
	r := &reader{b: m.buf}
	if r.uvarint() != stateVersion {
		return errState
	}
	m.armed = r.varint()
	last := int64(0)
	for range r.count() {
		last += r.varint()
		m.events = append(m.events, event{time: last, row: r.bytes()})
	}
	for range r.count() {
		n := node{event: r.below(len(m.events)), pos: r.below(len(m.a.positions))}
		n.parent = r.below(len(m.nodes)+1) - 1
		m.nodes = append(m.nodes, n)
	}
	for range r.count() {
		x := run{node: r.below(len(m.nodes)), start: r.below(len(m.events))}
		flags := r.uvarint()
		x.open, x.fresh = r.uvarint(), flags&1 != 0
		if flags&2 != 0 {
			x.free = r.uvarint()
		}
		m.runs = append(m.runs, x)
	}
	for range r.count() {
		m.done = append(m.done, run{node: r.below(len(m.nodes)), start: r.below(len(m.events))})
	}
	if r.bad || len(r.b) > 0 {
		return errState
	}
	return nil
}

// Append appends the state of the key to dst, without what no partial match
// refers to. Nothing may be asked of the matcher until the next Load or Reset.
func (m *Matcher[T]) Append(dst []byte) []byte {
	m.compact()
	dst = binary.AppendUvarint(dst, stateVersion)
	dst = binary.AppendVarint(dst, m.armed)
	dst = binary.AppendUvarint(dst, uint64(len(m.events)))
	last := int64(0)
	for i := range m.events {
		e := &m.events[i]
		dst = binary.AppendVarint(dst, e.time-last)
		dst = binary.AppendUvarint(dst, uint64(len(e.row)))
		dst = append(dst, e.row...)
		last = e.time
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.nodes)))
	for _, n := range m.nodes {
		dst = binary.AppendUvarint(dst, uint64(n.event))
		dst = binary.AppendUvarint(dst, uint64(n.pos))
		dst = binary.AppendUvarint(dst, uint64(n.parent+1))
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.runs)))
	for _, r := range m.runs {
		dst = appendRun(dst, r)
		flags := uint64(0)
		if r.fresh {
			flags = 1
		}
		if r.free != 0 {
			flags |= 2
		}
		dst = binary.AppendUvarint(dst, flags)
		dst = binary.AppendUvarint(dst, r.open)
		if r.free != 0 {
			dst = binary.AppendUvarint(dst, r.free)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.done)))
	for _, r := range m.done {
		dst = appendRun(dst, r)
	}
	return dst
}

func appendRun(dst []byte, r run) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.node))
	return binary.AppendUvarint(dst, uint64(r.start))
}

// compact drops nodes that no match has, and events that no node has.
func (m *Matcher[T]) compact() {
	m.nodeMap = fill(m.nodeMap, len(m.nodes))
	m.evMap = fill(m.evMap, len(m.events))
	mark := func(runs []run) {
		for _, r := range runs {
			m.evMap[r.start] = 0
			for n := r.node; n >= 0 && m.nodeMap[n] < 0; n = m.nodes[n].parent {
				m.nodeMap[n] = 0
				m.evMap[m.nodes[n].event] = 0
			}
		}
	}
	mark(m.runs)
	mark(m.done)
	m.events = keep(m.events, m.evMap)
	m.nodes = keep(m.nodes, m.nodeMap)
	for i := range m.nodes {
		n := &m.nodes[i]
		n.event = m.evMap[n.event]
		if n.parent >= 0 {
			n.parent = m.nodeMap[n.parent]
		}
	}
	renumber := func(runs []run) {
		for i := range runs {
			runs[i].node, runs[i].start = m.nodeMap[runs[i].node], m.evMap[runs[i].start]
		}
	}
	renumber(m.runs)
	renumber(m.done)
}

func fill(s []int32, n int) []int32 {
	s = slices.Grow(s[:0], n)[:n]
	for i := range s {
		s[i] = -1
	}
	return s
}

// keep drops the elements that are not marked, and makes of the marks the new
// places of the others.
func keep[E any](list []E, marks []int32) []E {
	n := 0
	for i := range list {
		if marks[i] < 0 {
			continue
		}
		marks[i] = int32(n)
		list[n] = list[i]
		n++
	}
	return list[:n]
}
