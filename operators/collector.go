package operators

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
)

// Collector gathers rows with their times into batches of an output. It is
// flushed before Process and Watermark return.
type Collector[O any] struct {
	// Out takes the batches.
	Out   Output
	rows  []O
	times []int64
	timed bool
}

// Add adds a row with its event time, dataflow.TimeNone when it has none.
func (c *Collector[O]) Add(v O, t int64) {
	c.rows = append(c.rows, v)
	c.times = append(c.times, t)
	c.timed = c.timed || t != dataflow.TimeNone
	if len(c.rows) >= columnar.BatchRowsMax {
		c.Flush()
	}
}

// Flush emits what was gathered. The memory goes with it.
func (c *Collector[O]) Flush() {
	n := len(c.rows)
	if n == 0 {
		return
	}
	b := columnar.NewBatch(c.rows, nil)
	if c.timed {
		b.Times = c.times
	}
	c.rows, c.times, c.timed = make([]O, 0, n), make([]int64, 0, n), false
	c.Out.Emit(b)
}
