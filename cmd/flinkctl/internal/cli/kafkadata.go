package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lineBytesMax bounds a line of input of kafka produce.
const lineBytesMax = 16 << 20

func (a *app) kafkaCreate() *cobra.Command {
	var brokers string
	var partitions int32
	var replication int16
	c := &cobra.Command{
		Use: "create TOPIC...", Short: "Create topics; those that exist are left alone", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := kafkaClient(brokers)
			if err != nil {
				return usagef("%v", err)
			}
			defer cl.Close()
			req := kmsg.NewPtrCreateTopicsRequest()
			req.TimeoutMillis = 10_000
			for _, name := range args {
				t := kmsg.NewCreateTopicsRequestTopic()
				t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replication
				req.Topics = append(req.Topics, t)
			}
			resp, err := req.RequestWith(c.Context(), cl)
			if err != nil {
				return kafkaError(brokers, err)
			}
			t := table{header: []string{"TOPIC", "RESULT"}}
			var out []map[string]string
			for _, r := range resp.Topics {
				result := "created"
				if err := kerr.ErrorForCode(r.ErrorCode); errors.Is(err, kerr.TopicAlreadyExists) {
					result = "exists"
				} else if err != nil {
					return coded("LEAT5100", fmt.Sprintf("the broker refuses to create topic %q: %v", r.Topic, err))
				}
				t.rows, t.names = append(t.rows, []string{r.Topic, result}), append(t.names, r.Topic)
				out = append(out, map[string]string{"topic": r.Topic, "result": result})
			}
			return a.print(out, func() table { return t })
		},
	}
	brokersFlag(c, &brokers)
	c.Flags().Int32Var(&partitions, "partitions", 1, "partitions of each topic")
	c.Flags().Int16Var(&replication, "replication", 1, "replicas of each partition")
	return c
}

func (a *app) kafkaProduce() *cobra.Command {
	var brokers string
	c := &cobra.Command{
		Use: "produce TOPIC", Short: "Write the lines of standard input to a topic, each as a record", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := kafkaClient(brokers)
			if err != nil {
				return usagef("%v", err)
			}
			defer cl.Close()
			if _, err := topicEnds(c.Context(), cl, args[0], true); err != nil {
				return topicError(brokers, args[0], err)
			}
			in := bufio.NewScanner(a.in)
			in.Buffer(nil, lineBytesMax)
			failed := make(chan error, 1) // the first failure; others are dropped
			n := 0
			for in.Scan() {
				n++
				cl.Produce(c.Context(), &kgo.Record{Topic: args[0], Value: append([]byte(nil), in.Bytes()...)}, func(_ *kgo.Record, err error) {
					if err != nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
			}
			if err := in.Err(); err != nil {
				return usagef("line %d of the input: %v", n+1, err)
			}
			if err := cl.Flush(c.Context()); err != nil {
				return err
			}
			select {
			case err := <-failed:
				return topicError(brokers, args[0], err)
			default:
			}
			return a.print(map[string]any{"topic": args[0], "records": n}, func() table {
				return table{header: []string{"TOPIC", "RECORDS"}, rows: [][]string{{args[0], fmt.Sprint(n)}}}
			})
		},
	}
	brokersFlag(c, &brokers)
	return c
}

func (a *app) kafkaConsume() *cobra.Command {
	var brokers string
	var uncommitted, follow bool
	c := &cobra.Command{
		Use: "consume TOPIC", Short: "Print the records of a topic from its beginning, one a line", Args: cobra.ExactArgs(1),
		Long: "Print the records of a topic from its beginning, one a line: those of committed transactions and those\nwritten without one, as readers with isolation.level=read_committed see them.",
		RunE: func(c *cobra.Command, args []string) error {
			level := kgo.ReadCommitted()
			if uncommitted {
				level = kgo.ReadUncommitted()
			}
			cl, err := kafkaClient(brokers)
			if err != nil {
				return usagef("%v", err)
			}
			defer cl.Close()
			ends, err := topicEnds(c.Context(), cl, args[0], uncommitted)
			if err != nil {
				return topicError(brokers, args[0], err)
			}
			from := make(map[int32]kgo.Offset, len(ends))
			for p := range ends {
				from[p] = kgo.NewOffset().AtStart()
			}
			opts := append(cl.Opts(), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
				kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{args[0]: from}))
			reader, err := kgo.NewClient(opts...)
			if err != nil {
				return usagef("%v", err)
			}
			defer reader.Close()
			return a.printRecords(c.Context(), reader, ends, follow)
		},
	}
	brokersFlag(c, &brokers)
	c.Flags().BoolVar(&uncommitted, "uncommitted", false, "also records of transactions that are open or aborted")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the topic grows")
	return c
}

// printRecords prints records until each partition has reached its end.
func (a *app) printRecords(ctx context.Context, cl *kgo.Client, ends map[int32]int64, follow bool) error {
	out := bufio.NewWriter(a.out)
	defer out.Flush()
	for len(ends) > 0 || follow {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil // a person's Ctrl-C is how --follow ends
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return errs[0].Err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				_, _ = out.Write(append(r.Value, '\n')) // the error stays for Flush
			}
			if r.Offset+1 >= ends[r.Partition] {
				delete(ends, r.Partition)
			}
		})
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// topicEnds returns the partitions that hold records, with their ends as seen
// at the isolation level.
func topicEnds(ctx context.Context, cl *kgo.Client, topic string, uncommitted bool) (map[int32]int64, error) {
	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = kmsg.StringPtr(topic)
	meta.Topics = append(meta.Topics, mt)
	resp, err := meta.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return nil, err
	}
	ends := make(map[int32]int64)
	for _, at := range []int64{-2, -1} { // the oldest offset, then the next one
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		if !uncommitted {
			req.IsolationLevel = 1
		}
		lt := kmsg.NewListOffsetsRequestTopic()
		lt.Topic = topic
		for _, p := range resp.Topics[0].Partitions {
			lp := kmsg.NewListOffsetsRequestTopicPartition()
			lp.Partition, lp.Timestamp = p.Partition, at
			lt.Partitions = append(lt.Partitions, lp)
		}
		req.Topics = append(req.Topics, lt)
		for _, shard := range cl.RequestSharded(ctx, req) {
			if shard.Err != nil {
				return nil, shard.Err
			}
			if err := addEnds(ends, shard.Resp.(*kmsg.ListOffsetsResponse), at == -1); err != nil {
				return nil, err
			}
		}
	}
	return ends, nil
}

// addEnds notes starts, then ends; a partition whose end is its start is empty.
func addEnds(ends map[int32]int64, resp *kmsg.ListOffsetsResponse, end bool) error {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
			if end && ends[p.Partition] == p.Offset {
				delete(ends, p.Partition)
				continue
			}
			ends[p.Partition] = p.Offset
		}
	}
	return nil
}

// topicError explains a topic that is not there.
func topicError(brokers, topic string, err error) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return exitWith(exitNotFound, coded("LEAT5113", fmt.Sprintf("topic %q does not exist", topic), "flinkctl kafka create "+topic))
	}
	return kafkaError(brokers, err)
}

// produceTimeout is how long kafka produce waits for the brokers.
const produceTimeout = 30 * time.Second
