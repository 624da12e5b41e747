package kafka_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/kafka/kafkatest"
)

// realDir names the folder of a cluster that test/servers/kafka started, which
// this test may kill brokers of.
const realDir = "LEAT_KAFKA_DIR"

func server(t *testing.T, dir string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "../../test/servers/kafka", append(args, "--dir", dir)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// TestKilledBrokerLosesNothing kills a real broker between and within
// transactions, with a prepared one at stake each time. It is not parallel:
// the other tests want the broker.
func TestKilledBrokerLosesNothing(t *testing.T) {
	dir := os.Getenv(realDir)
	if dir == "" {
		t.Skip("NOT TESTED: no real broker to kill: set " + realDir)
	}
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 3)
	w := startWriting(t, brokers, topic)
	r := start(t, config(brokers, topic), nil, nil, false)
	n := 0
	more := func(k int) {
		w.rows(numbers(n, n+k)...)
		n += k
	}
	for range 2 {
		more(2000)
		kept := w.prepare()
		more(1000) // the next transaction, partly on its way when the broker dies
		server(t, dir, "kill", "1")
		more(1000)
		done := make(chan error, 1)
		go func() { done <- w.Commit(t.Context(), kept) }()
		server(t, dir, "start")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.commit(w.prepare())
	}
	r.until(func() bool { return len(r.got) >= n && r.allCaught(3)() })
	var got []string
	for _, g := range r.got {
		got = append(got, g.row.Value)
	}
	slices.Sort(got)
	if !slices.Equal(got, numbers(0, n)) {
		t.Fatalf("%d records, want %d", len(got), n)
	}
	wantValues(t, brokers, topic, numbers(0, n))
}
