package rowop_test

import (
	"fmt"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/rowop"
	"github.com/leatstream/leat/state"
)

// adding keeps a sum and emits nothing.
type adding struct{ sum *state.Value[int64] }

func (a *adding) Open(ctx *rowop.Context[int64, int64]) (err error) {
	a.sum, err = state.NewValue[int64](ctx.State(), "sum")
	return err
}

func (a *adding) Process(_ *rowop.Context[int64, int64], v int64) error {
	n, _ := a.sum.Get()
	a.sum.Set(n + v)
	return nil
}

// BenchmarkProcess is what a row costs by each error policy: no row fails.
func BenchmarkProcess(b *testing.B) {
	for _, policy := range []operators.ErrorPolicy{operators.Fail, operators.SkipRecord} {
		b.Run(fmt.Sprintf("policy=%s", policy), func(b *testing.B) {
			key := func(v int64) int64 { return v % 1000 }
			cfg := rowop.ProcessConfig[int64, int64]{Key: key, Hasher: must(columnar.HasherOf(key)), KeyCodec: must(codec.Of[int64]())}
			h := operatortest.New(b, operatortest.Config{
				Factory: rowop.Process(cfg, func() rowop.Processor[int64, int64, int64] { return &adding{} }),
				Rows:    must(columnar.TypeOf[int64]()), Key: cfg.Hasher, OnError: policy,
			})
			rows := make([]int64, columnar.BatchRowsMax)
			for i := range rows {
				rows[i] = int64(i)
			}
			op := h.Subs[0].Operator
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if err := op.Process(0, columnar.NewBatch(rows, nil)); err != nil {
					b.Fatal(err)
				}
				n += len(rows)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
		})
	}
}
