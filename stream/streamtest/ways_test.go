package streamtest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/stream/streamtest"
)

// randomOrders returns orders whose times are up to five minutes out of order.
func randomOrders(rng *rand.Rand, n int) []order {
	out := make([]order, n)
	for i := range out {
		out[i] = order{fmt.Sprint("c", rng.IntN(4)), rng.Int64N(100), minute(i + rng.IntN(6))}
	}
	return out
}

// reference computes what perHour must give, as simply as can be.
func reference(orders ...order) (want []string) {
	sums := make(map[string]int64)
	for _, o := range orders {
		sums[o.At.Truncate(time.Hour).Format("15:04")+" "+o.Customer] += o.Cents
	}
	for id, cents := range sums {
		want = append(want, fmt.Sprint(id, " ", cents))
	}
	return want
}

func TestRevenueManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	orders := randomOrders(rand.New(rand.NewPCG(seed, 0)), 200)
	at := func(o order) int64 { return o.At.UnixMilli() }
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "orders",
			streamtest.Timed(at, orders[:100]...).WatermarkEach(5*time.Minute),
			streamtest.Timed(at, orders[100:]...).WatermarkEach(5*time.Minute))
		streamtest.Expect(b, "out", perHour(in), reference(orders...))
	}})
}

// TestRevenueOfLateOrders tells which orders are late: InOrder makes it the
// same in every way.
func TestRevenueOfLateOrders(t *testing.T) {
	t.Parallel()
	streamtest.Check(t, streamtest.Case{Timing: streamtest.InOrder, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "orders", streamtest.
			At(1_000, order{"ann", 1, minute(0)}).
			Watermark(3_599_999).
			At(2_000, order{"ann", 2, minute(0)}))
		streamtest.Expect(b, "out", perHour(in), []string{"00:00 ann 1"})
	}})
}
