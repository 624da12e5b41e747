package stream

import (
	"fmt"
	"reflect"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators/rowop"
	"github.com/leatstream/leat/state"
)

// KeyedProcessor is user code over the rows of a keyed stream, with state and
// timers: Open makes the state, Process handles a row. One that sets timers
// has OnTimer too (TimerProcessor).
//
// Its methods are Open(ctx *ProcessContext[K, R]) error and Process(ctx
// *ProcessContext[K, R], v T) error, on a pointer; R is the type of the
// output in both; `go doc
// github.com/leatstream/leat/operators/rowop.Processor` shows them.
type KeyedProcessor[K comparable, T, R any] = rowop.Processor[K, T, R]

// TimerProcessor is a KeyedProcessor that sets timers.
//
// Its method is OnTimer(ctx *ProcessContext[K, R], t Timer) error; `go doc
// github.com/leatstream/leat/operators/rowop.TimerProcessor` shows them.
type TimerProcessor[K comparable, R any] = rowop.TimerProcessor[K, R]

// ProcessContext is what a KeyedProcessor may use: the key, times, state,
// timers and the output.
//
// Its methods are Key, State, SetTimer, ClearTimer, SetProcessingTimer,
// ClearProcessingTimer, and those of RowContext: Emit, Time, Watermark, Now,
// Info; Counter, Gauge, Meter, Histogram, IntCounter, FloatCounter, Minimum
// and Maximum; `go doc github.com/leatstream/leat/operators/rowop.Context`
// shows them.
type ProcessContext[K comparable, R any] = rowop.Context[K, R]

// Timer is a timer that is due.
//
// Its fields are At (time.Time) and Processing (bool); `go doc
// github.com/leatstream/leat/operators/rowop.Timer` shows them.
type Timer = rowop.Timer

// Process runs a processor over the rows of each key. processor is a pointer
// to a struct; each subtask works on a copy of its own, made before Open. It
// is stateful.
func Process[K comparable, T, R any](k *KeyedStream[K, T], processor KeyedProcessor[K, T, R], opts ...Option) *DataStream[R] {
	return process(k, "process", callSite(), processor, opts)
}

func process[K comparable, T, R any](k *KeyedStream[K, T], op, where string, processor KeyedProcessor[K, T, R], opts []Option) *DataStream[R] {
	in := k.stream
	out := rowTypeOf[R](in.env, where)
	s := step{op: op, kind: graph.KindOperator, stateful: true, keyed: true, fallible: op == "process", out: out, where: where, detail: fmt.Sprintf("%T", processor)}
	if fresh := copies(in.env, where, processor); k.codec != nil && fresh != nil {
		s.factory = rowop.Process(k.config(), fresh)
	}
	return then[R](in.env, in.env.add(s, in.ports, in.typ, opts), out, in.untimed)
}

// config describes the stream as an input of a keyed operator.
func (k *KeyedStream[K, T]) config() rowop.ProcessConfig[K, T] {
	return rowop.ProcessConfig[K, T]{Key: k.key, Hasher: k.hasher, KeyCodec: k.codec}
}

// copies returns what makes a copy of a processor for each subtask. A
// processor that cannot be copied is a fault, and the result nil.
func copies[P any](e *Env, where string, processor P) func() P {
	v := reflect.ValueOf(processor)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		e.fail(where, "processor %T is no pointer to a struct: each subtask needs a copy of it", processor)
		return nil
	}
	return func() P {
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(v.Elem())
		return c.Interface().(P)
	}
}

// Reduce combines the rows of each key, two at a time, and emits the result
// so far after each row. It is stateful.
func Reduce[K comparable, T any](k *KeyedStream[K, T], combine func(a, b T) T, opts ...Option) *DataStream[T] {
	needFunctions(k.stream.env, callSite(), "Reduce", combine == nil)
	return process(k, "reduce", callSite(), KeyedProcessor[K, T, T](&reducer[K, T]{combine: combine}), opts)
}

// reducer keeps the result so far.
type reducer[K comparable, T any] struct {
	combine func(a, b T) T
	sum     *state.Reducing[T]
}

// Open implements KeyedProcessor.
func (r *reducer[K, T]) Open(ctx *ProcessContext[K, T]) (err error) {
	r.sum, err = state.NewReducing(ctx.State(), "sum", r.combine)
	return err
}

// Process implements KeyedProcessor.
func (r *reducer[K, T]) Process(ctx *ProcessContext[K, T], v T) error {
	r.sum.Add(v)
	sum, _ := r.sum.Get()
	ctx.Emit(sum)
	return nil
}

// Tag names a side output of rows of type S.
type Tag[S any] struct{ name string }

// SideTag returns the tag of that name, for rows like like, of which only the
// type matters. A name is unique among the side outputs of an operator.
func SideTag[S any](name string, like S) Tag[S] { return Tag[S]{name: name} }

// SideEmitter is a context of a processor of any kind.
type SideEmitter = rowop.SideEmitter

// EmitSide adds a row to a side output of a processor, with the time of the
// row or timer in work. It is dropped when Side has no consumer.
func EmitSide[S any](ctx SideEmitter, tag Tag[S], v S) { rowop.EmitSide(ctx, tag.name, v) }

// Side returns a side output of the operator that a stream comes from.
func Side[T, S any](d *DataStream[T], tag Tag[S]) *DataStream[S] {
	return side[S](d, tag.name, callSite())
}
