package devbroker_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/internal/devbroker"
)

func TestRecordsSurviveARestart(t *testing.T) {
	t.Parallel()
	cfg := devbroker.Config{DataDir: t.TempDir(), Topics: map[string]int{"orders": 3}}
	b, err := devbroker.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("one")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	b.Close()
	b.Close() // a second one does nothing

	if b, err = devbroker.Start(cfg); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cl, err = kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumeTopics("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	got := cl.PollFetches(t.Context()).Records()
	if len(got) != 1 || string(got[0].Value) != "one" {
		t.Fatalf("got %v", got)
	}
}

func TestATopicNeedsPartitions(t *testing.T) {
	t.Parallel()
	if _, err := devbroker.Start(devbroker.Config{Topics: map[string]int{"orders": 0}}); err == nil {
		t.Fatal("a topic without partitions was created")
	}
}
