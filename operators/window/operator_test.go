package window_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
)

// TestLateRecords goes along the three borders of a window of 0 to 100 with a
// lateness of 50: on time, late but allowed, too late.
func TestLateRecords(t *testing.T) {
	t.Parallel()
	h := harness(t, aggregated(window.Tumbling{Size: 100}, 50), 1, 0, 0)
	feed := func(amount int64) { h.Feed(batch(sale{"k", amount, 99})) }
	sums := func() []int64 {
		var out []int64
		for _, r := range operatortest.Rows[row](h, "") {
			out = append(out, r.Sum)
		}
		return out
	}
	feed(1)
	h.Watermark(98)
	feed(2) // the last instant of the window is still to come
	if len(sums()) != 0 {
		t.Fatalf("fired %v before the watermark", sums())
	}
	h.Watermark(99)
	feed(4)
	h.Watermark(148)
	feed(8)
	if got := sums(); !slices.Equal(got, []int64{3, 7, 15}) {
		t.Fatalf("sums %v, want 3 on time, then 7 and 15", got)
	}
	h.Watermark(149)
	feed(16)
	if got := sums(); len(got) != 3 {
		t.Fatalf("sums %v after the window was over", got)
	}
	if late := operatortest.Rows[sale](h, dataflow.SideLate); len(late) != 1 || late[0].Amount != 16 {
		t.Fatalf("late records %v", late)
	}
	if n := h.Subs[0].Metrics.Counter(window.MetricLate).Value(); n != 1 {
		t.Errorf("%d late records were counted", n)
	}
	for i, at := range operatortest.Times[row](h, "") {
		if at != 99 {
			t.Errorf("result %d has time %d, want the last instant of its window", i, at)
		}
	}
}

// TestFiringIsResumable fires a window of many keys with little room
// downstream: each result comes once, and batches are bounded.
func TestFiringIsResumable(t *testing.T) {
	t.Parallel()
	const n = 300_000 // more than the results that may wait at once
	h := harness(t, aggregated(window.Tumbling{Size: 100}, 0), 1, 4096, 2)
	sales := make([]sale, n)
	for i := range sales {
		sales[i] = sale{Key: string([]byte{'k', byte(i), byte(i >> 8), byte(i >> 16)}), Amount: int64(i), Time: 7}
	}
	h.Feed(batch(sales...))
	op := h.Subs[0].Operator.(operators.WatermarkHandler)
	calls := 0
	for done := false; !done; calls++ {
		var err error
		if done, err = op.Watermark(100); err != nil {
			t.Fatal(err)
		}
	}
	if calls < 10 {
		t.Errorf("firing took %d calls: it did not wait for room", calls)
	}
	seen := make([]bool, n)
	for _, e := range h.Out {
		rows := columnar.Rows[row](e.Batch)
		if len(rows) > columnar.BatchRowsMax {
			t.Fatalf("a batch has %d rows", len(rows))
		}
		for _, r := range rows {
			if seen[r.Sum] {
				t.Fatalf("key %q came twice", r.Key)
			}
			seen[r.Sum] = true
		}
	}
	if slices.Contains(seen, false) {
		t.Fatal("a key did not come")
	}
	if n := entries(h.Subs[0], "window-aggregates"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// TestFloatKeys has keys that Go's equality does not find again: NaN is one
// key, and so are both zeros.
func TestFloatKeys(t *testing.T) {
	t.Parallel()
	type reading struct{ Sensor float64 }
	type count struct{ N int64 }
	key := func(r reading) float64 { return r.Sensor }
	f := window.Aggregate(window.Config[float64, reading, int64]{
		Windows: window.Tumbling{Size: 10}, Key: key,
		Hasher: must(columnar.HasherOf(key)), KeyCodec: must(codec.Of[float64]()),
	}, window.Fold[reading, count]{Codec: must(codec.Of[count]()), Add: func(c *count, _ reading) { c.N++ }},
		func(_ float64, _ window.Window, c *count) int64 { return c.N })
	h := operatortest.New(t, operatortest.Config{Factory: f, Rows: must(columnar.TypeOf[reading]()), Key: must(columnar.HasherOf(key))})
	nan, negative := math.NaN(), math.Copysign(0, -1)
	in := []reading{{nan}, {0}, {nan}, {negative}, {nan}}
	h.Feed(columnar.NewBatch(slices.Clone(in), make([]int64, 5)))
	h.Feed(columnar.NewBatch(slices.Clone(in), make([]int64, 5)))
	h.End()
	got := operatortest.Rows[int64](h, "")
	slices.Sort(got)
	if !slices.Equal(got, []int64{4, 6}) {
		t.Fatalf("counts %v, want 4 of zero and 6 of NaN", got)
	}
}

func TestRecordsWithoutTimeAreRefused(t *testing.T) {
	t.Parallel()
	h := harness(t, aggregated(window.Tumbling{Size: 10}, 0), 1, 0, 0)
	op := h.Subs[0].Operator
	for _, b := range []*columnar.Batch{
		columnar.NewBatch([]sale{{Key: "a"}}, nil),
		columnar.NewBatch([]sale{{Key: "a"}, {Key: "b"}}, []int64{5, dataflow.TimeNone}),
	} {
		err := op.Process(0, b)
		if err == nil || !strings.Contains(err.Error(), "without event time") {
			t.Fatalf("error %v", err)
		}
	}
	if got := op.(operators.Positioner).Position(); got != "key b, event time none" {
		t.Errorf("position %q", got)
	}
}

// TestSteadyBatchesDoNotAllocate checks the path of a record.
func TestSteadyBatchesDoNotAllocate(t *testing.T) {
	h := harness(t, aggregated(window.Tumbling{Size: 1000}, 0), 1, 0, 0)
	var sales []sale
	for i := range 500 {
		sales = append(sales, sale{keys()[i%9], int64(i), int64(i)})
	}
	b := batch(sales...)
	op := h.Subs[0].Operator
	n := testing.AllocsPerRun(50, func() {
		if err := op.Process(0, b); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("a batch of 500 records took %v allocations, want none", n)
	}
}
