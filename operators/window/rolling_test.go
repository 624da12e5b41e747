package window_test

import (
	"cmp"
	"fmt"
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

// rollingRef is the reference: all rows that were not late, and the windows
// that they make, found by looking at every pair.
type rollingRef struct {
	span, lateness int64
	each           bool
	fired          map[string]int64
	rows           map[string][]sale
	shown          []row
	late           []sale
}

func (r *rollingRef) seen(key string) int64 {
	if wm, ok := r.fired[key]; ok {
		return wm
	}
	return dataflow.TimeMin
}

// windows returns the results of all windows of a key: one ends at each row,
// and one begins behind each row, if another is in it.
func (r *rollingRef) windows(key string) map[int64]row {
	all := make(map[int64]row)
	for _, s := range r.rows[key] {
		for _, start := range []int64{s.Time - r.span, s.Time + 1} {
			w := row{Key: key, Start: start, End: start + r.span + 1}
			for _, in := range r.rows[key] {
				if w.Start <= in.Time && in.Time < w.End {
					w.Count++
					w.Sum = 31*w.Sum + in.Amount
				}
			}
			if w.Count > 0 {
				all[start] = w
			}
		}
	}
	return all
}

func (r *rollingRef) feed(s sale) {
	fired := r.seen(s.Key)
	if dataflow.AddTime(s.Time+r.span, r.lateness) <= fired {
		r.late = append(r.late, s)
		return
	}
	before := r.windows(s.Key)
	at := len(r.rows[s.Key]) // in order of time, then arrival
	for at > 0 && r.rows[s.Key][at-1].Time > s.Time {
		at--
	}
	r.rows[s.Key] = slices.Insert(r.rows[s.Key], at, s)
	for start, w := range r.windows(s.Key) {
		over := dataflow.AddTime(w.End-1, r.lateness) <= fired
		if w != before[start] && !over && (r.each || w.End-1 <= fired) {
			r.shown = append(r.shown, w)
		}
	}
}

func (r *rollingRef) watermark(key string, wm int64) {
	before := r.seen(key)
	if wm <= before {
		return
	}
	r.fired[key] = wm
	if r.each {
		return
	}
	for _, w := range r.windows(key) {
		if before < w.End-1 && w.End-1 <= wm {
			r.shown = append(r.shown, w)
		}
	}
}

// check compares all that was emitted, in no order.
func (r *rollingRef) check(t *testing.T, h *operatortest.Harness) {
	t.Helper()
	got, want := operatortest.Rows[row](h, ""), slices.Clone(r.shown)
	sortResults(got)
	sortResults(want)
	if !slices.Equal(got, want) {
		t.Fatalf("results\n got %v\nwant %v", got, want)
	}
	late, lost := operatortest.Rows[sale](h, dataflow.SideLate), slices.Clone(r.late)
	sortSales(late)
	sortSales(lost)
	if !slices.Equal(late, lost) {
		t.Fatalf("late records\n got %v\nwant %v", late, lost)
	}
}

func sortResults(rows []row) {
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Count, b.Count), cmp.Compare(a.Sum, b.Sum))
	})
}

// chain is an accumulator whose merge depends on the order, and which shares
// memory with what it was merged from.
type chain struct{ Amounts []int64 }

func rolled(cfg window.RollingConfig[string, sale, row]) operators.Factory {
	cfg.Key, cfg.Hasher, cfg.KeyCodec = keyOf, must(columnar.HasherOf(keyOf)), must(codec.Of[string]())
	return window.Rolling(cfg, window.Fold[sale, chain]{
		Codec: must(codec.Of[chain]()),
		Add:   func(a *chain, s sale) { a.Amounts = append(a.Amounts, s.Amount) },
		Merge: func(into, from *chain) {
			if into.Amounts == nil {
				*into = *from
				return
			}
			into.Amounts = append(into.Amounts, from.Amounts...)
			for i := range from.Amounts {
				from.Amounts[i] = -1 // from is not used after
			}
		},
	}, func(k string, w window.Window, a *chain, emit func(row)) {
		r := row{Key: k, Start: w.StartMillis(), End: w.EndMillis()}
		for i, n := range a.Amounts {
			r.Count++
			r.Sum = 31*r.Sum + n
			a.Amounts[i] = -2 // the window's
		}
		emit(r)
	})
}

// TestRollingAgainstReference: every result, in final mode and with each row,
// equals that of the reference, out of order, late, with watermarks that
// differ between subtasks, and with restores at another parallelism.
func TestRollingAgainstReference(t *testing.T) {
	t.Parallel()
	for _, each := range []bool{false, true} {
		for _, batchRows := range []int{1, 3, 1024} {
			for seed := range uint64(25) {
				t.Run(fmt.Sprintf("each=%t/batch=%d/seed=%d", each, batchRows, seed), func(t *testing.T) {
					t.Parallel()
					randomRolling(t, each, batchRows, seed)
				})
			}
		}
	}
}

func randomRolling(t *testing.T, each bool, batchRows int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	ref := &rollingRef{
		span: []int64{1, 7, 40}[rng.IntN(3)], lateness: []int64{0, 20, 130}[rng.IntN(3)], each: each,
		fired: make(map[string]int64), rows: make(map[string][]sale),
	}
	all := keys()[:1+rng.IntN(5)]
	parallelism := []int{1, 2, 7}[rng.IntN(3)]
	h := harness(t, rolled(window.RollingConfig[string, sale, row]{Span: ref.span, Lateness: ref.lateness, Each: each, TimesMax: []int{0, 1, 8}[rng.IntN(3)]}), parallelism, batchRows, 2+rng.IntN(4))
	owner := func(key string) int {
		return dataflow.SubtaskOf(dataflow.KeyGroupOf(codec.HashKey([]byte(key)), maxParallelism), maxParallelism, parallelism)
	}
	now := int64(-300)
	for step := range 60 {
		switch rng.IntN(10) {
		case 0:
			snap := h.Checkpoint(operators.Checkpoint{ID: dataflow.CheckpointID(step + 1)})
			parallelism = []int{1, 2, 7}[rng.IntN(3)]
			h.Restore(snap, parallelism)
		case 1, 2, 3:
			now += rng.Int64N(40)
			for sub := range parallelism {
				if rng.IntN(3) == 0 {
					continue
				}
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
			for range 1 + rng.IntN(8) {
				s := sale{Key: all[rng.IntN(len(all))], Amount: int64(rng.IntN(1000)), Time: now + rng.Int64N(120) - 100}
				sales = append(sales, s)
				ref.feed(s)
			}
			h.Feed(batch(sales...))
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
	for _, s := range h.Subs {
		empty(t, s, window.RollingTables[chain]())
	}
}
