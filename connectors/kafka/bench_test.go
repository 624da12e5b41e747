package kafka_test

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
)

// BenchmarkSource reads from a broker in this process that answers each fetch
// with the same batch of 100-byte values: fetch, checksum, iteration and a
// decoder that copies the value.
func BenchmarkSource(b *testing.B) {
	cl, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SyntheticFetch(kfake.SyntheticBatch{}), kfake.SeedTopics(4, "bench"))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	src, err := kafka.NewSource(config(cl.ListenAddrs(), "bench"), newRowDecoder)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkRead(b, src)
}

// BenchmarkSourceOfRealTopic reads what it has written to a broker before.
func BenchmarkSourceOfRealTopic(b *testing.B) {
	brokers := kafkatest.Brokers(b)
	topic := kafkatest.Topic(b, brokers, 4)
	w, err := newBenchWriter(b, brokers, topic)
	if err != nil {
		b.Fatal(err)
	}
	rows := make([]row, 2000)
	for i := range rows {
		rows[i] = row{Key: "k" + string(rune('a'+i%26)), Value: string(bytes.Repeat([]byte("x"), 100))}
	}
	for range 500 {
		if err := w.Write(columnar.NewBatch(rows, nil)); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		src, err := kafka.NewSource(bounded(brokers, topic), newRowDecoder)
		if err != nil {
			b.Fatal(err)
		}
		if n := readAll(b, src); n != 1_000_000 {
			b.Fatalf("%d records", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/record")
}

func newBenchWriter(b *testing.B, brokers []string, topic string) (connectors.Writer, error) {
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: kafka.Connection{Brokers: brokers}, Topic: topic, Delivery: kafka.AtLeastOnce}, newRowEncoder)
	if err != nil {
		return nil, err
	}
	w, err := sink.NewWriter(&connectors.WriterContext{Info: dataflow.TaskInfo{Parallelism: 1}, Clock: clock.Real{}})
	if err != nil {
		return nil, err
	}
	b.Cleanup(func() { _ = w.Close() })
	return w, w.Recover(b.Context(), nil)
}

func openReader(b *testing.B, src *kafka.Source[row]) (connectors.Reader, chan struct{}, int) {
	b.Helper()
	enum, err := src.NewEnumerator(&connectors.EnumeratorContext{Clock: clock.Real{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = enum.Close() })
	splits, err := enum.Discover(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	wake := make(chan struct{}, 1)
	r, err := src.NewReader(&connectors.ReaderContext{Info: dataflow.TaskInfo{Parallelism: 1}, Clock: clock.Real{}, Wake: func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	if err := r.AddSplits(splits); err != nil {
		b.Fatal(err)
	}
	return r, wake, len(splits)
}

func readAll(b *testing.B, src *kafka.Source[row]) int {
	b.Helper()
	r, wake, left := openReader(b, src)
	defer func() { _ = r.Close() }()
	n := 0
	for left > 0 {
		f, ok, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			<-wake
			continue
		}
		if f.Batch != nil {
			n += len(columnar.Rows[row](f.Batch))
		}
		if f.SplitEnd {
			left--
		}
	}
	return n
}

func benchmarkRead(b *testing.B, src *kafka.Source[row]) {
	b.Helper()
	r, wake, _ := openReader(b, src)
	defer func() { _ = r.Close() }()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		for want := n + 100_000; n < want; {
			f, ok, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				<-wake
				continue
			}
			if f.Batch != nil {
				n += len(columnar.Rows[row](f.Batch))
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}
