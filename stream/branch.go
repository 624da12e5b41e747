package stream

import (
	"fmt"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators/rowop"
)

// Branches is a stream that is being split by conditions.
type Branches[T any] struct {
	in    *DataStream[T]
	node  *graph.Node
	cases *[]func(T) bool
}

// Branch splits the stream: each row goes to the first When whose condition
// holds, else to Otherwise. A row that no one takes is dropped and counted
// (numRecordsFiltered).
func (d *DataStream[T]) Branch(opts ...Option) *Branches[T] {
	cases := new([]func(T) bool)
	s := step{op: "branch", kind: graph.KindOperator, factory: rowop.Branch(cases), out: d.typ, where: callSite()}
	return &Branches[T]{in: d, node: d.env.add(s, d.ports, d.typ, opts), cases: cases}
}

// When returns the rows for which holds is true, of those that no earlier When
// has taken.
func (b *Branches[T]) When(holds func(T) bool) *DataStream[T] {
	if holds == nil {
		b.in.env.fail(callSite(), "When is given a nil function: it needs the condition of the branch")
	}
	*b.cases = append(*b.cases, holds)
	b.node.Detail = fmt.Sprint(len(*b.cases), " cases")
	return b.output(rowop.BranchTag(len(*b.cases) - 1))
}

// Otherwise returns the rows that no When takes, including later ones.
func (b *Branches[T]) Otherwise() *DataStream[T] { return b.output(rowop.BranchOtherwise) }

func (b *Branches[T]) output(tag string) *DataStream[T] {
	return &DataStream[T]{
		env: b.in.env, typ: b.in.typ, untimed: b.in.untimed,
		ports: []port{{node: b.node, output: tag, part: graph.Forward}},
	}
}

// Merge returns the rows of all streams, in no particular order: the Union of
// the first with the others.
func Merge[T any](first *DataStream[T], others ...*DataStream[T]) *DataStream[T] {
	for _, o := range others {
		sameEnv(callSite(), "Merge", first.env, o.env)
	}
	return first.Union(others...)
}

// Peek calls look with each row and passes it on. look must not change what
// the row refers to; after a failure it sees rows again.
func (d *DataStream[T]) Peek(look func(T), opts ...Option) *DataStream[T] {
	where := callSite()
	needFunctions(d.env, where, "Peek", look == nil)
	s := step{op: "peek", kind: graph.KindOperator, factory: rowop.Peek(look), out: d.typ, where: where}
	return then[T](d.env, d.env.add(s, d.ports, d.typ, opts), d.typ, d.untimed)
}

// MapBatch is Map for batches: fn appends to out one result for each row of
// in, in order, and returns it. It must not keep nor change in. A result of
// another length fails the job. A batch has at most columnar.BatchRowsMax
// rows; where batches are cut is not defined.
func MapBatch[T, R any](d *DataStream[T], fn func(in []T, out []R) []R, opts ...Option) *DataStream[R] {
	where := callSite()
	needFunctions(d.env, where, "MapBatch", fn == nil)
	out := rowTypeOf[R](d.env, where)
	s := step{op: "map-batch", kind: graph.KindOperator, factory: rowop.MapBatch(fn), out: out, where: where}
	return then[R](d.env, d.env.add(s, d.ports, d.typ, opts), out, d.untimed)
}

// UpdateBatch is Map to the same type for batches, in place: fn changes the
// rows of a batch. It must not keep rows.
func (d *DataStream[T]) UpdateBatch(fn func(rows []T), opts ...Option) *DataStream[T] {
	where := callSite()
	needFunctions(d.env, where, "UpdateBatch", fn == nil)
	s := step{op: "update-batch", kind: graph.KindOperator, factory: rowop.UpdateBatch(fn), out: d.typ, where: where}
	return then[T](d.env, d.env.add(s, d.ports, d.typ, opts), d.typ, d.untimed)
}

// Repartition sends the rows of each key to the subtask of the next step that
// a function of the key names: its result, modulo parallelism. The result is
// no keyed stream, since keyed state follows key groups alone.
func Repartition[K comparable, T any](k *KeyedStream[K, T], subtask func(key K, parallelism int) int) *DataStream[T] {
	where := callSite()
	needFunctions(k.stream.env, where, "Repartition", subtask == nil)
	return k.stream.Partition(func(v T, parallelism int) int { return subtask(k.key(v), parallelism) })
}
