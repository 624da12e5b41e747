package stream

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/window"
)

// Window is a span of event time: its start is inside, its end is not.
type Window = window.Window

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
	for _, f := range a.faults {
		e.fail(w.where, "%s", f)
	}
	switch d := w.cfg.lateness; {
	case d < 0:
		e.fail(w.where, "allowed lateness %s is negative", d)
	case d > windowMax:
		e.fail(w.where, "allowed lateness %s is longer than %s", d, windowMax)
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
		Windows: w.assign.tumbling(), Panes: w.assign.panes(), Lateness: w.cfg.lateness.Milliseconds(),
		Key: w.keyed.key, Hasher: w.keyed.hasher, KeyCodec: w.keyed.codec,
	}, w.keyed.codec != nil && len(w.assign.faults) == 0
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
	where := callSite()
	fold, ok := foldOf[T, A](w.keyed.stream.env, where, agg)
	return aggregate(w, "aggregate", where, fold, ok, func(_ K, _ Window, acc *A) R { return agg.Result(acc) }, opts)
}

// AggregateWindow is Aggregate with the key and the window given to the
// function that makes the output row.
func AggregateWindow[K comparable, T, A, R, O any](w *WindowedStream[K, T], agg Aggregator[T, A, R], row func(K, Window, R) O, opts ...Option) *DataStream[O] {
	where := callSite()
	e := w.keyed.stream.env
	fold, ok := foldOf[T, A](e, where, agg)
	if row == nil {
		e.fail(where, "the function of AggregateWindow that makes rows is nil")
	}
	return aggregate(w, "aggregate", where, fold, ok, func(k K, win Window, acc *A) O { return row(k, win, agg.Result(acc)) }, opts)
}

// foldOf returns how an aggregator folds records.
func foldOf[T, A, R any](e *Env, where string, agg Aggregator[T, A, R]) (fold window.Fold[T, A], ok bool) {
	if agg == nil {
		e.fail(where, "the aggregator is nil")
		return fold, false
	}
	c, err := codec.Of[A]()
	if err != nil {
		e.fail(where, "accumulator: %w", err)
	}
	fold = window.Fold[T, A]{Codec: c, Add: agg.Add}
	if m, is := agg.(Merger[A]); is {
		fold.Merge = m.Merge
	}
	return fold, err == nil
}

func aggregate[K comparable, T, A, O any](w *WindowedStream[K, T], op, where string, fold window.Fold[T, A], ok bool, result func(K, Window, *A) O, opts []Option) *DataStream[O] {
	out := rowTypeOf[O](w.keyed.stream.env, where)
	var f operators.Factory
	cfg, fine := config[K, T, O](w)
	if cfg.Panes != nil && fold.Merge == nil {
		w.keyed.stream.env.fail(where, "windows that overlap (%s) need an aggregator that merges: give it a method Merge (stream.Merger)", w.assign.text)
		fine = false
	}
	if fine && ok {
		f = window.Aggregate(cfg, fold, result)
	}
	return addWindow[K, T, O](w, op, where, out, f, opts)
}

// reduced is the accumulator of Reduce.
type reduced[T any] struct {
	Any   bool
	Value T
}

// Reduce combines the records of each window and key, two at a time. It is
// stateful.
func (w *WindowedStream[K, T]) Reduce(combine func(a, b T) T, opts ...Option) *DataStream[T] {
	where := callSite()
	e := w.keyed.stream.env
	if combine == nil {
		e.fail(where, "the function of Reduce is nil")
	}
	c, err := codec.Of[reduced[T]]()
	if err != nil {
		e.fail(where, "%w", err)
	}
	fold := window.Fold[T, reduced[T]]{
		Codec: c,
		Add: func(acc *reduced[T], v T) {
			if acc.Any {
				v = combine(acc.Value, v)
			}
			acc.Value, acc.Any = v, true
		},
		Merge: func(into, from *reduced[T]) {
			if into.Any && from.Any {
				into.Value = combine(into.Value, from.Value)
			} else if from.Any {
				*into = *from
			}
		},
	}
	return aggregate(w, "aggregate", where, fold, err == nil, func(_ K, _ Window, acc *reduced[T]) T { return acc.Value }, opts)
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
	cfg, ok := config[K, T, R](w)
	if cfg.Panes != nil {
		e.fail(where, "ProcessWindow has windows that overlap (%s)", w.assign.text)
		ok = false
	}
	if ok && err == nil {
		f = window.Process(cfg, rows, fn)
	}
	return addWindow[K, T, R](w, "process-window", where, out, f, opts)
}
