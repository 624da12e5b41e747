package cepop

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
)

// gather collects emitted rows into batches.
type gather[R any] struct {
	out   operators.Output
	tag   string // of the side output, "" for the main one
	rows  []R
	times []int64
	timed bool
	at    int64 // event time of what is added
}

func (g *gather[R]) add(v R) {
	g.rows, g.times = append(g.rows, v), append(g.times, g.at)
	g.timed = g.timed || g.at != dataflow.TimeNone
	if len(g.rows) >= columnar.BatchRowsMax {
		g.flush()
	}
}

// flush emits what was gathered. The memory goes with it.
func (g *gather[R]) flush() {
	n := len(g.rows)
	if n == 0 {
		return
	}
	b := columnar.NewBatch(g.rows, g.times)
	if !g.timed {
		b.Times = nil
	}
	g.rows, g.times, g.timed = make([]R, 0, n), make([]int64, 0, n), false
	if g.tag != "" {
		g.out.EmitSide(g.tag, b)
		return
	}
	g.out.Emit(b)
}

// SideTimedOut is the side output for partial matches whose time is up.
const SideTimedOut = "timed-out"

// Side makes rows of partial matches on a side output; see TimedOutTo.
type Side[T any] interface {
	open(out operators.Output) sideOutput[T]
}

type sideOutput[T any] interface {
	add(m Match[T], at int64)
	flush()
}

// TimedOutTo is a Side that emits what row returns.
func TimedOutTo[T, S any](row func(Match[T]) S) Side[T] { return sideOf[T, S]{row} }

type sideOf[T, S any] struct{ row func(Match[T]) S }

func (s sideOf[T, S]) open(out operators.Output) sideOutput[T] {
	return &sideGather[T, S]{gather[S]{out: out, tag: SideTimedOut}, s.row}
}

type sideGather[T, S any] struct {
	gather[S]
	row func(Match[T]) S
}

func (s *sideGather[T, S]) add(m Match[T], at int64) {
	s.at = at
	s.gather.add(s.row(m))
}
