package window_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
)

func suppressing(t *testing.T, change func(*window.SuppressConfig[string, sale])) *operatortest.Harness {
	cfg := window.SuppressConfig[string, sale]{
		Key: keyOf, Hasher: must(columnar.HasherOf(keyOf)), KeyCodec: must(codec.Of[string]()),
		Rows: must(codec.Of[sale]()), Millis: 100,
	}
	change(&cfg)
	return harness(t, window.Suppress(cfg), 1, 0, 0)
}

func amounts(h *operatortest.Harness) (all []int64) {
	for _, s := range operatortest.Rows[sale](h, "") {
		all = append(all, s.Amount)
	}
	return all
}

// TestSuppressLimits goes along the time limit of an event-time buffer.
func TestSuppressLimits(t *testing.T) {
	t.Parallel()
	h := suppressing(t, func(*window.SuppressConfig[string, sale]) {})
	h.Feed(batch(sale{"a", 1, 10}, sale{"a", 2, 50}, sale{"b", 3, 60}))
	h.Watermark(109)
	if got := amounts(h); len(got) != 0 {
		t.Fatalf("%v came before the limit", got)
	}
	snap := h.Checkpoint(operators.Checkpoint{ID: 1})
	h.Restore(snap, 2)
	h.Feed(batch(sale{"a", 4, 109}))
	h.Watermark(110)
	if got := amounts(h); !slices.Equal(got, []int64{4}) {
		t.Fatalf("%v, want the last of a", got)
	}
	if at := operatortest.Times[sale](h, ""); at[0] != 110 {
		t.Errorf("the row has time %d, want that at which it was due", at[0])
	}
	h.End()
	if got := amounts(h); !slices.Equal(got, []int64{4, 3}) {
		t.Fatalf("%v at the end", got)
	}
}

// TestSuppressWhenFull has room for two rows.
func TestSuppressWhenFull(t *testing.T) {
	t.Parallel()
	h := suppressing(t, func(c *window.SuppressConfig[string, sale]) { c.RowsMax = 2 })
	h.Feed(batch(sale{"a", 1, 20}, sale{"b", 2, 10}, sale{"b", 3, 30}, sale{"c", 4, 40}))
	if got := amounts(h); !slices.Equal(got, []int64{3}) {
		t.Fatalf("%v went early, want the one that was due first", got)
	}
	if n := h.Subs[0].Metrics.Counter(window.MetricEarly).Value(); n != 1 {
		t.Errorf("%d were counted", n)
	}
	failing := suppressing(t, func(c *window.SuppressConfig[string, sale]) { c.RowsMax, c.Fail = 2, true })
	err := failing.Subs[0].Operator.Process(0, batch(sale{"a", 1, 20}, sale{"b", 2, 10}, sale{"c", 4, 40}))
	if err == nil || !strings.Contains(err.Error(), "3 rows are held back, at most 2") {
		t.Fatalf("error %v", err)
	}
}

// TestSuppressByTheClock lets rows go as the clock advances.
func TestSuppressByTheClock(t *testing.T) {
	t.Parallel()
	h := suppressing(t, func(c *window.SuppressConfig[string, sale]) { c.Clock = true })
	h.Feed(batch(sale{"a", 1, 20}))
	h.Advance(60 * time.Millisecond)
	h.Feed(batch(sale{"a", 2, 30}, sale{"b", 3, 30}))
	h.Advance(60 * time.Millisecond)
	if got := amounts(h); !slices.Equal(got, []int64{2}) {
		t.Fatalf("%v after 120 ms", got)
	}
	h.End()
	if got := amounts(h); !slices.Equal(got, []int64{2, 3}) {
		t.Fatalf("%v at the end", got)
	}
}
