// Package kafkatest gives tests a Kafka cluster and an independent client to
// write to it and to judge what was written. It is for tests only.
package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/devbroker"
)

// Env names the environment variable that holds the brokers of a real cluster
// (host:port,host:port), on which the tests run instead of the embedded broker.
const Env = "LEAT_KAFKA"

// Real reports whether tests run on a real cluster.
func Real() bool { return os.Getenv(Env) != "" }

// Brokers returns the addresses of a cluster that lives as long as the test.
func Brokers(t testing.TB) []string {
	t.Helper()
	if v := os.Getenv(Env); v != "" {
		return strings.Split(v, ",")
	}
	return Embedded(t, devbroker.Config{}).Addrs()
}

// Embedded starts an embedded broker that lives as long as the test.
func Embedded(t testing.TB, cfg devbroker.Config) *devbroker.Broker {
	t.Helper()
	b, err := devbroker.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Topic creates a topic with a fresh name.
func Topic(t testing.TB, brokers []string, partitions int) string {
	t.Helper()
	name := Name()
	Create(t, brokers, name, partitions, map[string]string{"retention.ms": "-1"})
	return name
}

// Name returns a name that no other test uses.
func Name() string { return "test-" + string(dataflow.NewJobID())[:16] }

// Create creates a topic.
func Create(t testing.TB, brokers []string, name string, partitions int, settings map[string]string) {
	t.Helper()
	cl := Client(t, brokers)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	top := kmsg.NewCreateTopicsRequestTopic()
	top.Topic, top.NumPartitions, top.ReplicationFactor = name, int32(partitions), -1
	for k, v := range settings {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(v)
		top.Configs = append(top.Configs, c)
	}
	req.Topics = append(req.Topics, top)
	res, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	if c := res.Topics[0].ErrorCode; c != 0 {
		t.Fatalf("create topic %q: error %d", name, c)
	}
	awaitTopic(t, cl, name, partitions)
}

// awaitTopic waits until the brokers know the topic's leaders.
func awaitTopic(t testing.TB, cl *kgo.Client, name string, partitions int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for led := 0; led < partitions; {
		req := kmsg.NewPtrMetadataRequest()
		mt := kmsg.NewMetadataRequestTopic()
		mt.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, mt)
		res, err := req.RequestWith(ctx, cl)
		if err != nil {
			t.Fatal(err)
		}
		led = 0
		for _, p := range res.Topics[0].Partitions {
			if p.ErrorCode == 0 && p.Leader >= 0 {
				led++
			}
		}
	}
}

// Client returns an independent client that lives as long as the test.
func Client(t testing.TB, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Produce writes values "prefix0", "prefix1", … to a partition.
func Produce(t testing.TB, brokers []string, topic string, partition int32, prefix string, n int, opts ...kgo.Opt) {
	t.Helper()
	cl := Client(t, brokers, opts...)
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, "%s%d", prefix, i)}
	}
	if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// Settle waits until no transaction is open in a topic.
func Settle(t testing.TB, brokers []string, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stable, end := Ends(t, brokers, topic, 1), Ends(t, brokers, topic, 0)
	for !maps.Equal(stable, end) {
		if ctx.Err() != nil {
			t.Fatalf("a transaction is open in %q: stable ends %v, ends %v", topic, stable, end)
		}
		stable, end = Ends(t, brokers, topic, 1), Ends(t, brokers, topic, 0)
	}
}

// ReadSettled is Settle, then ReadAll of what is committed.
func ReadSettled(t testing.TB, brokers []string, topic string) []*kgo.Record {
	t.Helper()
	Settle(t, brokers, topic)
	return ReadAll(t, brokers, topic, true)
}

// ReadAll returns what a topic holds up to the ends of its partitions now, as
// a read_committed reader (or any other, with committed false) sees it, in the
// order of each partition.
func ReadAll(t testing.TB, brokers []string, topic string, committed bool) []*kgo.Record {
	t.Helper()
	iso, level := kgo.ReadUncommitted(), int8(0)
	if committed {
		iso, level = kgo.ReadCommitted(), 1
	}
	ends := Ends(t, brokers, topic, level)
	from := map[int32]kgo.Offset{}
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().AtStart()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := Client(t, brokers, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(iso), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	var out []*kgo.Record
	// Control records are kept so that the position reaches ends made of them.
	for at := map[int32]int64{}; !reached(from, at, ends); {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("read %q: %v (%d records, at %v, ends %v)", topic, err, len(out), at, ends)
		}
		f.EachRecord(func(r *kgo.Record) {
			at[r.Partition] = r.Offset + 1
			if !r.Attrs.IsControl() {
				out = append(out, r)
			}
		})
	}
	return out
}

func reached(from map[int32]kgo.Offset, at, ends map[int32]int64) bool {
	for p := range from {
		if at[p] < ends[p] {
			return false
		}
	}
	return true
}

// Ends returns the end offsets of a topic: with level 1 the last stable ones.
func Ends(t testing.TB, brokers []string, topic string, level int8) map[int32]int64 {
	t.Helper()
	cl := Client(t, brokers)
	req := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, mt)
	meta, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int32]int64{}
	for _, p := range meta.Topics[0].Partitions {
		lo := kmsg.NewPtrListOffsetsRequest()
		lo.ReplicaID, lo.IsolationLevel = -1, level
		lt := kmsg.NewListOffsetsRequestTopic()
		lt.Topic = topic
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Partition, lp.Timestamp = p.Partition, -1
		lt.Partitions = append(lt.Partitions, lp)
		lo.Topics = append(lo.Topics, lt)
		res, err := lo.RequestWith(t.Context(), cl)
		if err != nil {
			t.Fatal(err)
		}
		out[p.Partition] = res.Topics[0].Partitions[0].Offset
	}
	return out
}
