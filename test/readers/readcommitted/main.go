// Command readcommitted prints the values of a topic's committed records, one
// a line, up to the ends that its partitions have when it starts. It shares no
// code with the engine, so that what the engine wrote is judged by another
// client: it is a proof, not a tool for daily use.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type options struct {
	brokers, topic, format string
	fromBeginning          bool
	timeout                time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.brokers, "brokers", "127.0.0.1:9092", "addresses, host:port,host:port")
	flag.StringVar(&o.topic, "topic", "", "topic to read")
	flag.StringVar(&o.format, "format", "value", "value, or full: partition, offset, timestamp, key and value, tab-separated")
	flag.BoolVar(&o.fromBeginning, "from-beginning", true, "read from the first record, which is all it can do; false prints nothing")
	flag.DurationVar(&o.timeout, "timeout", 2*time.Minute, "give up after this time")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "readcommitted:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.topic == "" {
		return errors.New("no --topic is given")
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	seeds := strings.Split(o.brokers, ",")
	ends, err := stableEnds(ctx, seeds, o.topic)
	if err != nil || !o.fromBeginning {
		return err
	}
	return read(ctx, seeds, o, ends)
}

// stableEnds returns the last stable offset of each partition.
func stableEnds(ctx context.Context, seeds []string, topic string) (map[int32]int64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = kmsg.StringPtr(topic)
	meta.Topics = append(meta.Topics, mt)
	res, err := meta.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	if code := res.Topics[0].ErrorCode; code != 0 {
		return nil, fmt.Errorf("topic %q: broker error %d", topic, code)
	}
	ends := map[int32]int64{}
	for _, p := range res.Topics[0].Partitions {
		if ends[p.Partition], err = stableEnd(ctx, cl, topic, p.Partition); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

func stableEnd(ctx context.Context, cl *kgo.Client, topic string, partition int32) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, 1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	res, err := req.RequestWith(ctx, cl)
	if err != nil {
		return 0, err
	}
	got := res.Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		return 0, fmt.Errorf("end of partition %d: broker error %d", partition, got.ErrorCode)
	}
	return got.Offset, nil
}

func read(ctx context.Context, seeds []string, o options, ends map[int32]int64) error {
	from := map[int32]kgo.Offset{}
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().AtStart()
		}
	}
	if len(from) == 0 {
		return nil
	}
	// Markers are kept: the records before an end may all be markers.
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.topic: from}))
	if err != nil {
		return err
	}
	defer cl.Close()
	out := bufio.NewWriter(os.Stdout)
	at := map[int32]int64{}
	for !reached(from, at, ends) {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			return errors.Join(fmt.Errorf("at offsets %v of %v: %w", at, ends, err), out.Flush())
		}
		f.EachRecord(func(r *kgo.Record) {
			if r.Offset < ends[r.Partition] && !r.Attrs.IsControl() {
				print1(out, o.format, r)
			}
			at[r.Partition] = r.Offset + 1
		})
	}
	return out.Flush()
}

func reached(from map[int32]kgo.Offset, at, ends map[int32]int64) bool {
	for p := range from {
		if at[p] < ends[p] {
			return false
		}
	}
	return true
}

// print1 writes one record; a fault of the output is reported by Flush.
func print1(out *bufio.Writer, format string, r *kgo.Record) {
	if format == "full" {
		fmt.Fprintf(out, "%d\t%d\t%d\t%s\t%s\n", r.Partition, r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value)
		return
	}
	_, _ = out.Write(append(r.Value, '\n'))
}
