package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/window"
)

// SuppressBuffer says how many rows may be held back in each subtask.
type SuppressBuffer struct {
	rows  int
	fail  bool
	fault string
}

// BufferUnbounded holds back as many rows as there are keys.
func BufferUnbounded() SuppressBuffer { return SuppressBuffer{} }

// BufferRows holds back at most n rows in a subtask. When there are more, the
// one that has waited longest goes on early (numRecordsEmittedEarly).
func BufferRows(n int) SuppressBuffer {
	b := SuppressBuffer{rows: n}
	if n < 1 {
		b.fault = fmt.Sprintf("a buffer of %d rows: give it at least one, or use BufferUnbounded", n)
	}
	return b
}

// OrFail makes a buffer that is full fail the job, for those to whom an early
// row is worse.
func (b SuppressBuffer) OrFail() SuppressBuffer {
	b.fail = true
	return b
}

// SuppressFor holds the rows of a key back for d of event time: when a row
// comes, the last of its key within d goes on, with the time at which it was
// due; those before are dropped. It thins out updates, such as early results
// or the results of late rows. The default trigger of a window holds results
// back until the window closes without it. It is stateful.
func SuppressFor[K comparable, T any](k *KeyedStream[K, T], d time.Duration, buffer SuppressBuffer, opts ...Option) *DataStream[T] {
	where := callSite()
	if s := k.stream.untimed.fault(); s != "" {
		k.stream.env.fail(where, "SuppressFor needs event time, but %s, or use SuppressForProcessingTime", s)
	}
	return suppress(k, where, d, buffer, false, opts)
}

// SuppressForProcessingTime is SuppressFor by the clock of the machine; rows
// keep their times.
func SuppressForProcessingTime[K comparable, T any](k *KeyedStream[K, T], d time.Duration, buffer SuppressBuffer, opts ...Option) *DataStream[T] {
	return suppress(k, callSite(), d, buffer, true, opts)
}

func suppress[K comparable, T any](k *KeyedStream[K, T], where string, d time.Duration, buffer SuppressBuffer, clock bool, opts []Option) *DataStream[T] {
	in := k.stream
	if d < time.Millisecond || d > windowMax {
		in.env.fail(where, "rows are held back for %s, which is not between 1ms and %s", d, windowMax)
	}
	if buffer.fault != "" {
		in.env.fail(where, "%s", buffer.fault)
	}
	rows, err := codec.Of[T]()
	if err != nil {
		in.env.fail(where, "%w", err)
	}
	var f operators.Factory
	if err == nil && k.codec != nil {
		f = window.Suppress(window.SuppressConfig[K, T]{
			Key: k.key, Hasher: k.hasher, KeyCodec: k.codec, Rows: rows,
			Millis: d.Milliseconds(), Clock: clock, RowsMax: buffer.rows, Fail: buffer.fail,
		})
	}
	s := step{
		op: "suppress", kind: graph.KindOperator, factory: f, stateful: true, keyed: true, out: in.typ, where: where,
		detail: fmt.Sprintf("%s rows %d", d, buffer.rows),
	}
	return then[T](in.env, in.env.add(s, in.ports, in.typ, opts), in.typ, in.untimed)
}
