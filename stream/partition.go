package stream

// MapPartition calls fn once in each subtask, when the input has ended, with
// all rows that came to the subtask, in order of arrival: to sort, or to fold
// what is bounded. Which rows meet is up to the partitioning before it; those
// of a key are met in GlobalWindows with the trigger OnEnd. emit is valid
// during the call only; what it emits has no event time. The rows are kept in
// operator state until the end, and in memory at once during the call. With a
// source that does not end that is when the job is stopped with a drain. It is
// stateful.
func MapPartition[T, R any](d *DataStream[T], fn func(rows []T, emit func(R)), opts ...Option) *DataStream[R] {
	needFunctions(d.env, callSite(), "MapPartition", fn == nil)
	return ProcessRows(d, RowProcessor[T, R](&partition[T, R]{fn: fn}), opts...)
}

// partition keeps the rows of a subtask.
type partition[T, R any] struct {
	fn   func([]T, func(R))
	rows *ListState[T]
	// over says, in every subtask, that the end has been handled: it comes
	// again after a restore from the last checkpoint.
	over *ListState[bool]
}

// Open implements RowProcessor.
func (p *partition[T, R]) Open(ctx *RowContext[R]) (err error) {
	if p.rows, err = NewListState[T](ctx, "rows"); err != nil {
		return err
	}
	p.over, err = NewUnionState[bool](ctx, "over")
	return err
}

// Process implements RowProcessor.
func (p *partition[T, R]) Process(_ *RowContext[R], v T) error {
	p.rows.Add(v)
	return nil
}

// Finish implements RowFinisher.
func (p *partition[T, R]) Finish(ctx *RowContext[R]) error {
	rows := make([]T, 0, p.rows.Len())
	for v := range p.rows.All() {
		rows = append(rows, v)
	}
	if len(rows) == 0 && p.over.Len() > 0 {
		return nil
	}
	p.rows.Clear()
	p.over.Set([]bool{true})
	p.fn(rows, ctx.Emit)
	return nil
}
