package stream_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

type click struct {
	User string
	N    int64
	At   time.Time
}

func at(seconds int) time.Time { return time.Unix(int64(seconds), 0).UTC() }

func clicks() []click {
	return []click{
		{"ann", 1, at(5)}, {"bob", 2, at(10)}, {"ann", 4, at(59)},
		{"ann", 8, at(61)}, {"bob", 16, at(119)}, {"ann", 32, at(130)},
	}
}

func from(env *stream.Env) *stream.DataStream[click] {
	return stream.From(env, collection.Slice(clicks()...), stream.UID("clicks"),
		stream.Timestamps(func(c click) time.Time { return c.At }),
		stream.Watermarks(stream.Monotonous().PerRow()))
}

// show runs the job and prints what came out, sorted.
func show[T any](env *stream.Env, out *stream.DataStream[T]) {
	rows := collection.NewCollector(*new(T))
	out.To(rows, stream.UID("out"))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	var lines []string
	for _, r := range rows.Rows() {
		lines = append(lines, fmt.Sprintf("%v", r))
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
}

func ExampleDataStream_Filter() {
	env := stream.NewEnv()
	many := from(env).Filter(func(c click) bool { return c.N > 10 })
	show(env, stream.Map(many, func(c click) string { return c.User }))
	// Output:
	// ann
	// bob
}

func ExampleMap() {
	env := stream.NewEnv()
	show(env, stream.Map(from(env), func(c click) string { return fmt.Sprintf("%s %02d", c.User, c.N) }))
	// Output:
	// ann 01
	// ann 04
	// ann 08
	// ann 32
	// bob 02
	// bob 16
}

func ExampleFlatMap() {
	env := stream.NewEnv()
	lines := stream.From(env, collection.Slice("to be", "or not"), stream.UID("lines"))
	words := stream.FlatMap(lines, func(line string, emit func(string)) {
		for _, w := range strings.Fields(line) {
			emit(w)
		}
	})
	show(env, words)
	// Output:
	// be
	// not
	// or
	// to
}

type perUser struct {
	User  string
	Start string
	Sum   int64
}

type sumClicks struct{}

func (sumClicks) Add(sum *int64, c click) { *sum += c.N }
func (sumClicks) Result(sum *int64) int64 { return *sum }

func ExampleAggregateWindow() {
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	sums := stream.AggregateWindow(byUser.Window(stream.Tumbling(time.Minute)), sumClicks{},
		func(user string, w stream.Window, sum int64) perUser {
			return perUser{user, w.Start().Format("15:04:05"), sum}
		}, stream.UID("sums"))
	show(env, sums)
	// Output:
	// {ann 00:00:00 5}
	// {ann 00:01:00 8}
	// {ann 00:02:00 32}
	// {bob 00:00:00 2}
	// {bob 00:01:00 16}
}

func ExampleAggregate() {
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	show(env, stream.Aggregate(byUser.Window(stream.Tumbling(time.Hour)), sumClicks{}, stream.UID("sums")))
	// Output:
	// 18
	// 45
}

func ExampleReduceWindow() {
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	most := stream.ReduceWindow(byUser.Window(stream.Tumbling(time.Hour)), func(a, b click) click {
		if b.N > a.N {
			return b
		}
		return a
	}, stream.UID("most"))
	show(env, stream.Map(most, func(c click) string { return fmt.Sprint(c.User, " ", c.N) }))
	// Output:
	// ann 32
	// bob 16
}

func ExampleProcessWindow() {
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	lists := stream.ProcessWindow(byUser.Window(stream.Tumbling(time.Minute)),
		func(user string, w stream.Window, rows []click, emit func(string)) {
			line := fmt.Sprintf("%s %s", w.Start().Format("15:04"), user)
			for _, c := range rows {
				line += fmt.Sprintf(" %d", c.N)
			}
			emit(line)
		}, stream.UID("lists"))
	show(env, lists)
	// Output:
	// 00:00 ann 1 4
	// 00:00 bob 2
	// 00:01 ann 8
	// 00:01 bob 16
	// 00:02 ann 32
}

func ExampleWindowedStream_Late() {
	env := stream.NewEnv()
	late := clicks()
	late = append(late, click{"bob", 64, at(1)})
	src := collection.Slice(late...)
	all := stream.From(env, src, stream.UID("clicks"),
		stream.Timestamps(func(c click) time.Time { return c.At }),
		stream.Watermarks(stream.Monotonous().PerRow()))
	perMinute := stream.KeyBy(all, func(c click) string { return c.User }).
		Window(stream.Tumbling(time.Minute), stream.AllowedLateness(10*time.Second))
	sums := stream.Aggregate(perMinute, sumClicks{}, stream.UID("sums"))
	sums.To(collection.NewCollector(int64(0)), stream.UID("on time"))
	show(env, stream.Map(perMinute.Late(), func(c click) string { return fmt.Sprint(c.User, " ", c.N) }))
	// Output:
	// bob 64
}

func ExampleEnv_Graph() {
	env := stream.NewEnv(stream.JobName("broken"))
	lines := stream.From(env, collection.Slice("a", "b"))
	byLine := stream.KeyBy(lines, func(s string) string { return s })
	byLine.Window(stream.Tumbling(time.Minute))
	_, err := env.Graph()
	for _, line := range strings.Split(err.Error(), "\n") {
		_, fault, _ := strings.Cut(line, ": ")
		fmt.Println(fault)
	}
	// Output:
	// source has state and needs a name for good: add stream.UID("source")
	// a window (tumbling 1m0s offset 0ms) needs event time, but source "collection" (at stream/example_test.go:179) has no watermarks: add stream.Watermarks to its From
}
