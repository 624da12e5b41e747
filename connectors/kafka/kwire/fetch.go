package kwire

import (
	"context"
	"net"
	"time"
)

const (
	fetchKey        = 1
	fetchVersionMin = 4
	fetchVersionMax = 11
)

// Isolation says which records a fetch may return.
type Isolation int8

// The isolation levels. With ReadCommitted the broker returns nothing beyond
// the last stable offset and names the aborted transactions; the caller must
// leave their records out.
const (
	ReadUncommitted Isolation = 0
	ReadCommitted   Isolation = 1
)

// FetchRequest asks one leader for batches of partitions.
type FetchRequest struct {
	MaxWait   time.Duration
	MinBytes  int32
	MaxBytes  int32
	Isolation Isolation
	Topics    []FetchTopic
}

// FetchTopic is a topic of a FetchRequest.
type FetchTopic struct {
	Topic      string
	Partitions []FetchPartition
}

// FetchPartition is a partition of a FetchRequest.
type FetchPartition struct {
	Partition   int32
	LeaderEpoch int32 // -1: not checked
	Offset      int64
	MaxBytes    int32
}

// Fetched is a partition of the answer to a fetch.
type Fetched struct {
	Topic            string
	Partition        int32
	Code             Code
	HighWatermark    int64
	LastStableOffset int64 // with ReadUncommitted the high watermark
	LogStartOffset   int64
	Aborted          []AbortedTxn
	// Records holds the batches as the broker stored them; the last may be
	// cut off, and the first may begin before the offset asked for. It
	// aliases the answer's memory.
	Records []byte
}

// AbortedTxn says that the records of a producer from FirstOffset to its next
// abort marker were aborted.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
}

func appendFetchRequest(b []byte, v int16, r *FetchRequest) []byte {
	b = putI32(b, -1) // replica id
	b = putI32(b, int32(r.MaxWait.Milliseconds()))
	b = putI32(b, r.MinBytes)
	b = putI32(b, r.MaxBytes)
	b = append(b, byte(r.Isolation))
	if v >= 7 {
		b = putI32(b, 0)  // session id: no session
		b = putI32(b, -1) // session epoch
	}
	b = putI32(b, int32(len(r.Topics)))
	for _, t := range r.Topics {
		b = putString(b, t.Topic)
		b = putI32(b, int32(len(t.Partitions)))
		for _, p := range t.Partitions {
			b = putI32(b, p.Partition)
			if v >= 9 {
				b = putI32(b, p.LeaderEpoch)
			}
			b = putI64(b, p.Offset)
			if v >= 5 {
				b = putI64(b, -1) // log start offset
			}
			b = putI32(b, p.MaxBytes)
		}
	}
	if v >= 7 {
		b = putI32(b, 0) // forgotten topics
	}
	if v >= 11 {
		b = putString(b, "") // rack
	}
	return b
}

// Fetch asks for batches and waits for the answer, whose memory comes from
// alloc (nil: the heap) and is handed over with it.
func (c *Conn) Fetch(ctx context.Context, r *FetchRequest, alloc func(n int) []byte) ([]Fetched, error) {
	v, err := c.version(fetchKey, fetchVersionMin, fetchVersionMax)
	if err != nil {
		return nil, err
	}
	frame, err := c.roundTrip(ctx, outgoing{extra: r.MaxWait, alloc: alloc, build: func(corr int32) (net.Buffers, error) {
		return net.Buffers{appendFetchRequest(appendHeader(nil, fetchKey, v, corr, c.clientID, false), v, r)}, nil
	}})
	if err != nil {
		return nil, err
	}
	return readFetch(&cursor{b: frame[4:]}, v)
}

func readFetch(cur *cursor, v int16) ([]Fetched, error) {
	cur.i32() // throttle
	if v >= 7 {
		if code := Code(cur.i16()); code != None {
			return nil, code
		}
		cur.i32() // session id
	}
	var out []Fetched
	for range cur.count(6) {
		topic := cur.string()
		for range cur.count(30) {
			f := readFetchPartition(cur, v)
			f.Topic = topic
			out = append(out, f)
		}
	}
	return out, cur.end("fetch")
}

func readFetchPartition(cur *cursor, v int16) Fetched {
	f := Fetched{Partition: cur.i32(), Code: Code(cur.i16()), HighWatermark: cur.i64(), LastStableOffset: cur.i64(), LogStartOffset: -1}
	if f.LastStableOffset < 0 {
		f.LastStableOffset = f.HighWatermark
	}
	if v >= 5 {
		f.LogStartOffset = cur.i64()
	}
	if n := cur.count(16); n > 0 {
		f.Aborted = make([]AbortedTxn, n)
		for i := range f.Aborted {
			f.Aborted[i] = AbortedTxn{cur.i64(), cur.i64()}
		}
	}
	if v >= 11 {
		cur.i32() // preferred read replica
	}
	if n := cur.i32(); n > 0 {
		f.Records = cur.take(int(n))
	}
	return f
}
