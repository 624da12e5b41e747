package streamtest

import (
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
)

// Split is what one split of an input brings, in order: rows with their event
// times, and what is said of event time between them. After the last element
// the split ends. Its methods append and return it.
type Split[T any] struct {
	elems []element[T]
}

type elementKind int

const (
	elementRow elementKind = iota
	elementWatermark
	elementIdle
	elementAdvance // processing time passes
)

type element[T any] struct {
	kind elementKind
	row  T
	// time is the row's or the watermark, or how many milliseconds pass.
	time int64
}

// Rows returns a split of rows without event time.
func Rows[T any](rows ...T) *Split[T] { return new(Split[T]).Rows(rows...) }

// At returns a split of rows with an event time, in milliseconds.
func At[T any](millis int64, rows ...T) *Split[T] { return new(Split[T]).At(millis, rows...) }

// Timed returns a split of rows with the event times that at finds in them,
// in milliseconds.
func Timed[T any](at func(T) int64, rows ...T) *Split[T] {
	s := new(Split[T])
	for _, r := range rows {
		s.At(at(r), r)
	}
	return s
}

// Rows appends rows without event time.
func (s *Split[T]) Rows(rows ...T) *Split[T] { return s.At(dataflow.TimeNone, rows...) }

// At appends rows with an event time, in milliseconds.
func (s *Split[T]) At(millis int64, rows ...T) *Split[T] {
	for _, r := range rows {
		s.elems = append(s.elems, element[T]{row: r, time: millis})
	}
	return s
}

// Watermark appends that no row at or before millis follows. What lies behind
// an earlier watermark is ignored.
func (s *Split[T]) Watermark(millis int64) *Split[T] {
	s.elems = append(s.elems, element[T]{kind: elementWatermark, time: millis})
	return s
}

// Idle appends that the split holds back no watermark until its next row.
func (s *Split[T]) Idle() *Split[T] {
	s.elems = append(s.elems, element[T]{kind: elementIdle})
	return s
}

// Advance appends that processing time passes.
func (s *Split[T]) Advance(d time.Duration) *Split[T] {
	s.elems = append(s.elems, element[T]{kind: elementAdvance, time: d.Milliseconds()})
	return s
}

// WatermarkEach puts a watermark after each row so far: lag and a millisecond
// behind the latest event time, as stream.BoundedOutOfOrderness does per row.
func (s *Split[T]) WatermarkEach(lag time.Duration) *Split[T] {
	var out []element[T]
	latest := dataflow.TimeMin
	for _, e := range s.elems {
		out = append(out, e)
		if e.kind == elementRow && e.time > latest {
			latest = e.time
			out = append(out, element[T]{kind: elementWatermark, time: dataflow.AddTime(latest, -lag.Milliseconds()-1)})
		}
	}
	s.elems = out
	return s
}

// script is the splits of an input without their row type.
type script interface {
	splits() int
	len(split int) int
	at(split, i int) (kind elementKind, time int64)
	// batch returns n rows from element i on, and their times.
	batch(split, i, n int) *columnar.Batch
}

type splitScript[T any] []*Split[T]

func (s splitScript[T]) splits() int { return len(s) }

func (s splitScript[T]) len(split int) int { return len(s[split].elems) }

func (s splitScript[T]) at(split, i int) (elementKind, int64) {
	e := &s[split].elems[i]
	return e.kind, e.time
}

func (s splitScript[T]) batch(split, i, n int) *columnar.Batch {
	rows, times := make([]T, n), make([]int64, n)
	timed := false
	for j, e := range s[split].elems[i : i+n] {
		rows[j], times[j] = e.row, e.time
		timed = timed || e.time != dataflow.TimeNone
	}
	if !timed {
		times = nil
	}
	return columnar.NewBatch(rows, times)
}
