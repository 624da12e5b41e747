package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/operators/window"
)

// windowPlan is what the assigner and the options of a window come to,
// whatever the type of the rows.
type windowPlan struct {
	// tables: windows are the same for all keys and have the default trigger,
	// so that each is a table that fires as a whole.
	tables   bool
	sessions bool // sessions with the default trigger
	merging  bool
	untimed  bool
	rolling  bool          // rolling windows
	each     bool          // of which each row shows what it changes
	once     bool          // or which are shown at their close
	delay    time.Duration // of watermarks, for results at the close
	trigger  TriggerSpec
	evictor  any // keepLast, keepRecent, window.Evictor[T] or nil
	faults   []string
}

func planOf(a WindowAssigner, cfg windowConfig, untimedSource string) windowPlan {
	p := windowPlan{
		faults:  append(append([]string(nil), a.faults...), cfg.faults...),
		merging: a.kind == kindSession || a.kind == kindSessionBy,
		untimed: a.kind == kindGlobal || a.kind == kindCount,
	}
	plain := !a.clock && len(cfg.triggers) == 0 && len(cfg.evictors) == 0
	p.tables = plain && a.kind <= kindCumulative
	p.sessions = plain && p.merging
	p.checkLateness(a, cfg)
	untimed := func(why string) {
		p.fault("a window (%s) needs event time%s, but %s", a.text, why, untimedSource)
	}
	if untimedSource != "" && !p.untimed && !a.clock {
		untimed("")
	}
	if a.kind == kindRolling {
		p.rollingPlan(a, cfg)
		return p
	}
	if len(p.faults) > 0 {
		return p
	}
	timed := p.triggers(a, cfg)
	p.evictors(a, cfg)
	if untimedSource != "" && timed {
		untimed(" for its trigger")
	}
	return p
}

func (p *windowPlan) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

func (p *windowPlan) checkLateness(a WindowAssigner, cfg windowConfig) {
	switch d := cfg.lateness; {
	case d < 0:
		p.fault("allowed lateness %s is negative", d)
	case d > windowMax:
		p.fault("allowed lateness %s is longer than %s", d, windowMax)
	case d > 0 && (a.clock || p.untimed):
		p.fault("no row is late in a window without event time (%s): leave AllowedLateness out", a.text)
	}
}

// triggers chooses the trigger; it reports whether that needs event time.
func (p *windowPlan) triggers(a WindowAssigner, cfg windowConfig) (timed bool) {
	switch n := len(cfg.triggers); {
	case n > 1:
		p.fault("the window (%s) has %d triggers (%s, %s): a window has one", a.text, n, cfg.triggers[0].text, cfg.triggers[1].text)
	case n == 1 && a.kind == kindCount:
		p.fault("the window (%s) has a trigger of its own: use GlobalWindows with %s", a.text, cfg.triggers[0].text)
	case n == 1:
		p.trigger = cfg.triggers[0]
		p.faults = append(p.faults, p.trigger.faults...)
		if _, is := p.trigger.trigger.(onClose); is {
			p.close(a, cfg)
		}
		if _, is := p.trigger.trigger.(onEnd); is {
			p.end(a)
		}
		if p.trigger.timed && a.clock {
			p.fault("trigger %s waits for event time in a window of processing time (%s)", p.trigger.text, a.text)
		}
		return p.trigger.timed
	case a.kind == kindGlobal:
		p.fault("GlobalWindows never have a result by themselves: add stream.Trigger, say stream.Trigger(stream.OnCount(100))")
	case a.kind == kindCount && a.every > 0:
		p.trigger.trigger = window.ByCount{N: int64(a.every)}
		p.evictor = keepLast(a.rows)
	case a.kind == kindCount:
		p.trigger = TriggerSpec{trigger: window.ByCount{N: int64(a.rows)}, purge: true}
	case a.clock:
		p.trigger.trigger = window.ByProcessingTime{}
	default:
		p.trigger.trigger = window.ByEventTime{}
	}
	return false
}

func (p *windowPlan) evictors(a WindowAssigner, cfg windowConfig) {
	switch n := len(cfg.evictors); {
	case n == 0:
	case n > 1:
		p.fault("the window (%s) has %d evictors: a window has one", a.text, n)
	case p.evictor != nil:
		p.fault("the window (%s) has an evictor of its own: use GlobalWindows", a.text)
	default:
		p.faults = append(p.faults, cfg.evictors[0].faults...)
		p.evictor = cfg.evictors[0].evictor
	}
}

// windowParts is a plan for rows of type T. It is made where a window gets its
// function: a plan of a type that Window alone needed would be compiled for
// every keyed stream.
type windowParts[T any] struct {
	gap      func(T) int64 // of sessions
	assigner window.Assigner[T]
	trigger  window.Trigger[T]
	evictor  window.Evictor[T]
}

// partsOf reports ok false when something is wrong with the window.
func partsOf[K comparable, T any](w *WindowedStream[K, T]) (x windowParts[T], ok bool) {
	if len(w.plan.faults) > 0 || w.keyed.codec == nil {
		return x, false
	}
	if w.plan.rolling {
		return x, true // it needs none
	}
	var zero T
	a, e := w.assign, w.keyed.stream.env
	if x.assigner, x.gap = assignerOf[T](a); x.assigner == nil {
		e.fail(w.where, "the function of the window (%s) does not take %T, which the rows are", a.text, zero)
		return x, false
	}
	if x.trigger = triggerOf[T](w.plan.trigger); x.trigger == nil {
		e.fail(w.where, "trigger %s does not take %T, which the rows are", w.plan.trigger.text, zero)
		return x, false
	}
	if _, can := x.trigger.(window.MergingTrigger); w.plan.merging && !can {
		e.fail(w.where, "trigger %s has no method OnMerge, which windows that merge (%s) need", w.plan.trigger.text, a.text)
		return x, false
	}
	switch v := w.plan.evictor.(type) {
	case nil:
	case keepLast:
		x.evictor = window.KeepLast[T](int(v))
	case keepRecent:
		x.evictor = window.KeepRecent[T](int64(v))
	case window.Evictor[T]:
		x.evictor = v
	default:
		e.fail(w.where, "the evictor does not take %T, which the rows are", zero)
		return x, false
	}
	return x, true
}

// assignerOf returns nil when the window's function takes other rows. gap is
// of sessions only.
func assignerOf[T any](a WindowAssigner) (assigner window.Assigner[T], gap func(T) int64) {
	switch a.kind {
	case kindTumbling, kindSliding, kindCumulative:
		return window.Aligned[T](a.tumbling(), a.panes()), nil
	case kindSession:
		size := a.size.Milliseconds()
		gap = func(T) int64 { return size }
		return window.Sessions(gap), gap
	case kindSessionBy:
		gap, ok := a.custom.(func(T) int64)
		if !ok {
			return nil, nil
		}
		return window.Sessions(gap), gap
	case kindGlobal, kindCount:
		return window.AssignerFunc[T](func(dst []Window, _ T, _ int64) []Window { return append(dst, window.Global()) }), nil
	default:
		assigner, _ = a.custom.(window.Assigner[T])
		return assigner, nil
	}
}

// triggerOf returns nil when the trigger takes other rows.
func triggerOf[T any](s TriggerSpec) (trigger window.Trigger[T]) {
	switch t := s.trigger.(type) {
	case window.Ungeneric:
		trigger = window.AnyRow[T](t)
	case window.Trigger[T]:
		trigger = t
	default:
		return nil
	}
	if s.purge {
		return window.Purging(trigger)
	}
	return trigger
}
