package proof

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topics are the topics of one run.
type Topics struct{ Orders, Revenue, Late, DLQ string }

// TopicsWith names the topics with a prefix.
func TopicsWith(prefix string) Topics {
	return Topics{Orders: prefix + "orders", Revenue: prefix + "revenue", Late: prefix + "orders.late", DLQ: prefix + "orders.dlq"}
}

// CreateTopics makes the topics; those that exist are left alone.
func CreateTopics(ctx context.Context, brokers string, t Topics) error {
	return Create(ctx, brokers, t.Orders, t.Revenue, t.Late, t.DLQ)
}

// Create makes topics of as many partitions as all here have; those that exist
// are left alone.
func Create(ctx context.Context, brokers string, topics ...string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, name := range topics {
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, Partitions, 1
		// Results bear event times, which retention by time may take for old.
		rc := kmsg.NewCreateTopicsRequestTopicConfig()
		rc.Name, rc.Value = "retention.ms", kmsg.StringPtr("-1")
		rt.Configs = append(rt.Configs, rc)
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("create topics at %s: %w", brokers, err)
	}
	for _, rt := range resp.Topics {
		if err := kerr.ErrorForCode(rt.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", rt.Topic, err)
		}
	}
	return nil
}

// Between two looks at the clock at most chunk records are produced, or what
// belongs into tick.
const (
	chunk = 2000
	tick  = 50 * time.Millisecond
)

// Produce writes the input, each record to its partition, spread evenly over
// pace (0: as fast as the broker takes it). progress is told how many records
// of each partition have been written.
func Produce(ctx context.Context, brokers, topic string, in *Input, pace time.Duration, progress func(written [Partitions]int)) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(900_000), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(200_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	began := time.Now()
	var written [Partitions]int
	var failed error
	total := in.Len()
	step := chunk
	if pace > 0 {
		step = min(chunk, max(1, int(int64(total)*int64(tick)/int64(pace))))
	}
	for sum := 0; sum < total; {
		for p := range in.Partitions {
			recs := in.Partitions[p]
			// Each partition advances in proportion to its length.
			upTo := min(len(recs), (sum+step)*len(recs)/total+1)
			for ; written[p] < upTo; written[p]++ {
				r := &kgo.Record{Topic: topic, Partition: int32(p), Value: recs[written[p]].Value}
				cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
					if err != nil && failed == nil {
						failed = err
					}
				})
			}
		}
		sum = written[0] + written[1] + written[2]
		if progress != nil {
			progress(written)
		}
		if err := sleepUntil(ctx, began.Add(pace*time.Duration(sum)/time.Duration(total))); err != nil {
			return err
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	return failed
}

func sleepUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Committed is one record read with read_committed.
type Committed struct {
	Partition  int32
	Offset     int64
	Key, Value []byte
}

// ReadCommitted reads a topic from its beginning to its current end.
func ReadCommitted(ctx context.Context, brokers, topic string) ([]Committed, error) {
	ends, err := lastStable(ctx, brokers, topic)
	if err != nil {
		return nil, err
	}
	left := make(map[int32]int64)
	from := make(map[int32]kgo.Offset)
	for p, end := range ends {
		if end > 0 {
			left[p] = end
			from[p] = kgo.NewOffset().AtStart()
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var out []Committed
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		fs.EachPartition(func(fp kgo.FetchTopicPartition) {
			for _, r := range fp.Records {
				if !r.Attrs.IsControl() {
					out = append(out, Committed{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value})
				}
				if r.Offset+1 >= left[r.Partition] {
					delete(left, r.Partition)
				}
			}
		})
	}
	return out, nil
}

// settleMax is how long a broker may take to write the markers of transactions
// whose end it has confirmed: it confirms before, so what a finished job has
// committed may be unreadable for a moment.
const settleMax = 30 * time.Second

// lastStable returns the last stable offset of each partition once it is the
// end of the partition. The record before it may be a marker or belong to an
// aborted transaction, so the reader keeps control records to see the end.
func lastStable(ctx context.Context, brokers, topic string) (map[int32]int64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for began := time.Now(); ; {
		ends, err := endsOf(ctx, cl, topic, 0)
		if err != nil {
			return nil, err
		}
		stable, err := endsOf(ctx, cl, topic, 1)
		if err != nil {
			return nil, err
		}
		if maps.Equal(ends, stable) {
			return stable, nil
		}
		if time.Since(began) > settleMax {
			return nil, fmt.Errorf("transactions in %s stay open: the last stable offsets are %v after %s, the ends %v", topic, stable, settleMax, ends)
		}
		if err := sleepUntil(ctx, time.Now().Add(50*time.Millisecond)); err != nil {
			return nil, err
		}
	}
}

// endsOf returns the end of each partition: the high watermark with isolation
// level 0, the last stable offset with 1.
func endsOf(ctx context.Context, cl *kgo.Client, topic string, isolation int8) (map[int32]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = isolation
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for p := range int32(Partitions) {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p, -1
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	out := make(map[int32]int64)
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, fmt.Errorf("end of %s: %w", topic, shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("end of %s-%d: %w", topic, p.Partition, err)
				}
				out[p.Partition] = p.Offset
			}
		}
	}
	return out, nil
}

// GroupOffsets returns the sum of the offsets that a consumer group has
// committed in a topic: what the job reports as its committed position.
func GroupOffsets(ctx context.Context, brokers, group, topic string) (int64, error) {
	at, err := GroupPositions(ctx, brokers, group, topic)
	var sum int64
	for _, n := range at {
		sum += n
	}
	return sum, err
}

// GroupPositions returns the offsets that a consumer group has committed in a
// topic, 0 where there is none.
func GroupPositions(ctx context.Context, brokers, group, topic string) (at [Partitions]int64, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		return at, err
	}
	defer cl.Close()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic = topic
	rt.Partitions = []int32{0, 1, 2}
	req.Topics = append(req.Topics, rt)
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = group
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.Partitions = topic, []int32{0, 1, 2}
	rg.Topics = append(rg.Topics, gt)
	req.Groups = append(req.Groups, rg)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return at, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	// The client mirrors one form of the answer into the other: only one counts.
	if len(resp.Groups) > 0 {
		for _, t := range resp.Groups[0].Topics {
			for _, p := range t.Partitions {
				at[p.Partition] = max(0, p.Offset)
			}
		}
		return at, nil
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			at[p.Partition] = max(0, p.Offset)
		}
	}
	return at, nil
}
