package window_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
)

// sessions is the reference: a list of sessions for each key.
type sessions struct {
	gap, lateness int64
	fired         map[string]int64
	open          map[string][]row
	shown         map[row]bool // all results, in the order of nothing
	late          []sale
}

func (r *sessions) seen(key string) int64 {
	if wm, ok := r.fired[key]; ok {
		return wm
	}
	return dataflow.TimeMin
}

func (r *sessions) feed(s sale, show bool) {
	merged := row{s.Key, s.Time, s.Time + r.gap, 1, s.Amount}
	var rest []row
	for _, o := range r.open[s.Key] {
		if o.Start <= s.Time+r.gap && s.Time <= o.End {
			merged.Start, merged.End = min(merged.Start, o.Start), max(merged.End, o.End)
			merged.Count += o.Count
			merged.Sum += o.Sum
		} else {
			rest = append(rest, o)
		}
	}
	if merged.End-1+r.lateness <= r.seen(s.Key) {
		r.late = append(r.late, s)
		return
	}
	r.open[s.Key] = append(rest, merged)
	if show && merged.End-1 <= r.seen(s.Key) {
		r.shown[merged] = true
	}
}

func (r *sessions) watermark(key string, wm int64) {
	before := r.seen(key)
	if wm <= before {
		return
	}
	r.fired[key] = wm
	r.open[key] = slices.DeleteFunc(r.open[key], func(o row) bool {
		if o.End-1 > before && o.End-1 <= wm {
			r.shown[o] = true
		}
		return dataflow.AddTime(o.End-1, r.lateness) <= wm
	})
}

func TestSessionsAgainstReference(t *testing.T) {
	t.Parallel()
	ways := map[string]func(gap, lateness int64) operators.Factory{
		"sessions": func(gap, lateness int64) operators.Factory {
			return window.AggregateSessions(window.SessionConfig[string, sale, row]{
				Gap: func(sale) int64 { return gap }, Lateness: lateness, Key: keyOf,
				Hasher: must(columnar.HasherOf(keyOf)), KeyCodec: must(codec.Of[string]()),
			}, foldTotal(), func(k string, w window.Window, a *total) row {
				return row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum}
			})
		},
		"single": func(gap, lateness int64) operators.Factory {
			return one(window.Sessions(func(sale) int64 { return gap }), lateness, false, true)
		},
		"single rows": func(gap, lateness int64) operators.Factory {
			return one(window.Sessions(func(sale) int64 { return gap }), lateness, true, true)
		},
	}
	for name, way := range ways {
		for _, batchRows := range []int{1, 3, 1024} {
			for seed := range uint64(25) {
				t.Run(fmt.Sprintf("%s/batch=%d/seed=%d", name, batchRows, seed), func(t *testing.T) {
					t.Parallel()
					randomSessions(t, way, batchRows, seed)
				})
			}
		}
	}
}

func randomSessions(t *testing.T, way func(gap, lateness int64) operators.Factory, batchRows int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	ref := &sessions{
		gap: []int64{1, 7, 25}[rng.IntN(3)], lateness: []int64{0, 20, 130}[rng.IntN(3)],
		fired: make(map[string]int64), open: make(map[string][]row), shown: make(map[row]bool),
	}
	all := keys()
	parallelism := []int{1, 2, 7}[rng.IntN(3)]
	h := harness(t, way(ref.gap, ref.lateness), parallelism, batchRows, 2+rng.IntN(4))
	owner := func(key string) int {
		return dataflow.SubtaskOf(dataflow.KeyGroupOf(codec.HashKey([]byte(key)), maxParallelism), maxParallelism, parallelism)
	}
	now := int64(-400)
	for step := range 120 {
		switch rng.IntN(10) {
		case 0:
			snap := h.Checkpoint(operators.Checkpoint{ID: dataflow.CheckpointID(step + 1)})
			parallelism = []int{1, 2, 7}[rng.IntN(3)]
			h.Restore(snap, parallelism)
		case 1, 2, 3:
			now += rng.Int64N(40)
			for sub := range parallelism {
				wm := now - rng.Int64N(30)
				h.WatermarkTo(sub, wm)
				for _, k := range all {
					if owner(k) == sub {
						ref.watermark(k, wm)
					}
				}
			}
		default:
			var sales []sale
			for range 1 + rng.IntN(6) {
				s := sale{Key: all[rng.IntN(len(all))], Amount: int64(rng.IntN(1000)), Time: now + rng.Int64N(160) - 100}
				sales = append(sales, s)
				// Rows of one batch may make one result come again once.
				ref.feed(s, batchRows == 1)
			}
			h.Feed(batch(sales...))
		}
	}
	h.End()
	for _, k := range all {
		ref.watermark(k, dataflow.TimeMax)
	}
	got := make(map[row]bool)
	for _, r := range operatortest.Rows[row](h, "") {
		got[r] = true
	}
	if batchRows == 1 && !maps.Equal(got, ref.shown) {
		t.Fatalf("gap %d lateness %d: sessions\n got %v\nwant %v", ref.gap, ref.lateness, got, ref.shown)
	}
	for r := range ref.shown {
		if !got[r] {
			t.Fatalf("gap %d lateness %d: no session %v", ref.gap, ref.lateness, r)
		}
	}
	late := operatortest.Rows[sale](h, dataflow.SideLate)
	sortSales(late)
	sortSales(ref.late)
	if !slices.Equal(late, ref.late) {
		t.Fatalf("late rows\n got %v\nwant %v", late, ref.late)
	}
	for _, s := range h.Subs {
		noState(t, s)
	}
}
