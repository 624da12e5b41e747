package stream

import (
	"fmt"

	"github.com/leatstream/leat/operators/window"
)

// windowPlan is what the assigner and the options of a window come to for rows
// of type T.
type windowPlan[T any] struct {
	// tables: windows are the same for all keys and have the default trigger,
	// so that each is a table that fires as a whole.
	tables   bool
	sessions bool // sessions with the default trigger
	gap      func(T) int64
	assigner window.Assigner[T]
	trigger  window.Trigger[T]
	evictor  window.Evictor[T]
	merging  bool
	untimed  bool
	faults   []string
}

func planOf[T any](a WindowAssigner, cfg windowConfig, untimedSource string) windowPlan[T] {
	p := windowPlan[T]{
		faults:  append(append([]string(nil), a.faults...), cfg.faults...),
		merging: a.kind == kindSession || a.kind == kindSessionBy,
		untimed: a.kind == kindGlobal || a.kind == kindCount,
	}
	plain := !a.clock && len(cfg.triggers) == 0 && len(cfg.evictors) == 0
	p.tables = plain && a.kind <= kindCumulative
	p.sessions = plain && p.merging
	p.checkLateness(a, cfg)
	untimed := func(why string) {
		p.fault("a window (%s) needs event time%s, but source %q has no watermarks: add stream.Watermarks to its From", a.text, why, untimedSource)
	}
	if untimedSource != "" && !p.untimed && !a.clock {
		untimed("")
	}
	if len(p.faults) > 0 {
		return p
	}
	p.assign(a)
	timed := p.triggers(a, cfg)
	p.evictors(a, cfg)
	if untimedSource != "" && timed {
		untimed(" for its trigger")
	}
	return p
}

func (p *windowPlan[T]) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

func (p *windowPlan[T]) checkLateness(a WindowAssigner, cfg windowConfig) {
	switch d := cfg.lateness; {
	case d < 0:
		p.fault("allowed lateness %s is negative", d)
	case d > windowMax:
		p.fault("allowed lateness %s is longer than %s", d, windowMax)
	case d > 0 && (a.clock || p.untimed):
		p.fault("no row is late in a window without event time (%s): leave AllowedLateness out", a.text)
	}
}

func (p *windowPlan[T]) assign(a WindowAssigner) {
	switch a.kind {
	case kindTumbling, kindSliding, kindCumulative:
		p.assigner = window.Aligned[T](a.tumbling(), a.panes())
	case kindSession:
		gap := a.size.Milliseconds()
		p.gap = func(T) int64 { return gap }
		p.assigner = window.Sessions(p.gap)
	case kindSessionBy:
		gap, ok := a.custom.(func(T) int64)
		if !ok {
			p.otherRows(a)
			return
		}
		p.gap, p.assigner = gap, window.Sessions(gap)
	case kindGlobal, kindCount:
		p.assigner = window.AssignerFunc[T](func(dst []Window, _ T, _ int64) []Window { return append(dst, window.Global()) })
	default:
		own, ok := a.custom.(window.Assigner[T])
		if !ok {
			p.otherRows(a)
			return
		}
		p.assigner = own
	}
}

func (p *windowPlan[T]) otherRows(a WindowAssigner) {
	var zero T
	p.fault("the function of the window (%s) does not take %T, which the rows are", a.text, zero)
}

// triggers chooses the trigger; it reports whether that needs event time.
func (p *windowPlan[T]) triggers(a WindowAssigner, cfg windowConfig) (timed bool) {
	switch n := len(cfg.triggers); {
	case n > 1:
		p.fault("the window (%s) has %d triggers (%s, %s): a window has one", a.text, n, cfg.triggers[0].text, cfg.triggers[1].text)
		return false
	case n == 1 && a.kind == kindCount:
		p.fault("the window (%s) has a trigger of its own: use GlobalWindows with %s", a.text, cfg.triggers[0].text)
		return false
	case n == 1:
		return p.chosen(a, cfg.triggers[0])
	case a.kind == kindGlobal:
		p.fault("GlobalWindows never have a result by themselves: add stream.Trigger, say stream.Trigger(stream.OnCount(100))")
	case a.kind == kindCount && a.every > 0:
		p.trigger = window.AnyRow[T](window.ByCount{N: int64(a.every)})
		p.evictor = window.KeepLast[T](a.rows)
	case a.kind == kindCount:
		p.trigger = window.Purging(window.AnyRow[T](window.ByCount{N: int64(a.rows)}))
	case a.clock:
		p.trigger = window.AnyRow[T](window.ByProcessingTime{})
	default:
		p.trigger = window.AnyRow[T](window.ByEventTime{})
	}
	return false
}

func (p *windowPlan[T]) chosen(a WindowAssigner, s TriggerSpec) (timed bool) {
	p.faults = append(p.faults, s.faults...)
	if len(s.faults) > 0 {
		return false
	}
	switch t := s.trigger.(type) {
	case window.Ungeneric:
		p.trigger = window.AnyRow[T](t)
	case window.Trigger[T]:
		p.trigger = t
	default:
		var zero T
		p.fault("trigger %s does not take %T, which the rows are", s.text, zero)
		return false
	}
	if s.purge {
		p.trigger = window.Purging(p.trigger)
	}
	if _, ok := p.trigger.(window.MergingTrigger); p.merging && !ok {
		p.fault("trigger %s has no method OnMerge, which windows that merge (%s) need", s.text, a.text)
	}
	if s.timed && a.clock {
		p.fault("trigger %s waits for event time in a window of processing time (%s)", s.text, a.text)
	}
	return s.timed
}

func (p *windowPlan[T]) evictors(a WindowAssigner, cfg windowConfig) {
	switch n := len(cfg.evictors); {
	case n == 0:
		return
	case n > 1:
		p.fault("the window (%s) has %d evictors: a window has one", a.text, n)
		return
	case p.evictor != nil:
		p.fault("the window (%s) has an evictor of its own: use GlobalWindows", a.text)
		return
	}
	s := cfg.evictors[0]
	p.faults = append(p.faults, s.faults...)
	if len(s.faults) > 0 {
		return
	}
	switch e := s.evictor.(type) {
	case keepLast:
		p.evictor = window.KeepLast[T](int(e))
	case keepRecent:
		p.evictor = window.KeepRecent[T](int64(e))
	case window.Evictor[T]:
		p.evictor = e
	default:
		var zero T
		p.fault("the evictor does not take %T, which the rows are", zero)
	}
}
