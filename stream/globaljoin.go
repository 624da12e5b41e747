package stream

import (
	"github.com/leatstream/leat/operators/rowop"
)

// GlobalJoin joins each row of a stream, which needs no key of its own, with
// the row of a table whose key is key of it; with false there is none. Every
// subtask holds the whole table, which must fit in memory many times: for
// small tables that change little. Rows are joined with the table as it is
// when they come; those that come before the table's rows find none. A result
// has the time of the stream's row. It is stateful.
func GlobalJoin[L any, K comparable, R, O any](left *DataStream[L], table *Table[K, R], key func(L) (K, bool), joiner LeftJoiner[L, R, O], opts ...Option) *DataStream[O] {
	const what = "a join with a global table"
	s := step{op: "global-join", stateful: true, where: callSite()}
	e := left.env
	ok := sameEnv(s.where, what, e, table.env())
	j, has := joinerOf[L, R, O](e, s.where, what, joiner)
	if key == nil {
		e.fail(s.where, "the function that finds the key of %s is nil", what)
		ok = false
	}
	s.detail = j.name
	if ok && has {
		proto := globalJoiner[L, K, R, O]{key: key, joining: j}
		s.factory = rowop.BroadcastProcessRows(func() BroadcastRowProcessor[L, Change[K, R], O] {
			p := proto
			return &p
		})
	}
	return two[O](e, s, left.in(), table.Changes().Broadcast().in(), timingOf(left.untimed, table.untimed()), opts)
}

// globalJoiner keeps a copy of a table and joins rows with it.
type globalJoiner[L any, K comparable, R, O any] struct {
	joining[L, R, O]
	key  func(L) (K, bool)
	rows BroadcastMap[K, R]
}

// Open implements BroadcastRowProcessor.
func (g *globalJoiner[L, K, R, O]) Open(ctx *RowContext[O]) error { return g.rows.Open(ctx, "table") }

// Process implements BroadcastRowProcessor.
func (g *globalJoiner[L, K, R, O]) Process(ctx *RowContext[O], l L) error {
	var r R
	k, ok := g.key(l)
	if ok {
		r, ok = g.rows.Get(k)
	}
	switch {
	case ok:
		ctx.Emit(g.match.Func(&l, &r))
	case g.kind.Left:
		ctx.Emit(g.match.Func(&l, nil))
	}
	return nil
}

// ProcessBroadcast implements BroadcastRowProcessor.
func (g *globalJoiner[L, K, R, O]) ProcessBroadcast(ctx *BroadcastContext[O], c Change[K, R]) error {
	if c.Deleted() {
		g.rows.Delete(ctx, c.Key)
		return nil
	}
	g.rows.Put(ctx, c.Key, c.Value)
	return nil
}
