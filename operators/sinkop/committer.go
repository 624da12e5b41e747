package sinkop

import (
	"context"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
)

// committer commits sealed effects one after the other on a goroutine of its
// own, which ends with its context. The queue needs no bound of its own: a
// sink declines checkpoints at connectors.Writer.SealedMax, so no more can be
// waiting; the channel's room covers it.
type committer struct {
	queue chan sealed
	done  chan struct{}
	late  []sealed // overflow of queue, on the task's goroutine only
}

// queueMax is the room for checkpoints waiting to be committed: well above
// any SealedMax, so that put never blocks.
const queueMax = 64

func newCommitter(ctx context.Context, w connectors.Writer, mail func(func() error), confirmed func(dataflow.CheckpointID, error) error) *committer {
	c := &committer{queue: make(chan sealed, queueMax), done: make(chan struct{})}
	go c.run(ctx, w, func(id dataflow.CheckpointID, err error) {
		mail(func() error {
			c.refill()
			return confirmed(id, err)
		})
	})
	return c
}

func (c *committer) run(ctx context.Context, w connectors.Writer, report func(dataflow.CheckpointID, error)) {
	defer close(c.done)
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-c.queue:
			err := w.Commit(ctx, s.items)
			if ctx.Err() != nil {
				return
			}
			report(s.id, err)
			if err != nil {
				return
			}
		}
	}
}

// put queues s without blocking; called on the task's goroutine.
func (c *committer) put(s sealed) {
	c.late = append(c.late, s)
	c.refill()
}

func (c *committer) refill() {
	for len(c.late) > 0 {
		select {
		case c.queue <- c.late[0]:
			c.late = c.late[1:]
		default:
			return
		}
	}
}

func (c *committer) wait() { <-c.done }
