package rowop

import (
	"fmt"
	"slices"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// MapBatch returns the factory of an operator that replaces the rows of a
// batch by as many that fn appends to out. Event times and origins stay.
func MapBatch[T, R any](fn func(in []T, out []R) []R) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &batchMapper[T, R]{fn: fn} })
}

type batchMapper[T, R any] struct {
	base
	fn func(in []T, out []R) []R
}

// Process implements operators.Operator.
func (o *batchMapper[T, R]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	in := columnar.Rows[T](b)
	out := o.fn(in, make([]R, 0, len(in)))
	if len(out) != len(in) {
		return fmt.Errorf("the function of MapBatch returned %d rows for a batch of %d: it must return one for each, or be a FlatMap", len(out), len(in))
	}
	o.end()
	o.out.Emit(&columnar.Batch{Rows: out, Times: b.Times, Origin: b.Origin, Shared: b.Shared && b.Times != nil})
	return nil
}

// UpdateBatch returns the factory of an operator that lets fn change the rows
// of a batch, or of a copy when others read them too.
func UpdateBatch[T any](fn func(rows []T)) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &batchUpdater[T]{fn: fn} })
}

type batchUpdater[T any] struct {
	base
	fn func(rows []T)
}

// Process implements operators.Operator.
func (o *batchUpdater[T]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	rows := columnar.Rows[T](b)
	if b.Shared {
		rows = slices.Clone(rows)
		b = &columnar.Batch{Rows: rows, Times: b.Times, Origin: b.Origin, Shared: b.Times != nil}
		o.batch = b
	}
	o.fn(rows)
	o.end()
	o.out.Emit(b)
	return nil
}
