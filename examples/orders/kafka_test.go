package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
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
const runEnv = "LEAT_TEST_RUN_ORDERS"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		os.Args = append(os.Args[:1], strings.Fields(os.Getenv(runEnv))...)
		main()
	}
	os.Exit(m.Run())
}

// TestOnKafka runs the program on a broker: each order is in a result, late,
// rejected, or dropped for its amount, and in one of them only.
func TestOnKafka(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{Topics: map[string]int{
		"t-orders": 3, "t-revenue": 2, "t-orders.late": 1, "t-orders.dlq": 1,
	}})
	const n = 20_000
	valid := produceOrders(t, b.Addrs(), n)

	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), runEnv+"=--local --bounded --topics t- --brokers "+strings.Join(b.Addrs(), ","))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	late := kafkatest.ReadSettled(t, b.Addrs(), "t-orders.late")
	orders := int64(0)
	last := make(map[string]Revenue)
	dec, err := jsonfmt.NewDecoder(Revenue{})
	if err != nil {
		t.Fatal(err)
	}
	var arena codec.Arena
	for _, rec := range kafkatest.ReadSettled(t, b.Addrs(), "t-revenue") {
		var r Revenue
		if err := dec.DecodeBytes(rec.Value, &r, &arena); err != nil {
			t.Fatal(err)
		}
		last[string(rec.Key)] = r
	}
	for _, r := range last {
		orders += r.Orders
	}
	if orders == 0 || orders+int64(len(late)) != valid {
		t.Errorf("%d orders are in results and %d late, want %d together", orders, len(late), valid)
	}
	checkRejected(t, b.Addrs())
}

// produceOrders writes n orders and two records that are none, and returns
// the number of orders with a valid amount.
func produceOrders(t *testing.T, brokers []string, n int64) (valid int64) {
	t.Helper()
	var recs []*kgo.Record
	enc, err := jsonfmt.NewEncoder(Order{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		o := makeOrder(i, rand.New(rand.NewPCG(3, uint64(i))))
		if o.Amount > 0 {
			valid++
		}
		var out formats.Out
		if err := enc.Encode(&o, &out); err != nil {
			t.Fatal(err)
		}
		recs = append(recs, &kgo.Record{Topic: "t-orders", Partition: int32(i % 3), Value: out.Value})
	}
	recs = append(recs, &kgo.Record{Topic: "t-orders", Partition: 1, Value: []byte(`{"order_id":`)},
		&kgo.Record{Topic: "t-orders", Partition: 2, Value: []byte{0xff, 0xfe}})
	if err := kafkatest.Client(t, brokers).ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return valid
}

func checkRejected(t *testing.T, brokers []string) {
	t.Helper()
	places := make(map[string]string)
	for _, rec := range kafkatest.ReadSettled(t, brokers, "t-orders.dlq") {
		var r Rejected
		if err := json.Unmarshal(rec.Value, &r); err != nil {
			t.Fatal(err)
		}
		if r.Error == "" {
			t.Errorf("rejected without an error: %s", rec.Value)
		}
		places[fmt.Sprintf("%s-%d@%d", r.Topic, r.Partition, r.Offset)] = r.Value + r.ValueBase64
	}
	if len(places) != 2 || places["t-orders-1@6667"] != `{"order_id":` || places["t-orders-2@6666"] != "//4=" {
		t.Errorf("rejected %v", places)
	}
}
