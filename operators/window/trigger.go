package window

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/leatstream/leat/dataflow"
)

// Decision is what becomes of a window after its trigger was asked.
type Decision int

// Decisions. A window that is purged loses its records, not itself.
const (
	Continue Decision = 0
	Fire     Decision = 1
	Purge    Decision = 2
)

// FireAndPurge emits the result, then drops the records.
const FireAndPurge = Fire | Purge

// Trigger says when the result of a window of rows T is emitted. One value
// serves all keys and subtasks: what it remembers of a window is in the
// context. Methods are called on the task's goroutine.
type Trigger[T any] interface {
	// OnElement is called after a row was added to the window.
	OnElement(ctx *TriggerContext, v T) Decision
	// OnEventTime is called when an event-time timer of the window is due.
	OnEventTime(ctx *TriggerContext, at time.Time) Decision
	// OnProcessingTime is called when a processing-time timer is due.
	OnProcessingTime(ctx *TriggerContext, at time.Time) Decision
}

// MergingTrigger is a Trigger for windows that merge, as sessions do.
type MergingTrigger interface {
	// OnMerge is called when the window of the context took the place of
	// others, before OnElement: states are what the trigger remembered of
	// them. Their timers are gone.
	OnMerge(ctx *TriggerContext, states [][]byte)
}

// TriggerContext is what a trigger knows of a window, and may do. It is valid
// during the call only.
type TriggerContext struct {
	win       Window
	time      int64
	watermark int64
	now       int64
	meta      *meta
	timers    windowTimers
}

// windowTimers sets and removes timers of the window in work.
type windowTimers interface {
	setTimer(m *meta, processing bool, at int64)
	clearTimer(m *meta, processing bool, at int64)
}

// Window returns the window.
func (c *TriggerContext) Window() Window { return c.win }

// Time returns the event time of the row in OnElement; ok is false when it
// has none.
func (c *TriggerContext) Time() (t time.Time, ok bool) {
	return time.UnixMilli(c.time).UTC(), c.time != dataflow.TimeNone
}

// Watermark returns the time at or before which no row is expected any more;
// ok is false before the first.
func (c *TriggerContext) Watermark() (t time.Time, ok bool) {
	return time.UnixMilli(c.watermark).UTC(), c.watermark != dataflow.TimeMin
}

// Complete reports whether the watermark has passed the window's end.
func (c *TriggerContext) Complete() bool { return c.win.last() <= c.watermark }

// Now returns the processing time.
func (c *TriggerContext) Now() time.Time { return time.UnixMilli(c.now).UTC() }

// SetTimer sets an event-time timer of the window. The same time again is the
// same timer. All timers of a window go with it.
func (c *TriggerContext) SetTimer(at time.Time) { c.timers.setTimer(c.meta, false, at.UnixMilli()) }

// ClearTimer removes an event-time timer of the window.
func (c *TriggerContext) ClearTimer(at time.Time) { c.timers.clearTimer(c.meta, false, at.UnixMilli()) }

// SetProcessingTimer sets a processing-time timer of the window.
func (c *TriggerContext) SetProcessingTimer(at time.Time) {
	c.timers.setTimer(c.meta, true, at.UnixMilli())
}

// ClearProcessingTimer removes a processing-time timer of the window.
func (c *TriggerContext) ClearProcessingTimer(at time.Time) {
	c.timers.clearTimer(c.meta, true, at.UnixMilli())
}

// State returns what SetState was given last for this window, nil at first.
// It is the window's: it is not to be changed.
func (c *TriggerContext) State() []byte { return c.meta.State }

// SetState keeps b, which is copied, with the window. nil removes it.
func (c *TriggerContext) SetState(b []byte) {
	c.meta.State = slices.Clone(b)
	c.meta.dirty = true
}

// Number is State read as a number, 0 at first.
func (c *TriggerContext) Number() int64 { return numberOf(c.meta.State) }

// SetNumber keeps a number as the state.
func (c *TriggerContext) SetNumber(n int64) {
	c.SetState(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func numberOf(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b))
}

// end is the last instant of the window, when its result is final.
func (c *TriggerContext) end() time.Time { return time.UnixMilli(c.win.last()) }

// Kinds of triggers that do not look at rows; they serve rows of any type.

// Ungeneric is a Trigger that does not look at rows.
type Ungeneric interface {
	OnRow(ctx *TriggerContext) Decision
	OnEventTime(ctx *TriggerContext, at time.Time) Decision
	OnProcessingTime(ctx *TriggerContext, at time.Time) Decision
	MergingTrigger
}

// AnyRow makes a Trigger of one that does not look at rows.
func AnyRow[T any](t Ungeneric) Trigger[T] { return anyRow[T]{t} }

type anyRow[T any] struct{ Ungeneric }

func (a anyRow[T]) OnElement(ctx *TriggerContext, _ T) Decision { return a.OnRow(ctx) }
