package stream_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/operators/rowop"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

type event struct {
	ID     int64
	Key    string
	Amount int64
	Millis int64
}

type result struct {
	Key   string
	Start int64
	Count int64
	Sum   int64
}

type tally struct{ Count, Sum int64 }

type tallies struct{}

func (tallies) Add(t *tally, e event) { t.Count++; t.Sum += e.Amount }
func (tallies) Result(t *tally) tally { return *t }

// randomEvents returns splits whose times are out of order by up to a second
// and, for one in fifty, by much more.
func randomEvents(rng *rand.Rand, splits, rows int) [][]event {
	out := make([][]event, splits)
	for s := range out {
		for i := range rows {
			e := event{ID: int64(s*rows + i), Key: fmt.Sprintf("k%d", rng.IntN(6)), Amount: rng.Int64N(500) - 50}
			e.Millis = int64(i)*40 - rng.Int64N(1000)
			if rng.IntN(50) == 0 {
				e.Millis -= rng.Int64N(60_000)
			}
			out[s] = append(out[s], e)
		}
	}
	return out
}

// TestExactlyOnceWithCrashes runs a job that filters, windows and sets late
// records aside, with crashes between any two steps and restores at other
// parallelisms. Which records are late depends on the run; what must hold is
// that every valid record is late or counted, once, and that the committed
// results are those of the records that are not among the committed late ones.
func TestExactlyOnceWithCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 7))
			events := randomEvents(rng, 1+rng.IntN(4), 800)
			results, late := collection.NewCollector(result{}), collection.NewCollector(event{})
			env := stream.NewEnv(stream.MaxParallelism(16))
			src := collection.Partitions(events...).BatchRows(1 + rng.IntN(20))
			valid := stream.From(env, src, stream.UID("src"), stream.WatermarkInterval(time.Nanosecond),
				stream.TimestampMillis(func(e event) int64 { return e.Millis }),
				stream.Watermarks(stream.BoundedOutOfOrderness(time.Second))).
				Filter(func(e event) bool { return e.Amount > 0 }, stream.UID("valid"))
			win := stream.KeyBy(valid, func(e event) string { return e.Key }).
				Window(stream.Tumbling(3*time.Second), stream.AllowedLateness(2*time.Second))
			stream.AggregateWindow(win, tallies{}, func(k string, w stream.Window, t tally) result {
				return result{k, w.StartMillis(), t.Count, t.Sum}
			}, stream.UID("sums")).To(results, stream.UID("results"))
			win.Late().To(late, stream.UID("late"))

			fig, err := streamtest.Run(t.Context(), env, streamtest.Options{
				Parallelism: []int{1 + rng.IntN(4), 1 + rng.IntN(4), 1 + rng.IntN(4)},
				// Crashes lie between checkpoints, so that work is lost.
				CheckpointEvery: 2 + rng.IntN(4), CrashEvery: 5 + rng.IntN(20),
			})
			if err != nil {
				t.Fatal(err)
			}
			if fig.Crashes == 0 || fig.Checkpoints < 2 {
				t.Fatalf("the run had %d crashes and %d checkpoints", fig.Crashes, fig.Checkpoints)
			}
			checkBalance(t, events, results.Rows(), late.Rows())
		})
	}
}

func checkBalance(t *testing.T, events [][]event, results []result, late []event) {
	t.Helper()
	isLate := make(map[int64]bool)
	for _, e := range late {
		if isLate[e.ID] {
			t.Fatalf("record %d is late twice", e.ID)
		}
		isLate[e.ID] = true
	}
	want := make(map[result]tally)
	for _, split := range events {
		for _, e := range split {
			if e.Amount <= 0 || isLate[e.ID] {
				continue
			}
			start := e.Millis - ((e.Millis%3000)+3000)%3000
			id := result{Key: e.Key, Start: start}
			w := want[id]
			want[id] = tally{w.Count + 1, w.Sum + e.Amount}
		}
	}
	got := make(map[result]tally)
	for _, r := range results {
		id := result{Key: r.Key, Start: r.Start}
		if r.Count <= got[id].Count {
			t.Fatalf("result %+v came after one with %d records", r, got[id].Count)
		}
		got[id] = tally{r.Count, r.Sum}
	}
	if !maps.Equal(got, want) {
		t.Fatalf("results\n got %v\nwant %v", got, want)
	}
}

func TestFilterCounts(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	out := collection.NewCollector(0)
	stream.From(env, collection.Slice(1, -2, 3, 0, 5), stream.UID("src")).
		Filter(func(i int) bool { return i > 0 }, stream.UID("valid")).To(out, stream.UID("out"))
	fig, err := streamtest.Run(t.Context(), env, streamtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := fig.Counters["valid/"+rowop.MetricFiltered]; n != 2 || len(out.Rows()) != 3 {
		t.Fatalf("%d rows were dropped and %d kept, want 2 and 3", n, len(out.Rows()))
	}
}
