package cepop

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/leatstream/leat/internal/fields"
)

// stateVersion begins the state of a key. The form is in docs/formats/operator-state.md.
const stateVersion = 1

var errState = errors.New("pattern state is damaged")

// Load makes the state of a key, which is copied, the matcher's.
func (m *Matcher[T]) Load(b []byte) error {
	m.Reset()
	m.buf = append(m.buf[:0], b...)
	r := fields.Read(m.buf)
	if r.Uvarint() != stateVersion {
		return errState
	}
	m.armed = r.Varint()
	last := int64(0)
	for range r.Count() {
		last += r.Varint()
		m.events = append(m.events, event{time: last, row: r.Bytes()})
	}
	for range r.Count() {
		n := node{event: int32(r.Below(len(m.events))), pos: int32(r.Below(len(m.a.positions)))}
		n.parent = int32(r.Below(len(m.nodes)+1)) - 1
		m.nodes = append(m.nodes, n)
	}
	for range r.Count() {
		x := run{node: int32(r.Below(len(m.nodes))), start: int32(r.Below(len(m.events)))}
		flags := r.Uvarint()
		x.open, x.fresh = r.Uvarint(), flags&1 != 0
		if flags&2 != 0 {
			x.free = r.Uvarint()
		}
		m.runs = append(m.runs, x)
	}
	for range r.Count() {
		m.done = append(m.done, run{node: int32(r.Below(len(m.nodes))), start: int32(r.Below(len(m.events)))})
	}
	if !r.Whole() {
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
