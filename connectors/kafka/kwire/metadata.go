package kwire

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Topic is what the cluster says of a topic.
type Topic struct {
	Name string
	// ID is zero with brokers older than 2.8. A topic that is deleted and
	// created again has another one.
	ID       [16]byte
	Internal bool
	Code     Code
	// Partitions is ordered by Index.
	Partitions []Partition
}

// Partition is what the cluster says of a partition.
type Partition struct {
	Index       int32
	Leader      int32 // -1: none now
	LeaderEpoch int32 // -1: unknown
	Code        Code
}

type cache struct {
	brokers    map[int32]string
	controller int32
	topics     map[string]Topic
}

// Metadata asks for the topics (nil: all of them), updates the cache and
// returns them. Unknown topics come back with their Code set. Brokers create
// none of them.
func (c *Client) Metadata(ctx context.Context, topics []string) ([]Topic, error) {
	var got []Topic
	err := c.retry(ctx, "metadata", func() error {
		conn, err := c.Any(ctx)
		if err != nil {
			return err
		}
		got, err = c.metadataFrom(ctx, conn, topics)
		return err
	})
	return got, err
}

const (
	metadataKey        = 3
	metadataVersionMin = 4
	metadataVersionMax = 12
)

func (c *Client) metadataFrom(ctx context.Context, conn *Conn, topics []string) ([]Topic, error) {
	v, err := conn.version(metadataKey, metadataVersionMin, metadataVersionMax)
	if err != nil {
		return nil, err
	}
	cur, err := conn.callRaw(ctx, metadataKey, v, v >= 9, appendMetadataRequest(nil, v, topics))
	if err != nil {
		return nil, err
	}
	fresh, err := readMetadata(cur, v)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meta.brokers, c.meta.controller = fresh.brokers, fresh.controller
	maps.Copy(c.meta.topics, fresh.topics)
	out := slices.Collect(maps.Values(fresh.topics))
	slices.SortFunc(out, func(a, b Topic) int { return cmpString(a.Name, b.Name) })
	return out, nil
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func appendMetadataRequest(b []byte, v int16, topics []string) []byte {
	flexible := v >= 9
	switch {
	case topics == nil && flexible:
		b = append(b, 0)
	case topics == nil:
		b = putI32(b, -1)
	case flexible:
		b = putCompactCount(b, len(topics))
	default:
		b = putI32(b, int32(len(topics)))
	}
	for _, t := range topics {
		if !flexible {
			b = putString(b, t)
			continue
		}
		if v >= 10 {
			b = append(b, make([]byte, 16)...)
		}
		b = append(putCompactString(b, t), 0)
	}
	b = append(b, 0) // allow auto topic creation: no
	if v >= 8 && v <= 10 {
		b = append(b, 0) // cluster authorised operations
	}
	if v >= 8 {
		b = append(b, 0) // topic authorised operations
	}
	if flexible {
		b = append(b, 0)
	}
	return b
}

func readMetadata(cur *cursor, v int16) (cache, error) {
	m := cache{brokers: map[int32]string{}, topics: map[string]Topic{}}
	cur.i32() // throttle
	for range cur.count(8) {
		id := cur.i32()
		host := cur.string()
		m.brokers[id] = hostPort(host, cur.i32())
		_ = cur.string() // rack
		cur.tags()
	}
	_ = cur.string() // cluster id
	m.controller = cur.i32()
	for range cur.count(8) {
		t := readTopic(cur, v)
		if t.Name != "" {
			m.topics[t.Name] = t
		}
	}
	return m, cur.end("metadata")
}

func readTopic(cur *cursor, v int16) Topic {
	t := Topic{Code: Code(cur.i16()), Name: cur.string()}
	if v >= 10 {
		t.ID = cur.uuid()
	}
	t.Internal = cur.i8() != 0
	for range cur.count(10) {
		p := Partition{Code: Code(cur.i16()), Index: cur.i32(), Leader: cur.i32(), LeaderEpoch: -1}
		if v >= 7 {
			p.LeaderEpoch = cur.i32()
		}
		cur.i32s() // replicas
		cur.i32s() // in sync
		if v >= 5 {
			cur.i32s() // offline
		}
		cur.tags()
		t.Partitions = append(t.Partitions, p)
	}
	if v >= 8 {
		cur.i32() // authorised operations
	}
	cur.tags()
	slices.SortFunc(t.Partitions, func(a, b Partition) int { return int(a.Index) - int(b.Index) })
	return t
}

// Cached returns what is known of a topic.
func (c *Client) Cached(topic string) (Topic, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.meta.topics[topic]
	return t, ok
}

// Leader returns the leader of a partition and its epoch from the cache.
func (c *Client) Leader(topic string, partition int32) (id, epoch int32, err error) {
	t, ok := c.Cached(topic)
	if !ok || t.Code != None {
		return -1, -1, fmt.Errorf("topic %q: %w", topic, UnknownTopicOrPartition)
	}
	i, ok := slices.BinarySearchFunc(t.Partitions, partition, func(p Partition, n int32) int { return int(p.Index) - int(n) })
	if !ok {
		return -1, -1, fmt.Errorf("topic %q has %d partitions, none numbered %d: %w", topic, len(t.Partitions), partition, UnknownTopicOrPartition)
	}
	p := t.Partitions[i]
	if p.Leader < 0 {
		return -1, -1, fmt.Errorf("partition %q %d has no leader now: %w", topic, partition, LeaderNotAvailable)
	}
	return p.Leader, p.LeaderEpoch, nil
}

// controllerConn returns a connection to the controller. With KRaft any broker
// forwards what only the controller can do.
func (c *Client) controllerConn(ctx context.Context) (*Conn, error) {
	c.mu.Lock()
	id := c.meta.controller
	_, ok := c.meta.brokers[id]
	c.mu.Unlock()
	if !ok {
		return c.Any(ctx)
	}
	return c.Broker(ctx, id, LaneControl)
}
