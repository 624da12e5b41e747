// Package setaside carries out the error policy of an operator: records that
// fail are counted and dropped, or become dead letters. It does not undo what
// a failed record did; that is the operator's.
package setaside

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
)

// Counters of what a policy did.
const (
	MetricSkipped     = "numRecordsSkipped"
	MetricDeadLetters = "numRecordsDeadLettered"
)

// valueBytesMax bounds the value of a dead letter: one that a sink refused as
// too large would else be refused again wherever it is sent.
const valueBytesMax = 256 << 10

// Tray takes the records that fail in one subtask. It is used on the task's
// goroutine.
type Tray struct {
	ctx     *operators.Context
	counter operators.Counter
	letters bool
	told    bool
	rows    []connectors.DeadLetter
	times   []int64
}

// New returns the tray of a subtask, nil when its policy is to fail.
func New(ctx *operators.Context) *Tray {
	switch ctx.OnError {
	case operators.SkipRecord:
		return &Tray{ctx: ctx, counter: ctx.Metrics.Counter(MetricSkipped)}
	case operators.ToDeadLetters:
		return &Tray{ctx: ctx, counter: ctx.Metrics.Counter(MetricDeadLetters), letters: true}
	default:
		return nil
	}
}

// Record is what is known of a record that failed.
type Record struct {
	// Row is the row as a Go value.
	Row any
	// Key is the key of a keyed operator, nil without.
	Key any
	// Origin and At name the place; Origin may be nil.
	Origin *columnar.Origin
	At     int
	// Time is the event time, dataflow.TimeNone without.
	Time int64
}

// Put takes a record that failed with an error.
func (t *Tray) Put(r Record, err error) {
	t.counter.Add(1)
	if !t.told {
		t.told = true
		t.ctx.Log.Warn("a record failed and was set aside; later ones are counted only", "policy", string(t.ctx.OnError), "error", err)
	}
	if !t.letters {
		return
	}
	d := connectors.DeadLetter{
		Error: err.Error(), Operator: t.ctx.Info.UID, Partition: -1, Offset: -1,
		Timestamp: r.Time, FailedAt: clock.Millis(t.ctx.Clock), Value: valueOf(r.Row),
	}
	if r.Key != nil {
		d.Key = fmt.Append(nil, r.Key)
	}
	if r.Origin != nil {
		d.Topic, d.Partition = placeOf(r.Origin.Split)
		d.Offset = r.Origin.At(r.At)
	}
	t.rows, t.times = append(t.rows, d), append(t.times, r.Time)
	if len(t.rows) >= columnar.BatchRowsMax {
		t.Flush()
	}
}

// Flush emits the dead letters that Put gathered.
func (t *Tray) Flush() {
	if len(t.rows) == 0 {
		return
	}
	b := columnar.NewBatch(t.rows, t.times)
	t.rows, t.times = nil, nil
	t.ctx.Out.EmitSide(dataflow.SideDeadLetter, b)
}

// valueOf is the row as JSON, or as text if it has no JSON.
func valueOf(row any) []byte {
	if row == nil {
		return nil
	}
	b, err := json.Marshal(row)
	if err != nil {
		b = fmt.Appendf(nil, "%+v", row)
	}
	return b[:min(len(b), valueBytesMax)]
}

// placeOf takes a split's id apart: "orders-3" is partition 3 of orders; an id
// of another form is a place without partitions.
func placeOf(split string) (topic string, partition int32) {
	if i := strings.LastIndexByte(split, '-'); i > 0 {
		if n, err := strconv.ParseUint(split[i+1:], 10, 31); err == nil {
			return split[:i], int32(n)
		}
	}
	return split, -1
}
