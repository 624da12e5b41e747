package window_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
)

// affine is a fold that depends on the order: a base-31 number, and what to
// multiply one by that comes before it.
type affine struct{ Times, Sum, Count int64 }

var ruined = affine{-1, -1, -1}

// orderedFixed folds into accumulators of a fixed size, and ruins what it may.
func orderedFixed(w window.Panes, lateness int64) operators.Factory {
	cfg := config(window.Tumbling{}, lateness)
	cfg.Panes = w
	return window.Aggregate(cfg, window.Fold[sale, affine]{
		Codec: must(codec.Of[affine]()),
		Add: func(a *affine, s sale) {
			*a = affine{max(a.Times, 1) * 31, a.Sum*31 + s.Amount, a.Count + 1}
		},
		Merge: func(into, from *affine) {
			if into.Count == 0 {
				*into = *from
			} else {
				*into = affine{into.Times * from.Times, into.Sum*from.Times + from.Sum, into.Count + from.Count}
			}
			*from = ruined
		},
	}, func(k string, w window.Window, a *affine) row {
		r := row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum}
		*a = ruined
		return r
	})
}

// orderedVaried is orderedFixed with accumulators that grow.
func orderedVaried(w window.Panes, lateness int64) operators.Factory {
	cfg := config(window.Tumbling{}, lateness)
	cfg.Panes = w
	return window.Aggregate(cfg, window.Fold[sale, chain]{
		Codec: must(codec.Of[chain]()),
		Add:   func(a *chain, s sale) { a.Amounts = append(a.Amounts, s.Amount) },
		Merge: func(into, from *chain) {
			into.Amounts = append(into.Amounts, from.Amounts...)
			clear(from.Amounts)
		},
	}, func(k string, w window.Window, a *chain) row {
		r := row{Key: k, Start: w.StartMillis(), End: w.EndMillis()}
		for _, n := range a.Amounts {
			r.Count, r.Sum = r.Count+1, 31*r.Sum+n
		}
		clear(a.Amounts)
		return r
	})
}

// orderedModel knows the last result of each window.
type orderedModel struct {
	size, slide, lateness int64
	rows                  []sale
	watermark             int64
	last                  map[row]row // by key and start
}

func floorTo(t, unit int64) int64 {
	if r := t % unit; r < 0 {
		return t - r - unit
	}
	return t - t%unit
}

// result folds the panes of a window in order, each in order of arrival.
func (m *orderedModel) result(key string, start int64) row {
	var in []sale
	for _, s := range m.rows {
		if s.Key == key && s.Time >= start && s.Time < start+m.size {
			in = append(in, s)
		}
	}
	slices.SortStableFunc(in, func(a, b sale) int { return cmp.Compare(floorTo(a.Time, m.slide), floorTo(b.Time, m.slide)) })
	out := row{Key: key, Start: start, End: start + m.size}
	for _, s := range in {
		out.Count, out.Sum = out.Count+1, out.Sum*31+s.Amount
	}
	return out
}

func (m *orderedModel) add(s sale) {
	pane := floorTo(s.Time, m.slide)
	if pane+m.size-1+m.lateness <= m.watermark {
		return // too late for all
	}
	m.rows = append(m.rows, s)
	for start := pane; start > s.Time-m.size; start -= m.slide {
		if last := start + m.size - 1; last <= m.watermark && last+m.lateness > m.watermark {
			m.last[row{Key: s.Key, Start: start}] = m.result(s.Key, start)
		}
	}
}

func (m *orderedModel) advance(keys []string, watermark int64) {
	for _, k := range keys {
		for start := floorTo(max(m.watermark, -1000)-m.size, m.slide) - m.slide; start+m.size-1 <= watermark; start += m.slide {
			if r := m.result(k, start); start+m.size-1 > m.watermark && r.Count > 0 {
				m.last[row{Key: k, Start: start}] = r
			}
		}
	}
	m.watermark = watermark
}

// TestSlidingKeepsTheOrder compares folds that depend on the order of their
// rows, with late ones, jumps of time and restores.
func TestSlidingKeepsTheOrder(t *testing.T) {
	t.Parallel()
	for name, factory := range map[string]func(window.Panes, int64) operators.Factory{"fixed": orderedFixed, "varied": orderedVaried} {
		for seed := range uint64(100) {
			rng := rand.New(rand.NewPCG(seed, 77))
			m := &orderedModel{slide: []int64{5, 10, 20}[rng.IntN(3)], lateness: []int64{0, 20, 130}[rng.IntN(3)], watermark: -1 << 60, last: make(map[row]row)}
			m.size = m.slide * (1 + rng.Int64N(8))
			what := fmt.Sprintf("%s, seed %d, %d every %d, lateness %d", name, seed, m.size, m.slide, m.lateness)
			h := harness(t, factory(window.Sliding{Size: m.size, Slide: m.slide}, m.lateness), 1, 1+rng.IntN(50), 2)
			driveOrdered(h, m, rng)
			got := make(map[row]row)
			for _, r := range operatortest.Rows[row](h, "") {
				got[row{Key: r.Key, Start: r.Start}] = r
			}
			for w, want := range m.last {
				if got[w] != want {
					t.Fatalf("%s: %v, want %v", what, got[w], want)
				}
			}
			if len(got) != len(m.last) || len(got) == 0 {
				t.Fatalf("%s: %d windows, want %d", what, len(got), len(m.last))
			}
		}
	}
}

func driveOrdered(h *operatortest.Harness, m *orderedModel, rng *rand.Rand) {
	all := keys()[:1+rng.IntN(9)]
	now := int64(-200)
	for step := range 80 {
		switch rng.IntN(8) {
		case 0:
			h.Restore(h.Checkpoint(operators.Checkpoint{ID: dataflow.CheckpointID(step + 1)}), 1)
		case 1, 2, 3:
			now += []int64{3, 17, 60, 300}[rng.IntN(4)]
			if wm := now - rng.Int64N(30); wm > m.watermark {
				h.WatermarkTo(0, wm)
				m.advance(all, wm)
			}
		default:
			var sales []sale
			for range 1 + rng.IntN(12) {
				s := sale{Key: all[rng.IntN(len(all))], Amount: int64(1 + rng.IntN(1000)), Time: now + rng.Int64N(160) - 120}
				sales = append(sales, s)
				m.add(s)
			}
			h.Feed(batch(sales...))
		}
	}
	h.WatermarkTo(0, now+10_000)
	m.advance(all, now+10_000)
}
