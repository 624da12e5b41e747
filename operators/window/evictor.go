package window

import (
	"slices"
	"time"
)

// Element is a row that a window holds.
type Element[T any] struct {
	Value T
	at    int64
	seq   uint64
}

// Time returns the row's event time, or the processing time at which it came
// in windows of processing time.
func (e Element[T]) Time() time.Time { return time.UnixMilli(e.at).UTC() }

// Millis is Time in milliseconds.
func (e Element[T]) Millis() int64 { return e.at }

// Evictor drops rows of a window before its function is called, for good.
type Evictor[T any] interface {
	// Evict returns the rows that stay, in their order. It may use rows.
	Evict(win Window, rows []Element[T]) []Element[T]
}

// EvictorFunc is an Evictor.
type EvictorFunc[T any] func(win Window, rows []Element[T]) []Element[T]

// Evict implements Evictor.
func (f EvictorFunc[T]) Evict(win Window, rows []Element[T]) []Element[T] { return f(win, rows) }

// KeepLast keeps the last n rows.
func KeepLast[T any](n int) Evictor[T] {
	return EvictorFunc[T](func(_ Window, rows []Element[T]) []Element[T] {
		return rows[max(0, len(rows)-n):]
	})
}

// KeepRecent keeps the rows at most millis older than the newest.
func KeepRecent[T any](millis int64) Evictor[T] {
	return EvictorFunc[T](func(_ Window, rows []Element[T]) []Element[T] {
		newest := int64(0)
		for i, r := range rows {
			if i == 0 || r.at > newest {
				newest = r.at
			}
		}
		return slices.DeleteFunc(rows, func(r Element[T]) bool { return newest-r.at >= millis })
	})
}

// KeepNear keeps the rows that are less than threshold away from the last.
func KeepNear[T any](threshold float64, of func(row, last T) float64) Evictor[T] {
	return EvictorFunc[T](func(_ Window, rows []Element[T]) []Element[T] {
		if len(rows) == 0 {
			return rows
		}
		last := rows[len(rows)-1].Value
		return slices.DeleteFunc(rows, func(r Element[T]) bool { return of(r.Value, last) >= threshold })
	})
}
