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
//
// Its methods are Start, End, StartMillis, EndMillis and IsGlobal; `go doc
// github.com/leatstream/leat/operators/window.Window` shows them.
type Window = window.Window

// WindowedStream is a keyed stream cut into windows. It serves one function.
type WindowedStream[K comparable, T any] struct {
	keyed  *KeyedStream[K, T]
	assign WindowAssigner
	cfg    windowConfig
	where  string
	plan   windowPlan
	all    bool        // not keyed: one subtask
	node   *graph.Node // of the function, once there is one
	// fallible: the function may refuse a window.
	fallible bool
}

// Window cuts the stream into windows of event time.
func (k *KeyedStream[K, T]) Window(a WindowAssigner, opts ...WindowOption) *WindowedStream[K, T] {
	return windowed(k, a, callSite(), opts)
}

// All is the key of rows that have none: of WindowAll.
type All struct{}

// WindowAll cuts a stream without keys into windows: all rows go through one
// subtask. With many rows, windows by key and a second window over their
// results are faster.
func WindowAll[T any](d *DataStream[T], a WindowAssigner, opts ...WindowOption) *WindowedStream[All, T] {
	where := callSite()
	w := windowed(KeyBy(d, func(T) All { return All{} }), a, where, opts)
	w.all = true
	return w
}

func windowed[K comparable, T any](k *KeyedStream[K, T], a WindowAssigner, where string, opts []WindowOption) *WindowedStream[K, T] {
	w := &WindowedStream[K, T]{keyed: k, assign: a, where: where}
	e := k.stream.env
	for _, o := range opts {
		if o == nil {
			e.fail(where, "an option of the window (%s) is nil", a.text)
			continue
		}
		o(&w.cfg)
	}
	w.plan = planOf(a, w.cfg, k.stream.untimed.fault())
	for _, f := range w.plan.faults {
		e.fail(where, "%s", f)
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
		d.env.fail(where, "Late is asked of a window without a function: call Aggregate, ReduceWindow or ProcessWindow on it before")
		return d
	}
	d.ports = []port{{node: w.node, output: dataflow.SideLate, part: graph.Forward}}
	return d
}

// config returns what the operator of windows as tables needs.
func config[K comparable, T, O any](w *WindowedStream[K, T]) window.Config[K, T, O] {
	return window.Config[K, T, O]{
		Windows: w.assign.tumbling(), Panes: w.assign.panes(), Lateness: w.cfg.lateness.Milliseconds(),
		Key: w.keyed.key, Hasher: w.keyed.hasher, KeyCodec: w.keyed.codec,
	}
}

// single returns the factory of the operator that keeps windows one by one.
// Rows are kept for functions that want them, for evictors, and where
// accumulators would have to be merged and cannot.
func single[K comparable, T, A, O any](w *WindowedStream[K, T], x windowParts[T], fold window.Fold[T, A], keepRows bool, fn func() window.Function[K, A, O]) (operators.Factory, error) {
	cfg := window.SingleConfig[K, T, A, O]{
		Key: w.keyed.key, Hasher: w.keyed.hasher, KeyCodec: w.keyed.codec,
		Assigner: x.assigner, Merging: w.plan.merging, Clock: w.assign.clock, Untimed: w.plan.untimed,
		Lateness: w.cfg.lateness.Milliseconds(), Delay: w.plan.delay.Milliseconds(),
		Trigger: x.trigger, Evictor: x.evictor,
		Fold: fold, Function: fn,
	}
	if keepRows || cfg.Evictor != nil || cfg.Merging && fold.Merge == nil {
		var err error
		if cfg.Rows, err = codec.Of[T](); err != nil {
			return nil, err
		}
	}
	return window.Single(cfg), nil
}

// addWindow appends the operator of a window.
func addWindow[K comparable, T, O any](w *WindowedStream[K, T], op, where string, out columnar.RowType, f operators.Factory, opts []Option) *DataStream[O] {
	in := w.keyed.stream
	if w.node != nil {
		in.env.fail(where, "the window of %s has a function already (operator %q): make another with Window", w.where, w.node.Name)
	}
	s := step{
		op: op, kind: graph.KindOperator, factory: f, stateful: true, keyed: true, fallible: w.fallible, out: out, where: where,
		detail: fmt.Sprintf("%s lateness %s", w.assign.text, w.cfg.lateness),
	}
	if w.all {
		opts = append([]Option{Parallelism(1)}, opts...)
	}
	w.node = in.env.add(s, in.ports, in.typ, opts)
	return then[O](in.env, w.node, out, in.untimed)
}

// Aggregator folds the records of a window into an accumulator A, which is
// all that is kept of them, and makes a result R of it. One value serves all
// subtasks: it holds no state of its own.
type Aggregator[T, A, R any] interface {
	// Add adds a record to acc, a zero A at first. What acc keeps of v is copied.
	Add(acc *A, v T)
	// Result makes the result. It may be called again after more records. It
	// does not return acc or keep it: the memory is used for the next key.
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
	var err error
	switch x, sound := partsOf(w); {
	case !sound || !ok:
	case w.plan.rolling:
		f, err = rollingFold(w, fold, result)
	case w.plan.tables && (w.assign.panes() == nil || fold.Merge != nil):
		f = window.Aggregate(config[K, T, O](w), fold, result)
	case w.plan.sessions && fold.Merge != nil:
		f = window.AggregateSessions(window.SessionConfig[K, T, O]{
			Gap: x.gap, Lateness: w.cfg.lateness.Milliseconds(),
			Key: w.keyed.key, Hasher: w.keyed.hasher, KeyCodec: w.keyed.codec,
		}, fold, result)
	default:
		f, err = single(w, x, fold, false, func() window.Function[K, A, O] { return &foldedWindow[K, A, O]{result: result} })
	}
	if err != nil {
		w.keyed.stream.env.fail(where, "%w", err)
	}
	return addWindow[K, T, O](w, op, where, out, f, opts)
}

// reduced is the accumulator of ReduceWindow.
type reduced[T any] struct {
	Any   bool
	Value T
}

// ReduceWindow combines the records of each window and key, two at a time. It
// is stateful.
func ReduceWindow[K comparable, T any](w *WindowedStream[K, T], combine func(a, b T) T, opts ...Option) *DataStream[T] {
	where := callSite()
	e := w.keyed.stream.env
	if combine == nil {
		e.fail(where, "the function of ReduceWindow is nil")
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
	if fn == nil {
		e.fail(where, "the function of ProcessWindow is nil")
	}
	rows, err := codec.Of[T]()
	var f operators.Factory
	switch x, sound := partsOf(w); {
	case !sound || err != nil:
	case w.plan.rolling:
		f, err = rollingRows(w, fn)
	case w.plan.tables && w.assign.panes() == nil:
		f = window.Process(config[K, T, R](w), rows, fn)
	default:
		f, err = single(w, x, keptRows[T](), true, func() window.Function[K, []T, R] { return &rowsOfWindow[K, T, R]{fn: fn} })
	}
	if err != nil {
		e.fail(where, "%w", err)
	}
	return addWindow[K, T, R](w, "process-window", where, out, f, opts)
}
