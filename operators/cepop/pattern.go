package cepop

import (
	"fmt"
	"slices"
)

// Contiguity says which events may lie between an event and the one taken
// before it.
type Contiguity uint8

// Contiguities.
const (
	// Strict takes the event right after, or none.
	Strict Contiguity = iota
	// Relaxed takes the first later event that fits.
	Relaxed
	// Any takes each later event that fits, in matches of their own.
	Any
)

// Cond says whether a row fits a partial match, so, that would take it. Both
// are valid during the call only.
type Cond[T any] func(row *T, so Match[T]) bool

// Step is a part of a pattern: one event or several, a group of steps, or
// something that must not come.
type Step[T any] struct {
	// Name is unique in the pattern; "" for a group.
	Name string
	// Where is the place in the user's code, for faults.
	Where string
	// After is the contiguity to the step before; of no meaning in the first.
	After Contiguity
	// Not makes it a step that must not come: right after when After is
	// Strict, else until the next step's event.
	Not bool
	// When holds for the events that fit.
	When Cond[T]
	// Group is what a group consists of; When is nil then.
	Group []Step[T]

	// Min and Max are how often it comes; Max 0: without end. Both 0 mean once.
	Min, Max int
	// Inner is the contiguity between repetitions.
	Inner Contiguity
	// Optional steps may be left out.
	Optional bool
	// Greedy steps repeat as often as they can: a match does not leave them
	// out, or behind, while events come that fit them.
	Greedy bool
	// Until ends repetition with the first event for which it holds.
	Until Cond[T]
	// Gap is the time in milliseconds that an event of the step must come
	// within after the one taken before it; 0: no bound.
	Gap int64
}

// SkipMode says what becomes of partial matches when a match is found.
type SkipMode uint8

// Skip modes.
const (
	// SkipNone keeps them all.
	SkipNone SkipMode = iota
	// SkipToNext drops those that begin with the same event.
	SkipToNext
	// SkipPastLast drops those that begin in the match.
	SkipPastLast
	// SkipToFirst drops those that begin in the match before the first event
	// of a step.
	SkipToFirst
	// SkipToLast drops those that begin in the match before the last event of
	// a step.
	SkipToLast
)

// Skip is what happens after a match.
type Skip struct {
	Mode SkipMode
	// Name is the step of SkipToFirst and SkipToLast.
	Name string
	// Strict makes a match without an event of that step an error; else
	// nothing is skipped.
	Strict bool
}

// Pattern is a sequence of steps.
type Pattern[T any] struct {
	Steps []Step[T]
	// Within is the time in milliseconds that the last event must come within
	// after the first; 0: no bound.
	Within int64
	Skip   Skip
	// Where is the place in the user's code of what is not in a step.
	Where string
}

// Fault is why a pattern cannot be used.
type Fault struct {
	Where, Text string
}

// check finds the faults that do not show in a step alone.
func (p *Pattern[T]) check() (faults []Fault) {
	names := make(map[string]string)
	var walk func(steps []Step[T])
	walk = func(steps []Step[T]) {
		for i := range steps {
			s := &steps[i]
			if s.Group != nil {
				walk(s.Group)
				continue
			}
			if first, dup := names[s.Name]; dup {
				faults = append(faults, Fault{s.Where, fmt.Sprintf("two steps of the pattern are named %q (the other at %s): matches are read by name", s.Name, first)})
			}
			names[s.Name] = s.Where
		}
	}
	walk(p.Steps)
	if s := p.Skip; s.Mode == SkipToFirst || s.Mode == SkipToLast {
		if _, ok := names[s.Name]; !ok {
			faults = append(faults, Fault{p.Where, fmt.Sprintf("after a match is skipped to step %q, which the pattern does not have", s.Name)})
		}
	}
	return append(faults, checkNots(p.Steps, p.Within > 0, true)...)
}

// checkNots checks where a sequence says that something must not come.
func checkNots[T any](steps []Step[T], within, top bool) (faults []Fault) {
	for i := range steps {
		s := &steps[i]
		if s.Group != nil {
			faults = append(faults, checkNots(s.Group, within, false)...)
		}
		if !s.Not {
			continue
		}
		last := !slices.ContainsFunc(steps[i:], func(s Step[T]) bool { return !s.Not })
		switch {
		case i == 0:
			faults = append(faults, Fault{s.Where, fmt.Sprintf("the pattern begins with %q, which must not come: begin with what comes", s.Name)})
		case steps[i-1].Optional && !steps[i-1].Not:
			faults = append(faults, Fault{s.Where, fmt.Sprintf("step %q must not come after %q, which is optional: there is no event to count from", s.Name, steps[i-1].Name)})
		case last && !top:
			faults = append(faults, Fault{s.Where, fmt.Sprintf("a group ends with %q, which must not come: put it behind the group", s.Name)})
		case last && s.After != Strict && !within:
			faults = append(faults, Fault{s.Where, fmt.Sprintf("the pattern ends with NotFollowedBy(%q) and would never be whole: bound it with Within", s.Name)})
		}
	}
	return faults
}
