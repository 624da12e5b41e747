package streamtest

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// capture keeps what reaches a sink, or what an operator emits.
type capture interface {
	add(b *columnar.Batch) error
	len() int
	// truncate forgets what came after the first n rows: they were not
	// covered by the checkpoint.
	truncate(n int)
}

// captured is the capture of rows of type R.
type captured[R any] struct {
	rows  []R
	times []int64
}

func (c *captured[R]) add(b *columnar.Batch) error {
	rows, ok := b.Rows.([]R)
	if !ok {
		return fmt.Errorf("the rows are %T, but the test reads %T", b.Rows, c.rows)
	}
	c.rows = append(c.rows, rows...)
	for i := range rows {
		c.times = append(c.times, b.Time(i))
	}
	return nil
}

func (c *captured[R]) len() int { return len(c.rows) }

func (c *captured[R]) truncate(n int) {
	c.rows, c.times = c.rows[:n:n], c.times[:n:n]
}

// port is an output of an operator ("" is the main one), or what a sink is
// given.
type port struct {
	uid, output string
}

// capturing stands in for a sink.
type capturing struct {
	fed
	run *runner
	uid string
}

// Process implements operators.Operator.
func (c capturing) Process(_ int, b *columnar.Batch) error { return c.run.tap(port{uid: c.uid}, b) }

// tap gives a batch to those who read a port.
func (r *runner) tap(at port, b *columnar.Batch) error {
	for _, c := range r.captures[at] {
		if err := c.add(b); err != nil {
			return err
		}
	}
	return nil
}

// capture adds a reader of a port.
func (r *runner) capture(at port, c capture) {
	if r.captures == nil {
		r.captures = make(map[port][]capture)
	}
	r.captures[at] = append(r.captures[at], c)
}

// standIn makes op stand in for the operator of that UID.
func (r *runner) standIn(uid string, op operators.Operator) {
	if r.replace == nil {
		r.replace = make(map[string]operators.Operator)
	}
	r.replace[uid] = op
}
