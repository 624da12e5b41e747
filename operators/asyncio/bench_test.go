package asyncio_test

import (
	"context"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/asyncio"
	"github.com/leatstream/leat/operators/operatortest"
)

// BenchmarkImmediate measures what the operator adds to a function that
// answers at once, for each row.
func BenchmarkImmediate(b *testing.B) {
	ask := func(_ context.Context, v int) (int, error) { return v + 1, nil }
	put := func(out *operators.Collector[int], _ int, t int64, a *int) { out.Add(*a, t) }
	keys, err := codec.Of[int]()
	if err != nil {
		b.Fatal(err)
	}
	rows, err := columnar.TypeOf[int]()
	if err != nil {
		b.Fatal(err)
	}
	for name, change := range map[string]func(*asyncio.Config[int, int, int]){
		"ordered":   func(*asyncio.Config[int, int, int]) {},
		"unordered": func(c *asyncio.Config[int, int, int]) { c.Unordered = true },
		"cached": func(c *asyncio.Config[int, int, int]) {
			c.Cache = func() asyncio.Cache[int, int] {
				return asyncio.NewCache[int, int, int](func(v int) int { return v % 100 }, keys, 1<<50, 1000)
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			cfg := asyncio.Config[int, int, int]{Ask: ask, Emit: put}
			change(&cfg)
			h := operatortest.New(b, operatortest.Config{Factory: asyncio.New(cfg), Rows: rows})
			in := make([]int, 1000)
			for i := range in {
				in[i] = i
			}
			limit, _ := h.Subs[0].Operator.(operators.InputLimiter)
			b.ReportAllocs()
			for b.Loop() {
				h.FeedTo(0, columnar.NewBatch(in, nil))
				h.Await(limit.InputReady)
				h.Out = h.Out[:0]
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(in)), "ns/row")
		})
	}
}
