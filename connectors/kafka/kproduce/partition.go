package kproduce

import (
	"github.com/leatstream/leat/connectors/kafka/krecord"
)

// Topic is a topic with its partitions. Its methods need the producer's lock.
type Topic struct {
	Name   string
	parts  []*partition
	sticky int
}

// Partitions returns the number of partitions.
func (t *Topic) Partitions() int { return len(t.parts) }

// Sticky returns the partition for records without a key; NextSticky moves on.
func (t *Topic) Sticky() int {
	if t.sticky >= len(t.parts) {
		t.sticky = 0
	}
	return t.sticky
}

// NextSticky chooses another partition for records without a key.
func (t *Topic) NextSticky() { t.sticky++ }

const noLeader int32 = -1

// partition is one partition's queue. All is guarded by Producer.mu, except
// the builder of a batch in flight, which the sender owns.
type partition struct {
	topic  string
	index  int32
	leader int32
	// queue holds the batches that are not acknowledged, in order. The last
	// may be open.
	queue    []*batch
	inFlight int
	// draining waits for the answers to all that is in flight after one
	// failed, so that the retry goes out in order.
	draining bool
	// proven says that the leader has taken a batch of this identity since the
	// last failure. Until then one batch is in flight: a leader that knows
	// nothing of a producer takes any sequence number as its first, so if the
	// first batch were refused and the second taken, the first could never follow.
	proven   bool
	sequence int32
	added    bool // in the open transaction
	// last is the offset of the last record acknowledged in this transaction.
	last    int64
	unknown int // tries in which the topic was unknown
}

// batch is a batch that is not acknowledged.
type batch struct {
	part     *partition
	builder  krecord.Builder
	open     bool   // records may be added
	raw      []byte // sealed and stamped, nil before the first sending
	sent     bool   // in flight
	numbered bool   // sequence is assigned
	sequence int32
	records  int
	bytes    int // counted in Producer.buffered
}

// next returns the first batch that may be sent now, nil when there is none.
// The open batch goes only when nothing else is under way: while answers are
// awaited it fills up.
func (pt *partition) next() *batch {
	limit := inFlightMax
	if !pt.proven {
		limit = 1
	}
	if pt.draining || pt.inFlight >= limit {
		return nil
	}
	for _, b := range pt.queue {
		if b.sent {
			continue
		}
		if b.open && pt.inFlight > 0 {
			return nil
		}
		return b
	}
	return nil
}

// tail returns the open batch, nil when there is none.
func (pt *partition) tail() *batch {
	if n := len(pt.queue); n > 0 && pt.queue[n-1].open {
		return pt.queue[n-1]
	}
	return nil
}

// Murmur2 is the hash of Java's default partitioner.
func Murmur2(b []byte) uint32 {
	const m = 0x5bd1e995
	h := uint32(0x9747b28c) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h = h*m ^ k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// PartitionOf returns the partition of a key as Java's default partitioner
// chooses it.
func PartitionOf(key []byte, partitions int) int {
	return int(Murmur2(key)&0x7fffffff) % partitions
}
