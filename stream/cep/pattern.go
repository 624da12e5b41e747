package cep

import (
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/leatstream/leat/internal/callsite"
	"github.com/leatstream/leat/operators/cepop"
)

// Match is the rows that a match, or a partial one, has taken, by the names of
// the pattern's steps. It is valid during the call that it is given to. The
// rows that it returns may be kept; what they refer to is not changed.
//
// Its methods are Rows, First, Last and Len by the name of a step, All, Start,
// End and Time; `go doc github.com/leatstream/leat/operators/cepop.Match`
// shows them.
type Match[T any] = cepop.Match[T]

// Pattern is a chain of steps. Its methods return a longer or altered copy and
// leave it as it is, so that patterns may share their beginnings. Those that
// have no name concern the last step.
type Pattern[T any] struct {
	p      cepop.Pattern[T]
	last   lastStep
	faults []cepop.Fault
	// never remembers the conditions of the steps right before that must not
	// come: a step with the same one could not be taken.
	never []unsafe.Pointer
}

// lastStep is what is known of the last step besides its description.
type lastStep struct {
	repeats, strictly bool // Times and such, Consecutive and such have been called
	until             bool
	only              unsafe.Pointer // the step's condition, when it has one
}

func here() string {
	return callsite.Outside("github.com/leatstream/leat/stream/cep", "github.com/leatstream/leat/stream")
}

// identity tells one function value from another. Equal ones are the same
// closure over the same variables.
func identity[T any](f func(T) bool) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&f)) }

// Begin starts a pattern with an event for which when holds.
func Begin[T any](name string, when func(T) bool) *Pattern[T] {
	p := &Pattern[T]{}
	p.p.Where = here()
	return p.step(cepop.Step[T]{Name: name}, "Begin", when)
}

// BeginGroup starts a pattern with a group: a pattern that may be repeated or
// optional as a whole.
func BeginGroup[T any](group *Pattern[T]) *Pattern[T] {
	p := &Pattern[T]{}
	p.p.Where = here()
	return p.group(cepop.Strict, "BeginGroup", group)
}

// Next adds a step whose event comes right after the one before, of the same
// key. Without a condition every event fits; several must all hold.
func (p *Pattern[T]) Next(name string, when ...func(T) bool) *Pattern[T] {
	return p.step(cepop.Step[T]{Name: name, After: cepop.Strict}, "Next", when...)
}

// FollowedBy adds a step that takes the first later event that fits.
func (p *Pattern[T]) FollowedBy(name string, when ...func(T) bool) *Pattern[T] {
	return p.step(cepop.Step[T]{Name: name, After: cepop.Relaxed}, "FollowedBy", when...)
}

// FollowedByAny adds a step that takes each later event that fits, in a match
// of its own.
func (p *Pattern[T]) FollowedByAny(name string, when ...func(T) bool) *Pattern[T] {
	return p.step(cepop.Step[T]{Name: name, After: cepop.Any}, "FollowedByAny", when...)
}

// NotNext says that the event right after the one before does not fit. At the
// end of a pattern the match is whole with the next event.
func (p *Pattern[T]) NotNext(name string, when func(T) bool) *Pattern[T] {
	return p.step(cepop.Step[T]{Name: name, After: cepop.Strict, Not: true}, "NotNext", when)
}

// NotFollowedBy says that no event fits until that of the next step, which may
// not either. At the end of a pattern it needs Within: the match is whole when
// that time has passed. After a step that repeats, what must not come ends the
// repetition, too.
func (p *Pattern[T]) NotFollowedBy(name string, when func(T) bool) *Pattern[T] {
	return p.step(cepop.Step[T]{Name: name, After: cepop.Any, Not: true}, "NotFollowedBy", when)
}

// NextGroup is Next for a group.
func (p *Pattern[T]) NextGroup(group *Pattern[T]) *Pattern[T] {
	return p.group(cepop.Strict, "NextGroup", group)
}

// FollowedByGroup is FollowedBy for a group: its first step is followed so.
func (p *Pattern[T]) FollowedByGroup(group *Pattern[T]) *Pattern[T] {
	return p.group(cepop.Relaxed, "FollowedByGroup", group)
}

// FollowedByAnyGroup is FollowedByAny for a group.
func (p *Pattern[T]) FollowedByAnyGroup(group *Pattern[T]) *Pattern[T] {
	return p.group(cepop.Any, "FollowedByAnyGroup", group)
}

// step appends a step; its conditions must all hold.
func (p *Pattern[T]) step(s cepop.Step[T], call string, when ...func(T) bool) *Pattern[T] {
	q := p.copied()
	s.Where, s.Inner = here(), cepop.Relaxed
	var only unsafe.Pointer
	if len(when) == 1 && when[0] != nil {
		only = identity(when[0])
	}
	switch {
	case s.Name == "":
		q.fail(s.Where, "%s has no name: matches are read by the names of steps", call)
	case only != nil && !s.Not && slices.Contains(q.never, only):
		q.fail(s.Where, "step %q can never be taken: its condition is that of a step which must not come before it", s.Name)
	}
	for _, w := range when {
		if w == nil {
			q.fail(s.Where, "%s(%q): the condition is nil; leave it out of a step that takes every event", call, s.Name)
			continue
		}
		s.When = and(s.When, w)
	}
	if s.Not {
		q.never = append(slices.Clip(q.never), only)
	} else {
		q.never = nil
	}
	q.last = lastStep{only: only}
	q.p.Steps = append(slices.Clip(q.p.Steps), s)
	return q
}

func (p *Pattern[T]) group(after cepop.Contiguity, call string, group *Pattern[T]) *Pattern[T] {
	q, where := p.copied(), here()
	q.last, q.never = lastStep{}, nil
	if group == nil {
		q.fail(where, "%s: the group is nil", call)
		return q
	}
	q.faults = append(slices.Clip(q.faults), group.faults...)
	if group.p.Within > 0 || group.p.Skip != (cepop.Skip{}) {
		q.fail(where, "%s: Within and AfterMatch are of the whole pattern, not of a group in it", call)
	}
	q.p.Steps = append(slices.Clip(q.p.Steps), cepop.Step[T]{Where: where, After: after, Group: group.p.Steps, Inner: cepop.Relaxed})
	return q
}

func (p *Pattern[T]) copied() *Pattern[T] {
	q := *p
	q.p.Steps = slices.Clone(p.p.Steps)
	return &q
}

func (p *Pattern[T]) fail(where, format string, args ...any) {
	p.faults = append(slices.Clip(p.faults), cepop.Fault{Where: where, Text: fmt.Sprintf(format, args...)})
}

// and adds a condition to those of a step, nil being none.
func and[T any](c cepop.Cond[T], w func(T) bool) cepop.Cond[T] {
	if c == nil {
		return func(row *T, _ Match[T]) bool { return w(*row) }
	}
	return func(row *T, so Match[T]) bool { return c(row, so) && w(*row) }
}

// alter returns a copy with the last step changed by change, which returns
// what is wrong with it, "" for nothing.
func (p *Pattern[T]) alter(call string, change func(s *cepop.Step[T], known *lastStep) string) *Pattern[T] {
	q, where := p.copied(), here()
	if len(q.p.Steps) == 0 {
		return q // a nil group has been told of
	}
	s := &q.p.Steps[len(q.p.Steps)-1]
	if wrong := change(s, &q.last); wrong != "" {
		of := fmt.Sprintf("step %q", s.Name)
		if s.Group != nil {
			of = "a group"
		}
		q.fail(where, "%s on %s: %s", call, of, wrong)
	}
	return q
}

// Where adds a condition to the last step, which must hold besides the others.
func (p *Pattern[T]) Where(when func(T) bool) *Pattern[T] {
	return p.condition("Where", when == nil, func(c cepop.Cond[T]) cepop.Cond[T] { return and(c, when) })
}

// Or lets events fit the last step for which when holds, besides those that
// fit already.
func (p *Pattern[T]) Or(when func(T) bool) *Pattern[T] {
	return p.condition("Or", when == nil, func(c cepop.Cond[T]) cepop.Cond[T] {
		if c == nil {
			return nil
		}
		return func(row *T, so Match[T]) bool { return c(row, so) || when(*row) }
	})
}

// WhereMatch is Where with what the partial match has taken so far. Looking it
// up costs as much as it is long; what needs no look goes first.
func (p *Pattern[T]) WhereMatch(when func(row T, so Match[T]) bool) *Pattern[T] {
	return p.condition("WhereMatch", when == nil, func(c cepop.Cond[T]) cepop.Cond[T] {
		return func(row *T, so Match[T]) bool { return (c == nil || c(row, so)) && when(*row, so) }
	})
}

// OrMatch is Or with what the partial match has taken so far.
func (p *Pattern[T]) OrMatch(when func(row T, so Match[T]) bool) *Pattern[T] {
	return p.condition("OrMatch", when == nil, func(c cepop.Cond[T]) cepop.Cond[T] {
		if c == nil {
			return nil
		}
		return func(row *T, so Match[T]) bool { return c(row, so) || when(*row, so) }
	})
}

func (p *Pattern[T]) condition(call string, isNil bool, change func(cepop.Cond[T]) cepop.Cond[T]) *Pattern[T] {
	return p.alter(call, func(s *cepop.Step[T], known *lastStep) string {
		switch {
		case isNil:
			return "the condition is nil"
		case s.Group != nil:
			return "a group has no condition of its own: its steps have"
		}
		s.When, known.only = change(s.When), nil
		return ""
	})
}

// Times repeats the last step n times.
func (p *Pattern[T]) Times(n int) *Pattern[T] {
	return p.repeat("Times", n, n, n < 1, "it comes %d times: at least once, or leave it out", n)
}

// TimesBetween repeats the last step at least least and at most most times.
// With a least of 0 it is optional.
func (p *Pattern[T]) TimesBetween(least, most int) *Pattern[T] {
	return p.repeat("TimesBetween", least, most, least < 0 || most < max(least, 1), "it comes between %d and %d times: give 0 or more, and no less than that", least, most)
}

// TimesOrMore repeats the last step at least least times.
func (p *Pattern[T]) TimesOrMore(least int) *Pattern[T] {
	return p.repeat("TimesOrMore", least, 0, least < 1, "it comes %d times or more: at least once, or add Optional", least)
}

// OneOrMore repeats the last step at least once. Bound it with Until or
// Within, or its partial matches stay for ever.
func (p *Pattern[T]) OneOrMore() *Pattern[T] { return p.repeat("OneOrMore", 1, 0, false, "") }

func (p *Pattern[T]) repeat(call string, least, most int, wrong bool, format string, args ...any) *Pattern[T] {
	return p.alter(call, func(s *cepop.Step[T], known *lastStep) string {
		switch {
		case s.Not:
			return "it must not come at all"
		case known.repeats:
			return "how often it comes has been said already"
		case wrong:
			return fmt.Sprintf(format, args...)
		}
		known.repeats = true
		s.Min, s.Max = max(least, 1), most
		s.Optional = s.Optional || least == 0
		return ""
	})
}

// Optional lets the last step be left out.
func (p *Pattern[T]) Optional() *Pattern[T] {
	return p.alter("Optional", func(s *cepop.Step[T], _ *lastStep) string {
		if s.Not {
			return "it must not come at all"
		}
		s.Optional = true
		return ""
	})
}

// Greedy makes the last step repeat as often as it can: no match leaves it, or
// leaves it out, while events come that fit it.
func (p *Pattern[T]) Greedy() *Pattern[T] {
	return p.alter("Greedy", func(s *cepop.Step[T], _ *lastStep) string {
		switch {
		case s.Group != nil:
			return "a group cannot be greedy: make its steps so"
		case s.Max == 1 || s.Min == 0:
			return "it does not repeat: call Times, OneOrMore or their like before"
		case s.Inner == cepop.Any:
			return "with AllowCombinations it repeats in all ways, not as often as it can"
		}
		s.Greedy = true
		return ""
	})
}

// Consecutive wants the repetitions of the last step right after each other.
// Without it other events may lie between them.
func (p *Pattern[T]) Consecutive() *Pattern[T] { return p.inner("Consecutive", cepop.Strict) }

// AllowCombinations repeats the last step with any of the events that fit, in
// matches of their own. Their number may double with each event.
func (p *Pattern[T]) AllowCombinations() *Pattern[T] {
	return p.inner("AllowCombinations", cepop.Any)
}

func (p *Pattern[T]) inner(call string, c cepop.Contiguity) *Pattern[T] {
	return p.alter(call, func(s *cepop.Step[T], known *lastStep) string {
		switch {
		case !known.repeats:
			return "it does not repeat: call Times, OneOrMore or their like before"
		case known.strictly:
			return "one of Consecutive and AllowCombinations has been called already"
		case s.Greedy && c == cepop.Any:
			return "it is greedy, and so repeats as often as it can, not in all ways"
		}
		known.strictly = true
		s.Inner = c
		return ""
	})
}

// Until ends the repetition of the last step at the first event for which stop
// holds; that event does not fit the step.
func (p *Pattern[T]) Until(stop func(T) bool) *Pattern[T] {
	return p.until("Until", stop == nil, func(row *T, _ Match[T]) bool { return stop(*row) }, func(known *lastStep) bool {
		return known.only != nil && known.only == identity(stop)
	})
}

// UntilMatch is Until with what the partial match has taken so far.
func (p *Pattern[T]) UntilMatch(stop func(row T, so Match[T]) bool) *Pattern[T] {
	return p.until("UntilMatch", stop == nil, func(row *T, so Match[T]) bool { return stop(*row, so) }, func(*lastStep) bool { return false })
}

func (p *Pattern[T]) until(call string, isNil bool, stop cepop.Cond[T], same func(*lastStep) bool) *Pattern[T] {
	return p.alter(call, func(s *cepop.Step[T], known *lastStep) string {
		switch {
		case isNil:
			return "the condition is nil"
		case s.Max != 0 || s.Min == 0:
			return "it does not repeat without end: call OneOrMore or TimesOrMore before"
		case known.until:
			return "it has a stop condition already"
		case same(known):
			return "the step can never be taken: it stops at every event that fits it"
		}
		known.until = true
		s.Until = stop
		return ""
	})
}

// Within bounds the time of a match: its last event comes less than d after
// its first. Of several bounds the least holds. What is partly matched by then
// is given up: see TimedOut.
func (p *Pattern[T]) Within(d time.Duration) *Pattern[T] {
	q, where := p.copied(), here()
	if d < time.Millisecond {
		q.fail(where, "Within(%s) is shorter than a millisecond: no match has two events", d)
		return q
	}
	if q.p.Within == 0 || d.Milliseconds() < q.p.Within {
		q.p.Within = d.Milliseconds()
	}
	return q
}

// WithinPrevious bounds the time between two events: each that the last step
// takes comes less than d after the event taken before it. For a group that
// holds for the first event of each repetition.
func (p *Pattern[T]) WithinPrevious(d time.Duration) *Pattern[T] {
	first := len(p.p.Steps) == 1
	return p.alter("WithinPrevious", func(s *cepop.Step[T], known *lastStep) string {
		switch {
		case d < time.Millisecond:
			return fmt.Sprintf("%s is shorter than a millisecond", d)
		case s.Not:
			return "it takes no event: bound the pattern with Within"
		case first && !known.repeats:
			return "there is no event before the first"
		}
		s.Gap = d.Milliseconds()
		return ""
	})
}

// AfterMatch says what becomes of other matches once one is found. Without it
// all are kept, as with NoSkip.
func (p *Pattern[T]) AfterMatch(s SkipStrategy) *Pattern[T] {
	q := p.copied()
	q.p.Skip, q.p.Where = s.skip, here()
	return q
}

// SkipStrategy says which partial matches are dropped when a match is found.
// Matches come in order of their first events then; of those that begin with
// the same event, the one that is whole first comes first, the longest of
// those that become whole together. A match waits until no partial match that
// began earlier is left.
type SkipStrategy struct{ skip cepop.Skip }

// NoSkip keeps all.
func NoSkip() SkipStrategy { return SkipStrategy{} }

// SkipToNext drops those that begin with the same event as the match.
func SkipToNext() SkipStrategy { return SkipStrategy{cepop.Skip{Mode: cepop.SkipToNext}} }

// SkipPastLast drops those that begin with an event up to the match's last:
// no two matches overlap.
func SkipPastLast() SkipStrategy { return SkipStrategy{cepop.Skip{Mode: cepop.SkipPastLast}} }

// SkipToFirst drops those that begin before the first event that step name has
// in the match. A match without one drops nothing.
func SkipToFirst(name string) SkipStrategy {
	return SkipStrategy{cepop.Skip{Mode: cepop.SkipToFirst, Name: name}}
}

// SkipToLast drops those that begin before the last event that step name has
// in the match. A match without one drops nothing.
func SkipToLast(name string) SkipStrategy {
	return SkipStrategy{cepop.Skip{Mode: cepop.SkipToLast, Name: name}}
}

// OrFail makes a match without an event to skip to an error that fails the
// job, and one that begins with it, too.
func (s SkipStrategy) OrFail() SkipStrategy {
	s.skip.Strict = true
	return s
}

// String implements fmt.Stringer: the pattern's shape, as graphs and errors
// show it.
func (p *Pattern[T]) String() string { return cepop.Describe(p.p) }
