package rowop

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// Map returns the factory of an operator that replaces each row by fn of it.
// Event time and origin stay.
func Map[T, R any](fn func(T) R) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &mapper[T, R]{fn: fn} })
}

type mapper[T, R any] struct {
	base
	fn   func(T) R
	pool columnar.Pool[R]
}

var _ operators.Positioner = (*mapper[int, int])(nil)

// Process implements operators.Operator.
func (o *mapper[T, R]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	in := columnar.Rows[T](b)
	// With equal types an unshared batch is changed in place.
	to := b
	out, same := b.Rows.([]R)
	if !same || b.Shared {
		to = o.pool.Take(len(in), columnar.Times(b.Times != nil))
		out = columnar.Rows[R](to)
	}
	for i := range in {
		o.at = i
		out[i] = o.fn(in[i])
	}
	o.end()
	if to != b {
		copy(to.Times, b.Times)
		to.Origin = b.Origin
	}
	o.out.Emit(to)
	if to != b {
		b.Release() // not before: a failure behind this operator has its place from b
	}
	return nil
}

// FlatMap returns the factory of an operator that replaces each row by the
// rows that fn emits for it, which take its event time.
func FlatMap[T, R any](fn func(v T, emit func(R))) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &flatMapper[T, R]{fn: fn} })
}

type flatMapper[T, R any] struct {
	base
	fn   func(v T, emit func(R))
	buf  collector[R]
	emit func(R) // of buf, made once
}

// Open implements operators.Operator.
func (o *flatMapper[T, R]) Open(ctx *operators.Context) error {
	o.buf.out, o.emit = ctx.Out, o.buf.add
	return o.base.Open(ctx)
}

// Process implements operators.Operator.
func (o *flatMapper[T, R]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	in := columnar.Rows[T](b)
	for i := range in {
		o.at = i
		o.buf.row(b, i)
		o.fn(in[i], o.emit)
	}
	o.end()
	o.buf.flush()
	b.Release()
	return nil
}
