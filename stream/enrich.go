package stream

import (
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/join"
)

// TableJoin joins each row of a stream with the row that the table has for
// its key when it comes: changes of the table make no results. How far the
// table is then depends on how the job runs; TemporalJoin goes by event time
// instead. A result has the time of the stream's row. It is stateful.
//
// The watermark behind it is the least of both inputs: if steps of event time
// follow, the table's source needs Watermarks as well, and holds event time
// back until it is idle (WithIdleness).
func TableJoin[K comparable, L, R, O any](left *KeyedStream[K, L], table *Table[K, R], joiner LeftJoiner[L, R, O], opts ...Option) *DataStream[O] {
	const what = "a join with a table"
	where := callSite()
	cfg, name, ok := tableConfig(left, table, joiner, what, where)
	var f operators.Factory
	if ok {
		f = join.Lookup(cfg)
	}
	return enriched[O](left.stream, table.in(), table.untimed(), "table-join", name, where, f, opts)
}

// TemporalJoin joins each row of a stream with the row that the table had for
// its key at the row's event time: the last change at or before it. A row
// waits until the watermark of both inputs has passed its time, so that no
// older change comes. Rows at or before the watermark are late and join
// nothing (LateLeft). A change that is late is valid for the rows to come;
// versions that no row can meet any more are forgotten. A result has the time
// of the stream's row. It is stateful.
func TemporalJoin[K comparable, L, R, O any](left *KeyedStream[K, L], table *Table[K, R], joiner LeftJoiner[L, R, O], opts ...Option) *DataStream[O] {
	const what = "a temporal join"
	where := callSite()
	timedBoth(left.stream.env, where, what, left.stream.untimed, table.untimed())
	cfg, name, ok := tableConfig(left, table, joiner, what, where)
	var f operators.Factory
	if ok {
		f = join.Temporal(cfg)
	}
	return enriched[O](left.stream, table.in(), table.untimed(), opTemporal, name, where, f, opts)
}

// tableConfig describes a join with a table; ok is false after a fault.
func tableConfig[K comparable, L, R, O any](left *KeyedStream[K, L], table *Table[K, R], joiner LeftJoiner[L, R, O], what, where string) (cfg join.TableConfig[K, L, R, O], name string, ok bool) {
	e := left.stream.env
	same := sameEnv(where, what, e, table.env())
	j, has := joinerOf[L, R, O](e, where, what, joiner)
	l, ok1 := sideOf(left, where)
	r, ok2 := sideOf(table.changes, where)
	rows, ok3 := valuesOf[R](e, where)
	return join.TableConfig[K, L, R, O]{
		Left: l, Table: r, Rows: rows, KeyCodec: left.codec, Outer: j.kind.Left, Match: j.match,
	}, j.name, same && has && ok1 && ok2 && ok3
}

// enriched appends a join whose results have the times of the left input.
func enriched[O, L any](left *DataStream[L], table input, untimed timing, op, detail, where string, f operators.Factory, opts []Option) *DataStream[O] {
	e := left.env
	out := rowTypeOf[O](e, where)
	s := step{op: op, kind: graph.KindOperator, factory: f, stateful: true, keyed: true, out: out, where: where, detail: detail}
	return then[O](e, e.addInputs(s, []input{left.in(), table}, opts), out, timingOf(left.untimed, untimed))
}
