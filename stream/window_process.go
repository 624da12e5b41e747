package stream

import (
	"fmt"
	"reflect"

	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/window"
)

// WindowContext is what a WindowProcessor may use: key, window, times, state
// of the key and of the window, and the output.
//
// Its methods are Key, Window, Emit, State, WindowState, Watermark, Now,
// Counter and Info; `go doc
// github.com/leatstream/leat/operators/window.Context` shows them.
type WindowContext[K comparable, R any] = window.Context[K, R]

// WindowProcessor is user code over the rows of a window, with state.
type WindowProcessor[K comparable, T, R any] interface {
	// Open is called once, before any window; state handles are made here.
	Open(ctx *WindowContext[K, R]) error
	// Process is called when a window has a result, with its rows in order of
	// arrival; for a window with late rows or early results, many times. OnError
	// says what becomes of a window that it refuses with an error.
	Process(ctx *WindowContext[K, R], rows []T) error
}

// ProcessWindowWith is ProcessWindow with a processor: it has state of the key
// (ctx.State), which outlives windows, and state of the window
// (ctx.WindowState), which goes with it. processor is a pointer to a struct;
// each subtask works on a copy of its own, made before Open.
func ProcessWindowWith[K comparable, T, R any](w *WindowedStream[K, T], processor WindowProcessor[K, T, R], opts ...Option) *DataStream[R] {
	where := callSite()
	e := w.keyed.stream.env
	out := rowTypeOf[R](e, where)
	w.fallible = true
	v := reflect.ValueOf(processor)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		e.fail(where, "processor %T is no pointer to a struct: each subtask needs a copy of it", processor)
	}
	if w.plan.rolling {
		e.fail(where, "ProcessWindowWith keeps windows one by one, which rolling windows (%s) are not: use ProcessWindow", w.assign.text)
	}
	var f operators.Factory
	if x, sound := partsOf(w); sound && !w.plan.rolling {
		var err error
		f, err = single(w, x, keptRows[T](), true, func() window.Function[K, []T, R] {
			c := reflect.New(v.Type().Elem())
			c.Elem().Set(v.Elem())
			return &processedWindow[K, T, R]{c.Interface().(WindowProcessor[K, T, R])}
		})
		if err != nil {
			e.fail(where, "%w", err)
		}
	}
	return addWindow[K, T, R](w, "process-window", where, out, f, opts)
}

// keptRows is the fold of functions that want the rows.
func keptRows[T any]() window.Fold[T, []T] {
	return window.Fold[T, []T]{Add: func(acc *[]T, v T) { *acc = append(*acc, v) }}
}

// stateless is embedded by functions without state.
type stateless[K comparable, O any] struct{}

// Open implements window.Function.
func (stateless[K, O]) Open(*window.Context[K, O]) error { return nil }

// Clear implements window.Function.
func (stateless[K, O]) Clear(*window.Context[K, O]) error { return nil }

type foldedWindow[K comparable, A, O any] struct {
	stateless[K, O]
	result func(K, Window, *A) O
}

// Fire implements window.Function.
func (f *foldedWindow[K, A, O]) Fire(ctx *window.Context[K, O], acc *A) error {
	ctx.Emit(f.result(ctx.Key(), ctx.Window(), acc))
	return nil
}

type rowsOfWindow[K comparable, T, R any] struct {
	stateless[K, R]
	fn func(K, Window, []T, func(R))
}

// Fire implements window.Function.
func (f *rowsOfWindow[K, T, R]) Fire(ctx *window.Context[K, R], rows *[]T) error {
	f.fn(ctx.Key(), ctx.Window(), *rows, ctx.Emit)
	return nil
}

type processedWindow[K comparable, T, R any] struct {
	user WindowProcessor[K, T, R]
}

// Open implements window.Function.
func (f *processedWindow[K, T, R]) Open(ctx *window.Context[K, R]) error { return f.user.Open(ctx) }

// Fire implements window.Function.
func (f *processedWindow[K, T, R]) Fire(ctx *window.Context[K, R], rows *[]T) error {
	if err := f.user.Process(ctx, *rows); err != nil {
		return fmt.Errorf("window of key %v: %w", ctx.Key(), err)
	}
	return nil
}

// Clear implements window.Function.
func (f *processedWindow[K, T, R]) Clear(ctx *window.Context[K, R]) error {
	if c, ok := f.user.(interface {
		Clear(ctx *WindowContext[K, R]) error
	}); ok {
		return c.Clear(ctx)
	}
	return nil
}
