package hybrid_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/hybrid"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reading is a row of one of several meters, whose clocks go different ways.
type reading struct {
	Meter int
	At    int64
	N     int64
}

type hour struct {
	Meter int
	From  int64
	Sum   int64
	Rows  int
}

const window = time.Second

// history makes ascending readings of some meters, one slice for each, cut
// into parts at places of their own: part p of each meter goes on where part
// p-1 has ended, much earlier or later than others.
func history(rng *rand.Rand, meters, parts int) [][][]reading {
	out := make([][][]reading, parts)
	for p := range out {
		out[p] = make([][]reading, meters)
	}
	for m := range meters {
		at := int64(rng.IntN(500))
		for p := range parts {
			for range 5 + rng.IntN(60) {
				at += int64(rng.IntN(900))
				out[p][m] = append(out[p][m], reading{Meter: m, At: at, N: int64(rng.IntN(100))})
			}
		}
	}
	return out
}

// expected sums the readings of each meter in each window.
func expected(parts [][][]reading) map[hour]int {
	type key struct {
		meter int
		from  int64
	}
	sums := make(map[key]hour)
	for _, part := range parts {
		for _, rows := range part {
			for _, r := range rows {
				k := key{r.Meter, r.At - r.At%window.Milliseconds()}
				h := sums[k]
				h.Meter, h.From, h.Sum, h.Rows = r.Meter, k.from, h.Sum+r.N, h.Rows+1
				sums[k] = h
			}
		}
	}
	out := make(map[hour]int)
	for _, h := range sums {
		out[h]++
	}
	return out
}

type total struct {
	Sum  int64
	Rows int
}

type summing struct{}

func (summing) Add(t *total, r reading) { t.Sum += r.N; t.Rows++ }
func (summing) Result(t *total) total   { return *t }

// hours adds a job to env that sums up windows over all of src.
func hours(env *stream.Env, src connectors.SourceOf[reading], to connectors.SinkOf[hour]) {
	in := stream.From(env, src, stream.UID("readings"), stream.TimestampMillis(func(r reading) int64 { return r.At }),
		stream.Watermarks(stream.Monotonous()))
	byMeter := stream.KeyBy(in, func(r reading) int { return r.Meter })
	stream.AggregateWindow(byMeter.Window(stream.Tumbling(window)), summing{}, func(m int, w stream.Window, t total) hour {
		return hour{Meter: m, From: w.Start().UnixMilli(), Sum: t.Sum, Rows: t.Rows}
	}, stream.UID("hours")).To(to, stream.UID("out"))
}

func compare(t *testing.T, got []hour, want map[hour]int) {
	t.Helper()
	have := make(map[hour]int)
	for _, h := range got {
		have[h]++
	}
	if maps.Equal(have, want) {
		return
	}
	for h, n := range want {
		if have[h] != n {
			t.Errorf("%+v is there %d times, want %d", h, have[h], n)
		}
	}
	for h := range have {
		if want[h] == 0 {
			t.Errorf("%+v is there, want none", h)
		}
	}
}

// TestWindowsSpanTheSwitch reads parts of meters whose clocks differ widely one
// after the other, with crashes, at changing parallelism: each window holds
// what it has in the plain input, none is closed before the next part has
// brought its rows, nothing is late.
func TestWindowsSpanTheSwitch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		parts := history(rng, 1+rng.IntN(4), 2+rng.IntN(2))
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var sources []connectors.SourceOf[reading]
			for i, p := range parts {
				src := collection.Partitions(p...).BatchRows([]int{1, 3, 1024}[rng.IntN(3)])
				if i == len(parts)-1 && seed%2 == 1 {
					src = src.Endless()
				}
				sources = append(sources, src)
			}
			opt := streamtest.Options{
				Parallelism: []int{1 + rng.IntN(4), 1 + rng.IntN(4), 1 + rng.IntN(4)}, CheckpointEvery: 1 + rng.IntN(5), CrashEvery: 11 + rng.IntN(20), StopIdle: true, PollsMax: 20_000,
			}
			env, out := stream.NewEnv(), collection.NewCollector(hour{})
			hours(env, hybrid.New(sources[0], sources[1:]...), out)
			f, err := streamtest.Run(t.Context(), env, opt)
			if err != nil {
				t.Fatal(err)
			}
			for name, n := range f.Counters {
				if strings.Contains(strings.ToLower(name), "late") && n > 0 {
					t.Errorf("%s is %d", name, n)
				}
			}
			want := expected(parts)
			if seed%2 == 1 {
				// Without an end the last windows stay open: idle splits say
				// nothing about their future, the others are as wanted.
				settle(t, out.Rows(), want)
				if len(out.Rows()) < len(want)/10 {
					t.Errorf("%d windows of %d are closed", len(out.Rows()), len(want))
				}
				return
			}
			compare(t, out.Rows(), want)
		})
	}
}

// settle compares the windows that are there.
func settle(t *testing.T, got []hour, want map[hour]int) {
	t.Helper()
	seen := make(map[hour]bool)
	for _, h := range got {
		if want[h] != 1 || seen[h] {
			t.Errorf("window %+v is wrong, or there twice", h)
		}
		seen[h] = true
	}
}

// TestNothingBeginsBeforeAllHasEnded: with one long and several short splits,
// no row of the second source comes before the last of the first one.
func TestNothingBeginsBeforeAllHasEnded(t *testing.T) {
	t.Parallel()
	first := [][]reading{make([]reading, 200), {{}}, {{}}, nil}
	second := [][]reading{{{N: 1}}, {{N: 1}}, {{N: 1}}, {{N: 1}}}
	env, out := stream.NewEnv(), collection.NewCollector(reading{})
	stream.From(env, hybrid.New(collection.Partitions(first...).BatchRows(1), collection.Partitions(second...)), stream.UID("in")).
		To(out, stream.UID("out"), stream.Parallelism(1))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{4}, CheckpointEvery: 5, CrashEvery: 37}); err != nil {
		t.Fatal(err)
	}
	rows := out.Rows()
	if len(rows) != 206 {
		t.Fatalf("%d rows, want 206", len(rows))
	}
	for i, r := range rows {
		if want := int64(0); i >= 202 {
			want = 1
			if r.N != want {
				t.Errorf("row %d is of the first source", i)
			}
		} else if r.N != want {
			t.Errorf("row %d is of the second source", i)
		}
	}
}

// TestTheStartFollowsFromTheEnd gives the second source the rows after those
// that the first one has read, by what its end says, and fails a few times.
func TestTheStartFollowsFromTheEnd(t *testing.T) {
	t.Parallel()
	all := make([]reading, 100)
	for i := range all {
		all[i] = reading{At: int64(i) * 1000, N: int64(i)}
	}
	calls := 0
	first := collection.Slice(all[:40]...)
	src := hybrid.New[reading](first).Then(collection.Slice(all...), func(_ context.Context, end hybrid.End) (connectors.SourceOf[reading], error) {
		if calls++; calls < 3 {
			return nil, errors.New("not now")
		}
		latest, ok := end.Latest()
		if len(end.Splits) != 1 || end.Splits[0].ID != "part-0" || !ok {
			return nil, &connectors.FatalError{What: fmt.Sprintf("the end is %+v", end)}
		}
		return skipTo{collection.Slice(all...), int(latest.UnixMilli()+1)/1000 + 1}, nil
	})
	env, out := stream.NewEnv(), collection.NewCollector(reading{})
	stream.From(env, src, stream.UID("in"), stream.TimestampMillis(func(r reading) int64 { return r.At }), stream.Watermarks(stream.Monotonous())).
		To(out, stream.UID("out"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{CheckpointEvery: 3, CrashEvery: 50}); err != nil {
		t.Fatal(err)
	}
	rows := out.Rows()
	if len(rows) != len(all) || calls != 3 {
		t.Fatalf("%d rows after %d calls, want %d after 3", len(rows), calls, len(all))
	}
	for i, r := range rows {
		if r.N != int64(i) {
			t.Fatalf("row %d is %+v", i, r)
		}
	}
}

// skipTo is a collection that starts at another row.
type skipTo struct {
	*collection.Source[reading]
	row int
}

func (s skipTo) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	e, err := s.Source.NewEnumerator(ctx)
	return skipEnumerator{e, s.row}, err
}

type skipEnumerator struct {
	connectors.Enumerator
	row int
}

func (e skipEnumerator) Discover(ctx context.Context) ([]connectors.Split, error) {
	splits, err := e.Enumerator.Discover(ctx)
	for i := range splits {
		splits[i].Position = []byte{1, byte(e.row)}
	}
	return splits, err
}

func TestFaults(t *testing.T) {
	t.Parallel()
	ok := collection.Slice(reading{})
	var missing *collection.Source[reading]
	for name, c := range map[string]struct {
		src  *hybrid.Source[reading]
		want string
	}{
		"one source":    {hybrid.New[reading](ok), "one source only"},
		"nil":           {hybrid.New[reading](ok, missing), "source 2 of 2 is nil"},
		"nil interface": {hybrid.New[reading](nil, ok), "source 1 of 2 is nil"},
		"never ends":    {hybrid.New[reading](ok.Endless(), ok), "source 1 of 2, collection, never ends"},
		"no start":      {hybrid.New[reading](collection.Slice(reading{})).Then(collection.Slice(reading{}), nil), "the function that gives its start is nil"},
	} {
		env := stream.NewEnv()
		stream.From(env, c.src, stream.UID("in")).To(collection.NewCollector(reading{}), stream.UID("out"))
		_, err := env.Graph()
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "hybrid_test.go:") {
			t.Errorf("%s: error %v, want %q and the place", name, err, c.want)
		}
	}
}
