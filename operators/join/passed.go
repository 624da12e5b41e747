package join

import (
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/bound"
)

// passedName names the bounds up to which rows have been joined. It is part of
// the state's format.
const passedName = "join-passed"

// passed is how far event time has come. After a restart the watermark of a
// subtask may be behind what a key group had reached: that group's rows are
// judged by the group, so that what was final stays final.
type passed struct {
	bounds *bound.Bounds
	now    int64 // the watermark, less the grace
}

func openPassed(ctx *operators.Context) (*passed, error) {
	x, err := bound.Open(ctx, passedName)
	return &passed{bounds: x, now: dataflow.TimeMin}, err
}

// of returns the time up to which the group of a hash was joined.
func (p *passed) of(hash uint64) int64 {
	if p.now >= p.bounds.Most() {
		return p.now
	}
	return max(p.now, p.bounds.Of(hash))
}

// save writes the bounds into the state, before a snapshot of it.
func (p *passed) save() {
	if p.now > dataflow.TimeMin {
		p.bounds.Raise(p.now)
	}
}
