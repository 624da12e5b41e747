package rowop

import (
	"slices"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// MetricFiltered is the counter of the rows that a filter dropped.
const MetricFiltered = "numRecordsFiltered"

// Filter returns the factory of an operator that keeps the rows for which
// keep holds and counts the others. A batch that is not shared is compacted
// in place.
func Filter[T any](keep func(T) bool) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &filter[T]{keep: keep} })
}

type filter[T any] struct {
	base
	keep    func(T) bool
	idx     []int32 // rows to keep, reused
	dropped operators.Counter
}

// Open implements operators.Operator.
func (o *filter[T]) Open(ctx *operators.Context) error {
	o.dropped = ctx.Metrics.Counter(MetricFiltered)
	return o.base.Open(ctx)
}

// Process implements operators.Operator.
func (o *filter[T]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	rows := columnar.Rows[T](b)
	idx := slices.Grow(o.idx[:0], len(rows))[:len(rows)]
	n := 0
	for i := range rows {
		o.at = i
		idx[n] = int32(i)
		if o.keep(rows[i]) {
			n++
		}
	}
	o.end()
	o.idx = idx
	if n == len(rows) {
		o.out.Emit(b)
		return nil
	}
	o.dropped.Add(int64(len(rows) - n))
	if n == 0 {
		b.Release()
		return nil
	}
	o.out.Emit(pick(b, rows, idx[:n]))
	return nil
}

// pick returns the rows idx (ascending) of b, in place when b is not shared.
func pick[T any](b *columnar.Batch, rows []T, idx []int32) *columnar.Batch {
	if b.Shared {
		return pickShared(b, rows, idx)
	}
	for to, from := range idx {
		if to != int(from) {
			rows[to] = rows[from]
		}
	}
	if b.Times != nil {
		for to, from := range idx {
			b.Times[to] = b.Times[from]
		}
	}
	b.Origin = pickOrigin(b.Origin, idx)
	columnar.Truncate[T](b, len(idx))
	return b
}

func pickShared[T any](b *columnar.Batch, rows []T, idx []int32) *columnar.Batch {
	n := len(idx)
	out, dst := &columnar.Batch{Origin: pickOrigin(b.Origin, idx)}, make([]T, n)
	for to, from := range idx {
		dst[to] = rows[from]
	}
	out.Rows = dst
	if b.Times != nil {
		out.Times = make([]int64, n)
		for to, from := range idx {
			out.Times[to] = b.Times[from]
		}
	}
	return out
}

func pickOrigin(o *columnar.Origin, idx []int32) *columnar.Origin {
	if o == nil {
		return nil
	}
	places := make([]int64, len(idx))
	for to, from := range idx {
		places[to] = o.At(int(from))
	}
	return &columnar.Origin{Split: o.Split, Positions: places}
}
