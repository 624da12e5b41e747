package rowop

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/setaside"
)

// RowProcessor is user code over rows without keys: it has no keyed state and
// no timers, because nothing says which subtask a timer would belong to after
// a rescale. As for a Processor otherwise.
type RowProcessor[T, R any] interface {
	// Open is called once, before any row; state and metrics are made here.
	Open(ctx *RowContext[R]) error
	// Process is called for each row.
	Process(ctx *RowContext[R], v T) error
}

// RowFinisher is a processor of rows without keys that acts at the end of
// input: Finish is called once in each subtask, after the last row and before
// the last checkpoint. What it emits has no event time. A job that is stopped
// with a drain has its end there. After a restore from a checkpoint behind the
// end it may be called again, as at another parallelism: state says what it has
// done.
type RowFinisher[R any] interface {
	// Finish is called once all input has ended, before the last checkpoint.
	Finish(ctx *RowContext[R]) error
}

// CoRowProcessor is a RowProcessor over two streams.
type CoRowProcessor[A, B, R any] interface {
	// Open is called once, before any row; state and metrics are made here.
	Open(ctx *RowContext[R]) error
	// ProcessFirst is called for each row of the first stream.
	ProcessFirst(ctx *RowContext[R], v A) error
	// ProcessSecond is called for each row of the second stream.
	ProcessSecond(ctx *RowContext[R], v B) error
}

// BroadcastRowProcessor is a RowProcessor with a second stream whose rows
// every subtask gets.
type BroadcastRowProcessor[T, B, R any] interface {
	// Open is called once, before any row; state and metrics are made here.
	Open(ctx *RowContext[R]) error
	// Process reads broadcast state.
	Process(ctx *RowContext[R], v T) error
	// ProcessBroadcast writes it, as a function of the row and that state alone.
	ProcessBroadcast(ctx *BroadcastContext[R], v B) error
}

// ProcessRows returns the factory of an operator that runs a processor, made
// anew for each subtask.
func ProcessRows[T, R any](processor func() RowProcessor[T, R]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		user := processor()
		return newPlain(user, user.Open, plainInput(user.Process))
	})
}

// CoProcessRows returns the factory of an operator of two inputs.
func CoProcessRows[A, B, R any](processor func() CoRowProcessor[A, B, R]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		user := processor()
		return newPlain(user, user.Open, plainInput(user.ProcessFirst), plainInput(user.ProcessSecond))
	})
}

// BroadcastProcessRows returns the factory of an operator whose second input
// is given to every subtask.
func BroadcastProcessRows[T, B, R any](processor func() BroadcastRowProcessor[T, B, R]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		user := processor()
		broadcast := func(ctx *RowContext[R], v B) error {
			return user.ProcessBroadcast(&BroadcastContext[R]{ctx}, v)
		}
		return newPlain(user, user.Open, plainInput(user.Process), plainInput(broadcast))
	})
}

// CoMap returns the factory of an operator that replaces each row of either
// input by that input's function of it.
func CoMap[A, B, R any](first func(A) R, second func(B) R) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return newPlain[R](nil, nil,
			plainInput(func(ctx *RowContext[R], v A) error { ctx.Emit(first(v)); return nil }),
			plainInput(func(ctx *RowContext[R], v B) error { ctx.Emit(second(v)); return nil }))
	})
}

// CoFlatMap returns the factory of an operator that replaces each row of
// either input by the rows that the input's function emits for it.
func CoFlatMap[A, B, R any](first func(v A, emit func(R)), second func(v B, emit func(R))) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return newPlain[R](nil, nil,
			plainInput(func(ctx *RowContext[R], v A) error { first(v, ctx.emit); return nil }),
			plainInput(func(ctx *RowContext[R], v B) error { second(v, ctx.emit); return nil }))
	})
}

// plain runs user code over inputs without keys.
type plain[R any] struct {
	cursor
	inputs []plainSide[R]
	user   any
	open   func(*RowContext[R]) error // nil: there is none
	ctx    RowContext[R]
	opened bool
}

// plainSide is one input.
type plainSide[R any] interface {
	process(o *plain[R], b *columnar.Batch) error
}

var (
	_ operators.WatermarkHandler = (*plain[int])(nil)
	_ operators.EndHandler       = (*plain[int])(nil)
	_ operators.Snapshotter      = (*plain[int])(nil)
	_ operators.Positioner       = (*plain[int])(nil)
)

func newPlain[R any](user any, open func(*RowContext[R]) error, inputs ...plainSide[R]) *plain[R] {
	return &plain[R]{user: user, open: open, inputs: inputs}
}

// Open implements operators.Operator.
func (o *plain[R]) Open(ctx *operators.Context) error {
	if err := o.ctx.open(ctx); err != nil {
		return err
	}
	o.ctx.emit = o.ctx.out.add
	o.opened = true
	if o.open == nil {
		return nil
	}
	return o.open(&o.ctx)
}

// Process implements operators.Operator.
func (o *plain[R]) Process(input int, b *columnar.Batch) error {
	o.cursor.begin(b)
	if err := o.inputs[input].process(o, b); err != nil {
		return err
	}
	o.end()
	o.ctx.flush()
	return nil
}

// Watermark implements operators.WatermarkHandler: the context tells it.
func (o *plain[R]) Watermark(wm int64) (bool, error) {
	o.ctx.watermark = wm
	return true, nil
}

// End implements operators.EndHandler.
func (o *plain[R]) End() (bool, error) {
	f, ok := o.user.(RowFinisher[R])
	if !ok {
		return true, nil
	}
	o.ctx.time, o.ctx.out.known = dataflow.TimeNone, false
	o.ctx.out.at(dataflow.TimeNone, false)
	if o.ctx.tray == nil {
		if err := f.Finish(&o.ctx); err != nil {
			return true, err
		}
	} else {
		o.ctx.begin()
		if err := f.Finish(&o.ctx); err != nil {
			o.ctx.failed(setaside.Record{Time: dataflow.TimeNone}, err)
		} else {
			o.ctx.done()
		}
	}
	o.ctx.flush()
	return true, nil
}

// Snapshot implements operators.Snapshotter.
func (o *plain[R]) Snapshot(operators.Checkpoint) ([]byte, error) { return o.ctx.state.Snapshot(), nil }

// Close implements operators.Operator.
func (o *plain[R]) Close() error {
	if !o.opened {
		return nil
	}
	return closeUser(o.user)
}

// plainRows is an input of rows of one type.
type plainRows[T, R any] struct {
	call func(ctx *RowContext[R], v T) error
}

func plainInput[T, R any](call func(*RowContext[R], T) error) plainSide[R] {
	return plainRows[T, R]{call}
}

// process implements plainSide.
func (in plainRows[T, R]) process(o *plain[R], b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	for i := range rows {
		o.cursor.at = i
		o.ctx.at(b, i)
		if o.ctx.tray == nil {
			if err := in.call(&o.ctx, rows[i]); err != nil {
				return err
			}
			continue
		}
		o.ctx.begin()
		if err := in.call(&o.ctx, rows[i]); err != nil {
			o.ctx.failed(setaside.Record{Row: rows[i], Origin: b.Origin, At: i, Time: o.ctx.time}, err)
			continue
		}
		o.ctx.done()
	}
	return nil
}
