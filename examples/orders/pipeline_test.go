package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/operators/rowop"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

type collected struct {
	revenue  *collection.Collector[Revenue]
	late     *collection.Collector[Order]
	rejected *collection.Collector[Rejected]
}

func job(orders connectors.SourceOf[Order]) (*stream.Env, collected) {
	c := collected{collection.NewCollector(Revenue{}), collection.NewCollector(Order{}), collection.NewCollector(Rejected{})}
	env := stream.NewEnv()
	Build(env, orders, Sinks{Revenue: c.revenue, Late: c.late, Rejected: c.rejected})
	return env, c
}

// TestRevenue runs the job with crashes and compares with sums over the same
// orders, made without it.
func TestRevenue(t *testing.T) {
	t.Parallel()
	all := make([][]Order, generatedSplits)
	for i := range int64(60_000) {
		o := makeOrder(i, rand.New(rand.NewPCG(1, uint64(i))))
		all[i%generatedSplits] = append(all[i%generatedSplits], o)
	}
	env, out := job(collection.Partitions(all...).BatchRows(500))
	fig, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 3, 1}, CheckpointEvery: 3, CrashEvery: 7})
	if err != nil {
		t.Fatal(err)
	}
	if fig.Crashes == 0 {
		t.Fatal("the job was not disturbed")
	}
	isLate := make(map[string]bool)
	for _, o := range out.late.Rows() {
		isLate[o.ID] = true
	}
	if len(isLate) == 0 {
		t.Fatal("no order was late")
	}
	want := make(map[string]Revenue)
	for _, o := range slices.Concat(all...) {
		if o.Amount <= 0 || isLate[o.ID] {
			continue
		}
		start := o.Time - o.Time%windowSize.Milliseconds()
		id := fmt.Sprintf("%s|%d", o.Region, start)
		r := want[id]
		want[id] = Revenue{o.Region, start, start + windowSize.Milliseconds(), r.Orders + 1, r.Revenue + o.Amount}
	}
	got := make(map[string]Revenue)
	for _, r := range out.revenue.Rows() {
		got[fmt.Sprintf("%s|%d", r.Region, r.Start)] = r
	}
	if !maps.Equal(got, want) {
		t.Fatalf("revenue\n got %v\nwant %v", got, want)
	}
}

// TestCountsInvalidAmounts checks that dropped orders are counted.
func TestCountsInvalidAmounts(t *testing.T) {
	t.Parallel()
	env, out := job(collection.Slice(
		Order{ID: "1", Amount: 100, Region: "A", Time: 1}, Order{ID: "2", Amount: 0, Region: "A", Time: 2},
		Order{ID: "3", Amount: -5, Region: "A", Time: 3}))
	fig, err := streamtest.Run(t.Context(), env, streamtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := fig.Counters["valid-amount/"+rowop.MetricFiltered]; n != 2 {
		t.Errorf("%d orders were counted as invalid, want 2", n)
	}
	if got := out.revenue.Rows(); len(got) != 1 || got[0].Orders != 1 || got[0].Revenue != 100 {
		t.Errorf("revenue %+v, want one order of 100 cents", got)
	}
}

// TestFormats fixes the JSON that is read and written.
func TestFormats(t *testing.T) {
	t.Parallel()
	const text = `{"order_id":"ORD-00000017","customer_id":"CUST-00042","amount":149.50,"region":"US-EAST","ts":"2026-01-01T00:00:00.017Z"}`
	dec, err := jsonfmt.NewDecoder(Order{})
	if err != nil {
		t.Fatal(err)
	}
	var o Order
	var arena codec.Arena
	if err := dec.Decode(&formats.Record{Value: []byte(text)}, &o, &arena); err != nil {
		t.Fatal(err)
	}
	if want := (Order{"ORD-00000017", "CUST-00042", 14950, "US-EAST", generatedStart + 17}); o != want {
		t.Fatalf("order %+v, want %+v", o, want)
	}
	enc, err := revenueEncoder()
	if err != nil {
		t.Fatal(err)
	}
	var out formats.Out
	r := Revenue{"US-EAST", generatedStart, generatedStart + 300_000, 2, 14951}
	if err := enc.Encode(&r, &out); err != nil {
		t.Fatal(err)
	}
	if got, want := string(out.Key), "US-EAST|2026-01-01T00:00:00.000Z"; got != want {
		t.Errorf("key %q, want %q", got, want)
	}
	want := `{"region":"US-EAST","window_start":"2026-01-01T00:00:00.000Z","window_end":"2026-01-01T00:05:00.000Z","orders":2,"revenue":149.51}`
	if got := string(out.Value); got != want {
		t.Errorf("value\n got %s\nwant %s", got, want)
	}
}

// TestRejected checks that a value that is no text survives.
func TestRejected(t *testing.T) {
	t.Parallel()
	r := rejectedOf(connectors.DeadLetter{Error: "bad", Topic: "orders", Partition: 2, Offset: 7, Value: []byte{0xff, 0}})
	if r.Value != "" || r.ValueBase64 != "/wA=" || r.Partition != 2 || r.Offset != 7 {
		t.Errorf("rejected %+v", r)
	}
	if r := rejectedOf(connectors.DeadLetter{Value: []byte("{oops")}); r.Value != "{oops" || r.ValueBase64 != "" {
		t.Errorf("rejected %+v", r)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	f, err := parse([]string{"--brokers", "a:1,b:2", "--topics", "x-", "--bounded"})
	if err != nil || strings.Join(f.brokers, " ") != "a:1 b:2" || f.topics != "x-" || !f.bounded {
		t.Errorf("flags %+v, error %v", f, err)
	}
	if _, err := parse([]string{"orders"}); err == nil {
		t.Error("an argument that is no flag was taken")
	}
}
