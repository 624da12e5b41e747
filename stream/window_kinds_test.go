package stream_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestWindowFaults has one fault of each kind that a window may have.
func TestWindowFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want  string
		build func(k *stream.KeyedStream[string, click])
	}{
		{"window of -1s is negative", windowing(stream.Tumbling(-time.Second))},
		{"window of 1.5ms is no whole number of milliseconds", windowing(stream.Tumbling(1500 * time.Microsecond))},
		{"is longer than 876000h0m0s: for windows without an end use GlobalWindows", windowing(stream.Tumbling(1_000_000 * time.Hour))},
		{"slide 2m0s is longer than the window of 1m0s", windowing(stream.Sliding(time.Minute, 2*time.Minute))},
		{"slide of 0s is shorter than a millisecond", windowing(stream.Sliding(time.Minute, 0))},
		{"is made of 86400000 panes, at most 100000: choose a slide that divides the size", windowing(stream.Sliding(24*time.Hour, 7*time.Millisecond+time.Second))},
		{"step 7s does not divide the window of 1m0s", windowing(stream.Cumulative(time.Minute, 7*time.Second))},
		{"step 2m0s is longer than the window of 1m0s", windowing(stream.Cumulative(time.Minute, 2*time.Minute))},
		{"the location of In is nil", windowing(stream.Tumbling(time.Minute, stream.In(nil)))},
		{"In is for tumbling windows, not sliding", windowing(stream.Sliding(time.Minute, time.Second, stream.In(time.UTC)))},
		{"window of 7h0m0s in a time zone neither divides a day", windowing(stream.Tumbling(7*time.Hour, stream.In(time.UTC)))},
		{"offset 1µs is no whole number of milliseconds", windowing(stream.Tumbling(time.Minute, stream.Offset(time.Microsecond)))},
		{"an option of the window (tumbling 1m0s) is nil", windowing(stream.Tumbling(time.Minute, nil))},
		{"allowed lateness 1000000h0m0s is longer than", func(k *stream.KeyedStream[string, click]) {
			k.Window(stream.Tumbling(time.Minute), stream.AllowedLateness(1_000_000*time.Hour))
		}},
		{"the function of Reduce is nil", func(k *stream.KeyedStream[string, click]) {
			k.Window(stream.Tumbling(time.Minute)).Reduce(nil, stream.UID("x"))
		}},
	} {
		env := stream.NewEnv()
		c.build(byUser(env))
		_, err := env.Graph()
		if err == nil {
			t.Errorf("no error where one says %q", c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "stream/window_kinds_test.go:") {
			t.Errorf("error %q\nwant one that says %q", err, c.want)
		}
	}
}

func windowing(a stream.WindowAssigner) func(*stream.KeyedStream[string, click]) {
	return func(k *stream.KeyedStream[string, click]) { k.Window(a) }
}

// markSums adds up N.
type markSums struct{}

func (markSums) Add(t *tally, m mark)    { t.Count++; t.Sum += m.N }
func (markSums) Result(t *tally) tally   { return *t }
func (markSums) Merge(into, from *tally) { into.Count += from.Count; into.Sum += from.Sum }

func markResult(k string, w stream.Window, t tally) markTotal {
	return markTotal{k, w.StartMillis(), w.EndMillis(), t.Count, t.Sum}
}

// TestOverlappingWindowsManyWays runs them in the matrix.
func TestOverlappingWindowsManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	marks := randomMarks(rand.New(rand.NewPCG(seed, 11)), 200)
	for name, c := range map[string]struct {
		assign  stream.WindowAssigner
		windows func(at int64) []span
	}{
		"sliding": {stream.Sliding(time.Second, 250*time.Millisecond, stream.Offset(30*time.Millisecond)), func(at int64) (all []span) {
			for start := int64(-10*250 + 30); start <= at; start += 250 {
				if at < start+1000 {
					all = append(all, span{start, start + 1000})
				}
			}
			return all
		}},
		"cumulative": {stream.Cumulative(time.Second, 250*time.Millisecond), func(at int64) (all []span) {
			start := at / 1000 * 1000
			for end := start + 250; end <= start+1000; end += 250 {
				if at < end {
					all = append(all, span{start, end})
				}
			}
			return all
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := wantMarks(marks, c.windows)
			streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
				k := stream.KeyBy(scripted(b, "marks", marks), markKey)
				sums := stream.AggregateWindow(k.Window(c.assign), markSums{}, markResult, stream.UID("sums"))
				streamtest.Expect(b, "results", sums, want)
			}})
		})
	}
}

// span is a window of the reference.
type span struct{ start, end int64 }

// markTotal is a result with both ends of its window.
type markTotal struct {
	Key        string
	Start, End int64
	Count, Sum int64
}

// wantMarks keeps every window apart.
func wantMarks(marks []mark, windows func(at int64) []span) (want []markTotal) {
	sums := make(map[markTotal]tally)
	for _, m := range marks {
		for _, w := range windows(m.Millis) {
			id := markTotal{Key: m.Key, Start: w.start, End: w.end}
			sums[id] = tally{sums[id].Count + 1, sums[id].Sum + m.N}
		}
	}
	for id, t := range sums {
		id.Count, id.Sum = t.Count, t.Sum
		want = append(want, id)
	}
	return want
}
