package window

import "github.com/leatstream/leat/dataflow"

// Panes cuts event time into panes that overlapping windows share: a record
// is kept once, in its pane, and a window is made of whole panes.
type Panes interface {
	// pane is the grid of panes.
	pane() Tumbling
	// firstEnd returns the end of the first window that ends after t.
	firstEnd(t int64) int64
	// lastEnd returns the end of the last window that holds a pane.
	lastEnd(pane int64) int64
	// start returns the start of the window of that end.
	start(end int64) int64
}

// Sliding cuts event time into windows of Size milliseconds, one every Slide
// milliseconds; one of them starts at Offset. 0 < Slide <= Size.
type Sliding struct {
	Size, Slide, Offset int64
}

var _ Panes = Sliding{}

// pane is the greatest span of which size and slide are multiples.
func (s Sliding) pane() Tumbling {
	a, b := s.Size, s.Slide
	for b != 0 {
		a, b = b, a%b
	}
	return Tumbling{Size: a, Offset: s.Offset}
}

// Count returns the number of panes of a window.
func (s Sliding) Count() int64 { return s.Size / s.pane().Size }

func (s Sliding) firstEnd(t int64) int64 {
	into := floorMod(floorMod(t, s.Slide)-floorMod(floorMod(s.Offset, s.Slide)+s.Size%s.Slide, s.Slide), s.Slide)
	return dataflow.AddTime(t, s.Slide-into)
}

func (s Sliding) lastEnd(pane int64) int64 {
	into := floorMod(floorMod(pane, s.Slide)-floorMod(s.Offset, s.Slide), s.Slide)
	return dataflow.AddTime(dataflow.AddTime(pane, -into), s.Size)
}

func (s Sliding) start(end int64) int64 { return dataflow.AddTime(end, -s.Size) }

// Cumulative cuts event time into windows that begin together every Max
// milliseconds, one of them at Offset, and end Step apart until the last is
// Max long. Max is a multiple of Step.
type Cumulative struct {
	Max, Step, Offset int64
}

var _ Panes = Cumulative{}

func (c Cumulative) pane() Tumbling { return Tumbling{Size: c.Step, Offset: c.Offset} }

func (c Cumulative) whole() Tumbling { return Tumbling{Size: c.Max, Offset: c.Offset} }

func (c Cumulative) firstEnd(t int64) int64 { return c.pane().Assign(t).end }

func (c Cumulative) lastEnd(pane int64) int64 { return c.whole().Assign(pane).end }

func (c Cumulative) start(end int64) int64 { return c.whole().Assign(dataflow.AddTime(end, -1)).start }

// Aligned assigns rows to windows that are the same for all keys, one by one:
// those of panes, or of grid when that is nil.
func Aligned[T any](grid Tumbling, panes Panes) Assigner[T] {
	if panes == nil {
		return AssignerFunc[T](func(dst []Window, _ T, at int64) []Window { return append(dst, grid.Assign(at)) })
	}
	return AssignerFunc[T](func(dst []Window, _ T, at int64) []Window {
		for end := panes.firstEnd(at); ; end = panes.firstEnd(end) {
			w := Window{start: panes.start(end), end: end}
			if w.start > at {
				return dst
			}
			dst = append(dst, w)
			if end == dataflow.TimeMax {
				return dst
			}
		}
	})
}

// Sessions assigns rows to sessions, for an operator that merges: a session
// ends when no row has come for gap milliseconds.
func Sessions[T any](gap func(T) int64) Assigner[T] {
	return AssignerFunc[T](func(dst []Window, v T, at int64) []Window {
		return append(dst, Window{start: at, end: dataflow.AddTime(at, gap(v))})
	})
}
