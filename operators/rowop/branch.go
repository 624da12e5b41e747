package rowop

import (
	"fmt"
	"slices"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// BranchOtherwise is the side output of the rows that no case takes.
const BranchOtherwise = "otherwise"

// BranchTag names the side output of a case.
func BranchTag(i int) string { return fmt.Sprint("case-", i) }

// Branch returns the factory of an operator that gives each row to the side
// output of the first case that holds, else to BranchOtherwise. The cases are
// read when the operator is made. Rows that no one consumes are counted as
// dropped.
func Branch[T any](cases *[]func(T) bool) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &branch[T]{cases: *cases} })
}

type branch[T any] struct {
	base
	cases   []func(T) bool
	tags    []string // by case; the last is BranchOtherwise
	rows    [][]int32
	dropped operators.Counter
}

var _ operators.Positioner = (*branch[int])(nil)

// Open implements operators.Operator.
func (o *branch[T]) Open(ctx *operators.Context) error {
	for i := range o.cases {
		o.tags = append(o.tags, BranchTag(i))
	}
	o.tags = append(o.tags, BranchOtherwise)
	o.rows = make([][]int32, len(o.tags))
	o.dropped = ctx.Metrics.Counter(MetricFiltered)
	return o.base.Open(ctx)
}

// Process implements operators.Operator.
func (o *branch[T]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	rows := columnar.Rows[T](b)
	for i := range o.rows {
		o.rows[i] = o.rows[i][:0]
	}
	for i := range rows {
		o.at = i
		to := slices.IndexFunc(o.cases, func(holds func(T) bool) bool { return holds(rows[i]) })
		if to < 0 {
			to = len(o.cases)
		}
		o.rows[to] = append(o.rows[to], int32(i))
	}
	o.end()
	for to, idx := range o.rows {
		switch {
		case len(idx) == 0:
		case !o.out.HasSide(o.tags[to]):
			o.dropped.Add(int64(len(idx)))
		case len(idx) == len(rows):
			o.out.EmitSide(o.tags[to], b)
		default:
			o.out.EmitSide(o.tags[to], pickCopy(b, rows, idx))
		}
	}
	return nil
}

// pickCopy returns a copy of the rows idx of b.
func pickCopy[T any](b *columnar.Batch, rows []T, idx []int32) *columnar.Batch {
	shared := *b
	shared.Shared = true
	return pick(&shared, rows, idx)
}

// Peek returns the factory of an operator that shows each row to look.
func Peek[T any](look func(T)) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &peek[T]{look: look} })
}

type peek[T any] struct {
	base
	look func(T)
}

// Process implements operators.Operator.
func (o *peek[T]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	rows := columnar.Rows[T](b)
	for i := range rows {
		o.at = i
		o.look(rows[i])
	}
	o.end()
	o.out.Emit(b)
	return nil
}
