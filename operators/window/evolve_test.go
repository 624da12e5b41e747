package window_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// saleV1 and totalV1 are the types of an older program.
type saleV1 struct {
	Amount int32
	Gone   string
	Name   string `json:"Key"`
}

type totalV1 struct {
	Gone  []string
	Sum   int32
	Count uint16
}

func keyOfV1(s saleV1) string { return s.Name }

// snapshotV1 is state of the older program, which keeps accumulators or rows.
func snapshotV1(t *testing.T, rows bool) *operatortest.Snapshot {
	t.Helper()
	cfg := window.Config[string, saleV1, row]{
		Windows: window.Tumbling{Size: 100}, Key: keyOfV1, Hasher: must(columnar.HasherOf(keyOfV1)), KeyCodec: must(codec.Of[string]()),
	}
	f := window.Aggregate(cfg, window.Fold[saleV1, totalV1]{
		Codec: must(codec.Of[totalV1]()), Add: func(a *totalV1, s saleV1) { a.Count++; a.Sum += s.Amount; a.Gone = append(a.Gone, s.Gone) },
	}, func(string, window.Window, *totalV1) row { return row{} })
	if rows {
		f = window.Process(cfg, must(codec.Of[saleV1]()), func(string, window.Window, []saleV1, func(row)) {})
	}
	h := operatortest.New(t, operatortest.Config{
		Factory: f, Rows: must(columnar.TypeOf[saleV1]()), Key: cfg.Hasher, Parallelism: 2, MaxParallelism: maxParallelism,
	})
	h.Feed(columnar.NewBatch([]saleV1{{5, "x", "a"}, {-7, "", "a"}, {3, "y", "b"}}, []int64{10, 20, 110}))
	return h.Checkpoint(operators.Checkpoint{ID: 1})
}

func TestWindowsOfAnOlderTypeAreRead(t *testing.T) {
	t.Parallel()
	for _, rows := range []bool{false, true} {
		f := aggregated(window.Tumbling{Size: 100}, 0)
		if rows {
			f = processed(window.Tumbling{Size: 100}, 0)
		}
		h := harness(t, f, 1, 3, 0)
		h.Restore(snapshotV1(t, rows), 3)
		h.Feed(batch(sale{Key: "a", Amount: 1 << 40, Time: 30}))
		h.Watermark(500)
		got := operatortest.Rows[row](h, "")
		slices.SortFunc(got, func(a, b row) int { return strings.Compare(a.Key, b.Key) })
		want := []row{{"a", 0, 100, 3, 1<<40 - 2}, {"b", 100, 200, 1, 3}}
		if !slices.Equal(got, want) {
			t.Errorf("rows %t: %v, want %v", rows, got, want)
		}
	}
}

func TestWindowsThatCannotBeReadSayWhy(t *testing.T) {
	t.Parallel()
	type narrow struct{ Sum int16 }
	f := window.Aggregate(config(window.Tumbling{Size: 100}, 0), window.Fold[sale, narrow]{
		Codec: must(codec.Of[narrow]()), Add: func(*narrow, sale) {},
	}, func(string, window.Window, *narrow) row { return row{} })
	snap := snapshotV1(t, false)
	b := memstate.New(dataflow.KeyGroupsOf(0, maxParallelism, 1), maxParallelism)
	for _, k := range snap.Keyed {
		if err := b.Restore(strings.NewReader(string(k)), state.RestorePart{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx := &operators.Context{State: b, Metrics: operatortest.NewMetrics()}
	err := f.New().Open(ctx)
	if err == nil || !strings.Contains(err.Error(), "narrow.Sum: int32 cannot be read as int16") || !strings.Contains(err.Error(), "window-aggregates") {
		t.Errorf("error %v", err)
	}
}
