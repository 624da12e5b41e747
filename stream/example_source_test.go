package stream_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func ExampleFrom() {
	env := stream.NewEnv()
	clicks := stream.From(env, collection.Slice(clicks()...), stream.UID("clicks"),
		stream.Timestamps(func(c click) time.Time { return c.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(5*time.Second).WithIdleness(30*time.Second)),
		stream.WatermarkInterval(200*time.Millisecond))
	show(env, clicks.Filter(func(c click) bool { return c.User == "bob" }))
	// Output:
	// {bob 16 1970-01-01 00:01:59 +0000 UTC}
	// {bob 2 1970-01-01 00:00:10 +0000 UTC}
}

// A table of prices that changes seldom: the orders alone move event time.
func ExampleNoWatermarks() {
	type price struct {
		Good  string
		Cents int
		Since time.Time
	}
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	env := stream.NewEnv()
	prices := stream.From(env, streamtest.Source(price{}), stream.UID("prices"),
		stream.Timestamps(func(p price) time.Time { return p.Since }),
		stream.Watermarks(stream.NoWatermarks()))
	table := stream.ToTable(stream.KeyBy(prices, func(p price) string { return p.Good }), stream.UID("table"))
	clicks := stream.From(env, streamtest.Source(click{}), stream.UID("clicks"),
		stream.Timestamps(func(c click) time.Time { return c.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(10*time.Second)))
	byUser := stream.KeyBy(clicks, func(c click) string { return c.User })
	stream.TemporalJoin(byUser, table, stream.Inner(func(c click, p price) string {
		return fmt.Sprintf("%d at %d", c.At.Unix(), p.Cents)
	}), stream.UID("join"))

	d := streamtest.NewDriver(streamtest.Console{}, env)
	goods, rows, out := streamtest.Input(d, "prices", price{}), streamtest.Input(d, "clicks", click{}), streamtest.Output(d, "join", "")
	goods.Push(price{"ann", 5, at(1)})
	rows.Push(click{User: "ann", At: at(20)}, click{User: "ann", At: at(40)}) // the watermark is at 29 s
	fmt.Println(out.Take())
	goods.Push(price{"ann", 6, at(15)}) // late: for the rows to come
	rows.Push(click{User: "ann", At: at(60)})
	fmt.Println(out.Take())
	// Output:
	// [20 at 5]
	// [40 at 6]
}

// Options of a job: a program sets them with env.Set.
func ExampleNewEnv() {
	env := stream.NewEnv(
		stream.JobName("clicks"),
		stream.DefaultParallelism(4),
		stream.CheckpointInterval(500*time.Millisecond),
		stream.CheckpointTimeout(2*time.Minute),
		stream.AlignedTimeout(200*time.Millisecond),
		stream.RestartExponential(100*time.Millisecond, 10*time.Second))
	from(env).To(collection.NewCollector(click{}), stream.UID("out"))
	g, err := env.Graph()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Name, g.Config.Parallelism, g.Config.CheckpointInterval)
	// Output: clicks 4 500ms
}

func ExampleDataStream_Union() {
	env := stream.NewEnv()
	web := stream.From(env, collection.Slice("a", "b"), stream.UID("web"))
	app := stream.From(env, collection.Slice("c"), stream.UID("app"))
	show(env, web.Union(app))
	// Output:
	// a
	// b
	// c
}

func ExampleDataStream_Partition() {
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Slice(1, 2, 3, 4), stream.UID("numbers"))
	odd := numbers.Partition(func(n, parallelism int) int { return n % parallelism })
	show(env, stream.Map(odd, func(n int) string { return fmt.Sprint("n", n) }, stream.Parallelism(2)))
	// Output:
	// n1
	// n2
	// n3
	// n4
}

// Rows are dealt out anew before a step that is expensive.
func ExampleDataStream_Rebalance() {
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Slice(1, 2, 3), stream.UID("numbers"), stream.Parallelism(1))
	show(env, stream.Map(numbers.Rebalance(), func(n int) int { return n * n }, stream.Parallelism(3)))
	// Output:
	// 1
	// 4
	// 9
}

// Every subtask gets each row.
func ExampleDataStream_Broadcast() {
	env := stream.NewEnv()
	rules := stream.From(env, collection.Slice("stop"), stream.UID("rules"))
	show(env, stream.Map(rules.Broadcast(), strings.ToUpper, stream.Parallelism(2)))
	// Output:
	// STOP
	// STOP
}

// The only subtask that gets rows is the first.
func ExampleDataStream_Global() {
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Partitions([]int{1, 2}, []int{3}), stream.UID("numbers"), stream.Parallelism(2))
	show(env, stream.Map(numbers.Global(), func(n int) int { return -n }, stream.Parallelism(2)))
	// Output:
	// -1
	// -2
	// -3
}

// Records that cannot be decoded go their own way instead of failing the job.
func ExampleDeadLetters() {
	type line struct {
		N int64 `json:"n"`
	}
	env := stream.NewEnv()
	lines := stream.From(env, files.NewSource(files.SourceConfig{Pattern: "testdata/lines.jsonl"}, jsonfmt.DecoderOf(line{})), stream.UID("lines"))
	lines.To(collection.NewCollector(line{}), stream.UID("good"))
	show(env, stream.Map(stream.DeadLetters(lines), func(d connectors.DeadLetter) string {
		return fmt.Sprintf("%s: %s", d.Topic, d.Value)
	}))
	// Output:
	// testdata/lines.jsonl: {"n":"many"}
}

// wholeMinutes holds the watermark back until a minute is over.
type wholeMinutes struct{ latest int64 }

// Observe implements stream.WatermarkGenerator.
func (w *wholeMinutes) Observe(times []int64) {
	for _, t := range times {
		w.latest = max(w.latest, t)
	}
}

// Watermark implements stream.WatermarkGenerator.
func (w *wholeMinutes) Watermark() int64 { return w.latest - w.latest%60_000 - 1 }

func ExampleCustomWatermarks() {
	env := stream.NewEnv()
	all := stream.From(env, collection.Slice(clicks()...), stream.UID("clicks"),
		stream.Timestamps(func(c click) time.Time { return c.At }),
		stream.Watermarks(stream.CustomWatermarks("whole minutes", func() stream.WatermarkGenerator { return &wholeMinutes{} })))
	byUser := stream.KeyBy(all, func(c click) string { return c.User })
	show(env, stream.Aggregate(byUser.Window(stream.Tumbling(time.Hour)), sumClicks{}, stream.UID("sums")))
	// Output:
	// 18
	// 45
}

// Properties are what -D gave, Args what stood behind the bundle.
func ExampleEnv_Args() {
	build := func(env *stream.Env) *collection.Collector[string] {
		out := collection.NewCollector("")
		stream.From(env, collection.Slice(env.Args()...), stream.UID("args")).
			Filter(func(s string) bool { return s != env.Property("without") }).
			To(out, stream.UID("out"))
		return out
	}
	env := stream.NewEnv(stream.ProgramArgs([]string{"a", "b"}), stream.Properties(map[string]string{"without": "b"}))
	out := build(env)
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(out.Rows())
	// Output: [a]
}
