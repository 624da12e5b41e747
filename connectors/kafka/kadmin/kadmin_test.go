package kadmin_test

import (
	"testing"

	"github.com/leatstream/leat/connectors/kafka/kadmin"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/connectors/kafka/kproduce"
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

func admin(t *testing.T, brokers []string) *kadmin.Admin {
	t.Helper()
	cl, err := kwire.NewClient(kwire.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadmin.New(cl)
}

func TestTopicsAndSettings(t *testing.T) {
	t.Parallel()
	a := admin(t, kafkatest.Brokers(t))
	topic := kafkatest.Name()
	if err := a.CreateTopics(t.Context(), kwire.NewTopic{Name: topic, Partitions: 3, Settings: map[string]string{"retention.ms": "60000"}}); err != nil {
		t.Fatal(err)
	}
	if err := a.CreateTopics(t.Context(), kwire.NewTopic{Name: topic}); kwire.CodeOf(err) != kwire.TopicExists {
		t.Fatalf("created twice: %v", err)
	}
	got, err := a.TopicSettings(t.Context(), topic, "retention.ms")
	if err != nil || got["retention.ms"] != "60000" {
		t.Fatalf("%v %v", got, err)
	}
	broker, err := a.BrokerSettings(t.Context(), "transaction.max.timeout.ms")
	if err != nil || broker["transaction.max.timeout.ms"] != "900000" {
		t.Fatalf("%v %v", broker, err)
	}
	if err := a.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTransactionIsListedAndResolved(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 2)
	a := admin(t, brokers)
	txnID := kafkatest.Name()
	for _, outcome := range []kwire.Outcome{kwire.Commit, kwire.Abort} {
		p, err := a.InitProducerID(t.Context(), txnID, kwire.NoProducer(), 60_000)
		if err != nil {
			t.Fatal(err)
		}
		pr := kproduce.New(kproduce.Config{Client: a.Client})
		if err := pr.Begin(kproduce.Identity{TxnID: txnID, Producer: p}); err != nil {
			t.Fatal(err)
		}
		top, err := pr.Topic(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		if err := pr.Write(func(ap kproduce.Appender) error { return ap.Append(top, 1, 0, nil, []byte("v"), nil) }); err != nil {
			t.Fatal(err)
		}
		if err := pr.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		pr.Close()
		open, err := a.OpenTxns(t.Context(), txnID)
		if err != nil || len(open) != 1 || open[0].State != "Ongoing" || open[0].Producer != p || open[0].Started.IsZero() {
			t.Fatalf("%+v %v", open, err)
		}
		if len(open[0].Partitions) != 1 || open[0].Partitions[0].Topic != topic || open[0].Partitions[0].Partitions[0] != 1 {
			t.Fatalf("%+v", open[0].Partitions)
		}
		if _, err := a.Resolve(t.Context(), txnID, outcome); err != nil {
			t.Fatal(err)
		}
		kafkatest.Settle(t, brokers, topic)
		if _, err := a.Resolve(t.Context(), txnID, outcome); err == nil {
			t.Fatal("a transaction that was ended was ended again")
		}
	}
	if got := kafkatest.ReadAll(t, brokers, topic, true); len(got) != 1 {
		t.Fatalf("%d records are committed, want 1", len(got))
	}
}
