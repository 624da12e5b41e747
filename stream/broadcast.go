package stream

import (
	"fmt"

	"github.com/leatstream/leat/operators/opstate"
	"github.com/leatstream/leat/operators/rowop"
)

// BroadcastProcessor is user code over the rows of a keyed stream (Process)
// and those of another that every subtask gets (ProcessBroadcast), with
// broadcast state that the latter writes and the former reads. It has timers
// of its keys with OnTimer (TimerProcessor).
//
// Its methods are Open and Process, as of a KeyedProcessor, and
// ProcessBroadcast(ctx *KeyedBroadcastContext[K, R], v B) error; `go doc
// github.com/leatstream/leat/operators/rowop.BroadcastProcessor` shows them.
type BroadcastProcessor[K comparable, T, B, R any] = rowop.BroadcastProcessor[K, T, B, R]

// BroadcastRowProcessor is a BroadcastProcessor over rows without keys.
//
// Its methods are Open and Process, as of a RowProcessor, and
// ProcessBroadcast(ctx *BroadcastContext[R], v B) error; `go doc
// github.com/leatstream/leat/operators/rowop.BroadcastRowProcessor` shows
// them.
type BroadcastRowProcessor[T, B, R any] = rowop.BroadcastRowProcessor[T, B, R]

// BroadcastContext is what ProcessBroadcast of a BroadcastRowProcessor may
// use: only it can change broadcast state.
//
// Its methods are those of RowContext, which it embeds; `go doc
// github.com/leatstream/leat/operators/rowop.BroadcastContext` shows them.
type BroadcastContext[R any] = rowop.BroadcastContext[R]

// KeyedBroadcastContext is what ProcessBroadcast of a BroadcastProcessor may
// use. Its ForEachKey reaches the state of all keys of the subtask.
//
// Its methods are ForEachKey and those of RowContext; `go doc
// github.com/leatstream/leat/operators/rowop.KeyedBroadcastContext` shows
// them.
type KeyedBroadcastContext[K comparable, R any] = rowop.KeyedBroadcastContext[K, R]

// BroadcastMap is a map of which each subtask holds the same copy. Put,
// Delete and Clear take the context of ProcessBroadcast, so that nothing else
// can call them. Each subtask's copy is part of its snapshot; a restore at
// another parallelism gives each new subtask one of the copies. It is a field
// of a processor, whose Open calls that of the map with its context.
//
// Its methods are Open, Get, All, Len, Put, Delete and Clear; `go doc
// github.com/leatstream/leat/operators/opstate.Map` shows them.
type BroadcastMap[K comparable, V any] = opstate.Map[K, V]

// OperatorStateContext is a context whose Open may make state that belongs to
// no key: that of any processor.
type OperatorStateContext = opstate.Owner

// BroadcastProcess gives each row of rules to every subtask of an operator on
// a keyed stream. Rows that come before the rules find none: which comes first
// is not defined. processor is a pointer to a struct; each subtask works on a
// copy of its own, made before Open. It is stateful.
func BroadcastProcess[K comparable, T, B, R any](rows *KeyedStream[K, T], rules *DataStream[B], processor BroadcastProcessor[K, T, B, R], opts ...Option) *DataStream[R] {
	in := rows.stream
	s := step{op: "broadcast-process", stateful: true, keyed: true, fallible: true, where: callSite(), detail: fmt.Sprintf("%T", processor)}
	sameEnv(s.where, "BroadcastProcess", in.env, rules.env)
	if fresh := copies(in.env, s.where, processor); fresh != nil && rows.codec != nil {
		s.factory = rowop.BroadcastProcess(rows.config(), fresh)
	}
	return two[R](in.env, s, in.in(), rules.Broadcast().in(), timingOf(in.untimed, rules.untimed), opts)
}

// BroadcastProcessRows is BroadcastProcess on a stream without keys.
func BroadcastProcessRows[T, B, R any](rows *DataStream[T], rules *DataStream[B], processor BroadcastRowProcessor[T, B, R], opts ...Option) *DataStream[R] {
	s := step{op: "broadcast-process-rows", stateful: true, fallible: true, where: callSite(), detail: fmt.Sprintf("%T", processor)}
	sameEnv(s.where, "BroadcastProcessRows", rows.env, rules.env)
	if fresh := copies(rows.env, s.where, processor); fresh != nil {
		s.factory = rowop.BroadcastProcessRows(fresh)
	}
	return two[R](rows.env, s, rows.in(), rules.Broadcast().in(), timingOf(rows.untimed, rules.untimed), opts)
}
