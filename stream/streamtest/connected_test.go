package streamtest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// sale and price are numbered; which of them comes first is not defined, so
// that each must find the other whoever waits.
type (
	sale struct {
		N, Fruit, Millis int64
	}
	price struct{ Fruit, Cents int64 }
)

var priced = stream.SideTag("priced", "")

func randomSales(rng *rand.Rand, n int) []sale {
	out := make([]sale, n)
	for i := range out {
		out[i] = sale{int64(i), rng.Int64N(9), int64(i)*100 + rng.Int64N(500)}
	}
	return out
}

func somePrices(rng *rand.Rand) []price {
	var out []price
	for fruit := range int64(8) { // one fruit has none
		out = append(out, price{fruit, rng.Int64N(100)})
	}
	return out
}

func millisOf(s sale) int64 { return s.Millis }
func fruitOf(s sale) int64  { return s.Fruit }
func always(price) int64    { return 0 }

func sales(b *streamtest.Bench, all []sale) *stream.DataStream[sale] {
	half := len(all) / 2
	return streamtest.From(b, "sales",
		streamtest.Timed(millisOf, all[:half]...).WatermarkEach(500*time.Millisecond),
		streamtest.Timed(millisOf, all[half:]...).WatermarkEach(500*time.Millisecond))
}

// meeting joins both inputs in the state of a fruit; a timer tells, a second
// after the last sale in event time, how many there were.
type meeting struct {
	waiting state.List[sale]
	cents   state.Value[int64]
	last    state.Value[int64]
	count   state.Value[int64]
}

func (m *meeting) Open(ctx *stream.ProcessContext[int64, string]) error {
	if err := m.waiting.Open(ctx.State(), "waiting"); err != nil {
		return err
	}
	if err := m.cents.Open(ctx.State(), "cents"); err != nil {
		return err
	}
	if err := m.last.Open(ctx.State(), "last"); err != nil {
		return err
	}
	return m.count.Open(ctx.State(), "count")
}

func (m *meeting) ProcessFirst(ctx *stream.ProcessContext[int64, string], s sale) error {
	count, _ := m.count.Get()
	m.count.Set(count + 1)
	if last, ok := m.last.Get(); !ok || s.Millis > last {
		if ok {
			ctx.ClearTimer(time.UnixMilli(last + 1_000_000))
		}
		m.last.Set(s.Millis)
		ctx.SetTimer(time.UnixMilli(s.Millis + 1_000_000))
	}
	if cents, ok := m.cents.Get(); ok {
		stream.EmitSide(ctx, priced, tellSale(s, cents))
		return nil
	}
	m.waiting.Add(s)
	return nil
}

func (m *meeting) ProcessSecond(ctx *stream.ProcessContext[int64, string], p price) error {
	m.cents.Set(p.Cents)
	for s := range m.waiting.All() {
		stream.EmitSide(ctx, priced, tellSale(s, p.Cents))
	}
	m.waiting.Clear()
	return nil
}

func (m *meeting) OnTimer(ctx *stream.ProcessContext[int64, string], _ stream.Timer) error {
	n, _ := m.count.Get()
	ctx.Emit(fmt.Sprint(ctx.Key(), ": ", n, " sales"))
	return nil
}

func tellSale(s sale, cents int64) string { return fmt.Sprint(s.N, " costs ", cents) }

func ofFruits(all []sale) (counts []string) {
	n := make(map[int64]int)
	for _, s := range all {
		n[s.Fruit]++
	}
	for fruit, n := range n {
		counts = append(counts, fmt.Sprint(fruit, ": ", n, " sales"))
	}
	return counts
}

func ofPrices(all []sale, prices []price) (want []string) {
	for _, s := range all {
		for _, p := range prices {
			if p.Fruit == s.Fruit {
				want = append(want, tellSale(s, p.Cents))
			}
		}
	}
	return want
}

// TestConnectedManyWays runs two inputs that share the state of a key, with
// timers and a side output, and maps of both.
func TestConnectedManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	all, prices := randomSales(rng, 120), somePrices(rng)
	var mapped, flat []string
	for _, s := range all {
		mapped = append(mapped, fmt.Sprint("sale ", s.N))
		for range s.N % 3 {
			flat = append(flat, fmt.Sprint("sale ", s.N))
		}
	}
	for _, p := range prices {
		mapped = append(mapped, fmt.Sprint("price ", p.Cents))
		flat = append(flat, fmt.Sprint("price ", p.Cents))
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		in, to := sales(b, all), streamtest.From(b, "prices", streamtest.Timed(always, prices...))
		met := stream.CoProcess(stream.ConnectKeyed(stream.KeyBy(in, fruitOf), stream.KeyBy(to, func(p price) int64 { return p.Fruit })), &meeting{}, stream.UID("meeting"))
		streamtest.Expect(b, "counts", met, ofFruits(all))
		streamtest.Expect(b, "priced", stream.Side(met, priced), ofPrices(all, prices))
		both := stream.Connect(in, to)
		streamtest.Expect(b, "mapped", stream.CoMap(both,
			func(s sale) string { return fmt.Sprint("sale ", s.N) },
			func(p price) string { return fmt.Sprint("price ", p.Cents) }), mapped)
		streamtest.Expect(b, "flat", stream.CoFlatMap(both,
			func(s sale, emit func(string)) {
				for range s.N % 3 {
					emit(fmt.Sprint("sale ", s.N))
				}
			}, func(p price, emit func(string)) { emit(fmt.Sprint("price ", p.Cents)) }), flat)
	}})
}

// ruled keeps the sales of a fruit until the price of it comes to all.
type ruled struct {
	waiting state.List[sale]
	prices  stream.BroadcastMap[int64, int64]
}

func (r *ruled) Open(ctx *stream.ProcessContext[int64, string]) error {
	if err := r.waiting.Open(ctx.State(), "waiting"); err != nil {
		return err
	}
	return r.prices.Open(ctx, "prices")
}

func (r *ruled) Process(ctx *stream.ProcessContext[int64, string], s sale) error {
	if cents, ok := r.prices.Get(s.Fruit); ok {
		ctx.Emit(tellSale(s, cents))
		return nil
	}
	r.waiting.Add(s)
	return nil
}

func (r *ruled) ProcessBroadcast(ctx *stream.KeyedBroadcastContext[int64, string], p price) error {
	r.prices.Put(ctx, p.Fruit, p.Cents)
	return ctx.ForEachKey(&r.waiting, func(ctx *stream.ProcessContext[int64, string]) error {
		if ctx.Key() != p.Fruit {
			return nil
		}
		for s := range r.waiting.All() {
			ctx.Emit(tellSale(s, p.Cents))
		}
		r.waiting.Clear()
		return nil
	})
}

// ruledRows does the same without keys: what waits is dealt out at a rescale,
// and all are given every price, so each sale finds its own wherever it is.
type ruledRows struct {
	waiting stream.ListState[sale]
	prices  stream.BroadcastMap[int64, int64]
}

func (r *ruledRows) Open(ctx *stream.RowContext[string]) error {
	if err := r.waiting.Open(ctx, "waiting"); err != nil {
		return err
	}
	return r.prices.Open(ctx, "prices")
}

func (r *ruledRows) Process(ctx *stream.RowContext[string], s sale) error {
	if cents, ok := r.prices.Get(s.Fruit); ok {
		ctx.Emit(tellSale(s, cents))
		return nil
	}
	r.waiting.Add(s)
	return nil
}

func (r *ruledRows) ProcessBroadcast(ctx *stream.BroadcastContext[string], p price) error {
	r.prices.Put(ctx, p.Fruit, p.Cents)
	var left []sale
	for s := range r.waiting.All() {
		if s.Fruit == p.Fruit {
			ctx.Emit(tellSale(s, p.Cents))
		} else {
			left = append(left, s)
		}
	}
	r.waiting.Set(left)
	return nil
}

// TestBroadcastManyWays joins by rules that every subtask gets, with and
// without keys.
func TestBroadcastManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	all, prices := randomSales(rng, 120), somePrices(rng)
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		in, to := sales(b, all), streamtest.From(b, "prices", streamtest.Timed(always, prices...))
		want := ofPrices(all, prices)
		streamtest.Expect(b, "by key", stream.BroadcastProcess(stream.KeyBy(in, fruitOf), to, &ruled{}, stream.UID("ruled")), want)
		streamtest.Expect(b, "by row", stream.BroadcastProcessRows(in.Rebalance(), to, &ruledRows{}, stream.UID("ruled-rows")), want)
	}})
}

// pairing keeps the rows of two inputs until the end.
type pairing struct{ firsts, seconds stream.ListState[int64] }

func (p *pairing) Open(ctx *stream.RowContext[string]) error {
	if err := p.firsts.Open(ctx, "firsts"); err != nil {
		return err
	}
	return p.seconds.Open(ctx, "seconds")
}

func (p *pairing) ProcessFirst(_ *stream.RowContext[string], s sale) error {
	p.firsts.Add(s.N)
	return nil
}

func (p *pairing) ProcessSecond(_ *stream.RowContext[string], s price) error {
	p.seconds.Add(s.Cents)
	return nil
}

// Finish tells all that the subtask has.
func (p *pairing) Finish(ctx *stream.RowContext[string]) error {
	for v := range p.firsts.All() {
		ctx.Emit(fmt.Sprint("first ", v))
	}
	for v := range p.seconds.All() {
		ctx.Emit(fmt.Sprint("second ", v))
	}
	p.firsts.Clear()
	p.seconds.Clear()
	return nil
}

// TestListsManyWays gives back at the end what two inputs left in list state:
// nothing is lost or doubled by restores and rescales.
func TestListsManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	all, prices := randomSales(rng, 120), somePrices(rng)
	var want []string
	for _, s := range all {
		want = append(want, fmt.Sprint("first ", s.N))
	}
	for _, p := range prices {
		want = append(want, fmt.Sprint("second ", p.Cents))
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		both := stream.Connect(sales(b, all), streamtest.From(b, "prices", streamtest.Timed(always, prices...)))
		streamtest.Expect(b, "all", stream.CoProcessRows(both, &pairing{}, stream.UID("pairing")), want)
	}})
}

// TestTriggersManyWays counts by triggers that fire when they like: what they
// counted, without the rows of earlier results, is each row once.
func TestTriggersManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	all := randomSales(rand.New(rand.NewPCG(seed, 0)), 150)
	want := ofFruits(all)
	for name, trigger := range map[string]stream.TriggerSpec{
		"event time":            stream.OnEventTimeEvery(700 * time.Millisecond),
		"processing time":       stream.OnProcessingTime(),
		"processing time every": stream.OnProcessingTimeEvery(time.Second),
		"count":                 stream.OnCount(1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assigner := stream.Tumbling(3 * time.Second)
			switch name {
			case "processing time":
				assigner = stream.Tumbling(3*time.Second, stream.ByProcessingTime())
			case "processing time every": // the end of a window gives no result, the end of input does
				assigner = stream.GlobalWindows()
			}
			streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
				windows := stream.KeyBy(sales(b, all), fruitOf).Window(assigner, stream.Trigger(stream.Purging(trigger)))
				parts := stream.ProcessWindow(windows, func(fruit int64, _ stream.Window, rows []sale, emit func(sale)) {
					emit(sale{N: int64(len(rows)), Fruit: fruit})
				}, stream.UID("parts"))
				total := stream.ReduceWindow(stream.KeyBy(parts, fruitOf).Window(stream.GlobalWindows(), stream.Trigger(stream.OnEnd())),
					func(a, c sale) sale { return sale{N: a.N + c.N, Fruit: a.Fruit} }, stream.UID("total"))
				streamtest.Expect(b, "counts", stream.Map(total, func(s sale) string { return fmt.Sprint(s.Fruit, ": ", s.N, " sales") }), want)
			}})
		})
	}
}
