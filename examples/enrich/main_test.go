package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/devbroker"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// runEnv makes the test's executable be the program itself.
const runEnv = "LEAT_TEST_RUN_ENRICH"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		os.Args = append(os.Args[:1], strings.Fields(os.Getenv(runEnv))...)
		main()
	}
	os.Exit(m.Run())
}

// TestEnrich pushes orders between changes of the customers.
func TestEnrich(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	enrich(env, streamtest.Source(Order{}), streamtest.Source(formats.Entry[Customer]{}), streamtest.Sink(Enriched{}))
	d := streamtest.NewDriver(t, env)
	orders, customers := streamtest.Input(d, "orders", Order{}), streamtest.Input(d, "customers", formats.Entry[Customer]{})
	out := streamtest.Output(d, "enriched", Enriched{})
	order := Order{ID: "1", Customer: "ann", Cents: 5, At: time.Unix(0, 0).UTC()}
	expect := func(want *Customer) {
		t.Helper()
		orders.Push(order)
		if got := out.Take(); !reflect.DeepEqual(got, []Enriched{{order, want}}) {
			t.Errorf("got %+v, want the customer %+v", got, want)
		}
	}
	expect(nil)
	ann := Customer{Name: "Ann", Country: "NO"}
	customers.Push(formats.Entry[Customer]{Key: "ann", Value: ann})
	expect(&ann)
	ann.Country = "IT"
	customers.Push(formats.Entry[Customer]{Key: "ann", Value: ann})
	d.Rescale(3)
	expect(&ann)
	customers.Push(formats.Entry[Customer]{Key: "ann", Deleted: true})
	expect(nil)
}

// TestOnKafka runs the program on a broker, with a tombstone. Which of the
// orders find their customer depends on the run; that each passes does not,
// nor that nobody finds one who is not in the topic.
func TestOnKafka(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{Topics: map[string]int{"t-orders": 2, "t-customers": 2, "t-orders.enriched": 1}})
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	const n = 200
	var recs []*kgo.Record
	for _, c := range []string{"CUST-00", "CUST-01"} {
		v, _ := json.Marshal(Customer{Name: c})
		recs = append(recs, &kgo.Record{Topic: "t-customers", Key: []byte(c), Value: v})
	}
	recs = append(recs, &kgo.Record{Topic: "t-customers", Key: []byte("CUST-01")})
	for i := range n {
		v, _ := json.Marshal(Order{Customer: []string{"CUST-00", "CUST-01", "CUST-02"}[i%3], Cents: int64(i), At: time.Unix(int64(i), 0).UTC()})
		recs = append(recs, &kgo.Record{Topic: "t-orders", Value: v})
	}
	if err := cl.ProduceSync(context.Background(), recs...).FirstErr(); err != nil {
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
	seen := make(map[int64]bool)
	for _, rec := range kafkatest.ReadSettled(t, b.Addrs(), "t-orders.enriched") {
		var e Enriched
		if err := json.Unmarshal(rec.Value, &e); err != nil {
			t.Fatal(err)
		}
		if seen[e.Order.Cents] {
			t.Errorf("order %d came twice", e.Order.Cents)
		}
		seen[e.Order.Cents] = true
		if e.Customer != nil && (e.Customer.Name != e.Order.Customer || e.Order.Customer == "CUST-02") {
			t.Errorf("%s found %+v", e.Order.Customer, e.Customer)
		}
	}
	if len(seen) != n {
		t.Errorf("%d orders passed, want %d", len(seen), n)
	}
}
