package window_test

import (
	"cmp"
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

const maxParallelism = 32

type sale struct {
	Key    string
	Amount int64
	Time   int64
}

type total struct {
	Count, Sum int64
}

type row struct {
	Key        string
	Start, End int64
	Count, Sum int64
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func keyOf(s sale) string { return s.Key }

func config(w window.Tumbling, lateness int64) window.Config[string, sale, row] {
	return window.Config[string, sale, row]{
		Windows: w, Lateness: lateness, Key: keyOf,
		Hasher: must(columnar.HasherOf(keyOf)), KeyCodec: must(codec.Of[string]()),
	}
}

// aggregated and processed do the same in the two ways.
func aggregated(w window.Tumbling, lateness int64) operators.Factory {
	return window.Aggregate(config(w, lateness), window.Fold[sale, total]{
		Codec: must(codec.Of[total]()), Add: func(a *total, s sale) { a.Count++; a.Sum += s.Amount },
	},
		func(k string, w window.Window, a *total) row {
			return row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum}
		})
}

func foldTotal() window.Fold[sale, total] {
	return window.Fold[sale, total]{
		Codec: must(codec.Of[total]()), Add: func(a *total, s sale) { a.Count++; a.Sum += s.Amount },
		Merge: func(into, from *total) { into.Count += from.Count; into.Sum += from.Sum },
	}
}

// paned is aggregated with overlapping windows.
func paned(w window.Panes, lateness int64) operators.Factory {
	cfg := config(window.Tumbling{}, lateness)
	cfg.Panes = w
	return window.Aggregate(cfg, foldTotal(), func(k string, w window.Window, a *total) row {
		return row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum}
	})
}

// one keeps windows one by one.
func one(a window.Assigner[sale], lateness int64, rows, merging bool) operators.Factory {
	cfg := window.SingleConfig[string, sale, total, row]{
		Key: keyOf, Hasher: must(columnar.HasherOf(keyOf)), KeyCodec: must(codec.Of[string]()),
		Assigner: a, Lateness: lateness, Merging: merging, Trigger: window.AnyRow[sale](window.ByEventTime{}),
		Fold:     foldTotal(),
		Function: func() window.Function[string, total, row] { return emitTotal{} },
	}
	if rows {
		cfg.Rows = must(codec.Of[sale]())
	}
	return window.Single(cfg)
}

type emitTotal struct{}

func (emitTotal) Open(*window.Context[string, row]) error { return nil }
func (emitTotal) Fire(ctx *window.Context[string, row], a *total) error {
	w := ctx.Window()
	ctx.Emit(row{ctx.Key(), w.StartMillis(), w.EndMillis(), a.Count, a.Sum})
	return nil
}
func (emitTotal) Clear(*window.Context[string, row]) error { return nil }

func processed(w window.Tumbling, lateness int64) operators.Factory {
	return window.Process(config(w, lateness), must(codec.Of[sale]()),
		func(k string, w window.Window, rows []sale, emit func(row)) {
			r := row{Key: k, Start: w.StartMillis(), End: w.EndMillis()}
			for _, s := range rows {
				r.Count++
				r.Sum += s.Amount
			}
			emit(r)
		})
}

func harness(t testing.TB, f operators.Factory, parallelism, batchRows, notReady int) *operatortest.Harness {
	return operatortest.New(t, operatortest.Config{
		Factory: f, Rows: must(columnar.TypeOf[sale]()), Key: must(columnar.HasherOf(keyOf)),
		Parallelism: parallelism, MaxParallelism: maxParallelism, BatchRows: batchRows,
		Sides: []string{dataflow.SideLate}, NotReady: notReady,
	})
}

func batch(sales ...sale) *columnar.Batch {
	times := make([]int64, len(sales))
	for i, s := range sales {
		times[i] = s.Time
	}
	return columnar.NewBatch(slices.Clone(sales), times)
}

// reference keeps each window apart in maps: the answer to compare with.
type reference struct {
	windows  func(t int64) []window.Window
	lateness int64
	fired    map[string]int64 // by key: the watermark it has seen
	acc      map[row]total    // key, start and end
	shown    map[row]total    // last emitted
	firings  map[row]int      // on-time results emitted
	late     []sale
}

func newReference(windows func(t int64) []window.Window, lateness int64) *reference {
	return &reference{
		windows: windows, lateness: lateness, fired: make(map[string]int64),
		acc: make(map[row]total), shown: make(map[row]total), firings: make(map[row]int),
	}
}

func (r *reference) seen(key string) int64 {
	if wm, ok := r.fired[key]; ok {
		return wm
	}
	return dataflow.TimeMin
}

func (r *reference) feed(s sale) {
	late := true
	for _, w := range r.windows(s.Time) {
		id := row{Key: s.Key, Start: w.StartMillis(), End: w.EndMillis()}
		if id.End-1+r.lateness <= r.seen(s.Key) {
			continue
		}
		late = false
		a := r.acc[id]
		a.Count++
		a.Sum += s.Amount
		r.acc[id] = a
		if id.End-1 <= r.seen(s.Key) {
			r.shown[id] = a
		}
	}
	if late {
		r.late = append(r.late, s)
	}
}

func (r *reference) watermark(key string, wm int64) {
	before := r.seen(key)
	if wm <= before {
		return
	}
	r.fired[key] = wm
	for id, a := range r.acc {
		if id.Key == key && before < id.End-1 && id.End-1 <= wm {
			r.shown[id] = a
			r.firings[id]++
		}
	}
}

// check compares all that was emitted.
func (r *reference) check(t *testing.T, h *operatortest.Harness) {
	t.Helper()
	last := make(map[row]total)
	for _, o := range operatortest.Rows[row](h, "") {
		last[row{Key: o.Key, Start: o.Start, End: o.End}] = total{o.Count, o.Sum}
	}
	if !maps.Equal(last, r.shown) {
		t.Fatalf("results\n got %v\nwant %v", last, r.shown)
	}
	late := operatortest.Rows[sale](h, dataflow.SideLate)
	sortSales(late)
	want := slices.Clone(r.late)
	sortSales(want)
	if !slices.Equal(late, want) {
		t.Fatalf("late records\n got %v\nwant %v", late, want)
	}
}

func sortSales(s []sale) {
	slices.SortFunc(s, func(a, b sale) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Amount, b.Amount), cmp.Compare(a.Key, b.Key))
	})
}

func keys() []string {
	var k []string
	for i := range 9 {
		k = append(k, fmt.Sprintf("region-%d", i))
	}
	return k
}

// TestAgainstReference feeds random records, out of order and late, with
// watermarks that differ between subtasks, and restores at random steps at
// another parallelism. Each window's final result, the number of times it
// fires and the late records equal those of a reference without batches,
// subtasks or restores.
func TestAgainstReference(t *testing.T) {
	t.Parallel()
	ways := map[string]way{
		"aggregate": func(rng *rand.Rand) (func(int64) operators.Factory, func(int64) []window.Window) {
			w := window.Tumbling{Size: 50, Offset: rng.Int64N(200) - 100}
			return func(l int64) operators.Factory { return aggregated(w, l) }, tumbling(w)
		},
		"process": func(rng *rand.Rand) (func(int64) operators.Factory, func(int64) []window.Window) {
			w := window.Tumbling{Size: 50, Offset: rng.Int64N(200) - 100}
			return func(l int64) operators.Factory { return processed(w, l) }, tumbling(w)
		},
		"sliding": func(rng *rand.Rand) (func(int64) operators.Factory, func(int64) []window.Window) {
			w := window.Sliding{Size: []int64{50, 60, 77}[rng.IntN(3)], Slide: []int64{5, 10, 22, 50}[rng.IntN(4)], Offset: rng.Int64N(200) - 100}
			return func(l int64) operators.Factory { return paned(w, l) }, sliding(w)
		},
		"cumulative": func(rng *rand.Rand) (func(int64) operators.Factory, func(int64) []window.Window) {
			w := window.Cumulative{Max: 60, Step: []int64{10, 20, 60}[rng.IntN(3)], Offset: rng.Int64N(200) - 100}
			return func(l int64) operators.Factory { return paned(w, l) }, cumulative(w)
		},
	}
	for _, rows := range []bool{false, true} {
		ways[fmt.Sprintf("single/rows=%t", rows)] = func(rng *rand.Rand) (func(int64) operators.Factory, func(int64) []window.Window) {
			w := window.Sliding{Size: 50, Slide: []int64{10, 25, 50}[rng.IntN(3)], Offset: rng.Int64N(200) - 100}
			return func(l int64) operators.Factory {
				return one(window.Aligned[sale](window.Tumbling{}, w), l, rows, false)
			}, sliding(w)
		}
	}
	for name, way := range ways {
		for _, batchRows := range []int{1, 3, 1024} {
			for seed := range uint64(25) {
				t.Run(fmt.Sprintf("%s/batch=%d/seed=%d", name, batchRows, seed), func(t *testing.T) {
					t.Parallel()
					randomRun(t, way, batchRows, seed)
				})
			}
		}
	}
}

// way makes windows of a kind, with the operator and, apart from it, the
// windows of a time.
type way func(*rand.Rand) (operator func(lateness int64) operators.Factory, windows func(t int64) []window.Window)

func tumbling(w window.Tumbling) func(int64) []window.Window {
	return sliding(window.Sliding{Size: w.Size, Slide: w.Size, Offset: w.Offset})
}

// sliding goes through all windows, one by one.
func sliding(w window.Sliding) func(int64) []window.Window {
	return func(t int64) (all []window.Window) {
		for start := w.Offset - 100*w.Slide*10; start <= t; start += w.Slide {
			if t < start+w.Size {
				all = append(all, window.Of(start, start+w.Size))
			}
		}
		return all
	}
}

func cumulative(w window.Cumulative) func(int64) []window.Window {
	return func(t int64) (all []window.Window) {
		start := w.Offset - 100*w.Max
		for start+w.Max <= t {
			start += w.Max
		}
		for end := start + w.Step; end <= start+w.Max; end += w.Step {
			if t < end {
				all = append(all, window.Of(start, end))
			}
		}
		return all
	}
}

func randomRun(t *testing.T, way way, batchRows int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	lateness := []int64{0, 20, 130}[rng.IntN(3)]
	factory, windows := way(rng)
	ref := newReference(windows, lateness)
	all := keys()
	parallelism := []int{1, 2, 7}[rng.IntN(3)]
	h := harness(t, factory(lateness), parallelism, batchRows, 2+rng.IntN(4))
	owner := func(key string) int {
		g := dataflow.KeyGroupOf(codec.HashKey([]byte(key)), maxParallelism)
		return dataflow.SubtaskOf(g, maxParallelism, parallelism)
	}
	now := int64(-400)
	for step := range 120 {
		switch rng.IntN(10) {
		case 0: // a checkpoint, and on from it at another parallelism
			snap := h.Checkpoint(operators.Checkpoint{ID: dataflow.CheckpointID(step + 1)})
			parallelism = []int{1, 2, 7}[rng.IntN(3)]
			h.Restore(snap, parallelism)
		case 1, 2, 3: // event time advances somewhere
			now += rng.Int64N(40)
			for sub := range parallelism {
				if rng.IntN(3) == 0 {
					continue
				}
				wm := now - rng.Int64N(30)
				// The runtime never lets a subtask's watermark go back; after a
				// restore it may begin below what groups have seen.
				h.WatermarkTo(sub, wm)
				for _, k := range all {
					if owner(k) == sub {
						ref.watermark(k, wm)
					}
				}
			}
		default:
			var sales []sale
			for range 1 + rng.IntN(12) {
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
	checkFirings(t, h, ref, lateness)
	for _, s := range h.Subs {
		noState(t, s)
	}
}

// checkFirings checks that without lateness each window came exactly once.
func checkFirings(t *testing.T, h *operatortest.Harness, ref *reference, lateness int64) {
	t.Helper()
	if lateness > 0 {
		return
	}
	got := make(map[row]int)
	for _, o := range operatortest.Rows[row](h, "") {
		got[row{Key: o.Key, Start: o.Start, End: o.End}]++
	}
	if !maps.Equal(got, ref.firings) {
		t.Fatalf("firings\n got %v\nwant %v", got, ref.firings)
	}
}
