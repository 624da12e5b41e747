package stream

import (
	"fmt"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators/opstate"
	"github.com/leatstream/leat/operators/rowop"
)

// RowProcessor is user code over the rows of a stream without keys: Open makes
// its state and metrics, Process handles a row.
type RowProcessor[T, R any] = rowop.RowProcessor[T, R]

// RowFinisher is a RowProcessor, or one of two streams, with a method Finish
// that is called at the end of input.
type RowFinisher[R any] = rowop.RowFinisher[R]

// RowContext is what a RowProcessor may use.
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

// ListState is a list of a subtask that belongs to no key.
type ListState[T any] = opstate.List[T]

// NewListState returns the list of that name; it is called in Open. At a
// restore with another parallelism the elements of all old subtasks are dealt
// out over the new ones, in runs of equal length; else each subtask has its own.
func NewListState[T any](ctx OperatorStateContext, name string) (*ListState[T], error) {
	return opstate.NewList[T](ctx.OperatorState(), name)
}

// NewUnionState returns the list of that name; it is called in Open. At a
// restore each subtask gets the elements of all old subtasks; it keeps what it
// needs of them and removes the rest, else they multiply with each restore.
func NewUnionState[T any](ctx OperatorStateContext, name string) (*ListState[T], error) {
	return opstate.NewUnion[T](ctx.OperatorState(), name)
}
