// Package window holds the operator that gathers keyed records into
// event-time windows. Its state is a table per window, not a timer per key:
// firing scans one namespace and dropping it is one call. It knows nothing of
// how records were partitioned or where results go.
package window

import (
	"cmp"
	"time"

	"github.com/leatstream/leat/dataflow"
)

// Window is a span of event time: start is inside, end is not.
type Window struct {
	start, end int64
}

// Of returns the window between two times in milliseconds.
func Of(startMillis, endMillis int64) Window { return Window{start: startMillis, end: endMillis} }

// Start returns the first instant of the window.
func (w Window) Start() time.Time { return time.UnixMilli(w.start).UTC() }

// End returns the first instant after the window.
func (w Window) End() time.Time { return time.UnixMilli(w.end).UTC() }

// StartMillis returns the start in milliseconds since the epoch.
func (w Window) StartMillis() int64 { return w.start }

// EndMillis returns the end in milliseconds since the epoch.
func (w Window) EndMillis() int64 { return w.end }

// last is the greatest event time in the window: the watermark at which it is
// complete, and the event time of its result.
func (w Window) last() int64 { return w.end - 1 }

// Tumbling cuts event time into windows of Size milliseconds without gap or
// overlap; one of them starts at Offset. Size > 0.
type Tumbling struct {
	Size, Offset int64
	// Zone, unless nil, is whose clock on the wall is cut instead: a day of a
	// change of the clock has 23 or 25 hours. Size divides a day, or is a
	// number of days.
	Zone *time.Location
}

// Assign returns the window that holds t. Windows at the very ends of time
// are clipped to them.
func (a Tumbling) Assign(t int64) Window {
	if a.Zone != nil {
		return a.assignInZone(t)
	}
	rem := a.into(t)
	return Window{start: dataflow.AddTime(t, -rem), end: dataflow.AddTime(t, a.Size-rem)}
}

// from returns the window that starts at start, a value that Assign gave.
func (a Tumbling) from(start int64) Window {
	if a.Zone != nil {
		return a.assignInZone(start)
	}
	return Window{start: start, end: dataflow.AddTime(start, a.Size-a.into(start))}
}

// into returns how far t lies in its window, 0 to Size-1. Each remainder is
// brought to the positive side before they are subtracted, so that times
// before the epoch are right and nothing overflows.
func (a Tumbling) into(t int64) int64 {
	return floorMod(floorMod(t, a.Size)-floorMod(a.Offset, a.Size), a.Size)
}

// index numbers the window boundaries that a watermark has passed: it changes
// exactly when another window is complete.
func (a Tumbling) index(wm int64) int64 {
	if wm == dataflow.TimeMax {
		return dataflow.TimeMax
	}
	return a.Assign(wm + 1).start
}

// compare orders windows by start, then end.
func (w Window) compare(o Window) int {
	return cmp.Or(cmp.Compare(w.start, o.start), cmp.Compare(w.end, o.end))
}

func floorMod(x, m int64) int64 {
	r := x % m
	if r < 0 {
		r += m
	}
	return r
}
