package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/window"
)

// Window is a span of event time: its start is inside, its end is not.
type Window = window.Window

// WindowAssigner says into which windows event time is cut.
type WindowAssigner struct {
	windows window.Tumbling
	text    string
	fault   string
}

// AssignerOption sets an option of an assigner.
type AssignerOption func(*WindowAssigner)

// Offset moves the windows: one of them starts at d after the epoch.
func Offset(d time.Duration) AssignerOption {
	return func(a *WindowAssigner) { a.windows.Offset = d.Milliseconds() }
}

// Tumbling cuts event time into windows of one size, without gap or overlap.
func Tumbling(size time.Duration, opts ...AssignerOption) WindowAssigner {
	a := WindowAssigner{windows: window.Tumbling{Size: size.Milliseconds()}}
	if size < time.Millisecond {
		a.fault = fmt.Sprintf("window of %s is shorter than a millisecond", size)
	}
	for _, o := range opts {
		o(&a)
	}
	a.text = fmt.Sprintf("tumbling %s offset %dms", size, a.windows.Offset)
	return a
}

// WindowedStream is a keyed stream cut into windows. It serves one function.
type WindowedStream[K comparable, T any] struct {
	keyed  *KeyedStream[K, T]
	assign WindowAssigner
	cfg    windowConfig
	where  string
	node   *graph.Node // of the function, once there is one
}

// Window cuts the stream into windows of event time.
func (k *KeyedStream[K, T]) Window(a WindowAssigner, opts ...WindowOption) *WindowedStream[K, T] {
	w := &WindowedStream[K, T]{keyed: k, assign: a, where: callSite()}
	for _, o := range opts {
		o(&w.cfg)
	}
	e := k.stream.env
	if a.fault != "" {
		e.fail(w.where, "%s", a.fault)
	}
	if w.cfg.lateness < 0 {
		e.fail(w.where, "allowed lateness %s is negative", w.cfg.lateness)
	}
	if k.stream.untimed != "" {
		e.fail(w.where, "a window (%s) needs event time, but source %q has no watermarks: add stream.Watermarks to its From", a.text, k.stream.untimed)
	}
	return w
}

// Late returns the records that came after their window, and the lateness
// allowed, was over. Without a consumer they are dropped and counted. It is
// called after the window's function.
func (w *WindowedStream[K, T]) Late() *DataStream[T] {
	where := callSite()
	d := &DataStream[T]{env: w.keyed.stream.env, typ: w.keyed.stream.typ}
	if w.node == nil {
		d.env.fail(where, "Late is asked of a window without a function: call Aggregate, Reduce or ProcessWindow on it before")
		return d
	}
	d.ports = []port{{node: w.node, output: dataflow.SideLate, part: graph.Forward}}
	return d
}

// config returns what the window operator of output O needs; ok is false
// after a fault.
func config[K comparable, T, O any](w *WindowedStream[K, T]) (c window.Config[K, T, O], ok bool) {
	return window.Config[K, T, O]{
		Windows: w.assign.windows, Lateness: w.cfg.lateness.Milliseconds(),
		Key: w.keyed.key, Hasher: w.keyed.hasher, KeyCodec: w.keyed.codec,
	}, w.keyed.codec != nil && w.assign.fault == ""
}

// addWindow appends the operator of a window.
func addWindow[K comparable, T, O any](w *WindowedStream[K, T], op, where string, out columnar.RowType, f operators.Factory, opts []Option) *DataStream[O] {
	in := w.keyed.stream
	if w.node != nil {
		in.env.fail(where, "the window of %s has a function already (operator %q): make another with Window", w.where, w.node.Name)
	}
	s := step{
		op: op, kind: graph.KindOperator, factory: f, stateful: true, keyed: true, out: out, where: where,
		detail: fmt.Sprintf("%s lateness %s", w.assign.text, w.cfg.lateness),
	}
	w.node = in.env.add(s, in.ports, in.typ, opts)
	return then[O](in.env, w.node, out, "")
}

// Aggregator folds the records of a window into an accumulator A, which is
// all that is kept of them, and makes a result R of it. One value serves all
// subtasks: it holds no state of its own.
type Aggregator[T, A, R any] interface {
	// Add adds a record to acc, a zero A at first. What acc keeps of v is copied.
	Add(acc *A, v T)
	// Result makes the result. It may be called again after more records.
	Result(acc *A) R
}

// Aggregate folds the records of each window and key. It is stateful.
func Aggregate[K comparable, T, A, R any](w *WindowedStream[K, T], agg Aggregator[T, A, R], opts ...Option) *DataStream[R] {
	return aggregate(w, callSite(), agg.Add, func(_ K, _ Window, acc *A) R { return agg.Result(acc) }, opts)
}

// AggregateWindow is Aggregate with the key and the window given to the
// function that makes the output row.
func AggregateWindow[K comparable, T, A, R, O any](w *WindowedStream[K, T], agg Aggregator[T, A, R], row func(K, Window, R) O, opts ...Option) *DataStream[O] {
	return aggregate(w, callSite(), agg.Add, func(k K, win Window, acc *A) O { return row(k, win, agg.Result(acc)) }, opts)
}

func aggregate[K comparable, T, A, O any](w *WindowedStream[K, T], where string, add func(*A, T), result func(K, Window, *A) O, opts []Option) *DataStream[O] {
	e := w.keyed.stream.env
	out := rowTypeOf[O](e, where)
	acc, err := codec.Of[A]()
	if err != nil {
		e.fail(where, "accumulator: %w", err)
	}
	var f operators.Factory
	if cfg, ok := config[K, T, O](w); ok && err == nil {
		f = window.Aggregate(cfg, window.Fold[T, A]{Codec: acc, Add: add}, result)
	}
	return addWindow[K, T, O](w, "aggregate", where, out, f, opts)
}

// reduced is the accumulator of Reduce.
type reduced[T any] struct {
	Any   bool
	Value T
}

// Reduce combines the records of each window and key, two at a time. It is
// stateful.
func (w *WindowedStream[K, T]) Reduce(combine func(a, b T) T, opts ...Option) *DataStream[T] {
	add := func(acc *reduced[T], v T) {
		if acc.Any {
			v = combine(acc.Value, v)
		}
		acc.Value, acc.Any = v, true
	}
	return aggregate(w, callSite(), add, func(_ K, _ Window, acc *reduced[T]) T { return acc.Value }, opts)
}

// ProcessWindow calls fn with all records of each window and key, in order of
// arrival, which are kept until then. emit is valid during the call only. It
// is stateful; where an Aggregator does, it needs much less memory.
func ProcessWindow[K comparable, T, R any](w *WindowedStream[K, T], fn func(key K, win Window, rows []T, emit func(R)), opts ...Option) *DataStream[R] {
	where := callSite()
	e := w.keyed.stream.env
	out := rowTypeOf[R](e, where)
	rows, err := codec.Of[T]()
	if err != nil {
		e.fail(where, "%w", err)
	}
	var f operators.Factory
	if cfg, ok := config[K, T, R](w); ok && err == nil {
		f = window.Process(cfg, rows, fn)
	}
	return addWindow[K, T, R](w, "process-window", where, out, f, opts)
}
