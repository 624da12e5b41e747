package operators

import (
	"github.com/leatstream/leat/columnar"
)

// Collector gathers rows with their times into batches of an output. It is
// flushed before Process and Watermark return.
type Collector[O any] struct {
	// Out takes the batches.
	Out  Output
	rows columnar.Builder[O]
}

// Add adds a row with its event time, dataflow.TimeNone when it has none.
func (c *Collector[O]) Add(v O, t int64) {
	c.rows.Add(v, t)
	if c.rows.Full() {
		c.Flush()
	}
}

// Flush emits what was gathered.
func (c *Collector[O]) Flush() {
	if b := c.rows.Take(); b != nil {
		c.Out.Emit(b)
	}
}
