package stream

import (
	"fmt"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators/rowop"
)

// ConnectedStreams are two streams of different types whose rows one operator
// takes, each by a function of its own.
type ConnectedStreams[A, B any] struct {
	first  *DataStream[A]
	second *DataStream[B]
}

// Connect joins two streams as the inputs of one operator; see CoMap,
// CoFlatMap and CoProcessRows. How the rows of the two meet in time is not
// defined. A stream may be connected with itself.
func Connect[A, B any](first *DataStream[A], second *DataStream[B]) *ConnectedStreams[A, B] {
	sameEnv(callSite(), "Connect", first.env, second.env)
	return &ConnectedStreams[A, B]{first, second}
}

// KeyedConnectedStreams are two streams keyed alike: rows of a key meet in one
// subtask, whichever stream they come by.
type KeyedConnectedStreams[K comparable, A, B any] struct {
	first  *KeyedStream[K, A]
	second *KeyedStream[K, B]
}

// ConnectKeyed joins two streams with keys of one type as the inputs of one
// operator; see CoProcess.
func ConnectKeyed[K comparable, A, B any](first *KeyedStream[K, A], second *KeyedStream[K, B]) *KeyedConnectedStreams[K, A, B] {
	sameEnv(callSite(), "ConnectKeyed", first.stream.env, second.stream.env)
	return &KeyedConnectedStreams[K, A, B]{first, second}
}

// CoMap replaces each row of the first stream by first of it, and each row of
// the second by second of it.
func CoMap[A, B, R any](c *ConnectedStreams[A, B], first func(A) R, second func(B) R, opts ...Option) *DataStream[R] {
	where := callSite()
	needFunctions(c.first.env, where, "CoMap", first == nil || second == nil)
	return coRows[A, B, R](c, step{op: "co-map", factory: rowop.CoMap(first, second), where: where}, opts)
}

// CoFlatMap replaces each row by the rows that its stream's function emits
// for it. emit is valid during the call only.
func CoFlatMap[A, B, R any](c *ConnectedStreams[A, B], first func(v A, emit func(R)), second func(v B, emit func(R)), opts ...Option) *DataStream[R] {
	where := callSite()
	needFunctions(c.first.env, where, "CoFlatMap", first == nil || second == nil)
	return coRows[A, B, R](c, step{op: "co-flat-map", factory: rowop.CoFlatMap(first, second), where: where}, opts)
}

func needFunctions(e *Env, where, what string, missing bool) {
	if missing {
		e.fail(where, "%s is given a nil function: what is it to do with rows?", what)
	}
}

// CoRowProcessor is user code over the rows of two streams without keys: Open,
// ProcessFirst and ProcessSecond.
//
// The first argument of each is a *RowContext[R]; `go doc
// github.com/leatstream/leat/operators/rowop.CoRowProcessor` shows them.
type CoRowProcessor[A, B, R any] = rowop.CoRowProcessor[A, B, R]

// CoProcessRows runs a processor over the rows of two streams without keys.
// processor is a pointer to a struct; each subtask works on a copy of its own,
// made before Open.
func CoProcessRows[A, B, R any](c *ConnectedStreams[A, B], processor CoRowProcessor[A, B, R], opts ...Option) *DataStream[R] {
	s := step{op: "co-process-rows", stateful: true, fallible: true, where: callSite(), detail: fmt.Sprintf("%T", processor)}
	if fresh := copies(c.first.env, s.where, processor); fresh != nil {
		s.factory = rowop.CoProcessRows(fresh)
	}
	return coRows[A, B, R](c, s, opts)
}

func coRows[A, B, R any](c *ConnectedStreams[A, B], s step, opts []Option) *DataStream[R] {
	return two[R](c.first.env, s, c.first.in(), c.second.in(), timingOfBoth(c.first.untimed, c.second.untimed), opts)
}

// CoProcessor is user code over the rows of two keyed streams, with state and
// timers that both share: Open, ProcessFirst, ProcessSecond, and OnTimer if it
// sets timers (TimerProcessor).
//
// The first argument of each is a *ProcessContext[K, R]; `go doc
// github.com/leatstream/leat/operators/rowop.CoProcessor` shows them.
type CoProcessor[K comparable, A, B, R any] = rowop.CoProcessor[K, A, B, R]

// CoProcess runs a processor over the rows of each key of two streams.
// processor is a pointer to a struct; each subtask works on a copy of its own,
// made before Open. It is stateful.
func CoProcess[K comparable, A, B, R any](c *KeyedConnectedStreams[K, A, B], processor CoProcessor[K, A, B, R], opts ...Option) *DataStream[R] {
	a, b := c.first, c.second
	s := step{op: "co-process", stateful: true, keyed: true, fallible: true, where: callSite(), detail: fmt.Sprintf("%T", processor)}
	if fresh := copies(a.stream.env, s.where, processor); fresh != nil && a.codec != nil && b.codec != nil {
		s.factory = rowop.CoProcess(a.config(), b.config(), fresh)
	}
	return two[R](a.stream.env, s, a.stream.in(), b.stream.in(), timingOfBoth(a.stream.untimed, b.stream.untimed), opts)
}

// two appends an operator of two inputs.
func two[R any](e *Env, s step, a, b input, untimed timing, opts []Option) *DataStream[R] {
	s.kind = graph.KindOperator
	s.out = rowTypeOf[R](e, s.where)
	return then[R](e, e.addInputs(s, []input{a, b}, opts), s.out, untimed)
}
