package stream

import (
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/changelog"
)

// GroupedTable is a table whose rows were given another key, which many of
// them may share.
type GroupedTable[G comparable, W any] struct {
	changes *KeyedStream[G, Change[G, W]]
}

// GroupTable gives each row of a table another key, and makes another row of
// it. group must give the same for the same row: when a row changes, the one
// before is taken out of the group that it was in.
func GroupTable[K comparable, V any, G comparable, W any](t *Table[K, V], group func(K, V) (G, W), opts ...Option) *GroupedTable[G, W] {
	where := callSite()
	e := t.env()
	out := rowTypeOf[Change[G, W]](e, where)
	var f operators.Factory
	if group == nil {
		e.fail(where, "the function that groups a table is nil")
	} else {
		f = changelog.Regroup(group)
	}
	changes := t.Changes()
	s := step{op: "table-group", kind: graph.KindOperator, factory: f, out: out, where: where}
	d := then[Change[G, W]](e, e.addInputs(s, []input{changes.in()}, opts), out, t.untimed())
	return &GroupedTable[G, W]{changes: KeyBy(d, changelog.KeyOf[G, W])}
}

// TableAggregator folds the rows of a group into an accumulator A, a zero A at
// first, and takes them out of it again. One value serves all subtasks: it
// holds no state of its own.
type TableAggregator[W, A, R any] interface {
	// Add adds a row. What acc keeps of v is copied.
	Add(acc *A, v W)
	// Subtract undoes what Add did for an equal row. Rows of different keys
	// may come and go in any order.
	Subtract(acc *A, v W)
	// Result makes the group's row.
	Result(acc *A) R
}

// AggregateTable makes a table with a row for each group. The row is deleted
// when the last row of the group goes (KeepEmptyGroups: it stays). A row that
// moves from one group to another changes both, at different times. It is
// stateful.
func AggregateTable[G comparable, W, A, R any](g *GroupedTable[G, W], agg TableAggregator[W, A, R], opts ...TableAggregateOption) *Table[G, R] {
	where := callSite()
	e := g.changes.stream.env
	values, ok := valuesOf[R](e, where)
	_, okAcc := valuesOf[A](e, where)
	keys, keyed := keysOf(g.changes)
	if agg == nil {
		e.fail(where, "the aggregator of a table is nil")
	}
	var c tableAggregateConfig
	for _, o := range opts {
		o.applyTableAggregate(&c)
	}
	var f operators.Factory
	if ok && okAcc && keyed && agg != nil {
		f = changelog.Aggregate(changelog.AggregateConfig[G, W, A, R]{Keys: keys, Results: values, Fold: agg, KeepEmpty: c.keepEmpty})
	}
	s := tableStep{op: "table-aggregate", where: where, factory: f, stateful: true}
	return addTable[G, R](e, s, []input{g.changes.stream.in()}, g.changes.stream.untimed, c.opts)
}

// TableAggregateOption sets an option of AggregateTable: an Option, or
// KeepEmptyGroups.
type TableAggregateOption interface {
	applyTableAggregate(*tableAggregateConfig)
}

type tableAggregateConfig struct {
	opts      []Option
	keepEmpty bool
}

func (o nodeOption) applyTableAggregate(c *tableAggregateConfig) { c.opts = append(c.opts, o) }

type tableAggregateOption func(*tableAggregateConfig)

func (o tableAggregateOption) applyTableAggregate(c *tableAggregateConfig) { o(c) }

// KeepEmptyGroups keeps the row of a group whose last row went, as Kafka
// Streams does. The state then never forgets a group.
func KeepEmptyGroups() TableAggregateOption {
	return tableAggregateOption(func(c *tableAggregateConfig) { c.keepEmpty = true })
}
