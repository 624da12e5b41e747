package stream

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
)

// Extension describes an operator over a keyed stream that another package
// brings, as stream/cep does. Programs need none of it: they use that package.
type Extension[K comparable, T any] struct {
	// Op is the kind of operator, Detail what is particular to this one.
	Op, Detail string
	// Where is the place of the user's call.
	Where string
	// EventTime makes it a fault when the stream has no watermarks.
	EventTime bool
	// New makes the operator's factory. It is not called after a fault of the
	// key; nil is an extension with a fault of its own, which FailAt has told.
	New func(in Keyed[K, T]) operators.Factory
}

// Keyed is how an extension's operator gets at the keys of its rows.
type Keyed[K comparable, T any] struct {
	// Key returns the key of a row.
	Key func(T) K
	// Hasher makes the hashes of keys, a batch at a time.
	Hasher columnar.KeyHasher
	// Codec is the form of keys in state.
	Codec *codec.Codec[K]
}

// Extended is an extension's operator in the graph; the zero value is none.
type Extended struct {
	env     *Env
	ports   []port
	untimed timing
}

// Extend adds an operator that emits R to a keyed stream. It is stateful.
func Extend[R any, K comparable, T any](k *KeyedStream[K, T], x Extension[K, T], opts ...Option) (*DataStream[R], Extended) {
	in := k.stream
	out := rowTypeOf[R](in.env, x.Where)
	if x.EventTime {
		timed(in.env, x.Where, x.Op, in.untimed)
	}
	var f operators.Factory
	if k.codec != nil && x.New != nil {
		f = x.New(Keyed[K, T]{Key: k.key, Hasher: k.hasher, Codec: k.codec})
	}
	s := step{op: x.Op, kind: graph.KindOperator, detail: x.Detail, factory: f, stateful: true, keyed: true, out: out, where: x.Where}
	d := then[R](in.env, in.env.add(s, in.ports, in.typ, opts), out, in.untimed)
	return d, Extended{env: d.env, ports: d.ports, untimed: d.untimed}
}

// ExtendedSide returns a side output of an extension's operator, for a call of
// the user's at where.
func ExtendedSide[S any](x Extended, tag, where string) *DataStream[S] {
	return side[S](&DataStream[struct{}]{env: x.env, ports: x.ports, untimed: x.untimed}, tag, where)
}

// NoStream returns a stream of nothing in the program of a keyed stream, for
// what is asked of an extension with a fault.
func NoStream[S any, K comparable, T any](k *KeyedStream[K, T], where string) *DataStream[S] {
	return &DataStream[S]{env: k.stream.env, typ: rowTypeOf[S](k.stream.env, where)}
}

// FailAt adds a fault to the program that a keyed stream belongs to.
func FailAt[K comparable, T any](k *KeyedStream[K, T], where, text string) {
	k.stream.env.faults = append(k.stream.env.faults, fmt.Errorf("%s: %s", where, text))
}
