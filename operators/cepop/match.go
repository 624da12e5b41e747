package cepop

import (
	"iter"
	"slices"
	"time"
)

// Match is the rows that a match, or a partial one, has taken. It is valid
// during the call that it is given to; the rows that it returns are the
// caller's, but may be those of other matches, too: what they refer to is not
// changed.
type Match[T any] struct {
	m    *Matcher[T]
	leaf int32
	at   int64
}

// path returns the nodes of the match in the order of its events.
func (x Match[T]) path() []int32 {
	p := x.m.path[:0]
	for n := x.leaf; n >= 0; n = x.m.nodes[n].parent {
		p = append(p, n)
	}
	slices.Reverse(p)
	x.m.path = p
	return p
}

// nameOf returns the number of a step's name, -1 when there is none.
func (x Match[T]) nameOf(name string) int {
	return slices.Index(x.m.a.names, name)
}

// Len returns how many rows step name has taken.
func (x Match[T]) Len(name string) (n int) {
	id := x.nameOf(name)
	for i := x.leaf; i >= 0; i = x.m.nodes[i].parent {
		if x.m.a.positions[x.m.nodes[i].pos].name == id {
			n++
		}
	}
	return n
}

// Rows returns the rows that step name has taken, in order of time; nil when
// it has taken none. It costs as much as the match is long.
func (x Match[T]) Rows(name string) (rows []T) {
	id := x.nameOf(name)
	for _, n := range x.path() {
		if x.m.a.positions[x.m.nodes[n].pos].name == id {
			rows = append(rows, x.m.row(x.m.nodes[n].event))
		}
	}
	return rows
}

// First returns the first row that step name has taken, the zero T when it
// has taken none.
func (x Match[T]) First(name string) (row T) {
	id := x.nameOf(name)
	found := int32(-1)
	for i := x.leaf; i >= 0; i = x.m.nodes[i].parent {
		if x.m.a.positions[x.m.nodes[i].pos].name == id {
			found = i
		}
	}
	if found >= 0 {
		row = x.m.row(x.m.nodes[found].event)
	}
	return row
}

// Last returns the last row that step name has taken, the zero T when it has
// taken none.
func (x Match[T]) Last(name string) (row T) {
	id := x.nameOf(name)
	for i := x.leaf; i >= 0; i = x.m.nodes[i].parent {
		if x.m.a.positions[x.m.nodes[i].pos].name == id {
			return x.m.row(x.m.nodes[i].event)
		}
	}
	return row
}

// All yields all rows with the names of their steps, in order of time.
func (x Match[T]) All() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, n := range slices.Clone(x.path()) {
			node := x.m.nodes[n]
			if !yield(x.m.a.names[x.m.a.positions[node.pos].name], x.m.row(node.event)) {
				return
			}
		}
	}
}

// Start returns the time of the first row.
func (x Match[T]) Start() time.Time {
	n := x.leaf
	for n >= 0 && x.m.nodes[n].parent >= 0 {
		n = x.m.nodes[n].parent
	}
	return x.timeOf(n)
}

// End returns the time of the last row.
func (x Match[T]) End() time.Time { return x.timeOf(x.leaf) }

func (x Match[T]) timeOf(node int32) time.Time {
	if node < 0 {
		return x.Time()
	}
	return time.UnixMilli(x.m.events[x.m.nodes[node].event].time).UTC()
}

// Time returns the time of what has happened now: of the row that made the
// match whole, or that is asked about; or the time at which it ran out.
func (x Match[T]) Time() time.Time { return time.UnixMilli(x.at).UTC() }
