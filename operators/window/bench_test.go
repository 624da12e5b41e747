package window_test

import (
	"fmt"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/window"
)

// order has the size of a real record.
type order struct {
	ID, Customer string
	Amount       int64
	Region       string
	Time         int64
}

// BenchmarkAggregate measures a row's share of a batch: few keys in one
// window, as in a roll-up, and as many keys as rows.
func BenchmarkAggregate(b *testing.B) {
	for _, n := range []int{6, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) { benchmarkAggregate(b, n) })
	}
}

func benchmarkAggregate(b *testing.B, keys int) {
	region := func(o order) string { return o.Region }
	f := window.Aggregate(window.Config[string, order, row]{
		Windows: window.Tumbling{Size: 300_000}, Lateness: 60_000, Key: region,
		Hasher: must(columnar.HasherOf(region)), KeyCodec: must(codec.Of[string]()),
	}, must(codec.Of[total]()),
		func(a *total, o order) { a.Count++; a.Sum += o.Amount },
		func(k string, w window.Window, a *total) row {
			return row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum}
		})
	op := open(b, f)
	orders, times := make([]order, keys/columnar.BatchRowsMax*columnar.BatchRowsMax+columnar.BatchRowsMax), make([]int64, 0)
	for i := range orders {
		orders[i] = order{"ORD-00000017", "CUST-00042", int64(i), fmt.Sprintf("REGION-%d", i*7919%keys), int64(i)}
		times = append(times, int64(i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	rows := 0
	for b.Loop() {
		at := rows % len(orders)
		batch := columnar.NewBatch(orders[at:at+columnar.BatchRowsMax], times[at:at+columnar.BatchRowsMax])
		if err := op.Process(0, batch); err != nil {
			b.Fatal(err)
		}
		rows += columnar.BatchRowsMax
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
}

func open(b *testing.B, f operators.Factory) operators.Operator {
	h := harness(b, f, 1, 0, 0)
	return h.Subs[0].Operator
}
