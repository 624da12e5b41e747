package kafka

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TopicPartition names a partition.
type TopicPartition struct {
	// Topic is the name of the topic.
	Topic string
	// Partition is its number in the topic, from 0.
	Partition int32
}

// String implements fmt.Stringer: the split id of the partition, "orders-3".
func (p TopicPartition) String() string { return p.Topic + "-" + strconv.Itoa(int(p.Partition)) }

// parseSplitID is the inverse of TopicPartition.String.
func parseSplitID(id string) (TopicPartition, error) {
	i := strings.LastIndexByte(id, '-')
	if i <= 0 {
		return TopicPartition{}, fmt.Errorf("split %q: want topic-partition", id)
	}
	n, err := strconv.ParseInt(id[i+1:], 10, 32)
	if err != nil || n < 0 {
		return TopicPartition{}, fmt.Errorf("split %q: want topic-partition", id)
	}
	return TopicPartition{id[:i], int32(n)}, nil
}

// noStop is the stop offset of an unbounded split.
const noStop int64 = -1

const splitVersion = 1

// splitState is what a split's position holds. docs/formats/kafka-splits.md.
type splitState struct {
	topicID [16]byte
	next    int64 // the offset to read next
	stop    int64 // the first offset not to be read; noStop
	epoch   int32 // leader epoch of the last batch read, -1
}

func (s *splitState) encode() []byte {
	b := append(make([]byte, 0, 37), splitVersion)
	b = append(b, s.topicID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.next))
	b = binary.BigEndian.AppendUint64(b, uint64(s.stop))
	return binary.BigEndian.AppendUint32(b, uint32(s.epoch))
}

func decodeSplit(b []byte) (s splitState, err error) {
	if len(b) == 0 || b[0] != splitVersion || len(b) != 37 {
		return s, fmt.Errorf("position of a Kafka split: %d bytes, version %v; want version %d", len(b), b[:min(1, len(b))], splitVersion)
	}
	copy(s.topicID[:], b[1:])
	s.next = int64(binary.BigEndian.Uint64(b[17:]))
	s.stop = int64(binary.BigEndian.Uint64(b[25:]))
	s.epoch = int32(binary.BigEndian.Uint32(b[33:]))
	return s, nil
}

func (s *splitState) done() bool { return s.stop != noStop && s.next >= s.stop }

type positionKind uint8

const (
	atEarliest positionKind = iota
	atLatest
	atTimestamp
	atGroup
	atSpecific
	atNone
)

// Start says where a partition is read from when the job has no state of it.
// It is resolved once, at the first start, and kept in the state from then on;
// where it depends on the moment (Latest, FromGroup, FromGroupElseLatest)
// nothing is read before a checkpoint that holds it is committed.
// The zero value is Earliest.
type Start struct {
	kind     positionKind
	millis   int64
	offsets  map[TopicPartition]int64
	fallback positionKind
}

// Earliest starts at the oldest record.
func Earliest() Start { return Start{kind: atEarliest} }

// Latest starts after the newest record.
func Latest() Start { return Start{kind: atLatest} }

// FromTime starts at the first record that is not older than t.
func FromTime(t time.Time) Start { return Start{kind: atTimestamp, millis: t.UnixMilli()} }

// FromGroup starts at the offsets of the source's consumer group, and at the
// oldest record where the group has none.
func FromGroup() Start { return Start{kind: atGroup, fallback: atEarliest} }

// FromGroupElseLatest starts at the offsets of the source's consumer group,
// and after the newest record where the group has none.
func FromGroupElseLatest() Start { return Start{kind: atGroup, fallback: atLatest} }

// FromOffsets starts at the given offsets, and at the oldest record of a
// partition that is not named.
func FromOffsets(offsets map[TopicPartition]int64) Start {
	return Start{kind: atSpecific, offsets: maps.Clone(offsets)}
}

func (s Start) describe() string {
	switch s.kind {
	case atLatest:
		return "latest"
	case atTimestamp:
		return fmt.Sprintf("time %d", s.millis)
	case atGroup:
		if s.fallback == atLatest {
			return "group else latest"
		}
		return "group else earliest"
	case atSpecific:
		return describeOffsets(s.offsets)
	}
	return "earliest"
}

// Stop says where a bounded read ends. The zero value never ends.
type Stop struct {
	bounded bool
	kind    positionKind
	millis  int64
	offsets map[TopicPartition]int64
}

// StopLatest ends at the end that each partition has when the job starts; with
// read_committed the last stable offset.
func StopLatest() Stop { return Stop{bounded: true, kind: atLatest} }

// StopTime ends before the first record that is not older than t, or at the
// end that the partition has when the job starts.
func StopTime(t time.Time) Stop {
	return Stop{bounded: true, kind: atTimestamp, millis: t.UnixMilli()}
}

// StopOffsets ends before the given offsets; a partition that is not named is
// not read.
func StopOffsets(offsets map[TopicPartition]int64) Stop {
	return Stop{bounded: true, kind: atSpecific, offsets: maps.Clone(offsets)}
}

func (s Stop) describe() string {
	switch {
	case !s.bounded:
		return "never"
	case s.kind == atTimestamp:
		return fmt.Sprintf("time %d", s.millis)
	case s.kind == atSpecific:
		return describeOffsets(s.offsets)
	}
	return "latest"
}

func describeOffsets(m map[TopicPartition]int64) string {
	keys := slices.SortedFunc(maps.Keys(m), comparePartitions)
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%s@%d", k, m[k])
	}
	return "offsets " + strings.Join(parts, ",")
}

func comparePartitions(a, b TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}
