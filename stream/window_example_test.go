package stream_test

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/stream"
)

// clickRow is a result with its window.
func clickRow(user string, w stream.Window, sum int64) string {
	return fmt.Sprintf("%s %s-%s %d", user, w.Start().Format("04:05"), w.End().Format("04:05"), sum)
}

// sumN adds up N, and merges sums.
type sumN struct{}

func (sumN) Add(sum *int64, c click) { *sum += c.N }
func (sumN) Result(sum *int64) int64 { return *sum }
func (sumN) Merge(into, from *int64) { *into += *from }
func byUser(env *stream.Env) *stream.KeyedStream[string, click] {
	return stream.KeyBy(from(env), func(c click) string { return c.User })
}

func ExampleSliding() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Sliding(time.Minute, 30*time.Second))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-01:00 5
	// ann 00:30-01:30 12
	// ann 01:00-02:00 8
	// ann 01:30-02:30 32
	// ann 02:00-03:00 32
	// ann 59:30-00:30 1
	// bob 00:00-01:00 2
	// bob 01:00-02:00 16
	// bob 01:30-02:30 16
	// bob 59:30-00:30 2
}

func ExampleCumulative() {
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Cumulative(2*time.Minute, time.Minute))
	show(env, stream.AggregateWindow(win, sumN{}, clickRow, stream.UID("sums")))
	// Output:
	// ann 00:00-01:00 5
	// ann 00:00-02:00 13
	// ann 02:00-03:00 32
	// ann 02:00-04:00 32
	// bob 00:00-01:00 2
	// bob 00:00-02:00 18
}

func ExampleIn() {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	env := stream.NewEnv()
	win := byUser(env).Window(stream.Tumbling(24*time.Hour, stream.In(berlin)))
	show(env, stream.AggregateWindow(win, sumN{}, func(user string, w stream.Window, sum int64) string {
		return fmt.Sprintf("%s %s %d", user, w.Start().In(berlin).Format(time.DateTime), sum)
	}, stream.UID("days")))
	// Output:
	// ann 1970-01-01 00:00:00 45
	// bob 1970-01-01 00:00:00 18
}
