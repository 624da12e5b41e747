package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/operators/window"
)

// WindowAssigner says into which windows the rows of a key are put.
type WindowAssigner struct {
	kind   assignerKind
	size   time.Duration
	slide  time.Duration
	offset time.Duration
	zone   *time.Location
	clock  bool // of processing time
	rows   int  // of count windows
	every  int
	custom any // func(T) int64 of a dynamic gap, window.Assigner[T]
	text   string
	faults []string
}

type assignerKind int

const (
	kindTumbling assignerKind = iota
	kindSliding
	kindCumulative
	kindSession
	kindSessionBy
	kindGlobal
	kindCount
	kindCustom
	kindRolling
)

// AssignerOption sets an option of an assigner.
type AssignerOption func(*WindowAssigner)

// Offset moves the windows: one of them starts at d after the epoch.
func Offset(d time.Duration) AssignerOption {
	return func(a *WindowAssigner) { a.offset = d }
}

// In cuts the clock on the wall of a place instead of UTC: the windows of a
// day begin at its midnight, and last 23 or 25 hours when the clock is
// changed. It is for tumbling windows whose size divides a day, or is a number
// of days.
func In(loc *time.Location) AssignerOption {
	return func(a *WindowAssigner) {
		if loc == nil {
			a.fault("the location of In is nil: give it one from time.LoadLocation, or leave In out for UTC")
			return
		}
		a.zone = loc
	}
}

// ByProcessingTime makes windows of the clock of the machine instead of event
// time: rows are put into the window of the time at which they come. What is
// where then depends on the run, and no row is late.
func ByProcessingTime() AssignerOption {
	return func(a *WindowAssigner) { a.clock = true }
}

// Tumbling cuts event time into windows of one size, without gap or overlap.
func Tumbling(size time.Duration, opts ...AssignerOption) WindowAssigner {
	a := WindowAssigner{kind: kindTumbling, size: size}
	a.sized("window of", size)
	return a.with(opts, fmt.Sprintf("tumbling %s", size))
}

// Sliding cuts event time into windows of one size that begin every slide: a
// row is in size/slide of them (hopping windows). A row is kept once, in a
// pane that its windows share, when the function can merge panes: Reduce, and
// an Aggregator that is a Merger. Otherwise each of its windows keeps it.
func Sliding(size, slide time.Duration, opts ...AssignerOption) WindowAssigner {
	a := WindowAssigner{kind: kindSliding, size: size, slide: slide}
	if a.sized("window of", size) && a.sized("slide of", slide) {
		switch n := (window.Sliding{Size: size.Milliseconds(), Slide: slide.Milliseconds()}).Count(); {
		case slide > size:
			a.fault("slide %s is longer than the window of %s: rows between windows would be lost; filter them out before, or use a slide of at most the size", slide, size)
		case n > panesMax:
			a.fault("a window of %s every %s is made of %d panes, at most %d: choose a slide that divides the size", size, slide, n, panesMax)
		}
	}
	return a.with(opts, fmt.Sprintf("sliding %s every %s", size, slide))
}

// Cumulative cuts event time into windows that begin together every size and
// end step apart: the first is step long, the next two, the last size. It is
// for totals of a day that are shown every hour.
func Cumulative(size, step time.Duration, opts ...AssignerOption) WindowAssigner {
	a := WindowAssigner{kind: kindCumulative, size: size, slide: step}
	if a.sized("window of", size) && a.sized("step of", step) {
		switch {
		case step > size:
			a.fault("step %s is longer than the window of %s", step, size)
		case size%step != 0:
			a.fault("step %s does not divide the window of %s", step, size)
		case size/step > panesMax:
			a.fault("a window of %s in steps of %s is made of %d panes, at most %d", size, step, size/step, panesMax)
		}
	}
	return a.with(opts, fmt.Sprintf("cumulative %s by %s", size, step))
}

// Session puts rows of a key into one window as long as each comes within gap
// of another: a session ends when no row has come for gap. A late row may join
// two sessions. The function must be able to merge: Reduce, an Aggregator that
// is a Merger, or ProcessWindow. Without a Merger an Aggregator is given all
// rows, which are kept for it.
func Session(gap time.Duration, opts ...AssignerOption) WindowAssigner {
	a := WindowAssigner{kind: kindSession, size: gap}
	a.sized("gap of", gap)
	return a.with(opts, fmt.Sprintf("session gap %s", gap))
}

// SessionBy is Session with a gap that depends on the row: a session ends when
// the gaps of all its rows are over. A gap that is not positive fails the job.
func SessionBy[T any](gap func(v T) time.Duration, opts ...AssignerOption) WindowAssigner {
	a := WindowAssigner{kind: kindSessionBy}
	if gap == nil {
		a.fault("the function of SessionBy is nil")
	} else {
		a.custom = func(v T) int64 { return gap(v).Milliseconds() }
	}
	return a.with(opts, "session with a gap by row")
}

// GlobalWindows puts all rows of a key into one window without an end. It
// needs a Trigger that says when there is a result.
func GlobalWindows() WindowAssigner {
	return WindowAssigner{kind: kindGlobal}.with(nil, "global window")
}

// Count puts each n rows of a key into one window: the result comes with the
// n-th of them. Rows short of n at the end of the input give no result. Time
// plays no part: Window.IsGlobal.
func Count(n int) WindowAssigner {
	a := WindowAssigner{kind: kindCount, rows: n}
	if n < 1 {
		a.fault("window of %d rows: give it at least one", n)
	}
	return a.with(nil, fmt.Sprintf("count %d", n))
}

// CountSliding gives a result of the last n rows of a key, with each every-th
// row. The rows are kept.
func CountSliding(n, every int) WindowAssigner {
	a := WindowAssigner{kind: kindCount, rows: n, every: every}
	switch {
	case n < 1:
		a.fault("window of %d rows: give it at least one", n)
	case every < 1:
		a.fault("a result every %d rows: give it at least one", every)
	case every > n:
		a.fault("a result of %d rows every %d rows would leave rows out: use every of at most %d", n, every, n)
	}
	return a.with(nil, fmt.Sprintf("count %d every %d", n, every))
}

// CustomWindows puts rows into the windows that assign appends to dst for
// them: WindowOf makes one. at is the row's event time in milliseconds. It
// depends on the row and the time alone.
func CustomWindows[T any](assign func(dst []Window, v T, at int64) []Window, opts ...AssignerOption) WindowAssigner {
	a := WindowAssigner{kind: kindCustom}
	if assign == nil {
		a.fault("the function of CustomWindows is nil")
	} else {
		a.custom = window.Assigner[T](window.AssignerFunc[T](assign))
	}
	return a.with(opts, "custom windows")
}

// WindowOf returns the window from one time in milliseconds to another.
func WindowOf(startMillis, endMillis int64) Window { return window.Of(startMillis, endMillis) }

const (
	// panesMax bounds what one window is made of.
	panesMax = 100_000
	// windowMax bounds the size of a window, the slide, and the lateness.
	windowMax = 100 * 365 * 24 * time.Hour
)

func (a *WindowAssigner) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// sized checks a span of time.
func (a *WindowAssigner) sized(what string, d time.Duration) bool {
	switch {
	case d < 0:
		a.fault("%s %s is negative", what, d)
	case d < time.Millisecond:
		a.fault("%s %s is shorter than a millisecond", what, d)
	case d%time.Millisecond != 0:
		a.fault("%s %s is no whole number of milliseconds, which event time is", what, d)
	case d > windowMax:
		a.fault("%s %s is longer than %s: for windows without an end use GlobalWindows with a Trigger", what, d, windowMax)
	default:
		return true
	}
	return false
}

func (a WindowAssigner) with(opts []AssignerOption, text string) WindowAssigner {
	for _, o := range opts {
		if o == nil {
			a.fault("an option of the window (%s) is nil", text)
			continue
		}
		o(&a)
	}
	const day = 24 * time.Hour
	if a.zone != nil {
		switch {
		case a.kind != kindTumbling:
			a.fault("In is for tumbling windows, not %s", text)
		case a.size > 0 && a.size%day != 0 && day%a.size != 0:
			a.fault("window of %s in a time zone neither divides a day nor is a number of days", a.size)
		}
		text += " in " + a.zone.String()
	}
	if a.offset != 0 && a.kind > kindCumulative {
		a.fault("Offset is for tumbling, sliding and cumulative windows, not %s", text)
	}
	if a.clock {
		text += " of processing time"
	}
	if a.offset%time.Millisecond != 0 {
		a.fault("offset %s is no whole number of milliseconds", a.offset)
	}
	a.text = fmt.Sprintf("%s offset %dms", text, a.offset.Milliseconds())
	return a
}

// panes returns the windows, as far as they overlap.
func (a *WindowAssigner) panes() window.Panes {
	size, slide, offset := a.size.Milliseconds(), a.slide.Milliseconds(), a.offset.Milliseconds()
	switch {
	case a.kind == kindSliding && size != slide:
		return window.Sliding{Size: size, Slide: slide, Offset: offset}
	case a.kind == kindCumulative && size != slide:
		return window.Cumulative{Max: size, Step: slide, Offset: offset}
	}
	return nil
}

func (a *WindowAssigner) tumbling() window.Tumbling {
	return window.Tumbling{Size: a.size.Milliseconds(), Offset: a.offset.Milliseconds(), Zone: a.zone}
}

// Merger is implemented by an Aggregator whose accumulators can be merged.
// Windows that share panes are cheaper with it, and sessions need it.
type Merger[A any] interface {
	// Merge adds all that from has to into, which has the records before
	// those of from. from is not used after it. Merging a with b and then c
	// is the same as a with what b and c merge to.
	Merge(into, from *A)
}
