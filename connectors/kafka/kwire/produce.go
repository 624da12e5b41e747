package kwire

import (
	"context"
	"net"
	"time"
)

const (
	produceKey        = 0
	produceVersionMin = 3
	produceVersionMax = 8
)

// ProduceRequest hands one leader a batch for each of some partitions.
type ProduceRequest struct {
	TxnID   string // empty: not in a transaction
	Acks    int16  // -1: all in-sync replicas
	Timeout time.Duration
	Topics  []ProduceTopic
}

// ProduceTopic is a topic of a ProduceRequest.
type ProduceTopic struct {
	Topic      string
	Partitions []ProducePartition
}

// ProducePartition is a partition of a ProduceRequest, once in each request.
type ProducePartition struct {
	Partition int32
	Batch     []byte // borrowed until the answer
}

// Produced is a partition of the answer to a produce request.
type Produced struct {
	Topic      string
	Partition  int32
	Code       Code
	BaseOffset int64
	Message    string
}

func buildProduce(v int16, corr int32, clientID string, r *ProduceRequest) net.Buffers {
	b := appendHeader(make([]byte, 0, 512), produceKey, v, corr, clientID, false)
	b = putNullString(b, r.TxnID)
	b = putI16(b, r.Acks)
	b = putI32(b, int32(r.Timeout.Milliseconds()))
	b = putI32(b, int32(len(r.Topics)))
	var bufs net.Buffers
	from := 0
	for _, t := range r.Topics {
		b = putString(b, t.Topic)
		b = putI32(b, int32(len(t.Partitions)))
		for _, p := range t.Partitions {
			b = putI32(b, p.Partition)
			b = putI32(b, int32(len(p.Batch)))
			bufs = append(bufs, b[from:len(b):len(b)], p.Batch)
			from = len(b)
		}
	}
	if len(bufs) == 0 {
		return net.Buffers{b}
	}
	return bufs
}

// StartProduce writes a request and returns; done is called once with the
// answer, on the connection's reader, unless StartProduce returns an error.
// Requests reach the broker in the order of the calls.
func (c *Conn) StartProduce(ctx context.Context, r *ProduceRequest, done func([]Produced, error)) error {
	v, err := c.version(produceKey, produceVersionMin, produceVersionMax)
	if err != nil {
		return err
	}
	return c.send(ctx, outgoing{extra: r.Timeout, build: func(corr int32) (net.Buffers, error) {
		return buildProduce(v, corr, c.clientID, r), nil
	}}, func(frame []byte, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(readProduce(&cursor{b: frame[4:]}, v))
	})
}

func readProduce(cur *cursor, v int16) ([]Produced, error) {
	var out []Produced
	for range cur.count(6) {
		topic := cur.string()
		for range cur.count(22) {
			p := Produced{Topic: topic, Partition: cur.i32(), Code: Code(cur.i16()), BaseOffset: cur.i64()}
			cur.i64() // append time
			if v >= 5 {
				cur.i64() // log start offset
			}
			if v >= 8 {
				for range cur.count(6) {
					cur.i32()
					_ = cur.string()
				}
				p.Message = cur.string()
			}
			out = append(out, p)
		}
	}
	return out, cur.end("produce")
}
