package kafka_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachCompressionAndDelivery(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	for _, delivery := range []kafka.Delivery{kafka.ExactlyOnce, kafka.AtLeastOnce, kafka.NoGuarantee} {
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			t.Run(fmt.Sprint(delivery, " ", codec), func(t *testing.T) {
				t.Parallel()
				topic := kafkatest.Topic(t, brokers, 2)
				w := &writing{t: t, inc: dataflow.NewIncarnation(), cfg: kafka.SinkConfig{
					Connection: kafka.Connection{Brokers: brokers}, Topic: topic, Delivery: delivery, Compression: codec, BatchBytes: 8 << 10,
				}}
				if err := w.open(t, nil); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = w.Close() }()
				w.rows(numbers(0, 3000)...)
				c := w.prepare()
				if (len(c) > 0) != (delivery == kafka.ExactlyOnce) {
					t.Fatalf("%d committables", len(c))
				}
				w.commit(c)
				if err := w.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				kafkatest.Settle(t, brokers, topic)
				wantValues(t, brokers, topic, numbers(0, 3000))
				r := start(t, bounded(brokers, topic), nil, nil, false)
				r.until(r.allEnded(2))
				var got []string
				for _, g := range r.got {
					got = append(got, g.row.Value)
				}
				slices.Sort(got)
				if !slices.Equal(got, numbers(0, 3000)) {
					t.Fatalf("%d records", len(got))
				}
			})
		}
	}
}

type routed struct{ rowEncoder }

func (e routed) Encode(v *row, out *formats.Out) error {
	out.Topic = v.Key
	return e.rowEncoder.Encode(v, out)
}

func TestRecordsNameTheirTopic(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	a, b := kafkatest.Topic(t, brokers, 1), kafkatest.Topic(t, brokers, 2)
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: kafka.Connection{Brokers: brokers}},
		func() (formats.Encoder[row], error) { return routed{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	w, err := sink.NewWriter(&connectors.WriterContext{Info: dataflow.TaskInfo{UID: "out", Parallelism: 1}, Clock: clock.Real{}, Incarnation: dataflow.NewIncarnation(), TxnPool: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if err := w.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var rows []row
	for i := range 40 {
		rows = append(rows, row{Key: []string{a, b}[i%2], Value: numbers(i, i+1)[0]})
	}
	if err := w.Write(columnar.NewBatch(rows, nil)); err != nil {
		t.Fatal(err)
	}
	c, err := w.Prepare(t.Context(), 1, true)
	if err != nil || len(c) != 1 {
		t.Fatal(len(c), err)
	}
	if err := w.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if x, y := len(kafkatest.ReadSettled(t, brokers, a)), len(kafkatest.ReadSettled(t, brokers, b)); x != 20 || y != 20 {
		t.Fatalf("%d and %d records", x, y)
	}
}

// TestRescaleOnRecovery commits what two subtasks prepared from three.
func TestRescaleOnRecovery(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 2)
	inc := dataflow.NewIncarnation()
	open := func(subtask, parallelism int, prepared []connectors.Committable) connectors.Writer {
		sink, err := kafka.NewSink(kafka.SinkConfig{Connection: kafka.Connection{Brokers: brokers}, Topic: topic}, newRowEncoder)
		if err != nil {
			t.Fatal(err)
		}
		w, err := sink.NewWriter(&connectors.WriterContext{
			Info: dataflow.TaskInfo{UID: "out", Subtask: subtask, Parallelism: parallelism}, Clock: clock.Real{}, Incarnation: inc, TxnPool: 15,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Close() })
		if err := w.Recover(t.Context(), prepared); err != nil {
			t.Fatal(err)
		}
		return w
	}
	var prepared []connectors.Committable
	for s := range 2 {
		w := open(s, 2, nil)
		if err := w.Write(columnar.NewBatch([]row{{Value: numbers(s, s+1)[0]}}, nil)); err != nil {
			t.Fatal(err)
		}
		c, err := w.Prepare(t.Context(), 1, false)
		if err != nil {
			t.Fatal(err)
		}
		prepared = append(prepared, c...)
		// What is written after the checkpoint must vanish.
		if err := w.Write(columnar.NewBatch([]row{{Value: "orphan"}}, nil)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for s := range 3 {
		open(s, 3, prepared)
	}
	kafkatest.Settle(t, brokers, topic)
	wantValues(t, brokers, topic, numbers(0, 2))
}

// TestTransactionTooOldFailsOver: the job must restart before the brokers
// abort what a checkpoint may hold.
func TestTransactionTooOldFailsOver(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	clk := clock.NewManual(clock.Real{}.Now())
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: kafka.Connection{Brokers: brokers}, Topic: topic, TransactionTimeout: time.Minute}, newRowEncoder)
	if err != nil {
		t.Fatal(err)
	}
	w, err := sink.NewWriter(&connectors.WriterContext{Info: dataflow.TaskInfo{UID: "out", Parallelism: 1}, Clock: clk, Incarnation: dataflow.NewIncarnation(), TxnPool: 6})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if err := w.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	write := func() error { return w.Write(columnar.NewBatch([]row{{Value: "v"}}, nil)) }
	if err := write(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Prepare(t.Context(), 1, false); err != nil {
		t.Fatal(err)
	}
	clk.Advance(30 * time.Second)
	if err := write(); err != nil {
		t.Fatal(err)
	}
	clk.Advance(11 * time.Second)
	if err := write(); err == nil {
		t.Fatal("a sealed transaction of 41 s was left to its time-out of 60 s")
	}
}
