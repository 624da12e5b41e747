package stream

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators/join"
)

// Joiner makes the result of a pair of rows, and says what becomes of rows
// without a match: Inner, LeftOuter, RightOuter and FullOuter make one of a
// function whose parameters are pointers where a row may be missing.
type Joiner[L, R, O any] interface {
	joiner() joining[L, R, O]
}

// LeftJoiner is a Joiner of joins that only the rows of the left input drive:
// Inner or LeftOuter.
type LeftJoiner[L, R, O any] interface {
	Joiner[L, R, O]
	leftJoiner()
}

// joining is what every Joiner comes to.
type joining[L, R, O any] struct {
	name  string
	kind  join.Kind
	match join.Match[L, R, O]
}

// InnerJoin is what Inner returns.
type InnerJoin[L, R, O any] struct{ joining[L, R, O] }

// LeftJoin is what LeftOuter returns.
type LeftJoin[L, R, O any] struct{ joining[L, R, O] }

// RightJoin is what RightOuter returns.
type RightJoin[L, R, O any] struct{ joining[L, R, O] }

// FullJoin is what FullOuter returns.
type FullJoin[L, R, O any] struct{ joining[L, R, O] }

func (j joining[L, R, O]) joiner() joining[L, R, O] { return j }
func (InnerJoin[L, R, O]) leftJoiner()              {}
func (LeftJoin[L, R, O]) leftJoiner()               {}

// Inner joins pairs of rows; those without a match are dropped.
func Inner[L, R, O any](fn func(L, R) O) InnerJoin[L, R, O] {
	j := joining[L, R, O]{name: "inner"}
	if fn != nil {
		j.match.Func = func(l *L, r *R) O { return fn(*l, *r) }
	}
	return InnerJoin[L, R, O]{j}
}

// LeftOuter joins pairs of rows, and left rows without a match with nil. fn
// may keep the pointer.
func LeftOuter[L, R, O any](fn func(L, *R) O) LeftJoin[L, R, O] {
	j := joining[L, R, O]{name: "left outer", kind: join.Kind{Left: true}}
	if fn != nil {
		j.match = join.Match[L, R, O]{Func: func(l *L, r *R) O { return fn(*l, r) }, Retains: true}
	}
	return LeftJoin[L, R, O]{j}
}

// RightOuter joins pairs of rows, and right rows without a match with nil. fn
// may keep the pointer.
func RightOuter[L, R, O any](fn func(*L, R) O) RightJoin[L, R, O] {
	j := joining[L, R, O]{name: "right outer", kind: join.Kind{Right: true}}
	if fn != nil {
		j.match = join.Match[L, R, O]{Func: func(l *L, r *R) O { return fn(l, *r) }, Retains: true}
	}
	return RightJoin[L, R, O]{j}
}

// FullOuter joins pairs of rows, and the rows of either side without a match
// with nil. fn may keep the pointers.
func FullOuter[L, R, O any](fn func(*L, *R) O) FullJoin[L, R, O] {
	j := joining[L, R, O]{name: "full outer", kind: join.Kind{Left: true, Right: true}}
	j.match = join.Match[L, R, O]{Func: fn, Retains: true}
	return FullJoin[L, R, O]{j}
}

// joinerOf returns what j comes to; a nil function is a fault.
func joinerOf[L, R, O any](e *Env, where, what string, j Joiner[L, R, O]) (joining[L, R, O], bool) {
	if j == nil {
		e.fail(where, "%s has no joiner: give it stream.Inner or another one of a function", what)
		return joining[L, R, O]{}, false
	}
	x := j.joiner()
	if x.match.Func == nil {
		e.fail(where, "the function of %s is nil", what)
		return x, false
	}
	return x, true
}

// sameEnv reports whether both inputs are of one job.
func sameEnv(where, what string, a, b *Env) bool {
	if a == b {
		return true
	}
	a.fail(where, "%s has inputs of two environments: a job has one", what)
	return false
}

// sideOf describes the rows of a keyed input to an operator; ok is false
// after a fault.
func sideOf[K comparable, T any](k *KeyedStream[K, T], where string) (join.Side[K, T], bool) {
	c, err := codec.Of[T]()
	if err != nil {
		k.stream.env.fail(where, "%w", err)
	}
	return join.Side[K, T]{Key: k.key, Hasher: k.hasher, Codec: c}, err == nil && k.codec != nil
}

// LateLeft returns the rows of the left input of a join by time, of a
// WindowJoin or of a CoGroup that came too late. of is that input. Without a
// consumer they are dropped and counted; of windows, which have both sides in
// one, those of a side alone without a consumer are dropped and not counted as
// such.
func LateLeft[K comparable, L, O any](joined *DataStream[O], of *KeyedStream[K, L]) *DataStream[L] {
	if joined.late != nil {
		return lateOfWindows(joined, of.stream, false, callSite())
	}
	return lateOf(joined, of.stream, 0, join.SideLateLeft, callSite())
}

// LateRight is LateLeft for the right input.
func LateRight[K comparable, R, O any](joined *DataStream[O], of *KeyedStream[K, R]) *DataStream[R] {
	if joined.late != nil {
		return lateOfWindows(joined, of.stream, true, callSite())
	}
	return lateOf(joined, of.stream, 1, join.SideLateRight, callSite())
}

func lateOf[T, O any](joined *DataStream[O], of *DataStream[T], input int, tag, where string) *DataStream[T] {
	d := &DataStream[T]{env: joined.env, typ: of.typ}
	for _, p := range joined.ports {
		if p.node == nil || p.output != "" || !takes(joined.env, p.node, input, of.typ) {
			joined.env.fail(where, noJoinOf)
			continue
		}
		d.ports = append(d.ports, port{node: p.node, output: tag, part: graph.Forward})
	}
	return d
}

// takes reports whether an input of a join by time has rows of a type.
func takes(e *Env, n *graph.Node, input int, typ columnar.RowType) bool {
	if n.Op != opInterval && n.Op != opTemporal {
		return false
	}
	for _, edge := range e.graph.Edges {
		if edge.To == n.ID && edge.Input == input && edge.Schema == schemaOf(typ) {
			return true
		}
	}
	return false
}

// Names of the operators that have late rows.
const (
	opInterval = "interval-join"
	opTemporal = "temporal-join"
)
