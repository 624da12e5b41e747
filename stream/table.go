package stream

import (
	"time"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/changelog"
)

// Change is a change of one row of a table: an insert, an update or a delete
// with its key, the row from now on and the row before.
//
// Its fields are Op, Key, Value and Before, its methods Deleted and String;
// `go doc github.com/leatstream/leat/operators/changelog.Change` shows them.
type Change[K comparable, V any] = changelog.Change[K, V]

// The kinds of a change.
const (
	Insert = changelog.Insert
	Update = changelog.Update
	Delete = changelog.Delete
)

// Table is a table that changes: a row V for each key K. It is a description
// of the changes, as DataStream is of rows; each operator that needs the rows
// keeps them in its own state.
//
// Changes of one key are in order, and each tells the row that the one before
// left. A change that leaves the row as it was (by its encoding) is not
// passed on. Changes of different keys are in no order.
type Table[K comparable, V any] struct {
	changes *KeyedStream[K, Change[K, V]]
}

// asTable returns what an operator emits as a table.
func asTable[K comparable, V any](d *DataStream[Change[K, V]]) *Table[K, V] {
	return &Table[K, V]{changes: KeyBy(d, changelog.KeyOf[K, V])}
}

// valuesOf returns the codec of a table's rows; a type that has none is a fault.
func valuesOf[V any](e *Env, where string) (*codec.Codec[V], bool) {
	c, err := codec.Of[V]()
	if err != nil {
		e.fail(where, "%w", err)
	}
	return c, err == nil
}

// keysOf says how an operator finds the keys of a stream; ok is false after a
// fault.
func keysOf[K comparable, T any](k *KeyedStream[K, T]) (keys changelog.Keys[K, T], ok bool) {
	return changelog.Keys[K, T]{Of: k.key, Hasher: k.hasher, Codec: k.codec}, k.codec != nil
}

// ToTable makes a table of a stream: the last row of a key is its row in the
// table. Nothing is ever deleted. It is stateful.
func ToTable[K comparable, T any](k *KeyedStream[K, T], opts ...Option) *Table[K, T] {
	return tableOf(k, callSite(), func(v T) (T, bool) { return v, true }, opts)
}

// TableOf makes a table of a stream: value says what the table keeps of the
// last row of a key, and with false that the key is deleted. It is stateful.
func TableOf[K comparable, T, V any](k *KeyedStream[K, T], value func(T) (V, bool), opts ...Option) *Table[K, V] {
	return tableOf(k, callSite(), value, opts)
}

// TableFrom makes a table of a compacted topic, whose records formats.EntryOf
// decodes: tombstones delete. It is stateful.
func TableFrom[V any](entries *DataStream[formats.Entry[V]], opts ...Option) *Table[string, V] {
	k := KeyBy(entries, func(e formats.Entry[V]) string { return e.Key })
	return tableOf(k, callSite(), func(e formats.Entry[V]) (V, bool) { return e.Value, !e.Deleted }, opts)
}

func tableOf[K comparable, T, V any](k *KeyedStream[K, T], where string, value func(T) (V, bool), opts []Option) *Table[K, V] {
	e := k.stream.env
	values, ok := valuesOf[V](e, where)
	keys, keyed := keysOf(k)
	if value == nil {
		e.fail(where, "the function that says what a table keeps is nil")
	}
	var f operators.Factory
	if ok && keyed && value != nil {
		f = changelog.Upsert(keys, values, value)
	}
	return addTable[K, V](e, tableStep{op: "table", where: where, factory: f, stateful: true}, []input{k.stream.in()}, k.stream.untimed, opts)
}

// tableStep describes an operator that makes a table.
type tableStep struct {
	op, where, detail string
	factory           operators.Factory
	stateful          bool
}

func addTable[K comparable, V any](e *Env, t tableStep, ins []input, untimed timing, opts []Option) *Table[K, V] {
	out := rowTypeOf[Change[K, V]](e, t.where)
	s := step{
		op: t.op, kind: graph.KindOperator, factory: t.factory, stateful: t.stateful, keyed: t.stateful,
		out: out, where: t.where, detail: t.detail,
	}
	return asTable(then[Change[K, V]](e, e.addInputs(s, ins, opts), out, untimed))
}

// Changes returns the changes of the table as a stream.
func (t *Table[K, V]) Changes() *DataStream[Change[K, V]] {
	d := *t.changes.stream
	d.ports = make([]port, len(t.changes.stream.ports))
	for i, p := range t.changes.stream.ports {
		d.ports[i] = port{node: p.node, output: p.output, part: graph.Forward}
	}
	return &d
}

func (t *Table[K, V]) env() *Env { return t.changes.stream.env }

func (t *Table[K, V]) in() input { return t.changes.stream.in() }

func (t *Table[K, V]) untimed() timing { return t.changes.stream.untimed }

// Filter keeps the rows for which keep holds: a row that no longer does is
// deleted from the result. keep must give the same for the same row.
func (t *Table[K, V]) Filter(keep func(K, V) bool, opts ...Option) *Table[K, V] {
	var fn func(K, V) (V, bool)
	if keep != nil {
		fn = func(k K, v V) (V, bool) { return v, keep(k, v) }
	}
	return mapTable(t, "table-filter", callSite(), fn, opts)
}

// MapTable replaces each row by fn of it. fn must give the same for the same
// row: it is called for the row before a change, too.
func MapTable[K comparable, V, W any](t *Table[K, V], fn func(K, V) W, opts ...Option) *Table[K, W] {
	var full func(K, V) (W, bool)
	if fn != nil {
		full = func(k K, v V) (W, bool) { return fn(k, v), true }
	}
	return mapTable(t, "table-map", callSite(), full, opts)
}

func mapTable[K comparable, V, W any](t *Table[K, V], op, where string, fn func(K, V) (W, bool), opts []Option) *Table[K, W] {
	e := t.env()
	values, ok := valuesOf[W](e, where)
	if fn == nil {
		e.fail(where, "the function of %s is nil", op)
	}
	var f operators.Factory
	if ok && fn != nil {
		f = changelog.Map(values, fn)
	}
	changes := t.Changes()
	return addTable[K, W](e, tableStep{op: op, where: where, factory: f}, []input{changes.in()}, t.untimed(), opts)
}

// Suppress holds the changes of a key back until the watermark is so much
// past the first of them, and then passes one change on: what they come to,
// if that is any. It has the time at which it was due. It is stateful.
func (t *Table[K, V]) Suppress(d time.Duration, opts ...Option) *Table[K, V] {
	const what = "a table whose changes are held back"
	where := callSite()
	e := t.env()
	timed(e, where, what, t.untimed())
	values, ok := valuesOf[V](e, where)
	keys, keyed := keysOf(t.changes)
	if d < time.Millisecond {
		e.fail(where, "%s by %s: the time is at least a millisecond", what, d)
		ok = false
	}
	var f operators.Factory
	if ok && keyed {
		f = changelog.Suppress(keys, values, d.Milliseconds())
	}
	s := tableStep{op: "table-suppress", where: where, detail: d.String(), factory: f, stateful: true}
	return addTable[K, V](e, s, []input{t.in()}, t.untimed(), opts)
}
