package window_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
)

// closing is the operator of windows kept one by one that fire at their close.
func closing(a window.Assigner[sale], lateness int64, rows, merging bool) operators.Factory {
	cfg := window.SingleConfig[string, sale, total, row]{
		Key: keyOf, Hasher: must(columnar.HasherOf(keyOf)), KeyCodec: must(codec.Of[string]()),
		Assigner: a, Lateness: lateness, Delay: lateness, Merging: merging,
		Trigger:  window.AnyRow[sale](window.ByClose{Lateness: lateness}),
		Fold:     foldTotal(),
		Function: func() window.Function[string, total, row] { return emitTotal{} },
	}
	if rows {
		cfg.Rows = must(codec.Of[sale]())
	}
	return window.Single(cfg)
}

// checked is a reference.
type checked interface {
	feed(s sale)
	watermark(key string, wm int64)
	check(t *testing.T, h *operatortest.Harness)
}

// TestClosingAgainstReference: a window that fires at its close, lateness
// after its end, has the results of one without lateness whose watermark comes
// so much later: each once, with the rows that were late in time.
func TestClosingAgainstReference(t *testing.T) {
	t.Parallel()
	hopping := window.Sliding{Size: 50, Slide: 20}
	none := func() map[string]int64 { return make(map[string]int64) }
	for name, c := range map[string]struct {
		operator func(lateness int64) operators.Factory
		ref      func() checked
	}{
		"hopping": {
			func(l int64) operators.Factory {
				return closing(window.Aligned[sale](window.Tumbling{}, hopping), l, false, false)
			},
			func() checked { return newReference(sliding(hopping), 0) },
		},
		"sessions": {
			func(l int64) operators.Factory {
				return closing(window.Sessions(func(sale) int64 { return 9 }), l, true, true)
			},
			func() checked {
				return &closedSessions{sessions{gap: 9, fired: none(), open: make(map[string][]row), shown: make(map[row]bool)}}
			},
		},
		"rolling": {
			func(l int64) operators.Factory {
				return rolled(window.RollingConfig[string, sale, row]{Span: 15, Lateness: l, Once: true})
			},
			func() checked { return &rollingRef{span: 15, fired: none(), rows: make(map[string][]sale)} },
		},
	} {
		for _, batchRows := range []int{1, 3, 1024} {
			for seed := range uint64(10) {
				t.Run(fmt.Sprintf("%s/batch=%d/seed=%d", name, batchRows, seed), func(t *testing.T) {
					t.Parallel()
					rng := rand.New(rand.NewPCG(seed, 6))
					lateness := []int64{0, 20, 130}[rng.IntN(3)]
					// Results are so much behind the watermark.
					if d := c.operator(lateness).New().(operators.WatermarkDelayer).WatermarkDelay(); d != lateness {
						t.Errorf("watermarks are delayed by %d, want %d", d, lateness)
					}
					randomClosing(t, rng, c.operator(lateness), lateness, c.ref(), batchRows)
				})
			}
		}
	}
}

// closedSessions is sessions without late results.
type closedSessions struct{ sessions }

func (r *closedSessions) feed(s sale) { r.sessions.feed(s, true) }

func (r *closedSessions) check(t *testing.T, h *operatortest.Harness) {
	t.Helper()
	got := make(map[row]bool)
	for _, o := range operatortest.Rows[row](h, "") {
		if got[o] || !r.shown[o] {
			t.Fatalf("result %v is wrong or came twice", o)
		}
		got[o] = true
	}
	if len(got) != len(r.shown) {
		t.Fatalf("%d results, want %d", len(got), len(r.shown))
	}
}

func randomClosing(t *testing.T, rng *rand.Rand, f operators.Factory, lateness int64, ref checked, batchRows int) {
	all := keys()
	parallelism := []int{1, 2, 7}[rng.IntN(3)]
	h := harness(t, f, parallelism, batchRows, 2+rng.IntN(4))
	now := int64(-400)
	wm := int64(dataflow.TimeMin)
	for step := range 80 {
		switch rng.IntN(10) {
		case 0:
			snap := h.Checkpoint(operators.Checkpoint{ID: dataflow.CheckpointID(step + 1)})
			h.Restore(snap, []int{1, 2, 7}[rng.IntN(3)])
		case 1, 2, 3:
			now += rng.Int64N(40)
			wm = max(wm, now-rng.Int64N(30))
			h.Watermark(wm)
			for _, k := range all {
				ref.watermark(k, wm-lateness)
			}
		default:
			for range 1 + rng.IntN(8) {
				s := sale{Key: all[rng.IntN(len(all))], Amount: int64(rng.IntN(1000)), Time: now + rng.Int64N(120) - 100}
				ref.feed(s)
				h.Feed(batch(s))
			}
		}
		if step%8 == 7 {
			ref.check(t, h)
		}
	}
	h.End()
	for _, k := range all {
		ref.watermark(k, dataflow.TimeMax)
	}
	ref.check(t, h)
}
