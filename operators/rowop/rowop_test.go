package rowop_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/rowop"
	"github.com/leatstream/leat/state"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func open(t testing.TB, f operators.Factory) *operatortest.Harness {
	return operatortest.New(t, operatortest.Config{Factory: f, Rows: must(columnar.TypeOf[int64]())})
}

func ints(n int) *columnar.Batch {
	rows, times := make([]int64, n), make([]int64, n)
	for i := range rows {
		rows[i], times[i] = int64(i), int64(1000+i)
	}
	b := columnar.NewBatch(rows, times)
	b.Origin = &columnar.Origin{Split: "s", First: 50}
	return b
}

// TestFilterAgainstReference filters random batches, shared or not: rows,
// times and positions stay together, and a shared batch is not touched.
func TestFilterAgainstReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 5))
		keep := make(map[int64]bool)
		for i := range int64(60) {
			keep[i] = rng.IntN(3) > 0
		}
		h := open(t, rowop.Filter(func(v int64) bool { return keep[v] }))
		b := ints(60)
		b.Shared = rng.IntN(2) == 0
		if rng.IntN(3) == 0 {
			b.Times = nil
		}
		before := slices.Clone(columnar.Rows[int64](b))
		h.FeedTo(0, b)
		n := int64(0)
		for _, e := range h.Out {
			for i, v := range columnar.Rows[int64](e.Batch) {
				n++
				if !keep[v] {
					t.Fatalf("seed %d: row %d was kept", seed, v)
				}
				if at := e.Batch.Origin.At(i); at != 50+v {
					t.Fatalf("seed %d: row %d is at %d", seed, v, at)
				}
				if b.Times != nil && e.Batch.Time(i) != 1000+v {
					t.Fatalf("seed %d: row %d has time %d", seed, v, e.Batch.Time(i))
				}
			}
		}
		if dropped := h.Subs[0].Metrics.Counter(rowop.MetricFiltered).Value(); n+dropped != 60 {
			t.Fatalf("seed %d: %d rows kept, %d counted as dropped", seed, n, dropped)
		}
		if b.Shared && !slices.Equal(before, columnar.Rows[int64](b)) {
			t.Fatalf("seed %d: a shared batch was changed", seed)
		}
	}
}

func TestMapLeavesSharedBatchesAlone(t *testing.T) {
	t.Parallel()
	h := open(t, rowop.Map(func(v int64) int64 { return v * 2 }))
	b := ints(4)
	b.Shared = true
	h.FeedTo(0, b)
	if got := operatortest.Rows[int64](h, ""); !slices.Equal(got, []int64{0, 2, 4, 6}) {
		t.Errorf("rows %v", got)
	}
	if got := columnar.Rows[int64](b); !slices.Equal(got, []int64{0, 1, 2, 3}) {
		t.Errorf("the shared batch became %v", got)
	}
	out := h.Out[0].Batch
	if out.Shared || !slices.Equal(out.Times, b.Times) || &out.Times[0] == &b.Times[0] {
		t.Errorf("the times are %v, shared %t: want a copy of %v", out.Times, out.Shared, b.Times)
	}
}

func TestFlatMapKeepsTimesAndPositions(t *testing.T) {
	t.Parallel()
	h := open(t, rowop.FlatMap(func(v int64, emit func(string)) {
		for range v {
			emit(fmt.Sprint(v))
		}
	}))
	h.FeedTo(0, ints(4))
	if got := operatortest.Rows[string](h, ""); !slices.Equal(got, []string{"1", "2", "2", "3", "3", "3"}) {
		t.Fatalf("rows %v", got)
	}
	b := h.Out[0].Batch
	for i, v := range []int64{1, 2, 2, 3, 3, 3} {
		if b.Time(i) != 1000+v || b.Origin.At(i) != 50+v {
			t.Errorf("row %d: time %d, position %d", i, b.Time(i), b.Origin.At(i))
		}
	}
}

// TestFlatMapCutsLargeOutput checks that what is emitted is bounded.
func TestFlatMapCutsLargeOutput(t *testing.T) {
	t.Parallel()
	const each = 5000
	h := open(t, rowop.FlatMap(func(v int64, emit func(int64)) {
		for i := range int64(each) {
			emit(i)
		}
	}))
	h.FeedTo(0, ints(3))
	n := 0
	for _, e := range h.Out {
		rows := len(columnar.Rows[int64](e.Batch))
		if rows > columnar.BatchRowsMax {
			t.Fatalf("a batch has %d rows", rows)
		}
		n += rows
	}
	if n != 3*each {
		t.Fatalf("%d rows, want %d", n, 3*each)
	}
}

// TestPositionOfPanic checks that the row in work can be named after a panic.
func TestPositionOfPanic(t *testing.T) {
	t.Parallel()
	boom := func(v int64) bool {
		if v == 7 {
			panic("boom")
		}
		return v%2 == 0
	}
	for _, f := range []operators.Factory{
		rowop.Filter(boom),
		rowop.Map(func(v int64) bool { return boom(v) }),
		rowop.FlatMap(func(v int64, _ func(int64)) { boom(v) }),
	} {
		h := open(t, f)
		op := h.Subs[0].Operator
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was caught by the operator")
				}
			}()
			_ = op.Process(0, ints(20))
		}()
		if got := op.(operators.Positioner).Position(); got != "s@57" {
			t.Errorf("position %q, want s@57", got)
		}
	}
}

// quiet emits a key once no row of it came for a second, in both times.
type quiet struct {
	processing bool
	seen       *state.Value[int64]
}

func (q *quiet) Open(ctx *rowop.Context[string, string]) (err error) {
	q.seen, err = state.NewValue[int64](ctx.State(), "seen")
	return err
}

func (q *quiet) Process(ctx *rowop.Context[string, string], v string) error {
	n, _ := q.seen.Get()
	q.seen.Set(n + 1)
	if q.processing {
		ctx.SetProcessingTimer(ctx.Now().Add(time.Second))
		return nil
	}
	at, _ := ctx.Time()
	ctx.SetTimer(at.Add(time.Second))
	return nil
}

func (q *quiet) OnTimer(ctx *rowop.Context[string, string], t rowop.Timer) error {
	n, _ := q.seen.Get()
	rowop.EmitSide(ctx, "count", n)
	ctx.Emit(ctx.Key())
	return nil
}

func processHarness(t *testing.T, processing bool, parallelism int) *operatortest.Harness {
	key := func(v string) string { return v }
	cfg := rowop.ProcessConfig[string, string]{Key: key, Hasher: must(columnar.HasherOf(key)), KeyCodec: must(codec.Of[string]())}
	return operatortest.New(t, operatortest.Config{
		Factory: rowop.Process(cfg, func() rowop.Processor[string, string, string] { return &quiet{processing: processing} }),
		Rows:    must(columnar.TypeOf[string]()), Key: cfg.Hasher, Parallelism: parallelism, Sides: []string{"count"}, NotReady: 3,
	})
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

func TestEventTimersSurviveRescale(t *testing.T) {
	t.Parallel()
	h := processHarness(t, false, 2)
	h.Feed(columnar.NewBatch([]string{"a", "b", "c", "a"}, []int64{1000, 2000, 3000, 1000}))
	h.Watermark(1999)
	if len(h.Out) != 0 {
		t.Fatal("a timer fired before the watermark")
	}
	h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 3)
	h.Watermark(3000)
	if got := sorted(operatortest.Rows[string](h, "")); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("fired %v", got)
	}
	for i, at := range operatortest.Times[string](h, "") {
		if want := map[string]int64{"a": 2000, "b": 3000}[operatortest.Rows[string](h, "")[i]]; at != want {
			t.Errorf("a result has time %d, want %d", at, want)
		}
	}
	counts := operatortest.Rows[int64](h, "count")
	slices.Sort(counts)
	if !slices.Equal(counts, []int64{1, 2}) {
		t.Errorf("side output %v", counts)
	}
	h.Take()
	h.Watermark(dataflow.TimeMax)
	if got := operatortest.Rows[string](h, ""); !slices.Equal(got, []string{"c"}) {
		t.Fatalf("fired %v at the end", got)
	}
}

// debounced emits a key two seconds after its last row: each row takes back
// the timer of the one before.
type debounced struct{ due *state.Value[int64] }

func (d *debounced) Open(ctx *rowop.Context[string, string]) (err error) {
	d.due, err = state.NewValue[int64](ctx.State(), "due")
	return err
}

func (d *debounced) Process(ctx *rowop.Context[string, string], _ string) error {
	if old, ok := d.due.Get(); ok {
		ctx.ClearProcessingTimer(time.UnixMilli(old))
	}
	at := ctx.Now().Add(2 * time.Second)
	d.due.Set(at.UnixMilli())
	ctx.SetProcessingTimer(at)
	return nil
}

func (d *debounced) OnTimer(ctx *rowop.Context[string, string], _ rowop.Timer) error {
	ctx.Emit(ctx.Key())
	return nil
}

// TestAClearedProcessingTimerDoesNotFire, also when it was set before a
// restore; that of another key at the same instant does.
func TestAClearedProcessingTimerDoesNotFire(t *testing.T) {
	t.Parallel()
	key := func(v string) string { return v }
	cfg := rowop.ProcessConfig[string, string]{Key: key, Hasher: must(columnar.HasherOf(key)), KeyCodec: must(codec.Of[string]())}
	h := operatortest.New(t, operatortest.Config{
		Factory: rowop.Process(cfg, func() rowop.Processor[string, string, string] { return &debounced{} }),
		Rows:    must(columnar.TypeOf[string]()), Key: cfg.Hasher, Parallelism: 1, NotReady: 3,
	})
	h.Feed(columnar.NewBatch([]string{"a", "b"}, nil))
	h.Advance(time.Second)
	h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 2)
	h.Feed(columnar.NewBatch([]string{"a"}, nil))
	h.Advance(time.Second + time.Millisecond)
	if got := operatortest.Rows[string](h, ""); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("fired %v, want b: the timer of a was cleared", got)
	}
	h.Take()
	h.Advance(time.Second)
	if got := operatortest.Rows[string](h, ""); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("fired %v, want a", got)
	}
}

func TestProcessingTimers(t *testing.T) {
	t.Parallel()
	h := processHarness(t, true, 1)
	h.Feed(columnar.NewBatch([]string{"a"}, nil))
	h.Advance(500 * time.Millisecond)
	h.Feed(columnar.NewBatch([]string{"b"}, nil))
	h.Advance(500 * time.Millisecond) // the timer of a is due at this instant: records of it may still come
	if len(h.Out) != 0 {
		t.Fatal("a timer fired at its own instant")
	}
	h.Advance(time.Millisecond)
	if got := operatortest.Rows[string](h, ""); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("fired %v", got)
	}
	h.Take()
	// A restored timer that is due long since fires as soon as time moves.
	snap := h.Checkpoint(operators.Checkpoint{ID: 1})
	h.Clock.Advance(time.Hour)
	h.Restore(snap, 2)
	h.Advance(time.Millisecond)
	if got := operatortest.Rows[string](h, ""); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("fired %v after the restore", got)
	}
	h.Take()
	h.Feed(columnar.NewBatch([]string{"z"}, nil))
	h.End()
	if got := operatortest.Rows[string](h, ""); !slices.Equal(got, []string{"z"}) {
		t.Fatalf("fired %v at the end of input", got)
	}
}

func BenchmarkFilter(b *testing.B) {
	type order struct {
		ID, Customer string
		Amount       int64
		Region       string
		Time         int64
	}
	h := operatortest.New(b, operatortest.Config{Factory: rowop.Filter(func(o order) bool { return o.Amount > 0 })})
	rows := make([]order, columnar.BatchRowsMax)
	for i := range rows {
		rows[i].Amount = 1
	}
	op := h.Subs[0].Operator
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := op.Process(0, columnar.NewBatch(rows, nil)); err != nil {
			b.Fatal(err)
		}
		h.Out = h.Out[:0]
		n += len(rows)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
}
