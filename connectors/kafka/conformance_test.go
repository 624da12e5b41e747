package kafka_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
)

// fill writes records to three partitions, a bad one in each fifth place, and
// returns the good rows by split.
func fill(t *testing.T, brokers []string, topic string) (rows map[string][]row, bad int) {
	t.Helper()
	rows = map[string][]row{topic + "-0": nil, topic + "-1": nil, topic + "-2": nil}
	var records []*kgo.Record
	for i := range 300 {
		v := fmt.Sprintf("%d %s", i, strings.Repeat("x", i))
		if i%5 == 0 {
			v = "bad"
			bad++
		}
		p := int32(i % 2) // partition 2 stays empty
		records = append(records, &kgo.Record{Topic: topic, Partition: p, Key: []byte("k"), Value: []byte(v)})
		if v != "bad" {
			id := fmt.Sprintf("%s-%d", topic, p)
			rows[id] = append(rows[id], row{Key: "k", Value: v})
		}
	}
	if err := kafkatest.Client(t, brokers, kgo.ProducerBatchMaxBytes(4<<10)).ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return rows, bad
}

func TestSourceConforms(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 3)
	rows, bad := fill(t, brokers, topic)
	for name, endless := range map[string]bool{"bounded": false, "endless": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.TestSource(t, connectortest.SourceCase[row]{
				New: func() connectors.SourceOf[row] {
					cfg := config(brokers, topic)
					cfg.PartitionBytes = 16 << 10
					if !endless {
						cfg.Stop = kafka.StopLatest()
					}
					src, err := kafka.NewSource(cfg, newRowDecoder)
					if err != nil {
						t.Fatal(err)
					}
					return src
				},
				Rows: rows, Bad: bad, Endless: endless,
			})
		})
	}
}

func TestSinkConforms(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	for name, delivery := range map[string]kafka.Delivery{"exactly once": kafka.ExactlyOnce, "at least once": kafka.AtLeastOnce} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := kafkatest.Topic(t, brokers, 2)
			connectortest.TestSink(t, connectortest.SinkCase[row]{
				New: func() connectors.SinkOf[row] {
					sink, err := kafka.NewSink(kafka.SinkConfig{Connection: kafka.Connection{Brokers: brokers}, Topic: topic, Delivery: delivery}, newRowEncoder)
					if err != nil {
						t.Fatal(err)
					}
					return sink
				},
				Row: func(i int) row { return row{Key: "k", Value: fmt.Sprint("v", i)} },
				Visible: func() (out []row) {
					for _, r := range kafkatest.ReadAll(t, brokers, topic, true) {
						out = append(out, row{Key: string(r.Key), Value: string(r.Value)})
					}
					return out
				},
				Key:         func(r row) string { return r.Value },
				Refused:     func() row { return row{Key: "k", Value: "bad"} },
				AtLeastOnce: delivery == kafka.AtLeastOnce,
				Steps:       15,
			})
		})
	}
}
