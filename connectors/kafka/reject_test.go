package kafka_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
)

// TestRejectedRowsLeaveTheTransactionAlone sets aside what does not encode and
// what is too large; the rest is committed.
func TestRejectedRowsLeaveTheTransactionAlone(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 2)
	sink, err := kafka.NewSink(kafka.SinkConfig{
		Connection: kafka.Connection{Brokers: brokers}, Topic: topic, TransactionTimeout: 10 * time.Minute, RecordBytesMax: 500,
	}, newRowEncoder)
	if err != nil {
		t.Fatal(err)
	}
	var refused []string
	writer, err := sink.NewWriter(&connectors.WriterContext{
		Info: dataflow.TaskInfo{Name: "out", UID: "out", Parallelism: 1}, Clock: clock.Real{}, Incarnation: "reject", TxnPool: 6,
		Reject: func(b *columnar.Batch, i int, err error) {
			refused = append(refused, fmt.Sprint(len(columnar.Rows[row](b)[i].Value), ": ", err))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &writing{Writer: writer, t: t}
	t.Cleanup(func() { _ = w.Close() })
	if err := w.Recover(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.rows("a", "bad", "b", strings.Repeat("x", 1000), "c")
	w.commit(w.prepare())
	wantValues(t, brokers, topic, []string{"a", "b", "c"})
	if len(refused) != 2 || !strings.Contains(refused[0], "it is bad") || !strings.HasPrefix(refused[1], "1000: ") {
		t.Errorf("refused %q", slices.Clip(refused))
	}
}
