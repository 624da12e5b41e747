package window_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
)

// order has the size of a real record.
type order struct {
	ID, Customer string
	Amount       int64
	Region       string
	Time         int64
}

// BenchmarkAggregate measures a row's share of a batch: few keys in one
// window, as in a roll-up, and as many keys as rows.
func BenchmarkAggregate(b *testing.B) {
	for _, n := range []int{6, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) { benchmarkAggregate(b, n) })
	}
}

func benchmarkAggregate(b *testing.B, keys int) {
	region := func(o order) string { return o.Region }
	f := window.Aggregate(window.Config[string, order, row]{
		Windows: window.Tumbling{Size: 300_000}, Lateness: 60_000, Key: region,
		Hasher: must(columnar.HasherOf(region)), KeyCodec: must(codec.Of[string]()),
	}, window.Fold[order, total]{Codec: must(codec.Of[total]()), Add: func(a *total, o order) { a.Count++; a.Sum += o.Amount }},
		func(k string, w window.Window, a *total) row {
			return row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum}
		})
	op := open(b, f)
	orders, times := make([]order, keys/columnar.BatchRowsMax*columnar.BatchRowsMax+columnar.BatchRowsMax), make([]int64, 0)
	for i := range orders {
		orders[i] = order{"ORD-00000017", "CUST-00042", int64(i), fmt.Sprintf("REGION-%d", i*7919%keys), int64(i)}
		times = append(times, int64(i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	rows := 0
	for b.Loop() {
		at := rows % len(orders)
		batch := columnar.NewBatch(orders[at:at+columnar.BatchRowsMax], times[at:at+columnar.BatchRowsMax])
		if err := op.Process(0, batch); err != nil {
			b.Fatal(err)
		}
		rows += columnar.BatchRowsMax
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
}

func open(b *testing.B, f operators.Factory) operators.Operator {
	h := harness(b, f, 1, 0, 0)
	return h.Subs[0].Operator
}

// BenchmarkKinds gives the same records to each kind of window: 10 minutes of
// event time, many times over, with the watermark behind every batch. The
// loop beside them keeps a map for each window of ten minutes.
func BenchmarkKinds(b *testing.B) {
	const minute = 60_000
	for _, x := range []struct{ keys, perSecond int }{{1000, 5_000}, {100_000, 100_000}} {
		name := func(kind string) string { return fmt.Sprintf("%s/keys=%d", kind, x.keys) }
		b.Run(name("loop"), func(b *testing.B) { benchmarkLoop(b, x.keys, x.perSecond) })
		b.Run(name("tumbling"), func(b *testing.B) {
			benchmarkKind(b, x.keys, x.perSecond, window.Config[string, order, row]{Windows: window.Tumbling{Size: 10 * minute}})
		})
		b.Run(name("sliding"), func(b *testing.B) {
			benchmarkKind(b, x.keys, x.perSecond, window.Config[string, order, row]{Panes: window.Sliding{Size: 10 * minute, Slide: 10_000}})
		})
		b.Run(name("cumulative"), func(b *testing.B) {
			benchmarkKind(b, x.keys, x.perSecond, window.Config[string, order, row]{Panes: window.Cumulative{Max: 10 * minute, Step: minute}})
		})
	}
}

// feed makes batches of orders at a rate of event time.
type feed struct {
	orders []order
	times  []int64
	at     int64
	per    int64
}

func newFeed(keys, perSecond int) *feed {
	f := &feed{orders: make([]order, 1<<20), times: make([]int64, columnar.BatchRowsMax), per: int64(perSecond)}
	for i := range f.orders {
		f.orders[i] = order{"ORD-00000017", "CUST-00042", int64(i), fmt.Sprintf("REGION-%06d", i*7919%keys), int64(i)}
	}
	return f
}

// next returns a batch and the watermark behind it.
func (f *feed) next() ([]order, []int64, int64) {
	from := int(f.at) & (len(f.orders) - 1)
	rows := f.orders[from : from+columnar.BatchRowsMax]
	for i := range f.times {
		f.times[i] = (f.at + int64(i)) * 1000 / f.per
	}
	f.at += int64(len(rows))
	return rows, f.times, f.times[len(f.times)-1] - 1
}

func benchmarkKind(b *testing.B, keys, perSecond int, cfg window.Config[string, order, row]) {
	region := func(o order) string { return o.Region }
	cfg.Key, cfg.Hasher, cfg.KeyCodec = region, must(columnar.HasherOf(region)), must(codec.Of[string]())
	h := harness(b, window.Aggregate(cfg, window.Fold[order, total]{
		Codec: must(codec.Of[total]()),
		Add:   func(a *total, o order) { a.Count++; a.Sum += o.Amount },
		Merge: func(into, from *total) { into.Count += from.Count; into.Sum += from.Sum },
	}, func(k string, w window.Window, a *total) row {
		return row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum}
	}), 1, 0, 0)
	run(b, h, newFeed(keys, perSecond), 600)
}

func run(b *testing.B, h *operatortest.Harness, f *feed, seconds int64) {
	op := h.Subs[0].Operator
	b.ReportAllocs()
	b.ResetTimer()
	start := processorTime(b)
	rows := 0
	for b.Loop() {
		// Whole windows are measured, so that each record pays for its firing.
		for end := f.at + seconds*f.per; f.at < end; {
			orders, times, wm := f.next()
			if err := op.Process(0, columnar.NewBatch(orders, times)); err != nil {
				b.Fatal(err)
			}
			if _, err := op.(operators.WatermarkHandler).Watermark(wm); err != nil {
				b.Fatal(err)
			}
			rows += len(orders)
			h.Out = h.Out[:0]
		}
	}
	report(b, start, rows)
}

// processorTime returns what the process took of all processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report gives the processor time of a row: other programs do not count.
func report(b *testing.B, start time.Duration, rows int) {
	b.Helper()
	b.ReportMetric(float64(processorTime(b)-start)/float64(rows), "cpu-ns/row")
}

func benchmarkLoop(b *testing.B, keys, perSecond int) {
	f := newFeed(keys, perSecond)
	b.ReportAllocs()
	b.ResetTimer()
	start := processorTime(b)
	rows := 0
	results := 0
	for b.Loop() {
		sums := make(map[string]*total)
		for end := f.at + 600*f.per; f.at < end; {
			orders, times, _ := f.next()
			for i, o := range orders {
				if times[i] < 0 {
					continue
				}
				t := sums[o.Region]
				if t == nil {
					t = new(total)
					sums[o.Region] = t
				}
				t.Count++
				t.Sum += o.Amount
			}
			rows += len(orders)
		}
		var out []row
		for k, t := range sums {
			out = append(out, row{k, 0, 600_000, t.Count, t.Sum})
		}
		results += len(out)
	}
	report(b, start, rows)
}

// BenchmarkSessions has sessions of ten rows of a key: half of the keys rest
// for five seconds while the others have rows. Beside it is a loop over
// a map that looks for sessions that have ended every second of event time.
func BenchmarkSessions(b *testing.B) {
	const keys, perSecond, gap = 100_000, 100_000, 3_000
	b.Run("loop", func(b *testing.B) {
		f := newFeed(keys, perSecond)
		f.rest(keys)
		b.ReportAllocs()
		b.ResetTimer()
		start := processorTime(b)
		rows, results := 0, 0
		open := make(map[string]*window.Window)
		sums := make(map[string]*total)
		for b.Loop() {
			looked := int64(0)
			for end := f.at + 60*f.per; f.at < end; {
				orders, times, wm := f.next()
				for i := range orders {
					o, t := &orders[i], times[i]
					s := open[o.Region]
					if s != nil && s.EndMillis() >= t {
						*s = window.Of(s.StartMillis(), t+gap)
						sums[o.Region].Sum += o.Amount
						continue
					}
					w := window.Of(t, t+gap)
					open[o.Region], sums[o.Region] = &w, &total{1, o.Amount}
				}
				if wm >= looked {
					looked = wm + 1000
					for k, s := range open {
						if s.EndMillis() <= wm {
							results++
							delete(open, k)
							delete(sums, k)
						}
					}
				}
				rows += len(orders)
			}
		}
		report(b, start, rows)
		b.ReportMetric(float64(results), "sessions")
	})
	b.Run("operator", func(b *testing.B) {
		region := func(o order) string { return o.Region }
		h := harness(b, window.AggregateSessions(window.SessionConfig[string, order, row]{
			Gap: func(order) int64 { return gap }, Key: region,
			Hasher: must(columnar.HasherOf(region)), KeyCodec: must(codec.Of[string]()),
		}, window.Fold[order, total]{
			Codec: must(codec.Of[total]()),
			Add:   func(a *total, o order) { a.Count++; a.Sum += o.Amount },
			Merge: func(into, from *total) { into.Count += from.Count; into.Sum += from.Sum },
		}, func(k string, w window.Window, a *total) row {
			return row{k, w.StartMillis(), w.EndMillis(), a.Count, a.Sum}
		}), 1, 0, 0)
		f := newFeed(keys, perSecond)
		f.rest(keys)
		run(b, h, f, 60)
	})
}

// rest makes the two halves of the keys take turns, each of ten rows of a key.
func (f *feed) rest(keys int) {
	for i := range f.orders {
		half := i / (keys * 5) % 2
		f.orders[i].Region = fmt.Sprintf("REGION-%06d", (i*7919%(keys/2))+half*keys/2)
	}
}
