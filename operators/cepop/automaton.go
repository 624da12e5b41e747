package cepop

import (
	"fmt"
	"strings"
)

const (
	// positionsMax bounds what repetitions unroll to.
	positionsMax = 4096
	// edgesMax is the number of bits in a set of edges.
	edgesMax = 64
)

// end is where an edge leads that makes a match whole without an event.
const end = -1

// ruleKind says what a rule of an edge forbids.
type ruleKind uint8

const (
	// ruleNever: no event fits cond, up to and with the one taken.
	ruleNever ruleKind = iota
	// ruleNotNext: the event right after does not fit cond.
	ruleNotNext
	// ruleNotTaken: the event taken does not fit cond.
	ruleNotTaken
	// ruleStay: as ruleNever, as long as no event has fit until.
	ruleStay
)

type rule[T any] struct {
	kind        ruleKind
	cond, until Cond[T]
}

// edge leads from a position to one whose event may come next.
type edge[T any] struct {
	to    int
	after Contiguity
	gap   int64
	rules []rule[T]
	// atTimeout marks an edge to the end that is taken when time is up, not
	// by the next event.
	atTimeout bool
}

// position is one event of a match.
type position[T any] struct {
	name   int
	cond   Cond[T]
	edges  []edge[T]
	accept bool // the match is whole here
	fresh  bool // some edge treats the event right after in its own way
	gaps   bool // all edges are bounded in time
}

// Automaton is a compiled pattern. It is immutable.
type Automaton[T any] struct {
	names     []string
	positions []position[T]
	start     []edge[T]
	within    int64
	gaps      bool // some edge is bounded in time
	skip      Skip
	skipName  int
	text      string
}

// String describes the pattern's shape: equal shapes have equal texts, and
// read each other's state.
func (a *Automaton[T]) String() string { return a.text }

// Timed reports whether partial matches can run out of time.
func (a *Automaton[T]) Timed() bool { return a.within > 0 || a.gaps }

// Compile makes the automaton of a pattern, or returns its faults.
func Compile[T any](p Pattern[T]) (*Automaton[T], []Fault) {
	faults := p.check()
	if len(faults) > 0 {
		return nil, faults
	}
	b := &builder[T]{a: &Automaton[T]{within: p.Within, skip: p.Skip, skipName: -1}, index: make(map[string]int)}
	steps := p.Steps
	for len(steps) > 1 && steps[len(steps)-1].Not {
		steps = steps[:len(steps)-1]
	}
	f := b.sequence(steps)
	b.finish(f, p.Steps[len(steps):])
	for i := range b.a.positions {
		if n := len(b.a.positions[i].edges); n > edgesMax {
			b.fault(p.Where, "after an event of step %q, %d others may come next, at most %d: make fewer steps optional", b.a.names[b.a.positions[i].name], n, edgesMax)
			break
		}
	}
	if len(b.faults) > 0 {
		return nil, b.faults
	}
	b.a.text = Describe(p)
	return b.a, nil
}

// Describe returns the shape of a pattern as text.
func Describe[T any](p Pattern[T]) string {
	var sb strings.Builder
	describe(&sb, p.Steps)
	if p.Within > 0 {
		fmt.Fprintf(&sb, " within %dms", p.Within)
	}
	if p.Skip.Mode != SkipNone {
		fmt.Fprintf(&sb, " skip %s", [...]string{"none", "to next", "past last", "to first ", "to last "}[p.Skip.Mode]+p.Skip.Name)
	}
	return sb.String()
}

func describe[T any](sb *strings.Builder, steps []Step[T]) {
	for i := range steps {
		s := &steps[i]
		if i > 0 {
			sb.WriteByte(' ')
			sb.WriteString([...]string{">", ">>", ">>>"}[s.After])
			sb.WriteByte(' ')
		}
		if s.Not {
			sb.WriteByte('!')
		}
		if s.Group != nil {
			sb.WriteByte('(')
			describe(sb, s.Group)
			sb.WriteByte(')')
		} else {
			fmt.Fprintf(sb, "%q", s.Name)
		}
		least, most := s.times()
		switch {
		case most == 0:
			fmt.Fprintf(sb, "{%d,}", least)
		case most > 1:
			fmt.Fprintf(sb, "{%d,%d}", least, most)
		}
		if most != 1 {
			sb.WriteString([...]string{"consecutive", "", "combinations"}[s.Inner])
		}
		if s.Optional {
			sb.WriteByte('?')
		}
		if s.Greedy {
			sb.WriteString(" greedy")
		}
		if s.Until != nil {
			sb.WriteString(" until")
		}
		if s.Gap > 0 {
			fmt.Fprintf(sb, " gap %dms", s.Gap)
		}
	}
}

func (s *Step[T]) times() (least, most int) {
	if s.Min == 0 && s.Max == 0 {
		return 1, 1
	}
	return max(s.Min, 1), s.Max
}
