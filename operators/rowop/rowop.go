// Package rowop holds the operators that run user code row by row over typed
// batches: map, flat-map, filter, route and keyed process. It catches no panic
// (the task does) and knows nothing of windows.
package rowop

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
)

// cursor remembers the row in work, for reports of errors and panics.
type cursor struct {
	batch *columnar.Batch
	at    int
}

// Position implements operators.Positioner.
func (c *cursor) Position() string {
	b := c.batch
	if b == nil {
		return ""
	}
	if b.Origin != nil {
		return fmt.Sprintf("%s@%d", b.Origin.Split, b.Origin.At(c.at))
	}
	if t := b.Time(c.at); t != dataflow.TimeNone {
		return fmt.Sprintf("row %d of batch, event time %s", c.at, time.UnixMilli(t).UTC().Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("row %d of batch", c.at)
}

func (c *cursor) begin(b *columnar.Batch) { c.batch, c.at = b, 0 }
func (c *cursor) end()                    { c.batch = nil }

// base is embedded by operators without resources of their own.
type base struct {
	cursor
	out operators.Output
}

func (o *base) Open(ctx *operators.Context) error {
	o.out = ctx.Out
	return nil
}

func (*base) Close() error { return nil }
