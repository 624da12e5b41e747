package kproduce_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/connectors/kafka/kproduce"
	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/devbroker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The values are those of org.apache.kafka.common.utils.Utils.murmur2.
func TestMurmur2IsJavas(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(kproduce.Murmur2([]byte(s))); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

type producing struct {
	t       testing.TB
	client  *kwire.Client
	p       *kproduce.Producer
	topic   *kproduce.Topic
	brokers []string
	name    string
}

func producer(t testing.TB, brokers []string, partitions int, cfg kproduce.Config, wire kwire.Config) *producing {
	t.Helper()
	name := kafkatest.Topic(t, brokers, partitions)
	if len(wire.Brokers) == 0 {
		wire.Brokers = brokers
	}
	cl, err := kwire.NewClient(wire)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	who, err := cl.InitProducerID(t.Context(), "", kwire.NoProducer(), 60_000)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Client = cl
	p := kproduce.New(cfg)
	t.Cleanup(p.Close)
	if err := p.Begin(kproduce.Identity{Producer: who}); err != nil {
		t.Fatal(err)
	}
	topic, err := p.Topic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return &producing{t: t, client: cl, p: p, topic: topic, brokers: brokers, name: name}
}

// write writes numbers from..to, each to partition number mod partitions.
func (w *producing) write(from, to int) {
	w.t.Helper()
	err := w.p.Write(func(a kproduce.Appender) error {
		for i := from; i < to; i++ {
			if err := a.Append(w.topic, i%w.topic.Partitions(), 1, nil, strconv.AppendInt(nil, int64(i), 10), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *producing) flush() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.p.Flush(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// check checks that 0..n are there, once and in the order of each partition.
func (w *producing) check(n int) {
	w.t.Helper()
	last := map[int32]int{}
	got := kafkatest.ReadAll(w.t, w.brokers, w.name, true)
	for _, r := range got {
		v, err := strconv.Atoi(string(r.Value))
		if err != nil {
			w.t.Fatal(err)
		}
		parts := w.topic.Partitions()
		want, ok := last[r.Partition]
		if !ok {
			want = int(r.Partition)
		}
		if v != want {
			w.t.Fatalf("partition %d offset %d: %d, want %d", r.Partition, r.Offset, v, want)
		}
		last[r.Partition] = v + parts
	}
	if len(got) != n {
		w.t.Fatalf("%d records, want %d", len(got), n)
	}
}

func TestRetriesKeepOrderAndAreNotDoubled(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{})
	w := producer(t, b.Addrs(), 2, kproduce.Config{BatchBytes: 1 << 10}, kwire.Config{})
	r := rand.New(rand.NewPCG(3, 4))
	n := 0
	for range 40 {
		fault := kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: 1 + r.IntN(3)}
		switch r.IntN(4) {
		case 0:
			fault.Err = kerr.NotLeaderForPartition
		case 1:
			fault.Err = kerr.NotEnoughReplicas
		case 2:
			fault.Err = kerr.RequestTimedOut // the records are written, the answer says no
		case 3:
			fault.Err, fault.Partitions = kerr.NotEnoughReplicasAfterAppend, []int32{1}
		}
		h := b.Cluster().Fault(fault)
		for range 5 {
			w.write(n, n+200)
			n += 200
		}
		w.flush()
		h.Remove()
	}
	w.check(n)
}

// cutter is a proxy that cuts connections after some bytes.
type cutter struct {
	target string
	ln     net.Listener
	mu     sync.Mutex
	r      *rand.Rand // guarded by mu
	cuts   int        // guarded by mu
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{target: target, ln: ln, r: rand.New(rand.NewPCG(5, 6))}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(in) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return c
}

// serve copies both ways; one way, at random, breaks off in the middle.
func (c *cutter) serve(in net.Conn) {
	out, err := net.Dial("tcp", c.target)
	if err != nil {
		_ = in.Close()
		return
	}
	c.mu.Lock()
	limits := [2]int64{1 << 40, 1 << 40}
	limits[c.r.IntN(2)] = 2000 + c.r.Int64N(60_000)
	c.cuts++
	c.mu.Unlock()
	var wg sync.WaitGroup
	pipe := func(dst, src net.Conn, limit int64) {
		_, _ = io.CopyN(dst, src, limit)
		_ = dst.Close()
		_ = src.Close()
	}
	wg.Go(func() { pipe(out, in, limits[0]) })
	wg.Go(func() { pipe(in, out, limits[1]) })
	wg.Wait()
}

func TestCutConnectionsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{})
	c := newCutter(t, b.Addrs()[0])
	dialer := &net.Dialer{}
	w := producer(t, b.Addrs(), 3, kproduce.Config{BatchBytes: 2 << 10}, kwire.Config{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, c.ln.Addr().String())
		},
	})
	n := 0
	for range 60 {
		w.write(n, n+600)
		n += 600
		if n%3000 == 0 {
			w.flush()
		}
	}
	w.flush()
	w.check(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cuts < 5 {
		t.Fatalf("only %d connections were cut", c.cuts)
	}
}

func TestTooLargeRecordIsNamed(t *testing.T) {
	t.Parallel()
	w := producer(t, kafkatest.Brokers(t), 1, kproduce.Config{RecordBytesMax: 1000}, kwire.Config{})
	err := w.p.Write(func(a kproduce.Appender) error {
		return a.Append(w.topic, 0, 1, nil, bytes.Repeat([]byte("x"), 2000), nil)
	})
	if err == nil {
		t.Fatal("it was taken")
	}
}

func TestRefusedWriteEndsTheProducer(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{})
	w := producer(t, b.Addrs(), 1, kproduce.Config{}, kwire.Config{})
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	w.write(0, 10)
	if err := w.p.Flush(t.Context()); kwire.CodeOf(err) != kwire.TopicAuthorizationFailed {
		t.Fatalf("got %v", err)
	}
}

func TestReadyFollowsTheBuffer(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{})
	woken := make(chan struct{}, 1)
	w := producer(t, b.Addrs(), 1, kproduce.Config{BufferBytes: 10_000, Wake: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}}, kwire.Config{})
	h := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	n := 0
	for w.p.Ready() {
		w.write(n, n+100)
		n += 100
	}
	h.Remove()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case <-woken:
	case <-ctx.Done():
		t.Fatal("nobody was woken")
	}
	w.flush()
	if !w.p.Ready() {
		t.Fatal("not ready, though all is written")
	}
	w.check(n)
}

func BenchmarkProduce(b *testing.B) {
	for _, codec := range []krecord.Codec{krecord.NoCompression, krecord.LZ4, krecord.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			cl, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BlackholeProduce())
			if err != nil {
				b.Fatal(err)
			}
			defer cl.Close()
			wake := make(chan struct{}, 1)
			w := producer(b, cl.ListenAddrs(), 4, kproduce.Config{Codec: codec, Wake: func() {
				select {
				case wake <- struct{}{}:
				default:
				}
			}}, kwire.Config{})
			key, value := []byte("key-12345"), make([]byte, 200)
			r := rand.New(rand.NewPCG(1, 1))
			for i := range value {
				value[i] = "abcdefghijklmnop"[r.IntN(16)]
			}
			b.ReportAllocs()
			for b.Loop() {
				for !w.p.Ready() {
					<-wake
				}
				err := w.p.Write(func(a kproduce.Appender) error {
					for i := range 2000 {
						if err := a.Append(w.topic, i&3, int64(i), key, value, nil); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			w.flush()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/record")
		})
	}
}
