package rowop

import "github.com/leatstream/leat/operators"

// TryMap is Map by a function that may refuse a row.
func TryMap[T, R any](fn func(T) (R, error)) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return newPlain[R](nil, nil, plainInput(func(ctx *RowContext[R], v T) error {
			r, err := fn(v)
			if err == nil {
				ctx.out.add(r)
			}
			return err
		}))
	})
}

// TryFilter is Filter by a function that may refuse a row.
func TryFilter[T any](keep func(T) (bool, error)) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		var dropped operators.Counter
		open := func(ctx *RowContext[T]) error {
			dropped = ctx.Counter(MetricFiltered)
			return nil
		}
		return newPlain(nil, open, plainInput(func(ctx *RowContext[T], v T) error {
			ok, err := keep(v)
			switch {
			case err != nil:
				return err
			case ok:
				ctx.out.add(v)
			default:
				dropped.Add(1)
			}
			return nil
		}))
	})
}

// TryFlatMap is FlatMap by a function that may refuse a row. What it emitted
// for a row that it refuses is taken back.
func TryFlatMap[T, R any](fn func(v T, emit func(R)) error) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return newPlain[R](nil, nil, plainInput(func(ctx *RowContext[R], v T) error { return fn(v, ctx.emit) }))
	})
}
