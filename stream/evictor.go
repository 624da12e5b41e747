package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/operators/window"
)

// WindowElement is a row of a window with its time.
//
// Its field is Value, its methods are Time and Millis; `go doc
// github.com/leatstream/leat/operators/window.Element` shows them.
type WindowElement[T any] = window.Element[T]

// EvictorSpec describes an evictor, for Evictor.
type EvictorSpec struct {
	evictor any
	faults  []string
}

type (
	keepLast   int
	keepRecent int64
)

// Evictor drops rows of a window for good, each time before its function is
// called. The window keeps its rows for it, whatever the function is.
func Evictor(e EvictorSpec) WindowOption {
	return func(c *windowConfig) {
		if e.evictor == nil && len(e.faults) == 0 {
			c.faults = append(c.faults, "the evictor is empty: use one of stream.KeepLast, KeepRecent, KeepNear, CustomEvictor")
			return
		}
		c.evictors = append(c.evictors, e)
	}
}

// KeepLast keeps the last n rows.
func KeepLast(n int) EvictorSpec {
	if n < 1 {
		return EvictorSpec{faults: []string{fmt.Sprintf("evictor KeepLast(%d): give it at least one row", n)}}
	}
	return EvictorSpec{evictor: keepLast(n)}
}

// KeepRecent keeps the rows that are less than d older than the newest one.
func KeepRecent(d time.Duration) EvictorSpec {
	if d < time.Millisecond {
		return EvictorSpec{faults: []string{fmt.Sprintf("evictor KeepRecent(%s): the time is shorter than a millisecond", d)}}
	}
	return EvictorSpec{evictor: keepRecent(d.Milliseconds())}
}

// KeepNear keeps the rows that are less than threshold away, by the function
// of, from the last one.
func KeepNear[T any](threshold float64, of func(row, last T) float64) EvictorSpec {
	if of == nil {
		return EvictorSpec{faults: []string{"the function of evictor KeepNear is nil"}}
	}
	return EvictorSpec{evictor: window.KeepNear(threshold, of)}
}

// CustomEvictor keeps what keep returns of the rows, which are in order of
// arrival and stay in it.
func CustomEvictor[T any](keep func(win Window, rows []WindowElement[T]) []WindowElement[T]) EvictorSpec {
	if keep == nil {
		return EvictorSpec{faults: []string{"the function of CustomEvictor is nil"}}
	}
	return EvictorSpec{evictor: window.Evictor[T](window.EvictorFunc[T](keep))}
}
