package connectortest

import (
	"log/slog"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
)

// Clock is a clock that moves only when Advance is called, so that a test of
// pauses and rates takes no time.
type Clock = clock.Manual

// NewClock returns a clock that stands at start.
func NewClock(start time.Time) *Clock { return clock.NewManual(start) }

// MachineClock returns the clock that a job has: the machine's.
func MachineClock() connectors.Clock { return clock.Real{} }

// info describes a subtask as an engine does.
func info(subtask, parallelism int, attempt dataflow.Attempt) dataflow.TaskInfo {
	const uid = "connector"
	return dataflow.TaskInfo{
		Job: "0123456789abcdef0123456789abcdef", JobName: "conformance", Operator: dataflow.OperatorIDOf(uid), UID: uid, Name: uid,
		Subtask: subtask, Parallelism: parallelism, MaxParallelism: 128, Attempt: attempt,
	}
}

// NewEnumeratorContext returns what an enumerator is given: restored is nil at
// a fresh start. Fields may be changed before it is used.
func NewEnumeratorContext(restored []byte) *connectors.EnumeratorContext {
	return &connectors.EnumeratorContext{
		Info: info(0, 1, 1), Restored: restored, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Trouble: func(error) {},
	}
}

// NewReaderContext returns what the reader of the only subtask is given; wake
// is called from any goroutine. Fields may be changed before it is used.
func NewReaderContext(wake func()) *connectors.ReaderContext {
	return &connectors.ReaderContext{
		Info: info(0, 1, 1), Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Wake: wake,
		Counter: func(string) func(int64) { return func(int64) {} },
		Gauge:   func(string, func() float64) {}, DeadLetters: true, Trouble: func(error) {},
	}
}

// txnPool is enough ids for each of the writers of a check to have some.
const txnPool = 32

// NewWriterContext returns what the writer of one of several subtasks is
// given; wake is called from any goroutine. Fields may be changed before it is
// used.
func NewWriterContext(subtask, parallelism int, wake func()) *connectors.WriterContext {
	return &connectors.WriterContext{
		Info: info(subtask, parallelism, 1), Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Wake: wake,
		Counter: func(string) func(int64) { return func(int64) {} }, Incarnation: "0123456789ab", TxnPool: txnPool,
		Trouble: func(error) {},
	}
}
