package changelog

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Upsert returns the factory of an operator that makes a table of rows: the
// last row of a key is its row in the table. value says what the table keeps
// of it, and with false that the key is deleted.
func Upsert[K comparable, T, V any](k Keys[K, T], values *codec.Codec[V], value func(T) (V, bool)) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return &upsert[K, T, V]{keyed: k, codec: values, value: value}
	})
}

type upsert[K comparable, T, V any] struct {
	none
	keyed Keys[K, T]
	codec *codec.Codec[V]
	value func(T) (V, bool)

	keys keys[K, T]
	rows cell[V]
	out  sink[K, V]
}

// Open implements operators.Operator.
func (o *upsert[K, T, V]) Open(ctx *operators.Context) (err error) {
	k := state.NewKeyed(ctx.State)
	o.keys = newKeys(o.keyed, k)
	o.out.Out, o.out.same.codec = ctx.Out, o.codec
	o.rows, err = openCell(k, "table", o.codec)
	return err
}

// Process implements operators.Operator.
func (o *upsert[K, T, V]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	o.keys.begin(rows)
	for i, r := range rows {
		key := o.keys.set(i, r)
		v, ok := o.value(r)
		is := optional[V]{v, ok}
		if was, changed := o.rows.put(is); changed {
			o.out.change(key, was, is, b.Time(i))
		}
	}
	o.out.Flush()
	return nil
}

// Map returns the factory of an operator that replaces each row of a table by
// what fn makes of it; with false the row is not in the result. fn is called
// for the row before, too, and must give the same again.
func Map[K comparable, V, W any](values *codec.Codec[W], fn func(K, V) (W, bool)) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &mapper[K, V, W]{codec: values, fn: fn} })
}

type mapper[K comparable, V, W any] struct {
	none
	codec *codec.Codec[W]
	fn    func(K, V) (W, bool)
	out   sink[K, W]
}

// Open implements operators.Operator.
func (o *mapper[K, V, W]) Open(ctx *operators.Context) error {
	o.out.Out, o.out.same.codec = ctx.Out, o.codec
	return nil
}

// Process implements operators.Operator.
func (o *mapper[K, V, W]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[Change[K, V]](b)
	for i := range rows {
		c := &rows[i]
		o.out.change(c.Key, o.of(c.Key, before(c)), o.of(c.Key, now(c)), b.Time(i))
	}
	o.out.Flush()
	return nil
}

func (o *mapper[K, V, W]) of(key K, v optional[V]) (w optional[W]) {
	if v.ok {
		w.v, w.ok = o.fn(key, v.v)
	}
	return w
}
