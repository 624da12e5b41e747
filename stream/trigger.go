package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators/window"
)

// WindowTrigger says when a window of rows T has a result. One value serves
// all keys: what it remembers of a window is kept by the TriggerContext. For
// sessions it has a method OnMerge as well (window.MergingTrigger).
//
// Its methods are OnElement, OnEventTime and OnProcessingTime; `go doc
// github.com/leatstream/leat/operators/window.Trigger` shows them.
type WindowTrigger[T any] = window.Trigger[T]

// TriggerContext is what a WindowTrigger knows of a window, and may do.
//
// Its methods are Window, Time, Watermark, Now, Complete; Number, SetNumber,
// State, SetState; SetTimer, ClearTimer, SetProcessingTimer and
// ClearProcessingTimer; `go doc
// github.com/leatstream/leat/operators/window.TriggerContext` shows them.
type TriggerContext = window.TriggerContext

// TriggerDecision is what a WindowTrigger wants done with a window.
type TriggerDecision = window.Decision

// Decisions of a trigger. A window that is purged loses its rows.
const (
	TriggerContinue     = window.Continue
	TriggerFire         = window.Fire
	TriggerPurge        = window.Purge
	TriggerFireAndPurge = window.FireAndPurge
)

// TriggerSpec describes a trigger, for Trigger.
type TriggerSpec struct {
	trigger any // window.Ungeneric or window.Trigger[T]
	purge   bool
	timed   bool // needs event time
	text    string
	faults  []string
}

// Trigger replaces the trigger of a window: by default a window has its result
// when it ends, and again for each late row within the allowed lateness. With
// another trigger it has results when that says so, each with all rows so far
// unless they were purged, and none by itself when it ends.
func Trigger(t TriggerSpec) WindowOption {
	return func(c *windowConfig) {
		if t.trigger == nil && len(t.faults) == 0 {
			c.faults = append(c.faults, "the trigger is empty: use one of stream.OnCount, OnClose, OnEventTimeEvery, OnProcessingTimeEvery, OnDelta, CustomTrigger")
			return
		}
		c.triggers = append(c.triggers, t)
	}
}

// OnEventTime has a result when the watermark passes the window's end: the
// default in event time.
func OnEventTime() TriggerSpec {
	return TriggerSpec{trigger: window.ByEventTime{}, timed: true, text: "OnEventTime"}
}

// OnProcessingTime has a result when the clock passes the window's end: the
// default in processing time.
func OnProcessingTime() TriggerSpec {
	return TriggerSpec{trigger: window.ByProcessingTime{}, text: "OnProcessingTime"}
}

// OnCount has a result with each n-th row.
func OnCount(n int) TriggerSpec {
	t := TriggerSpec{trigger: window.ByCount{N: int64(n)}, text: fmt.Sprintf("OnCount(%d)", n)}
	if n < 1 {
		t.fault("trigger %s: give it at least one row", t.text)
	}
	return t
}

// OnEventTimeEvery has a result at each multiple of d of event time by which
// rows have come since the last result, and at the end of the window.
func OnEventTimeEvery(d time.Duration) TriggerSpec {
	t := TriggerSpec{trigger: window.EveryEventTime{Millis: d.Milliseconds()}, timed: true, text: fmt.Sprintf("OnEventTimeEvery(%s)", d)}
	t.sized(d)
	return t
}

// OnProcessingTimeEvery has a result d after the first row that came since the
// last result. The end of the window gives none: EarlyEvery does.
func OnProcessingTimeEvery(d time.Duration) TriggerSpec {
	t := TriggerSpec{trigger: window.EveryProcessingTime{Millis: d.Milliseconds()}, text: fmt.Sprintf("OnProcessingTimeEvery(%s)", d)}
	t.sized(d)
	return t
}

// OnDelta has a result with a row that is more than threshold away, by the
// function of, from the row of the last result, or the window's first row.
func OnDelta[T any](threshold float64, of func(before, now T) float64) TriggerSpec {
	t := TriggerSpec{text: fmt.Sprintf("OnDelta(%v)", threshold)}
	c, err := codec.Of[T]()
	switch {
	case of == nil:
		t.fault("trigger %s: the function is nil", t.text)
	case !(threshold >= 0):
		t.fault("trigger %s: the threshold is not a number from 0", t.text)
	case err != nil:
		t.fault("trigger %s: %v", t.text, err)
	default:
		t.trigger = window.Trigger[T](window.Delta[T]{Threshold: threshold, Of: of, Codec: c})
	}
	return t
}

// Purging drops the rows of a window whenever t has a result.
func Purging(t TriggerSpec) TriggerSpec {
	t.purge = true
	t.text = "Purging " + t.text
	return t
}

// CustomTrigger is a trigger of your own.
func CustomTrigger[T any](t WindowTrigger[T]) TriggerSpec {
	s := TriggerSpec{text: fmt.Sprintf("%T", t)}
	if t == nil {
		s.fault("the trigger of CustomTrigger is nil")
		return s
	}
	s.trigger = t
	return s
}

// EarlyEvery shows the result so far of a window before its end: d of
// processing time after a row came, if it did not end by then. The final
// result comes as always.
func EarlyEvery(d time.Duration) WindowOption {
	t := TriggerSpec{
		trigger: window.EveryProcessingTime{Millis: d.Milliseconds(), Final: true}, timed: true,
		text: fmt.Sprintf("EarlyEvery(%s)", d),
	}
	t.sized(d)
	return Trigger(t)
}

// EarlyCount shows the result so far of a window after each n rows. The final
// result comes as always.
func EarlyCount(n int) WindowOption {
	t := TriggerSpec{trigger: window.EarlyCount{N: int64(n)}, timed: true, text: fmt.Sprintf("EarlyCount(%d)", n)}
	if n < 1 {
		t.fault("trigger %s: give it at least one row", t.text)
	}
	return Trigger(t)
}

func (t *TriggerSpec) fault(format string, args ...any) {
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

func (t *TriggerSpec) sized(d time.Duration) {
	if d < time.Millisecond || d > windowMax {
		t.fault("trigger %s: the time is not between 1ms and %s", t.text, windowMax)
	}
}
