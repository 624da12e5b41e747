package exchange

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
)

// Queued returns the newest barrier that has arrived on a channel, though rows
// may stand before it; nil before the first.
func (g *Gate) Queued() *Barrier { return g.queued.Load() }

// Look begins to look ahead on channel i: at all that was not taken.
func (g *Gate) Look(i int) {
	c := g.channels[i]
	c.looked = c.ring.popped.Load()
}

// LookAhead calls fn for the batches of channel i, encoded, that have arrived,
// were not taken, and of which neither LookAhead nor Taken has told since Look:
// as far as the barrier of checkpoint id, or the end. found reports whether one of
// the two has come. What fn gets it must not keep. For the task's goroutine.
func (g *Gate) LookAhead(i int, id dataflow.CheckpointID, fn func(encoded []byte) error) (found bool, err error) {
	c := g.channels[i]
	n := max(c.looked, c.ring.popped.Load())
	c.ring.each(n, func(el *Element) bool {
		n++
		switch el.Kind {
		case KindBatch:
			err = fn(c.encoded(el))
		case KindBarrier:
			found = el.Barrier.ID >= id
		case KindEnd:
			found = true
		case KindWatermark, KindStatus:
			// Restored senders say anew what time it is.
		}
		return !found && err == nil
	})
	c.looked = n
	return found, err
}

// Taken is LookAhead for an element that Next has just returned.
func (g *Gate) Taken(i int, id dataflow.CheckpointID, el Element, fn func(encoded []byte) error) (found bool, err error) {
	c := g.channels[i]
	if c.ring.popped.Load() <= c.looked {
		return false, nil // told when it was not taken yet
	}
	c.looked = c.ring.popped.Load()
	switch el.Kind {
	case KindBatch:
		return false, fn(c.encoded(&el))
	case KindBarrier:
		return el.Barrier.ID >= id, nil
	case KindEnd:
		return true, nil
	case KindWatermark, KindStatus:
	}
	return false, nil
}

func (c *Channel) encoded(el *Element) []byte {
	if el.Bytes != nil {
		return el.Bytes
	}
	return c.spec.Type.AppendBatch(nil, el.Batch)
}

// Replay makes Next return a batch before what the channels hold and what was
// to be replayed before: as if it came on channel i.
func (g *Gate) Replay(i int, b *columnar.Batch) {
	g.replay = append(g.replay, replayed{channel: i, batch: b})
}

// PutBack is Replay of what is left of the batch that Next returned last: it
// comes before all else.
func (g *Gate) PutBack(i int, rest *columnar.Batch) {
	g.replay = append([]replayed{{channel: i, batch: rest}}, g.replay...)
}

// EachReplay calls fn for what is still to be replayed, in order, encoded.
func (g *Gate) EachReplay(fn func(channel int, encoded []byte) error) error {
	for _, r := range g.replay {
		if err := fn(r.channel, g.channels[r.channel].spec.Type.AppendBatch(nil, r.batch)); err != nil {
			return err
		}
	}
	return nil
}

// Owners divides the rows of batches that were on their way to a subtask in an
// earlier attempt among the subtasks of now.
type Owners struct {
	rowType  columnar.RowType
	route    router // nil: all rows go where the old subtask's number says
	parallel int
	to       []int32
	rows     []int32
}

// NewOwners returns the owners of an edge's rows at a parallelism.
func NewOwners(edge *graph.Edge, maxParallelism, parallelism int) (*Owners, error) {
	probe := make([]Sender, parallelism)
	out, err := NewOutput(OutputConfig{Edge: edge, MaxParallelism: maxParallelism, ToParallelism: parallelism, Targets: probe})
	if err != nil {
		return nil, err
	}
	return &Owners{rowType: out.rowType, route: out.route, parallel: parallelism}, nil
}

// Of returns the rows of b that belong to subtask me, nil when none does; old
// is the subtask that they were on their way to.
func (o *Owners) Of(b *columnar.Batch, old, me int) (*columnar.Batch, error) {
	n := o.rowType.Len(b.Rows)
	if o.route == nil {
		if n == 0 || old%o.parallel != me {
			return nil, nil //nolint:nilnil // no rows
		}
		return b, nil
	}
	var err error
	if o.to, err = o.route.route(o.to[:0], b, n); err != nil {
		return nil, err
	}
	o.rows = o.rows[:0]
	for i, to := range o.to {
		if int(to) == me {
			o.rows = append(o.rows, int32(i))
		}
	}
	switch len(o.rows) {
	case 0:
		return nil, nil //nolint:nilnil // no rows
	case n:
		return b, nil
	}
	mine := &columnar.Batch{Rows: o.rowType.Gather(nil, b.Rows, o.rows)}
	if b.Times != nil {
		for _, i := range o.rows {
			mine.Times = append(mine.Times, b.Times[i])
		}
	}
	return mine, nil
}
