package changelog

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Pairing makes the row of a joined table.
type Pairing[L, R, O any] struct {
	// Left and Right keep rows that the other table has none for: Func gets
	// nil for what is missing. Func may keep the pointers, and is called again
	// for the row before: it must give the same again.
	Left, Right bool
	Func        func(*L, *R) O
}

func (p *Pairing[L, R, O]) of(l optional[L], r optional[R]) (o optional[O]) {
	switch {
	case l.ok && r.ok:
		return some(p.Func(&l.v, &r.v))
	case l.ok && p.Left:
		return some(p.Func(&l.v, nil))
	case r.ok && p.Right:
		return some(p.Func(nil, &r.v))
	}
	return o
}

// JoinConfig describes a join of two tables of the same keys.
type JoinConfig[K comparable, L, R, O any] struct {
	Left   Keys[K, Change[K, L]]
	Right  Keys[K, Change[K, R]]
	Lefts  *codec.Codec[L]
	Rights *codec.Codec[R]
	Values *codec.Codec[O]
	Pair   Pairing[L, R, O]
}

// Join returns the factory of a join of two tables: input 0 is left, 1 right.
// A result has the time of the change that made it.
func Join[K comparable, L, R, O any](cfg JoinConfig[K, L, R, O]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &tableJoin[K, L, R, O]{cfg: cfg} })
}

type tableJoin[K comparable, L, R, O any] struct {
	none
	cfg    JoinConfig[K, L, R, O]
	lefts  keys[K, Change[K, L]]
	rights keys[K, Change[K, R]]
	left   cell[L]
	right  cell[R]
	out    sink[K, O]
}

// Open implements operators.Operator.
func (o *tableJoin[K, L, R, O]) Open(ctx *operators.Context) (err error) {
	k := state.NewKeyed(ctx.State)
	o.lefts, o.rights = newKeys(o.cfg.Left, k), newKeys(o.cfg.Right, k)
	o.out.Out, o.out.same.codec = ctx.Out, o.cfg.Values
	if o.left, err = openCell(k, "left", o.cfg.Lefts); err != nil {
		return err
	}
	o.right, err = openCell(k, "right", o.cfg.Rights)
	return err
}

// Process implements operators.Operator.
func (o *tableJoin[K, L, R, O]) Process(input int, b *columnar.Batch) error {
	p := &o.cfg.Pair
	if input == 0 {
		rows := columnar.Rows[Change[K, L]](b)
		o.lefts.begin(rows)
		for i := range rows {
			key, is := o.lefts.set(i, rows[i]), now(&rows[i])
			if was, changed := o.left.put(is); changed {
				r := o.right.get()
				o.out.change(key, p.of(was, r), p.of(is, r), b.Time(i))
			}
		}
	} else {
		rows := columnar.Rows[Change[K, R]](b)
		o.rights.begin(rows)
		for i := range rows {
			key, is := o.rights.set(i, rows[i]), now(&rows[i])
			if was, changed := o.right.put(is); changed {
				l := o.left.get()
				o.out.change(key, p.of(l, was), p.of(l, is), b.Time(i))
			}
		}
	}
	o.out.Flush()
	return nil
}
