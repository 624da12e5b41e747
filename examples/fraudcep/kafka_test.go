package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/internal/devbroker"
)

// runEnv makes the test's executable be the program itself.
const runEnv = "LEAT_TEST_RUN_FRAUDCEP"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		os.Args = append(os.Args[:1], strings.Fields(os.Getenv(runEnv))...)
		main()
	}
	os.Exit(m.Run())
}

// TestOnKafka runs the program on a broker and compares with the loops.
func TestOnKafka(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{Topics: map[string]int{
		"t-transactions": generatedSplits, "t-fraud-alerts": 1, "t-transactions.late": 1,
	}})
	all := payments(60_000, 2)
	enc, err := jsonfmt.NewEncoder(Payment{})
	if err != nil {
		t.Fatal(err)
	}
	var recs []*kgo.Record
	for partition, list := range all {
		for i := range list {
			var out formats.Out
			if err := enc.Encode(&list[i], &out); err != nil {
				t.Fatal(err)
			}
			recs = append(recs, &kgo.Record{Topic: "t-transactions", Partition: int32(partition), Value: out.Value})
		}
	}
	if err := kafkatest.Client(t, b.Addrs()).ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), runEnv+"=--local --bounded --topics t- --brokers "+strings.Join(b.Addrs(), ","))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// None is late: no partition is more out of order than the job allows.
	if late := kafkatest.ReadSettled(t, b.Addrs(), "t-transactions.late"); len(late) > 0 {
		t.Errorf("%d payments are late", len(late))
	}
	dec, err := jsonfmt.NewDecoder(Alert{})
	if err != nil {
		t.Fatal(err)
	}
	var alerts []Alert
	var arena codec.Arena
	for _, rec := range kafkatest.ReadSettled(t, b.Addrs(), "t-fraud-alerts") {
		var a Alert
		if err := dec.DecodeBytes(rec.Value, &a, &arena); err != nil {
			t.Fatal(err)
		}
		alerts = append(alerts, a)
	}
	compareAlerts(t, alerts, alertsOf(slices.Concat(all...)))
}
