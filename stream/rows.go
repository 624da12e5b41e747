package stream

import (
	"fmt"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators/opstate"
	"github.com/leatstream/leat/operators/rowop"
)

// RowProcessor is user code over the rows of a stream without keys: Open makes
// its state and metrics, Process handles a row.
//
// Its methods are Open(ctx *RowContext[R]) error and Process(ctx
// *RowContext[R], v T) error; `go doc
// github.com/leatstream/leat/operators/rowop.RowProcessor` shows them.
type RowProcessor[T, R any] = rowop.RowProcessor[T, R]

// RowFinisher is a RowProcessor, or one of two streams, with a method Finish
// that is called at the end of input.
type RowFinisher[R any] = rowop.RowFinisher[R]

// RowContext is what a RowProcessor may use.
//
// Its methods are Emit, Time, Watermark, Now, Info; Counter, Gauge, Meter,
// Histogram, IntCounter, FloatCounter, Minimum and Maximum; `go doc
// github.com/leatstream/leat/operators/rowop.RowContext` shows them.
type RowContext[R any] = rowop.RowContext[R]

// ProcessRows runs a processor over the rows of a stream without keys. It has
// no timers and no keyed state, but may have list and union state. processor
// is a pointer to a struct; each subtask works on a copy of its own, made
// before Open. It is stateful.
func ProcessRows[T, R any](d *DataStream[T], processor RowProcessor[T, R], opts ...Option) *DataStream[R] {
	where := callSite()
	out := rowTypeOf[R](d.env, where)
	s := step{op: "process-rows", kind: graph.KindOperator, stateful: true, fallible: true, out: out, where: where, detail: fmt.Sprintf("%T", processor)}
	if fresh := copies(d.env, where, processor); fresh != nil {
		s.factory = rowop.ProcessRows(fresh)
	}
	return then[R](d.env, d.env.add(s, d.ports, d.typ, opts), out, d.untimed)
}

// ListState is a list of a subtask that belongs to no key. It is a field of a
// processor, whose Open calls that of the list with its context (or OpenUnion),
// and is part of the subtask's snapshot.
//
// Its methods are Open, OpenUnion, Add, All, Len, Set and Clear; `go doc
// github.com/leatstream/leat/operators/opstate.List` shows them.
type ListState[T any] = opstate.List[T]
