package cases_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// gapped is a row that says how long its session lasts after it.
type gapped struct {
	Key            string
	Millis, Gap, N int64
}

func (g *gapped) columns() []any { return []any{&g.Key, &g.Millis, &g.Gap, &g.N} }
func (g gapped) millis() int64   { return g.Millis }
func (g gapped) name() string    { return g.Key }

// spanSum is a result with both ends of its window.
type spanSum struct {
	Key        string
	Start, End int64
	Sum        int64
}

func (s *spanSum) columns() []any { return []any{&s.Key, &s.Start, &s.End, &s.Sum} }

func spanRow(k string, w stream.Window, n int64) spanSum {
	return spanSum{k, w.StartMillis(), w.EndMillis(), n}
}

type sumGapped struct{}

func (sumGapped) Add(sum *int64, g gapped)    { *sum += g.N }
func (sumGapped) Merge(into, from *int64)     { *into += *from }
func (sumGapped) Result(sum *int64) (n int64) { return *sum }

func sessionDynamicGap(t *testing.T, c *file) {
	events := arrays(t, c, "input/events.jsonl", (*gapped).columns)
	want := arrays(t, c, "expect/result.jsonl", (*spanSum).columns)
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "events", streamtest.Timed(gapped.millis, events...))
		gap := stream.SessionBy(func(g gapped) time.Duration { return time.Duration(g.Gap) * time.Millisecond })
		w := stream.KeyBy(in, gapped.name).Window(gap)
		streamtest.Expect(b, "out", stream.AggregateWindow(w, sumGapped{}, spanRow, stream.UID("sums")), want)
	}})
}

func cumulative(t *testing.T, c *file) {
	events := arrays(t, c, "input/events.jsonl", (*keyedN).columns)
	want := arrays(t, c, "expect/result.jsonl", (*spanSum).columns)
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "events", streamtest.Timed(keyedN.millis, events...))
		w := stream.KeyBy(in, keyedN.name).Window(stream.Cumulative(time.Minute, 20*time.Second))
		streamtest.Expect(b, "out", stream.AggregateWindow(w, sumOfN{}, spanRow, stream.UID("sums")), want)
	}})
}

func closeThenTotal(t *testing.T, c *file) {
	events := arrays(t, c, "input/events.jsonl", (*keyedN).columns)
	want := arrays(t, c, "expect/result.jsonl", (*keyedN).columns)
	late := arrays(t, c, "expect/late.jsonl", (*keyedN).columns)
	streamtest.Check(t, streamtest.Case{Timing: streamtest.InOrder, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "events", streamtest.Timed(keyedN.millis, events...).WatermarkEach(0))
		w := stream.KeyBy(in, keyedN.name).Window(stream.Tumbling(10*time.Second),
			stream.AllowedLateness(5*time.Second), stream.Trigger(stream.OnClose()))
		sums := stream.AggregateWindow(w, sumOfN{}, sumRow, stream.UID("sums"))
		all := stream.WindowAll(sums, stream.Tumbling(10*time.Second))
		streamtest.Expect(b, "out", stream.AggregateWindow(all, sumOfN{}, func(_ stream.All, w stream.Window, n int64) keyedN {
			return keyedN{"all", w.StartMillis(), n}
		}, stream.UID("totals")), want)
		streamtest.Expect(b, "late", w.Late(), late)
	}})
}

func countWindows(t *testing.T, c *file) {
	events := arrays(t, c, "input/events.jsonl", (*keyedN).columns)
	each := arrays(t, c, "expect/each.jsonl", (*wordN).columns)
	last := arrays(t, c, "expect/last.jsonl", (*wordN).columns)
	sum := func(k string, _ stream.Window, n int64) wordN { return wordN{k, n} }
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		in := stream.KeyBy(streamtest.From(b, "events", streamtest.Rows(events...)), keyedN.name)
		streamtest.Expect(b, "each", stream.AggregateWindow(in.Window(stream.Count(3)), sumOfN{}, sum, stream.UID("sum each")), each)
		streamtest.Expect(b, "last", stream.AggregateWindow(in.Window(stream.CountSliding(3, 2)), sumOfN{}, sum, stream.UID("sum last")), last)
	}})
}

func (w *wordN) columns() []any { return []any{&w.Word, &w.N} }

func suppressSize(t *testing.T, c *file) {
	stepped{
		build: func(env *stream.Env) {
			in := stream.From(env, streamtest.Source(change{}), stream.UID("changes"), streamtest.ExplicitWatermarks())
			byKey := stream.KeyBy(in, func(c change) string { return c.Key })
			// The buffer is a subtask's.
			stream.SuppressFor(byKey, 10*time.Second, stream.BufferRows(2), stream.Parallelism(1), stream.UID("hold")).
				To(streamtest.Sink(change{}), stream.UID("out"))
		},
		open: func(d *streamtest.Driver) (func(step), func() any) {
			in, out := streamtest.Input(d, "changes", change{}), streamtest.Output(d, "out", change{})
			push := func(s step) {
				in.PushAt(s.at(), change{text(s.Key), number(t, s.Value)})
				in.Watermark(s.at())
			}
			return push, func() any {
				var rows [][]any
				for _, r := range out.TakeTimed() {
					rows = append(rows, []any{r.Row.Key, *r.Row.Value, r.At.UnixMilli()})
				}
				return rows
			}
		},
	}.run(t, c)
}

func intervalOuterLate(t *testing.T, c *file) {
	within := stream.Between(0, 10*time.Second)
	streamStreamWithin(t, c, within, stream.FullOuter(fullPairOf))
}

// versioned is a row, or a change, with its time.
type versioned struct {
	Key    string
	Millis int64
	Value  *string
}

func (v *versioned) columns() []any { return []any{&v.Key, &v.Millis, &v.Value} }
func (v versioned) millis() int64   { return v.Millis }
func (v versioned) key() string     { return v.Key }
func (v versioned) text() string    { return text(v.Value) }

// sides prints the sides of a result, so that rows compare.
func sides(l string, r *string) string { return l + " " + strings.ReplaceAll(text(r), " ", "_") }

func temporalJoin(t *testing.T, c *file) {
	left := arrays(t, c, "input/left.jsonl", (*versioned).columns)
	right := arrays(t, c, "input/right.jsonl", (*versioned).columns)
	var want []string
	for _, j := range arrays(t, c, "expect/result.jsonl", func(j *joinedRow) []any { return []any{&j.Left, &j.Right} }) {
		want = append(want, sides(*j.Left, j.Right))
	}
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		rows := stream.KeyBy(streamtest.From(b, "left", streamtest.Timed(versioned.millis, left...)), versioned.key)
		changes := stream.KeyBy(streamtest.From(b, "right", streamtest.Timed(versioned.millis, right...)), versioned.key)
		table := stream.TableOf(changes, func(v versioned) (string, bool) { return v.text(), v.Value != nil }, stream.UID("table"))
		joined := stream.TemporalJoin(rows, table, stream.LeftOuter(func(l versioned, r *string) string { return sides(l.text(), r) }), stream.UID("join"))
		streamtest.Expect(b, "out", joined, want)
	}})
}
