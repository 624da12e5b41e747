package cepop

import (
	"fmt"
	"slices"
)

// builder makes an automaton from the inside out, as Glushkov's construction
// does: a fragment is where a part of the pattern is entered and left.
type builder[T any] struct {
	a      *Automaton[T]
	index  map[string]int // names
	faults []Fault
}

// entry is a position that a fragment may begin with.
type entry[T any] struct {
	edge edge[T]
	// head marks the first step of a group, which is reached as the group is.
	head bool
}

// exit is a position that a fragment may end with.
type exit[T any] struct {
	from  int
	rules []rule[T] // for every edge from here out of the fragment
}

// place names an edge.
type place struct{ from, edge int }

type fragment[T any] struct {
	entries []entry[T]
	exits   []exit[T]
	// skip holds the rules for leaving the fragment out; nil: it cannot be.
	skip *[]rule[T]
	// loops are the edges from one repetition of the last step to the next.
	loops []place
}

func (b *builder[T]) fault(where, format string, args ...any) {
	b.faults = append(b.faults, Fault{where, fmt.Sprintf(format, args...)})
}

func (b *builder[T]) name(s string) int {
	i, ok := b.index[s]
	if !ok {
		i = len(b.a.names)
		b.index[s] = i
		b.a.names = append(b.a.names, s)
	}
	return i
}

// join adds an edge for each way from one fragment into another.
func (b *builder[T]) join(exits []exit[T], entries []entry[T]) (added []place) {
	for _, x := range exits {
		p := &b.a.positions[x.from]
		for _, n := range entries {
			e := n.edge
			e.rules = slices.Concat(x.rules, e.rules)
			added = append(added, place{x.from, len(p.edges)})
			p.edges = append(p.edges, e)
		}
	}
	return added
}

// sequence compiles steps, the last of which is none that must not come.
func (b *builder[T]) sequence(steps []Step[T]) fragment[T] {
	f := fragment[T]{skip: &[]rule[T]{}}
	for i := range steps {
		s := &steps[i]
		if s.Not {
			b.forbid(&f, s)
			continue
		}
		next := b.step(s)
		b.join(f.exits, next.entries)
		if f.skip != nil {
			for _, n := range next.entries {
				n.edge.rules = slices.Concat(*f.skip, n.edge.rules)
				n.head = n.head && i == 0
				f.entries = append(f.entries, n)
			}
		}
		if next.skip == nil {
			f.exits, f.skip = next.exits, nil
		} else {
			for j := range f.exits {
				f.exits[j].rules = slices.Concat(f.exits[j].rules, *next.skip)
			}
			// Those that stay longer come first.
			f.exits = slices.Concat(next.exits, f.exits)
			if f.skip != nil {
				skip := slices.Concat(*f.skip, *next.skip)
				f.skip = &skip
			}
		}
		f.loops = next.loops
	}
	return f
}

// forbid adds a step that must not come to the ways out of f. It holds between
// the repetitions of the step before, too: what ends a loop ends it for good.
func (b *builder[T]) forbid(f *fragment[T], s *Step[T]) {
	r := rule[T]{kind: ruleNever, cond: s.When}
	if s.After == Strict {
		r.kind = ruleNotNext
	}
	for _, l := range f.loops {
		leaves := slices.ContainsFunc(f.exits, func(x exit[T]) bool { return x.from == l.from })
		if r.kind == ruleNever || leaves {
			e := &b.a.positions[l.from].edges[l.edge]
			e.rules = append(slices.Clip(e.rules), r)
		}
	}
	for i := range f.exits {
		f.exits[i].rules = append(slices.Clip(f.exits[i].rules), r)
	}
}

// step compiles one step with its repetitions.
func (b *builder[T]) step(s *Step[T]) fragment[T] {
	least, most := s.times()
	last := most
	if most == 0 {
		last = least
	}
	f := fragment[T]{}
	var cur fragment[T]
	for n := 1; n <= last && len(b.faults) == 0; n++ {
		body := b.body(s)
		if n == 1 {
			f.entries = b.first(s, body.entries)
			if body.skip != nil {
				b.nullable(s, &f, body)
			}
		} else {
			f.loops = append(f.loops, b.join(cur.exits, b.again(s, body.entries))...)
		}
		cur = body
		if n >= least {
			f.exits = append(f.exits, b.leaving(s, cur.exits, n < last || most == 0)...)
		}
	}
	if most == 0 {
		f.loops = append(f.loops, b.join(cur.exits, b.again(s, cur.entries))...)
	}
	if s.Optional {
		skip := b.stay(s)
		f.skip = &skip
	}
	return f
}

// nullable passes on that a group can be left out since all of it is optional.
func (b *builder[T]) nullable(s *Step[T], f *fragment[T], body fragment[T]) {
	if least, most := s.times(); least != 1 || most != 1 {
		b.fault(s.Where, "a group is repeated, but may be empty: give it a step that is not optional")
	}
	f.skip = body.skip
}

// body compiles what is repeated, once.
func (b *builder[T]) body(s *Step[T]) fragment[T] {
	if s.Group == nil {
		if len(b.a.positions) >= positionsMax {
			b.fault(s.Where, "the pattern has more than %d events with its repetitions written out, the bound: repeat less", positionsMax)
			return fragment[T]{}
		}
		p := len(b.a.positions)
		b.a.positions = append(b.a.positions, position[T]{name: b.name(s.Name), cond: s.When})
		return fragment[T]{
			entries: []entry[T]{{edge: edge[T]{to: p, after: s.After, gap: s.Gap}, head: true}},
			exits:   []exit[T]{{from: p}},
		}
	}
	from := len(b.a.positions)
	f := b.sequence(s.Group)
	if s.Until != nil {
		for i := from; i < len(b.a.positions); i++ {
			for j := range b.a.positions[i].edges {
				e := &b.a.positions[i].edges[j]
				e.rules = append(slices.Clip(e.rules), rule[T]{kind: ruleNever, cond: s.Until})
			}
		}
	}
	return f
}

// first returns the ways into a step from the one before.
func (b *builder[T]) first(s *Step[T], entries []entry[T]) []entry[T] {
	out := slices.Clone(entries)
	for i := range out {
		e := &out[i].edge
		if out[i].head {
			e.after, e.gap = s.After, leastGap(e.gap, s.Gap)
		}
		if s.Until != nil {
			e.rules = append(slices.Clip(e.rules), rule[T]{kind: ruleNotTaken, cond: s.Until})
		}
	}
	return out
}

// again returns the ways into a step from itself.
func (b *builder[T]) again(s *Step[T], entries []entry[T]) []entry[T] {
	out := slices.Clone(entries)
	for i := range out {
		e := &out[i].edge
		if out[i].head {
			e.after, e.gap = s.Inner, leastGap(e.gap, s.Gap)
		}
		if s.Until != nil {
			e.rules = append(slices.Clip(e.rules), rule[T]{kind: ruleNever, cond: s.Until})
		}
	}
	return out
}

// leastGap returns the shorter of two bounds, 0 being none.
func leastGap(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// leaving returns the ways out of a step.
func (b *builder[T]) leaving(s *Step[T], exits []exit[T], more bool) []exit[T] {
	out := slices.Clone(exits)
	if more {
		for i := range out {
			out[i].rules = slices.Concat(out[i].rules, b.stay(s))
		}
	}
	return out
}

// stay is the rule of greedy steps.
func (b *builder[T]) stay(s *Step[T]) []rule[T] {
	if !s.Greedy {
		return []rule[T]{}
	}
	return []rule[T]{{kind: ruleStay, cond: s.When, until: s.Until}}
}

// finish makes the automaton's start and end. nots must not come at the end.
func (b *builder[T]) finish(f fragment[T], nots []Step[T]) {
	a := b.a
	for i := range f.exits {
		f.exits[i].rules = nil // rules are about an event to come, and none does
	}
	timed := false
	for i := range nots {
		b.forbid(&f, &nots[i])
		timed = timed || nots[i].After != Strict
	}
	for _, x := range f.exits {
		p := &a.positions[x.from]
		if len(nots) == 0 {
			p.accept = true
			continue
		}
		p.edges = append(p.edges, edge[T]{to: end, after: Any, rules: x.rules, atTimeout: timed})
	}
	for _, n := range f.entries {
		n.edge.gap = 0
		n.edge.rules = slices.DeleteFunc(slices.Clone(n.edge.rules), func(r rule[T]) bool { return r.kind == ruleNotNext || r.kind == ruleNever })
		a.start = append(a.start, n.edge)
	}
	for i := range a.positions {
		p := &a.positions[i]
		p.gaps = len(p.edges) > 0
		for j := range p.edges {
			e := &p.edges[j]
			a.gaps = a.gaps || e.gap > 0
			p.gaps = p.gaps && e.gap > 0
			p.fresh = p.fresh || slices.ContainsFunc(e.rules, func(r rule[T]) bool { return r.kind == ruleNotNext })
		}
	}
	if a.skip.Name != "" {
		a.skipName = b.name(a.skip.Name)
	}
}
