package cases_test

import (
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

type keyedN struct {
	Key    string
	Millis int64
	N      int64
}

type sumOfN struct{}

func (sumOfN) Add(sum *int64, e keyedN)                { *sum += e.N }
func (sumOfN) Merge(into, from *int64)                 { *into += *from }
func (sumOfN) Result(sum *int64) int64                 { return *sum }
func (e keyedN) millis() int64                         { return e.Millis }
func (e keyedN) name() string                          { return e.Key }
func (e *keyedN) columns() []any                       { return []any{&e.Key, &e.Millis, &e.N} }
func sumRow(k string, w stream.Window, n int64) keyedN { return keyedN{k, w.StartMillis(), n} }

// sessionWindowing sums sessions; a result has the time of its first row.
func sessionWindowing(t *testing.T, c *file) {
	events := arrays(t, c, "input/events.jsonl", (*keyedN).columns)
	want := arrays(t, c, "expect/result.jsonl", (*keyedN).columns)
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "events", streamtest.Timed(keyedN.millis, events...))
		sessions := stream.KeyBy(in, keyedN.name).Window(stream.Session(3 * time.Millisecond))
		streamtest.Expect(b, "out", stream.AggregateWindow(sessions, sumOfN{}, sumRow, stream.UID("sums")), want)
	}})
}

type car struct {
	ID       int64
	Speed    int64
	Distance float64
	Millis   int64
}

func (c *car) columns() []any { return []any{&c.ID, &c.Speed, &c.Distance, &c.Millis} }

// topSpeedWindowing tells the highest speed of the last ten seconds each time
// a car has gone fifty metres.
func topSpeedWindowing(t *testing.T, c *file) {
	cars := arrays(t, c, "input/cars.jsonl", (*car).columns)
	want := arrays(t, c, "expect/result.jsonl", (*car).columns)
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "cars", streamtest.Timed(func(c car) int64 { return c.Millis }, cars...))
		windows := stream.KeyBy(in, func(c car) int64 { return c.ID }).Window(stream.GlobalWindows(),
			stream.Trigger(stream.OnDelta(50, func(before, now car) float64 { return now.Distance - before.Distance })),
			stream.Evictor(stream.KeepRecent(10*time.Second)))
		fastest := stream.ProcessWindow(windows, func(_ int64, _ stream.Window, rows []car, emit func(car)) {
			best := rows[0]
			for _, r := range rows[1:] {
				if r.Speed > best.Speed {
					best = r
				}
			}
			emit(best)
		}, stream.UID("fastest"))
		streamtest.Expect(b, "out", fastest, want)
	}})
}
