package window_test

import (
	"fmt"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/window"
)

// BenchmarkRolling gives rows of 1000 keys to rolling windows, with a
// watermark a second behind each batch; rows is how many of a key are in one
// window.
func BenchmarkRolling(b *testing.B) {
	for _, rows := range []int64{10, 100, 1000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) { benchmarkRolling(b, rows) })
	}
}

func benchmarkRolling(b *testing.B, inWindow int64) {
	const keys, apart = 1000, 10 // of a key a row every 10 s
	customer := func(o order) string { return o.Customer }
	op := open(b, window.Rolling(window.RollingConfig[string, order, row]{
		Span: inWindow * apart * 1000, Key: customer,
		Hasher: must(columnar.HasherOf(customer)), KeyCodec: must(codec.Of[string]()),
	}, window.Fold[order, total]{
		Codec: must(codec.Of[total]()), Add: func(a *total, o order) { a.Count++; a.Sum += o.Amount },
		Merge: func(into, from *total) { into.Count += from.Count; into.Sum += from.Sum },
	}, func(k string, w window.Window, a *total, emit func(row)) {
		emit(row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum})
	}))
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("CUST-%05d", i)
	}
	next := int64(0)
	feed := func() {
		orders, times := make([]order, columnar.BatchRowsMax), make([]int64, columnar.BatchRowsMax)
		for i := range orders {
			orders[i] = order{"ORD-00000017", names[next%keys], next, "REGION", next}
			times[i] = next * apart * 1000 / keys
			next++
		}
		if err := op.Process(0, columnar.NewBatch(orders, times)); err != nil {
			b.Fatal(err)
		}
		if _, err := op.(operators.WatermarkHandler).Watermark(times[len(times)-1] - 1000); err != nil {
			b.Fatal(err)
		}
	}
	for next < keys*inWindow*2 { // until rows leave as others come
		feed()
	}
	from := next
	b.ReportAllocs()
	for b.Loop() {
		feed()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(next-from), "ns/row")
}
