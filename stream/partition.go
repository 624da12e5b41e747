package stream

// MapPartition calls fn in each subtask that got rows, when its input has
// ended, with all of them in order of arrival: to sort, or to fold what is
// bounded. Which rows meet is up to the partitioning before it, as long as the
// parallelism stays: when it changes, rows that wait are dealt out anew. Those
// of a key meet in GlobalWindows with the trigger OnEnd. emit is valid during
// the call only; what it emits has no event time. The rows are kept in
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
	rows ListState[T]
}

// Open implements RowProcessor.
func (p *partition[T, R]) Open(ctx *RowContext[R]) error { return p.rows.Open(ctx, "rows") }

// Process implements RowProcessor.
func (p *partition[T, R]) Process(_ *RowContext[R], v T) error {
	p.rows.Add(v)
	return nil
}

// Finish implements RowFinisher. The end may come again, after a restore, when
// the rows are gone.
func (p *partition[T, R]) Finish(ctx *RowContext[R]) error {
	if p.rows.Len() == 0 {
		return nil
	}
	rows := make([]T, 0, p.rows.Len())
	for v := range p.rows.All() {
		rows = append(rows, v)
	}
	p.rows.Clear()
	p.fn(rows, ctx.Emit)
	return nil
}
