package cepop

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
)

// event is a row that some partial match has taken.
type event struct {
	time int64
	row  []byte
	val  int32 // in vals, plus one; 0: not decoded
}

// node is an event as part of a match. A match is a node and its ancestors.
type node struct {
	event, pos, parent int32
}

// run is a partial match.
type run struct {
	node  int32
	start int32  // the event it began with
	open  uint64 // edges that may still be taken
	free  uint64 // edges whose ruleStay holds no more
	fresh bool   // no event has come since, and that matters
}

// Sink takes what a matcher finds. Its functions may be nil.
type Sink[T any] struct {
	// Found takes a match.
	Found func(Match[T])
	// TimedOut takes a partial match whose time is up.
	TimedOut func(Match[T])
}

// Matcher steps one key at a time: it loads the key's state, is given rows in
// order, and saves the state again. It is used on one goroutine.
type Matcher[T any] struct {
	a        *Automaton[T]
	rows     *codec.Codec[T]
	sink     Sink[T]
	partials int // the most partial matches of a key

	events []event
	nodes  []node
	runs   []run // by start, then longest first
	next   []run
	done   []run // whole, held back by the skip strategy
	found  []run
	vals   []T
	arena  codec.Arena // of vals
	buf    []byte      // what the state was loaded from
	fresh  []byte      // rows taken since
	path   []int32
	armed  int64 // the timer that is set for the key
	dirty  bool

	// The row in work.
	cur     *T
	now     int64
	curRow  []byte
	curID   int32
	nodeMap []int32
	evMap   []int32
}

// noTimer is armed's value when no timer is set.
const noTimer = dataflow.TimeMax

// NewMatcher returns a matcher without state. rows encodes rows.
func NewMatcher[T any](a *Automaton[T], rows *codec.Codec[T], partialsMax int, sink Sink[T]) *Matcher[T] {
	m := &Matcher[T]{a: a, rows: rows, partials: partialsMax, sink: sink}
	m.Reset()
	return m
}

// Reset forgets the key: nothing is partly matched.
func (m *Matcher[T]) Reset() {
	m.events, m.nodes, m.runs, m.done = m.events[:0], m.nodes[:0], m.runs[:0], m.done[:0]
	clear(m.vals) // they refer to memory
	m.vals, m.fresh = m.vals[:0], m.fresh[:0]
	m.armed, m.dirty = noTimer, false
}

// Empty reports whether nothing is partly matched.
func (m *Matcher[T]) Empty() bool { return len(m.runs) == 0 && len(m.done) == 0 }

// row returns the row of an event, decoded once.
func (m *Matcher[T]) row(id int32) T {
	e := &m.events[id]
	if e.val == 0 {
		var zero T
		m.vals = append(m.vals, zero)
		src := e.row
		if m.rows.Fixed() == 0 {
			src = m.arena.Bytes(src) // whoever is given the row may keep what it refers to
		}
		if _, err := m.rows.DecodeAlias(src, &m.vals[len(m.vals)-1]); err != nil {
			panic(fmt.Sprintf("pattern state holds a row that does not decode: %v", err))
		}
		e.val = int32(len(m.vals))
	}
	return m.vals[e.val-1]
}

// errTooMany says that a key has more partial matches than it may.
var errTooMany = errors.New("too many partial matches")

// Step gives the matcher the key's next row, whose row form is encoded. Rows
// come in order of time. Both are the caller's again afterwards.
func (m *Matcher[T]) Step(row *T, encoded []byte, at int64) error {
	if err := m.Advance(at); err != nil {
		return err
	}
	m.cur, m.curRow, m.now, m.curID = row, encoded, at, -1
	m.next, m.found = m.next[:0], m.found[:0]
	for i := range m.runs {
		m.stepRun(m.runs[i])
	}
	for i := range m.a.start {
		e := &m.a.start[i]
		if take, _, _ := m.try(e, -1, true, false); take {
			m.take(e, -1, -1)
		}
	}
	m.runs, m.next = m.next, m.runs
	if len(m.found) > 0 {
		m.dirty = true
		if err := m.settle(); err != nil {
			return err
		}
	}
	m.cur = nil
	if len(m.runs)+len(m.done) > m.partials {
		return fmt.Errorf("%w: more than %d", errTooMany, m.partials)
	}
	return nil
}

// stepRun lets a partial match take the row, pass it over, or end.
func (m *Matcher[T]) stepRun(r run) {
	p := &m.a.positions[m.nodes[r.node].pos]
	old := r
	for i := range p.edges {
		bit := uint64(1) << i
		if r.open&bit == 0 {
			continue
		}
		e := &p.edges[i]
		if e.gap > 0 && m.now-m.timeOf(r.node) >= e.gap {
			r.open &^= bit
			continue
		}
		take, pass, free := m.try(e, r.node, r.fresh, r.free&bit != 0)
		if take {
			m.take(e, r.node, r.start)
		}
		if !pass {
			r.open &^= bit
		}
		if free {
			r.free |= bit
		}
	}
	r.fresh = false
	if r != old {
		m.dirty = true
	}
	if r.open != 0 {
		m.next = append(m.next, r)
	}
}

func (m *Matcher[T]) timeOf(n int32) int64 { return m.events[m.nodes[n].event].time }

// try says what the row in work means to an edge of the partial match that
// ends in node, of which no later row is known when it is fresh.
func (m *Matcher[T]) try(e *edge[T], node int32, fresh, free bool) (take, pass, nowFree bool) {
	so := Match[T]{m: m, leaf: node, at: m.now}
	may := true
	for i := range e.rules {
		r := &e.rules[i]
		switch {
		case r.kind == ruleNotNext && !fresh, r.kind == ruleStay && free:
		case r.kind == ruleStay && r.until != nil && r.until(m.cur, so):
			free = true
		case r.cond != nil && !r.cond(m.cur, so):
		case r.kind == ruleNotTaken:
			may = false
		default:
			return false, false, free
		}
	}
	if e.to == end {
		// The next event makes the match whole, unless only time does.
		return !e.atTimeout, e.atTimeout, free
	}
	cond := m.a.positions[e.to].cond
	fits := cond == nil || cond(m.cur, so)
	switch e.after {
	case Relaxed:
		pass = !fits
	case Any:
		pass = true
	case Strict:
	}
	return fits && may, pass, free
}

// take follows an edge with the row in work.
func (m *Matcher[T]) take(e *edge[T], parent, start int32) {
	m.dirty = true
	if e.to == end {
		m.found = append(m.found, run{node: parent, start: start})
		return
	}
	if m.curID < 0 {
		m.curID = int32(len(m.events))
		from := len(m.fresh)
		m.fresh = append(m.fresh, m.curRow...)
		m.events = append(m.events, event{time: m.now, row: m.fresh[from:len(m.fresh):len(m.fresh)]})
	}
	if start < 0 {
		start = m.curID
	}
	p := &m.a.positions[e.to]
	n := int32(len(m.nodes))
	m.nodes = append(m.nodes, node{event: m.curID, pos: int32(e.to), parent: parent})
	if p.accept {
		m.found = append(m.found, run{node: n, start: start})
	}
	if len(p.edges) > 0 {
		m.next = append(m.next, run{node: n, start: start, open: 1<<len(p.edges) - 1, fresh: p.fresh})
	}
}

// Advance tells the matcher that no row before at will come: partial matches
// whose time is up end.
func (m *Matcher[T]) Advance(at int64) error {
	for {
		i, deadline := m.first()
		if i < 0 || deadline > at {
			return nil
		}
		r := m.runs[i]
		m.now, m.dirty = deadline, true
		m.runs = slices.Delete(m.runs, i, i+1)
		m.found = m.found[:0]
		p := &m.a.positions[m.nodes[r.node].pos]
		if m.endsAtTimeout(p, r) {
			m.found = append(m.found, r)
		} else if m.sink.TimedOut != nil && !p.accept {
			m.sink.TimedOut(Match[T]{m: m, leaf: r.node, at: deadline})
		}
		if err := m.settle(); err != nil {
			return err
		}
	}
}

func (m *Matcher[T]) endsAtTimeout(p *position[T], r run) bool {
	for i := range p.edges {
		if p.edges[i].to == end && p.edges[i].atTimeout && r.open>>i&1 == 1 {
			return true
		}
	}
	return false
}

// Deadline returns when the next partial match runs out, noTimer if none does.
func (m *Matcher[T]) Deadline() int64 {
	_, at := m.first()
	return at
}

// first returns the partial match whose time is up first.
func (m *Matcher[T]) first() (i int, deadline int64) {
	i, deadline = -1, noTimer
	if len(m.runs) == 0 {
		return i, deadline
	}
	if !m.a.gaps {
		if m.a.within > 0 {
			return 0, dataflow.AddTime(m.events[m.runs[0].start].time, m.a.within)
		}
		return i, deadline
	}
	for j := range m.runs {
		if d := m.deadline(&m.runs[j]); d < deadline {
			i, deadline = j, d
		}
	}
	return i, deadline
}

func (m *Matcher[T]) deadline(r *run) int64 {
	at := noTimer
	if m.a.within > 0 {
		at = dataflow.AddTime(m.events[r.start].time, m.a.within)
	}
	p := &m.a.positions[m.nodes[r.node].pos]
	most := int64(0)
	for i := range p.edges {
		if r.open>>i&1 == 0 {
			continue
		}
		if p.edges[i].gap == 0 {
			return at
		}
		most = max(most, p.edges[i].gap)
	}
	return min(at, dataflow.AddTime(m.timeOf(r.node), most))
}

// settle emits the matches that were found, and those held back that nothing
// holds back any more, and applies the skip strategy.
func (m *Matcher[T]) settle() error {
	if m.a.skip.Mode == SkipNone {
		for _, r := range m.found {
			m.emit(r)
		}
		return nil
	}
	m.done = append(m.done, m.found...)
	sortRuns(m.done)
	for len(m.done) > 0 && (len(m.runs) == 0 || m.done[0].start <= m.runs[0].start) {
		r := m.done[0]
		m.done = slices.Delete(m.done, 0, 1)
		bound, err := m.skipBound(r)
		if err != nil {
			return err
		}
		m.emit(r)
		gone := func(x run) bool { return x.start < bound }
		m.runs = slices.DeleteFunc(m.runs, gone)
		m.done = slices.DeleteFunc(m.done, gone)
	}
	return nil
}

func (m *Matcher[T]) emit(r run) {
	if m.sink.Found != nil {
		m.sink.Found(Match[T]{m: m, leaf: r.node, at: m.now})
	}
}

// skipBound returns the event before which partial matches that begin are dropped.
func (m *Matcher[T]) skipBound(r run) (int32, error) {
	last := m.nodes[r.node].event
	switch m.a.skip.Mode {
	case SkipToNext:
		return r.start + 1, nil
	case SkipPastLast:
		return last + 1, nil
	case SkipToFirst, SkipToLast:
	case SkipNone:
		return 0, nil
	}
	bound := int32(-1)
	for n := r.node; n >= 0; n = m.nodes[n].parent {
		if m.a.positions[m.nodes[n].pos].name != m.a.skipName {
			continue
		}
		bound = m.nodes[n].event
		if m.a.skip.Mode == SkipToLast {
			break
		}
	}
	if m.a.skip.Strict {
		switch bound {
		case -1:
			return 0, fmt.Errorf("a match has no event of step %q to skip to", m.a.skip.Name)
		case r.start:
			return 0, fmt.Errorf("a match begins with step %q: to skip to there would find it for ever", m.a.skip.Name)
		}
	}
	return bound, nil
}

// Finish says that no row follows: matches that are held back come, at the time
// at, and partial ones are dropped.
func (m *Matcher[T]) Finish(at int64) error {
	m.dirty = m.dirty || !m.Empty()
	m.runs, m.found, m.now = m.runs[:0], m.found[:0], at
	return m.settle()
}

// sortRuns stands alone to be compiled once: in a method of Matcher it would
// be for each type of rows.
func sortRuns(all []run) {
	slices.SortStableFunc(all, func(a, b run) int { return cmp.Compare(a.start, b.start) })
}
