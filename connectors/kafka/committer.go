package kafka

import (
	"context"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

// commitTimeout bounds one commit of group offsets.
const commitTimeout = 10 * time.Second

// committer writes group offsets for monitoring, on a goroutine of its own:
// the newest only, and a failure is logged and nothing else.
type committer struct {
	p     *puller
	group string
	next  chan []connectors.Split // the newest positions; one place
}

func newCommitter(p *puller, group string) *committer {
	c := &committer{p: p, group: group, next: make(chan []connectors.Split, 1)}
	p.wg.Go(c.run)
	return c
}

// offer replaces the positions that wait. It is called on one goroutine.
func (c *committer) offer(splits []connectors.Split) {
	select {
	case <-c.next:
	default:
	}
	select {
	case c.next <- splits:
	default:
	}
}

func (c *committer) run() {
	failures := 0
	for {
		select {
		case <-c.p.ctx.Done():
			return
		case splits := <-c.next:
			if err := c.commit(splits); err != nil && c.p.ctx.Err() == nil {
				if failures%100 == 0 {
					c.p.log.Warn("group offsets are not committed; the job is not affected", "group", c.group, "error", err)
				}
				failures++
			}
		}
	}
}

func (c *committer) commit(splits []connectors.Split) error {
	var offsets []kwire.PartitionOffset
	for _, s := range splits {
		tp, err := parseSplitID(s.ID)
		if err != nil {
			return err
		}
		st, err := decodeSplit(s.Position)
		if err != nil {
			return err
		}
		offsets = append(offsets, kwire.PartitionOffset{Topic: tp.Topic, Partition: tp.Partition, Offset: st.next})
	}
	if len(offsets) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.p.ctx, commitTimeout)
	defer cancel()
	return c.p.client.CommitOffsets(ctx, c.group, offsets)
}
