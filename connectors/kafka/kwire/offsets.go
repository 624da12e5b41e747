package kwire

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// Times with a meaning of their own in ListOffsets.
const (
	LatestOffset   int64 = -1
	EarliestOffset int64 = -2
)

// ListOffset returns for each partition of a topic the earliest offset, the
// end (with ReadCommitted: the last stable offset) or the first offset whose
// record is not older than a time in milliseconds; -1 when there is none.
func (c *Client) ListOffset(ctx context.Context, topic string, parts []int32, at int64, iso Isolation) (map[int32]int64, error) {
	out := map[int32]int64{}
	what := fmt.Sprintf("offsets of topic %q", topic)
	err := c.retry(ctx, what, func() error {
		var stale error
		for _, p := range parts {
			if _, ok := out[p]; ok {
				continue
			}
			off, err := c.listOne(ctx, topic, p, at, iso)
			if err != nil {
				stale = err
				continue
			}
			out[p] = off
		}
		if stale != nil {
			if _, err := c.Metadata(ctx, []string{topic}); err != nil {
				return err
			}
		}
		return stale
	})
	return out, err
}

func (c *Client) listOne(ctx context.Context, topic string, part int32, at int64, iso Isolation) (int64, error) {
	id, epoch, err := c.Leader(topic, part)
	if err != nil {
		return 0, err
	}
	conn, err := c.Broker(ctx, id, LaneControl)
	if err != nil {
		return 0, err
	}
	res, err := as[listoffsets.Response](conn.call(ctx, 2, 5, &listoffsets.Request{
		ReplicaID: -1, IsolationLevel: int8(iso),
		Topics: []listoffsets.RequestTopic{{Topic: topic, Partitions: []listoffsets.RequestPartition{
			{Partition: part, CurrentLeaderEpoch: epoch, Timestamp: at},
		}}},
	}))
	if err != nil {
		return 0, err
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if t.Topic == topic && p.Partition == part {
				return p.Offset, Code(p.ErrorCode).Err()
			}
		}
	}
	return 0, fmt.Errorf("broker %s left partition %q %d out of its answer", conn.addr, topic, part)
}

const leaderEpochKey = 23

// EpochEnd returns where the records of a leader epoch, or of the last epoch
// before it, end in the leader's log: a position of that epoch beyond it was
// lost in a truncation. -1: the broker cannot tell.
func (c *Client) EpochEnd(ctx context.Context, topic string, part, epoch int32) (endEpoch int32, end int64, err error) {
	id, current, err := c.Leader(topic, part)
	if err != nil {
		return -1, -1, err
	}
	conn, err := c.Broker(ctx, id, LaneControl)
	if err != nil {
		return -1, -1, err
	}
	v, err := conn.version(leaderEpochKey, 3, 3)
	if err != nil {
		return -1, -1, nil // an old broker
	}
	b := putI32(nil, -2) // replica id of a consumer
	b = putI32(b, 1)
	b = putString(b, topic)
	b = putI32(b, 1)
	b = putI32(b, part)
	b = putI32(b, current)
	b = putI32(b, epoch)
	cur, err := conn.callRaw(ctx, leaderEpochKey, v, false, b)
	if err != nil {
		return -1, -1, err
	}
	cur.i32() // throttle
	for range cur.count(6) {
		_ = cur.string()
		for range cur.count(18) {
			code := Code(cur.i16())
			cur.i32() // partition
			endEpoch, end = cur.i32(), cur.i64()
			if code != None {
				return -1, -1, code
			}
		}
	}
	return endEpoch, end, cur.end("offset for leader epoch")
}
