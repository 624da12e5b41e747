package kafka_test

import (
	"testing"

	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

// TestAnOldProducerLeavesItsSuccessorAlone has a producer ask for its next
// epoch when a later one has a transaction open under the same id, as a writer
// does that lives on in a process which was given up. Apache Kafka aborts what
// is open before it looks at the epoch.
func TestAnOldProducerLeavesItsSuccessorAlone(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	cl, err := kwire.NewClient(kwire.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	id := topic + "-txn"
	parts := []kwire.TopicPartitions{{Topic: topic, Partitions: []int32{0}}}
	begin := func() kwire.Producer {
		t.Helper()
		p, err := cl.InitProducerID(t.Context(), id, kwire.NoProducer(), 60_000)
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.AddPartitions(t.Context(), id, p, parts); err != nil {
			t.Fatal(err)
		}
		return p
	}
	old := begin()
	if err := cl.EndTxn(t.Context(), id, old, kwire.Commit); err != nil {
		t.Fatal(err)
	}
	successor := begin()
	if _, err := cl.InitProducerID(t.Context(), id, old, 60_000); kwire.CodeOf(err) != kwire.ProducerFenced {
		t.Errorf("the old producer is told %v, want that it was fenced", err)
	}
	if err := cl.EndTxn(t.Context(), id, successor, kwire.Commit); err != nil {
		t.Errorf("the successor cannot commit: %v", err)
	}
	if !kafkatest.Real() {
		return // the embedded broker takes no notice of the epoch that is told
	}
	// Nothing is open now: an old epoch is fenced, the current one goes on.
	if _, err := cl.InitProducerID(t.Context(), id, old, 60_000); kwire.CodeOf(err) != kwire.ProducerFenced && kwire.CodeOf(err) != kwire.InvalidProducerEpoch {
		t.Errorf("the old producer is told %v after the commit, want that it was fenced", err)
	}
	if next, err := cl.InitProducerID(t.Context(), id, successor, 60_000); err != nil || next.Epoch <= successor.Epoch {
		t.Errorf("the successor's next producer is %v, error %v", next, err)
	}
}
