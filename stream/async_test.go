package stream_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// countries stands for a service.
var countries = map[string]string{"ann": "FI", "bob": "NZ"}

func countryOf(_ context.Context, user string) (country string, known bool, err error) {
	country, known = countries[user]
	return country, known, nil
}

func ExampleAsync() {
	env := stream.NewEnv()
	users := stream.From(env, collection.Slice("ann", "bob", "eve"), stream.UID("users"))
	told := stream.Async(users, func(ctx context.Context, user string) (string, error) {
		country, known, err := countryOf(ctx, user)
		if !known {
			country = "?"
		}
		return user + " " + country, err
	}, stream.UID("countries"), stream.Unordered(), stream.Capacity(20), stream.Timeout(5*time.Second))
	show(env, told)
	// Output:
	// ann FI
	// bob NZ
	// eve ?
}

func ExampleAsyncFlat() {
	env := stream.NewEnv()
	lines := stream.From(env, collection.Slice("1 2", "", "3"), stream.UID("lines"))
	words := stream.AsyncFlat(lines, func(_ context.Context, line string) ([]string, error) {
		return strings.Fields(line), nil
	}, stream.UID("words"))
	show(env, words)
	// Output:
	// 1
	// 2
	// 3
}

func ExampleRetry() {
	var calls atomic.Int64
	env := stream.NewEnv()
	users := stream.From(env, collection.Slice("ann"), stream.UID("users"))
	told := stream.Async(users, func(context.Context, string) (string, error) {
		if n := calls.Add(1); n < 3 {
			return "", errors.New("busy")
		}
		return fmt.Sprint("answered at attempt ", calls.Load()), nil
	}, stream.UID("told"), stream.Retry{Attempts: 5, Delay: 100 * time.Millisecond})
	show(env, told)
	// Output:
	// answered at attempt 3
}

func ExampleOnTimeout() {
	env := stream.NewEnv()
	users := stream.From(env, collection.Slice("ann", "bob"), stream.UID("users"))
	told := stream.Async(users, func(ctx context.Context, user string) (string, error) {
		if user == "bob" {
			<-ctx.Done() // never answered
			return "", ctx.Err()
		}
		return user + " " + countries[user], nil
	}, stream.UID("told"), stream.Timeout(time.Second),
		stream.OnTimeout(func(user string) (string, error) { return user + " ?", nil }))
	show(env, told)
	// Output:
	// ann FI
	// bob ?
}

func ExampleLookupJoin() {
	env := stream.NewEnv()
	name := func(c click) string { return c.User }
	joined := stream.LookupJoin(from(env), name, countryOf, func(c click, country *string) string {
		if country == nil {
			return fmt.Sprint(c.N, " from nowhere")
		}
		return fmt.Sprint(c.N, " from ", *country)
	}, stream.UID("countries"), stream.CacheFor(time.Minute, 10_000))
	show(env, joined)
	// Output:
	// 1 from FI
	// 16 from NZ
	// 2 from NZ
	// 32 from FI
	// 4 from FI
	// 8 from FI
}

// TestAsyncManyWays counts the answers in windows: none may be lost, come
// twice, or come late.
func TestAsyncManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	var all []click
	counts := make(map[string]int64)
	var failed []string
	for i := range int64(120) {
		c := click{User: fmt.Sprint("u", i%5), N: i, At: time.UnixMilli(i * 100).UTC()}
		all = append(all, c)
		if i%9 == 4 {
			failed = append(failed, fmt.Sprint("nine ", i))
			continue
		}
		counts[fmt.Sprint(c.User, " ", c.At.Truncate(time.Second).Unix())] += 2
	}
	var want []string
	for k, n := range counts {
		want = append(want, fmt.Sprint(k, " ", n))
	}
	for _, mode := range [][]stream.AsyncOption{{stream.Capacity(3)}, {stream.Unordered()}} {
		streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
			millis := func(c click) int64 { return c.At.UnixMilli() }
			in := streamtest.From(b, "rows", streamtest.Timed(millis, all[:70]...).WatermarkEach(0).Idle(),
				streamtest.Timed(millis, all[70:]...).WatermarkEach(0))
			opts := append(slices.Clone(mode), stream.UID("twice"), stream.OnError(stream.ToDeadLetters))
			twice := stream.AsyncFlat(in, func(_ context.Context, c click) ([]click, error) {
				for range c.N % 7 { // some answers come earlier than others
					runtime.Gosched()
				}
				if c.N%9 == 4 {
					return nil, fmt.Errorf("nine %d", c.N)
				}
				return []click{c, c}, nil
			}, opts...)
			perSecond := stream.KeyBy(twice, func(c click) string { return c.User }).Window(stream.Tumbling(time.Second))
			sums := stream.AggregateWindow(perSecond, clickCounter{}, func(user string, w stream.Window, n int64) string {
				return fmt.Sprint(user, " ", w.Start().Unix(), " ", n)
			}, stream.UID("sums"))
			streamtest.Expect(b, "counts", sums, want)
			streamtest.Expect(b, "failed", stream.Map(stream.DeadLetters(twice), func(d connectors.DeadLetter) string { return d.Error }), failed)
		}})
	}
}

// clickCounter counts clicks.
type clickCounter struct{}

func (clickCounter) Add(n *int64, _ click) { *n++ }
func (clickCounter) Result(n *int64) int64 { return *n }

// TestLookupJoinManyWays has keys that are looked up by several rows at once.
func TestLookupJoinManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	var all []int
	var want []string
	for i := range 150 {
		all = append(all, i)
		if i%7 == 6 {
			want = append(want, fmt.Sprint(i, " none"))
		} else {
			want = append(want, fmt.Sprint(i, " ", i%7*10))
		}
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		var mu sync.Mutex
		flying := make(map[int]int)
		lookup := func(_ context.Context, k int) (int, bool, error) {
			mu.Lock()
			flying[k]++
			mu.Unlock()
			runtime.Gosched()
			mu.Lock()
			defer mu.Unlock()
			flying[k]--
			return k * 10, k != 6, nil
		}
		joined := stream.LookupJoin(streamtest.From(b, "rows", streamtest.Rows(all...)), func(v int) int { return v % 7 }, lookup,
			func(v int, with *int) string {
				if with == nil {
					return fmt.Sprint(v, " none")
				}
				return fmt.Sprint(v, " ", *with)
			}, stream.UID("join"), stream.CacheFor(time.Minute, 3), stream.Capacity(10))
		streamtest.Expect(b, "joined", joined, want)
	}})
}

func TestAsyncPanicFails(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := stream.From(env, collection.Slice(1, 2, 3), stream.UID("src"))
	stream.Async(src, func(_ context.Context, v int) (int, error) {
		if v == 2 {
			panic("boom")
		}
		return v, nil
	}, stream.UID("async"), stream.OnError(stream.SkipRecord)).To(collection.NewCollector(0), stream.UID("out"))
	_, err := streamtest.Run(t.Context(), env, streamtest.Options{})
	if err == nil || !strings.Contains(err.Error(), "panic at async_test.go:") || !strings.Contains(err.Error(), "boom") || !strings.Contains(err.Error(), `at "part-0@1"`) {
		t.Errorf("a panic gave %v", err)
	}
}

func TestFaultsOfAsync(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := stream.From(env, collection.Slice("a"), stream.UID("src"))
	ask := func(context.Context, string) (int, error) { return 0, nil }
	stream.Async(src, (func(context.Context, string) (int, error))(nil), stream.UID("a"))
	stream.Async(src, ask)
	stream.Async(src, ask, stream.UID("b"), stream.Capacity(0), stream.Timeout(-time.Second))
	stream.Async(src, ask, stream.UID("c"), stream.Retry{Delay: time.Second})
	stream.Async(src, ask, stream.UID("d"), stream.Retry{Attempts: 2, Delay: -time.Second})
	stream.Async(src, ask, stream.UID("e"), stream.Retry{Attempts: 2, Factor: 0.5})
	stream.Async(src, ask, stream.UID("f"), stream.OnTimeout(func(string) (int, error) { return 0, nil }))
	stream.Async(src, ask, stream.UID("g"), stream.Timeout(1), stream.OnTimeout(func(int) (int, error) { return 0, nil }))
	stream.Async(src, ask, stream.UID("h"), stream.Timeout(1), stream.OnTimeout((func(string) (int, error))(nil)))
	stream.LookupJoin(src, func(s string) string { return s }, countryOf, (func(string, *string) string)(nil), stream.UID("i"))
	stream.LookupJoin(src, func(s string) string { return s }, countryOf, func(string, *string) string { return "" },
		stream.UID("j"), stream.CacheFor(-time.Second, 0))
	wantFaults(t, "async_test.go", env,
		"async is given a nil function", `async has state and needs a name for good`,
		"capacity 0 is less than 1", "time-out -1s is not positive",
		"Retry has 0 attempts", "Retry has a negative delay (-1s", "Retry has the factor 0.5",
		"OnTimeout is never asked: add stream.Timeout", "OnTimeout is given a func(int) (int, error), but async needs a func(string) (int, error)",
		"OnTimeout is given a nil function", "lookup-join is given a nil function",
		"the cache keeps answers for -1s", "the cache has room for 0 entries")
}
