package stream

import (
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/rowop"
)

// Map replaces each row by fn of it.
func Map[T, R any](d *DataStream[T], fn func(T) R, opts ...Option) *DataStream[R] {
	return plain[T, R](d, "map", fn == nil, rowop.Map(fn), opts)
}

// FlatMap replaces each row by the rows that fn emits for it. emit is valid
// during the call only.
func FlatMap[T, R any](d *DataStream[T], fn func(v T, emit func(R)), opts ...Option) *DataStream[R] {
	return plain[T, R](d, "flat-map", fn == nil, rowop.FlatMap(fn), opts)
}

func plain[T, R any](d *DataStream[T], op string, missing bool, f operators.Factory, opts []Option) *DataStream[R] {
	where := callSite()
	needFunctions(d.env, where, op, missing)
	out := rowTypeOf[R](d.env, where)
	s := step{op: op, kind: graph.KindOperator, factory: f, out: out, where: where}
	return then[R](d.env, d.env.add(s, d.ports, d.typ, opts), out, d.untimed)
}
