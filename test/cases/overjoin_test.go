package cases_test

import (
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// made is a row of the generator.
type made struct {
	Key, Millis int64
	Payload     string
}

func (m made) key() int64 { return m.Key }

// generated is what the rule of the case makes: a row for each key, every step
// until a minute, moved by shift. The watermark is a second behind.
func generated(keys, step, shift int64) *streamtest.Split[made] {
	s := streamtest.Rows[made]()
	for at := int64(0); at < 60_000; at += step {
		for k := range keys {
			s.At(at+shift, made{k, at + shift, "Some payload"})
		}
		if at%500 == 0 {
			s.Watermark(at + shift - 1000 - 1)
		}
	}
	return s
}

// over is a row with the number of rows of its key in the second before it.
type over struct{ Key, Millis, N int64 }

func (o over) key() int64 { return o.Key }

// countOver counts rows up to the last of them.
type countOver struct{}

func (countOver) Add(o *over, m made) { o.N, o.Millis = o.N+1, max(o.Millis, m.Millis) }

func (countOver) Merge(into, from *over) {
	into.N, into.Millis = into.N+from.N, max(into.Millis, from.Millis)
}

func (countOver) Result(o *over) over { return *o }

// judged says whether a window of ten seconds has the counts that it should.
type judged struct{ Key, Millis, Correct int64 }

func (j judged) key() int64 { return j.Key }

type mean struct{ Sum, N int64 }

type judge struct{}

func (judge) Add(m *mean, o over) { m.Sum, m.N = m.Sum+o.N, m.N+1 }

func (judge) Merge(into, from *mean) { into.Sum, into.N = into.Sum+from.Sum, into.N+from.N }

func (judge) Result(m *mean) int64 {
	if m.Sum/m.N == 101 {
		return 1
	}
	return 99
}

type sumJudged struct{}

func (sumJudged) Add(n *int64, j judged) { *n += j.Correct }
func (sumJudged) Result(n *int64) int64  { return *n }

type correctOf struct {
	Correct int64
	Start   string
}

func (c *correctOf) columns() []any { return []any{&c.Correct, &c.Start} }

// overThenJoin is the program of the queries, with an operator for each. The
// failure is a crash after some polls of the sources, again and again, with a
// restore from the last checkpoint, instead of one by a map at its second row:
// a harder test.
func overThenJoin(t *testing.T, c *file) {
	want := arrays(t, c, "expect/result.jsonl", (*correctOf).columns)
	streamtest.Check(t, streamtest.Case{Batch: []int{1024}, Parallelism: []int{1, 7}, Build: func(b *streamtest.Bench) {
		table1 := stream.KeyBy(streamtest.From(b, "table1", generated(10, 10, 0)), made.key)
		table2 := stream.KeyBy(streamtest.From(b, "table2", generated(5, 5000, 10_000)), made.key)
		// OVER has a result for each row: the window that ends with it.
		overs := stream.AggregateWindow(table1.Window(stream.Rolling(time.Second)), countOver{}, func(k int64, w stream.Window, o over) over {
			if o.Millis != w.EndMillis()-1 {
				return over{}
			}
			return over{k, o.Millis, o.N}
		}, stream.UID("over")).Filter(func(o over) bool { return o.Millis > 1000 })
		tens := stream.AggregateWindow(stream.KeyBy(overs, over.key).Window(stream.Tumbling(10*time.Second)), judge{}, func(k int64, w stream.Window, correct int64) judged {
			return judged{k, w.EndMillis() - 1, correct}
		}, stream.UID("tens"))
		joined := stream.IntervalJoin(stream.KeyBy(tens, judged.key), table2, stream.Between(0, 10*time.Second),
			stream.Inner(func(j judged, _ made) judged { return j }), stream.UID("join"))
		// The time of a result is that of table2's row; the window is one of
		// the other time, up to ten seconds before.
		ofWindow := stream.CustomWindows(func(dst []stream.Window, j judged, _ int64) []stream.Window {
			start := j.Millis / 20_000 * 20_000
			return append(dst, stream.WindowOf(start, start+20_000))
		})
		twenties := stream.WindowAll(joined, ofWindow, stream.AllowedLateness(10*time.Second), stream.Trigger(stream.OnClose()))
		sums := stream.AggregateWindow(twenties, sumJudged{}, func(_ stream.All, w stream.Window, n int64) correctOf {
			return correctOf{n, w.Start().Format(time.DateTime)}
		}, stream.UID("twenties"))
		streamtest.Expect(b, "out", sums, want)
	}})
}
