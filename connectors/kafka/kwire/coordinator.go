package kwire

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

const (
	coordGroup int8 = 0
	coordTxn   int8 = 1
	// coordsMax bounds the coordinators remembered; above it all are looked
	// up again.
	coordsMax = 4096
)

type coordKey struct {
	kind int8
	key  string
}

// coordinator returns a connection to the coordinator of a group or
// transactional id. The broker id is remembered until a code says it is stale.
func (c *Client) coordinator(ctx context.Context, k coordKey) (*Conn, error) {
	c.mu.Lock()
	id, ok := c.coords[k]
	c.mu.Unlock()
	if !ok {
		var err error
		if id, err = c.findCoordinator(ctx, k); err != nil {
			return nil, err
		}
	}
	conn, err := c.Broker(ctx, id, LaneControl)
	if err != nil {
		c.forget(k)
	}
	return conn, err
}

func (c *Client) findCoordinator(ctx context.Context, k coordKey) (int32, error) {
	conn, err := c.Any(ctx)
	if err != nil {
		return 0, err
	}
	res, err := as[findcoordinator.Response](conn.call(ctx, 1, 2, &findcoordinator.Request{Key: k.key, KeyType: k.kind}))
	if err != nil {
		return 0, err
	}
	if err := Code(res.ErrorCode).Err(); err != nil {
		return 0, fmt.Errorf("coordinator of %q: %w", k.key, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meta.brokers[res.NodeID] = hostPort(res.Host, res.Port)
	if len(c.coords) >= coordsMax {
		clear(c.coords)
	}
	c.coords[k] = res.NodeID
	return res.NodeID, nil
}

func (c *Client) forget(k coordKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.coords, k)
}

// viaCoordinator calls a coordinator once; a code that says it moved, and a
// fault of the connection, make the next call look it up again.
func viaCoordinator[T any](ctx context.Context, c *Client, k coordKey, lowest, highest int16, msg protocol.Message, code func(*T) Code) (*T, error) {
	conn, err := c.coordinator(ctx, k)
	if err != nil {
		return nil, err
	}
	res, err := as[T](conn.call(ctx, lowest, highest, msg))
	if err != nil {
		c.forget(k)
		return nil, err
	}
	if cd := code(res); cd != None {
		if cd.StaleCoordinator() {
			c.forget(k)
		}
		return nil, cd
	}
	return res, nil
}

// Producer identifies a producer: what seals a transaction together with its
// transactional id.
type Producer struct {
	ID    int64
	Epoch int16
}

// NoProducer asks for a new producer, or for the next epoch of the producer
// that a transactional id has.
func NoProducer() Producer { return Producer{-1, -1} }

// InitProducerID registers a producer. With a transactional id it also fences
// earlier producers of that id and aborts what they left open; own, unless
// NoProducer, must then be its current producer, with no transaction open (else
// ProducerFenced). timeoutMillis is the transaction time-out.
func (c *Client) InitProducerID(ctx context.Context, txnID string, own Producer, timeoutMillis int32) (Producer, error) {
	req := &initproducerid.Request{
		TransactionalID: txnID, TransactionTimeoutMs: timeoutMillis, ProducerID: own.ID, ProducerEpoch: own.Epoch,
	}
	code := func(r *initproducerid.Response) Code { return Code(r.ErrorCode) }
	var out Producer
	err := c.retry(ctx, fmt.Sprintf("register producer of transactional id %q", txnID), func() error {
		var res *initproducerid.Response
		var err error
		if txnID != "" {
			if own != NoProducer() {
				if err := c.refuseOpen(ctx, txnID); err != nil {
					return err
				}
			}
			res, err = viaCoordinator(ctx, c, coordKey{coordTxn, txnID}, 3, 4, req, code)
		} else {
			res, err = c.initIdempotent(ctx, req)
		}
		if err == nil {
			out = Producer{res.ProducerID, res.ProducerEpoch}
		}
		return err
	})
	return out, err
}

// refuseOpen says that a producer was fenced when a transaction of its id is
// open: it is a later producer's. The coordinator looks at the epoch of a
// producer that asks for the next one only after it has aborted what is open,
// so that a producer of old would destroy what its successor writes, even what
// that has sealed. Brokers before Kafka 3.0 do not tell.
func (c *Client) refuseOpen(ctx context.Context, txnID string) error {
	const ongoing = "Ongoing"
	t, err := c.describeTxn(ctx, txnID)
	switch {
	case errors.Is(err, errNotOffered):
		return nil
	case err != nil:
		return err
	case t.State == ongoing:
		return ProducerFenced
	}
	return nil
}

func (c *Client) initIdempotent(ctx context.Context, req *initproducerid.Request) (*initproducerid.Response, error) {
	conn, err := c.Any(ctx)
	if err != nil {
		return nil, err
	}
	res, err := as[initproducerid.Response](conn.call(ctx, 3, 4, req))
	if err != nil {
		return nil, err
	}
	return res, Code(res.ErrorCode).Err()
}

// TopicPartitions names partitions of a topic.
type TopicPartitions struct {
	Topic      string
	Partitions []int32
}

// AddPartitions adds partitions to the open transaction, opening it with the
// first.
func (c *Client) AddPartitions(ctx context.Context, txnID string, p Producer, parts []TopicPartitions) error {
	req := &addpartitionstotxn.Request{TransactionalID: txnID, ProducerID: p.ID, ProducerEpoch: p.Epoch}
	for _, tp := range parts {
		req.Topics = append(req.Topics, addpartitionstotxn.RequestTopic{Name: tp.Topic, Partitions: tp.Partitions})
	}
	return c.retry(ctx, fmt.Sprintf("add partitions to transaction %q", txnID), func() error {
		_, err := viaCoordinator(ctx, c, coordKey{coordTxn, txnID}, 0, 3, req, addPartitionsCode)
		return err
	})
}

// addPartitionsCode returns the first code that is not a consequence of
// another (55 OPERATION_NOT_ATTEMPTED).
func addPartitionsCode(r *addpartitionstotxn.Response) Code {
	const notAttempted = 55
	out := None
	for _, t := range r.Results {
		for _, p := range t.Results {
			if p.ErrorCode != 0 && (out == None || out == notAttempted) {
				out = Code(p.ErrorCode)
			}
		}
	}
	return out
}

// Outcome is how a transaction ends.
type Outcome bool

// The outcomes.
const (
	Commit Outcome = true
	Abort  Outcome = false
)

// EndTxn commits or aborts the open transaction of a producer. The same
// outcome again succeeds. It retries while the coordinator is busy.
func (c *Client) EndTxn(ctx context.Context, txnID string, p Producer, o Outcome) error {
	req := &endtxn.Request{TransactionalID: txnID, ProducerID: p.ID, ProducerEpoch: p.Epoch, Committed: bool(o)}
	return c.retry(ctx, fmt.Sprintf("end transaction %q", txnID), func() error {
		_, err := viaCoordinator(ctx, c, coordKey{coordTxn, txnID}, 0, 3, req,
			func(r *endtxn.Response) Code { return Code(r.ErrorCode) })
		return err
	})
}

// PartitionOffset is an offset of a partition.
type PartitionOffset struct {
	Topic     string
	Partition int32
	Offset    int64 // -1: none
}

// CommitOffsets writes group offsets without being a member of the group. It
// tries once: the next commit supersedes it.
func (c *Client) CommitOffsets(ctx context.Context, group string, offsets []PartitionOffset) error {
	req := &offsetcommit.Request{GroupID: group, GenerationID: -1, RetentionTimeMs: -1}
	at := map[string]int{}
	for _, o := range offsets {
		i, ok := at[o.Topic]
		if !ok {
			i = len(req.Topics)
			at[o.Topic] = i
			req.Topics = append(req.Topics, offsetcommit.RequestTopic{Name: o.Topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, offsetcommit.RequestPartition{
			PartitionIndex: o.Partition, CommittedOffset: o.Offset, CommittedLeaderEpoch: -1,
		})
	}
	_, err := viaCoordinator(ctx, c, coordKey{coordGroup, group}, 2, 7, req, func(r *offsetcommit.Response) Code {
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return Code(p.ErrorCode)
				}
			}
		}
		return None
	})
	if err != nil {
		return fmt.Errorf("commit offsets of group %q: %w", group, err)
	}
	return nil
}

// FetchOffsets returns the group's offsets of the partitions.
func (c *Client) FetchOffsets(ctx context.Context, group string, parts []TopicPartitions) ([]PartitionOffset, error) {
	req := &offsetfetch.Request{GroupID: group}
	for _, tp := range parts {
		req.Topics = append(req.Topics, offsetfetch.RequestTopic{Name: tp.Topic, PartitionIndexes: tp.Partitions})
	}
	var out []PartitionOffset
	err := c.retry(ctx, fmt.Sprintf("offsets of group %q", group), func() error {
		out = out[:0]
		res, err := viaCoordinator(ctx, c, coordKey{coordGroup, group}, 1, 5, req, func(r *offsetfetch.Response) Code {
			for _, t := range r.Topics {
				for _, p := range t.Partitions {
					if p.ErrorCode != 0 {
						return Code(p.ErrorCode)
					}
				}
			}
			return Code(r.ErrorCode)
		})
		if CodeOf(err) == GroupIDNotFound {
			return nil // a group that never committed
		}
		if err != nil {
			return err
		}
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				out = append(out, PartitionOffset{t.Name, p.PartitionIndex, p.CommittedOffset})
			}
		}
		return nil
	})
	return out, err
}
