package cepop_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/cepop"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/state/memstate"
)

// payment is a row of about 64 bytes.
type payment struct {
	Card    string
	Cents   int64
	Place   int64
	Shop    int64
	Country int32
	Kind    int32
	Time    int64
}

// blackHole is an output that counts.
type blackHole struct {
	operators.Output
	rows int
}

func (o *blackHole) Emit(b *columnar.Batch) { o.rows += len(columnar.Rows[int64](b)) }
func (*blackHole) Ready() bool              { return true }
func (*blackHole) HasSide(string) bool      { return false }

const benchKeys = 100_000

func smallThenLarge() cepop.Pattern[payment] {
	return cepop.Pattern[payment]{Within: 60_000, Steps: []cepop.Step[payment]{
		{Name: "small", When: func(p *payment, _ cepop.Match[payment]) bool { return p.Cents < 500 }},
		{Name: "large", After: cepop.Relaxed, When: func(p *payment, _ cepop.Match[payment]) bool { return p.Cents > 95_000 }},
	}}
}

// BenchmarkTwoSteps finds a small payment followed by a large one within a
// minute on 100,000 cards that pay twice a minute: 0.5 % are small, 5 % large.
func BenchmarkTwoSteps(b *testing.B) {
	for _, byClock := range []bool{false, true} {
		b.Run(fmt.Sprintf("clock=%t", byClock), func(b *testing.B) { benchmarkTwoSteps(b, byClock) })
	}
}

func benchmarkTwoSteps(b *testing.B, byClock bool) {
	a, faults := cepop.Compile(smallThenLarge())
	if len(faults) > 0 {
		b.Fatal(faults)
	}
	card := func(p payment) string { return p.Card }
	f := &cepop.Factory[string, payment, int64]{Config: cepop.Config[string, payment, int64]{
		Key: card, Hasher: must(columnar.HasherOf(card)), KeyCodec: must(codec.Of[string]()), Rows: must(codec.Of[payment]()),
		Automaton: a, Processing: byClock,
		Select: func(m cepop.Match[payment], emit func(int64)) { emit(m.Last("large").Cents) },
	}}
	out := &blackHole{}
	o := f.New()
	now := clock.NewManual(time.UnixMilli(0))
	if err := o.Open(&operators.Context{
		State: memstate.New(dataflow.KeyGroupsOf(0, 128, 1), 128), Out: out, Clock: now, Metrics: operatortest.NewMetrics(),
		At: func(int64, func() error) func() { return func() {} },
	}); err != nil {
		b.Fatal(err)
	}
	cards := make([]string, benchKeys)
	for i := range cards {
		cards[i] = fmt.Sprintf("card-%08d", i)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	const batchRows, everyBatches, perSecond = 1000, 8, 2 * benchKeys / 60
	row, batches := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		// One iteration is a batch; ns/row is what counts.
		b.StopTimer()
		rows, times := make([]payment, batchRows), make([]int64, batchRows)
		for i := range rows {
			at := int64(row)*1000/perSecond - rng.Int64N(2000) + 10_000
			rows[i] = payment{Card: cards[rng.IntN(benchKeys)], Cents: rng.Int64N(100_000), Time: at}
			times[i] = at
			row++
		}
		b.StartTimer()
		if err := o.Process(0, columnar.NewBatch(rows, times)); err != nil {
			b.Fatal(err)
		}
		if batches++; batches%everyBatches == 0 && !byClock {
			if _, err := o.(operators.WatermarkHandler).Watermark(int64(row)*1000/perSecond + 8_000 - 1); err != nil {
				b.Fatal(err)
			}
		}
		if byClock {
			now.Advance(batchRows * time.Second / perSecond)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(row), "ns/row")
	b.ReportMetric(float64(row)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(out.rows)/float64(row), "matches/row")
}
