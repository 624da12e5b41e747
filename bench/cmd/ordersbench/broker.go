package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leatstream/leat/internal/devbroker"
	"github.com/leatstream/leat/test/proof"
)

// span is the event time over which the orders lie.
const span = 2 * time.Hour

func (o *options) brokerName() string {
	if o.address != "" {
		return o.address
	}
	return o.broker
}

// startBroker starts the broker that was asked for and returns its address.
func (b *bench) startBroker(ctx context.Context) (address string, stop func(), err error) {
	switch {
	case b.address != "":
		return b.address, func() {}, nil
	case b.broker == "real":
		return b.startKafka(ctx)
	case b.broker == "embedded":
		return b.startEmbedded(ctx)
	}
	return "", nil, fmt.Errorf("broker %q: want real or embedded", b.broker)
}

func (b *bench) startKafka(ctx context.Context) (string, func(), error) {
	free, err := freeAddress()
	if err != nil {
		return "", nil, err
	}
	_, port, err := net.SplitHostPort(free)
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Join(b.dir, "kafka")
	cmd := exec.CommandContext(ctx, "test/servers/kafka", "start", "--dir", dir, "--port", port)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return "", nil, fmt.Errorf("test/servers/kafka start: %w\n%s", err, errOut.String())
	}
	stop := func() { _ = exec.Command("test/servers/kafka", "stop", "--dir", dir, "--wipe").Run() }
	return strings.TrimSpace(string(out)), stop, nil
}

func (b *bench) startEmbedded(ctx context.Context) (string, func(), error) {
	free, err := freeAddress()
	if err != nil {
		return "", nil, err
	}
	_, port, err := net.SplitHostPort(free)
	if err != nil {
		return "", nil, err
	}
	path, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	p, err := startProgram(b.dir, "broker", path, nil, "child-broker", port)
	if err != nil {
		return "", nil, err
	}
	err = p.await(ctx, startMax, func() bool {
		conn, err := net.Dial("tcp", free)
		return err == nil && conn.Close() == nil
	})
	if err != nil {
		p.stop()
		return "", nil, err
	}
	return free, p.stop, nil
}

// brokerChild is an embedded broker that keeps its records in memory.
func brokerChild(args []string) error {
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	br, err := devbroker.Start(devbroker.Config{Ports: []int{port}, AutoCreate: true})
	if err != nil {
		return err
	}
	<-ctx.Done()
	br.Close()
	return nil
}

// loaded says what is in the topic.
type loaded struct {
	Ends      string // partition:offset,…
	Bytes     int64
	Counts    [proof.Partitions]int
	PerRecord float64
}

// load writes the orders in a process of its own, which takes the memory of
// the input with it.
func (b *bench) load(ctx context.Context, brokers string) (loaded, error) {
	var l loaded
	out, _, err := self(ctx, "child-load", brokers, strconv.FormatUint(b.seed, 10), strconv.Itoa(b.orders), b.compression)
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(out, &l)
}

func loadChild(args []string) error {
	in, brokers, err := inputOf(args)
	if err != nil {
		return err
	}
	ctx := context.Background()
	topics := proof.TopicsWith("")
	if err := deleteTopics(ctx, brokers, topics.Orders); err != nil {
		return err
	}
	if err := proof.CreateTopics(ctx, brokers, topics); err != nil {
		return err
	}
	if err := proof.CreateTopics(ctx, brokers, loopTopics()); err != nil {
		return err
	}
	if err := produce(ctx, brokers, topics.Orders, args[3], in); err != nil {
		return err
	}
	var l loaded
	var ends []string
	for p, recs := range in.Partitions {
		ends = append(ends, fmt.Sprintf("%d:%d", p, len(recs)))
		l.Counts[p] = len(recs)
		for i := range recs {
			l.Bytes += int64(len(recs[i].Value))
		}
	}
	l.Ends, l.PerRecord = strings.Join(ends, ","), float64(l.Bytes)/float64(in.Len())
	return json.NewEncoder(os.Stdout).Encode(l)
}

// produce writes the input in batches of up to 900 kB, as a producer under
// load does.
func produce(ctx context.Context, brokers, topic, compression string, in *proof.Input) error {
	codec, ok := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}[compression]
	if !ok {
		return fmt.Errorf("compression %q: want none, snappy, lz4 or zstd", compression)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(900_000), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	failed := make(chan error, 1)
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	longest := 0
	for _, recs := range in.Partitions {
		longest = max(longest, len(recs))
	}
	for i := range longest {
		for p, recs := range in.Partitions {
			if i < len(recs) {
				cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(p), Value: recs[i].Value}, done)
			}
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return fmt.Errorf("write orders: %w", err)
	default:
		return nil
	}
}

// loopTopics are where the hand-written loop writes.
func loopTopics() proof.Topics {
	return proof.Topics{Orders: "loop.unused", Revenue: "loop.revenue", Late: "loop.late", DLQ: "loop.dlq"}
}

// inputOf makes the input that a child's arguments name.
func inputOf(args []string) (in *proof.Input, brokers string, err error) {
	if len(args) < 3 {
		return nil, "", errors.New("want brokers, seed and number of orders")
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return nil, "", err
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, "", err
	}
	return proof.Generate(seed, n, span), args[0], nil
}

// checkChild compares what a run committed with an answer of its own.
func checkChild(args []string) error {
	in, brokers, err := inputOf(args)
	if err != nil {
		return err
	}
	res, err := proof.Check(context.Background(), brokers, proof.TopicsWith(""), in)
	if err != nil {
		return err
	}
	if len(res.Faults) > 0 {
		return fmt.Errorf("the committed output is not the answer: %s", strings.Join(res.Faults, "; "))
	}
	fmt.Printf("%d rows, %d orders counted, %d late, %d dead letters, %d dropped by rule: as computed independently",
		len(res.Rows), res.Counted, res.Late, res.DeadLetters, res.Rules)
	return nil
}

// emptyOutput deletes what a run wrote.
func emptyOutput(ctx context.Context, brokers string) error {
	topics := proof.TopicsWith("")
	if err := deleteTopics(ctx, brokers, topics.Revenue, topics.Late, topics.DLQ); err != nil {
		return err
	}
	return proof.CreateTopics(ctx, brokers, topics)
}

func deleteTopics(ctx context.Context, brokers string, names ...string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, name := range names {
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = kmsg.StringPtr(name)
		req.Topics, req.TopicNames = append(req.Topics, rt), append(req.TopicNames, name)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	for _, rt := range resp.Topics {
		if err := kerr.ErrorForCode(rt.ErrorCode); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("delete topic: %w", err)
		}
	}
	return nil
}
