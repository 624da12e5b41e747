package cepop

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// gather collects emitted rows into batches.
type gather[R any] struct {
	out  operators.Output
	tag  string // of the side output, "" for the main one
	rows columnar.Builder[R]
	at   int64 // event time of what is added
}

func (g *gather[R]) add(v R) {
	g.rows.Add(v, g.at)
	if g.rows.Full() {
		g.flush()
	}
}

// flush emits what was gathered. The memory goes with it.
func (g *gather[R]) flush() {
	b := g.rows.Take()
	switch {
	case b == nil:
	case g.tag != "":
		g.out.EmitSide(g.tag, b)
	default:
		g.out.Emit(b)
	}
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
	return &sideGather[T, S]{gather: gather[S]{out: out, tag: SideTimedOut}, row: s.row}
}

type sideGather[T, S any] struct {
	gather[S]
	row func(Match[T]) S
}

func (s *sideGather[T, S]) add(m Match[T], at int64) {
	s.at = at
	s.gather.add(s.row(m))
}
