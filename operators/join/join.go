// Package join holds the operators that bring the rows of two keyed streams
// together by event time: interval and temporal joins, and a stream with the
// current rows of a table. It knows nothing of how rows were partitioned, and
// it is not for tables with tables (see changelog).
package join

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Names of the metrics of joins.
const (
	// MetricLate counts the rows that came at or before the watermark.
	MetricLate = "numLateRecords"
	// MetricLateDropped counts those of them that no side output took.
	MetricLateDropped = "numLateRecordsDropped"
)

// Side outputs for the late rows of the inputs.
const (
	SideLateLeft  = "late-left"
	SideLateRight = "late-right"
)

// Kind says what becomes of rows without a match.
type Kind struct {
	// Left and Right emit such rows of the left and of the right input, with
	// nil for the other.
	Left, Right bool
}

// Match makes the result of a pair. A side that is missing is nil. With
// Retains the function may keep the pointers, else they are valid during the
// call only.
type Match[L, R, O any] struct {
	Func    func(*L, *R) O
	Retains bool
}

// Side describes the rows of one input.
type Side[K comparable, T any] struct {
	Key func(T) K
	// Hasher hashes the keys of a batch of T.
	Hasher columnar.KeyHasher
	Codec  *codec.Codec[T]
}

// keyed finds the state key of the rows of a batch.
type keyed[K comparable, T any] struct {
	side   Side[K, T]
	keys   *codec.Codec[K]
	hashes []uint64
	enc    []byte
	key    K
}

func (k *keyed[K, T]) begin(b *columnar.Batch) {
	k.hashes = k.side.Hasher.HashRows(k.hashes[:0], b.Rows)
}

// of returns the key of row i, borrowed until the next call.
func (k *keyed[K, T]) of(i int, row *T) state.Key {
	k.key = k.side.Key(*row)
	k.enc = k.keys.AppendKey(k.enc[:0], &k.key)
	return state.Key{Bytes: k.enc, Hash: k.hashes[i]}
}

// late sets the rows aside that came too late.
type late struct {
	out              operators.Output
	count, dropCount operators.Counter
	rows             []int32
}

func newLate(ctx *operators.Context) late {
	return late{
		out: ctx.Out, count: ctx.Metrics.Counter(MetricLate),
		dropCount: ctx.Metrics.Counter(MetricLateDropped),
	}
}

// setAside sends the rows of b that were noted to a side output.
func setAside[T any](l *late, b *columnar.Batch, side string) {
	if len(l.rows) == 0 {
		return
	}
	l.count.Add(int64(len(l.rows)))
	if !l.out.HasSide(side) {
		l.dropCount.Add(int64(len(l.rows)))
		l.rows = l.rows[:0]
		return
	}
	from := columnar.Rows[T](b)
	rows, times := make([]T, len(l.rows)), make([]int64, len(l.rows))
	for to, i := range l.rows {
		rows[to], times[to] = from[i], b.Time(int(i))
	}
	l.rows = l.rows[:0]
	l.out.EmitSide(side, columnar.NewBatch(rows, times))
}

// place is the row or timer in work, for reports of errors and panics.
type place struct {
	what string
	time int64
	on   bool
}

// Position implements operators.Positioner.
func (p *place) Position() string {
	if !p.on {
		return ""
	}
	if p.time == dataflow.TimeNone {
		return p.what + ", event time none"
	}
	return fmt.Sprintf("%s, event time %s", p.what, time.UnixMilli(p.time).UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// untimed is the error for a row without event time.
func untimed(what string) error {
	return fmt.Errorf("%s without event time in a join by time: add stream.Timestamps to the From of its source", what)
}

// lessGrace is the watermark that a join goes by: so much later.
func lessGrace(wm, grace int64) int64 {
	if wm == dataflow.TimeMax {
		return wm
	}
	return dataflow.AddTime(wm, -grace)
}
