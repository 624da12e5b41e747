package streamtest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// run runs a test as go test would.
func run(test func(t *testing.T)) {
	if v := flag.Lookup("test.v"); v != nil { // what -v tells of the test would be taken for output
		was := v.Value.String()
		_ = flag.Set("test.v", "false")
		defer func() { _ = flag.Set("test.v", was) }()
	}
	all := func(_, _ string) (bool, error) { return true, nil }
	fmt.Println("ok:", testing.RunTests(all, []testing.InternalTest{{Name: "Test", F: test}}))
}

// few are ways enough for an example; without them a Case is run in more.
func few(c streamtest.Case) streamtest.Case {
	c.Parallelism, c.Batch, c.Backends = []int{1, 2}, []int{1, 3}, []streamtest.Backend{streamtest.Memory()}
	return c
}

// The same sums come out whatever the batches, the parallelism and the crashes
// are. run is go test here.
func ExampleCheck() {
	run(func(t *testing.T) {
		streamtest.Check(t, few(streamtest.Case{Build: func(b *streamtest.Bench) {
			words := streamtest.From(b, "words", streamtest.Rows("a", "b", "a"), streamtest.Rows("b").Rows("a"))
			byWord := stream.KeyBy(words, func(w string) string { return w[:1] })
			longest := stream.Reduce(byWord, func(a, b string) string { return a + b }, stream.UID("joined"))
			last := stream.Map(longest, func(w string) string { return w })
			streamtest.ExpectTable(b, "table", last, func(w string) string { return w[:1] }, nil, []string{"aaa", "bb"})
			streamtest.Expect(b, "all", last, []string{"a", "aa", "aaa", "b", "bb"})
			streamtest.ExpectInOrder(b, "by key", last, func(w string) string { return w[:1] }, []string{"b", "bb", "a", "aa", "aaa"})
			streamtest.ExpectSame(b, "same", last)
		}}))
	})
	// Output:
	// ok: true
}

// Splits with event times, and with watermarks where the test wants them. Time
// passes where it says so, and only there.
func ExampleSplit() {
	run(func(t *testing.T) {
		streamtest.Check(t, few(streamtest.Case{Timing: streamtest.InOrder, Seed: streamtest.Seed(t), Build: func(b *streamtest.Bench) {
			second := func(s int64) int64 { return 1000 * s }
			in := streamtest.From(b, "seconds",
				streamtest.At(second(1), int64(1)).At(second(9), 9).Watermark(second(10)).Idle().Advance(time.Second).At(second(11), 3),
				streamtest.Timed(second, 2, 5, 12).WatermarkEach(0))
			all := stream.KeyBy(in, func(int64) string { return "all" }).Window(stream.Tumbling(10 * time.Second))
			sums := stream.ReduceWindow(all, func(a, b int64) int64 { return a + b }, stream.UID("sums"))
			streamtest.ExpectSame(b, "out", sums)
		}}))
	})
	// Output:
	// ok: true
}

// Splits may also take turns as they please, by chance.
func ExampleTiming() {
	fmt.Println(streamtest.Free == streamtest.Case{}.Timing)
	for _, b := range streamtest.Backends() {
		fmt.Println(b.Name)
	}
	// Output:
	// true
	// memory
	// pebble
}

// State on disk, another parallelism, and a clock that begins elsewhere.
func ExampleNewDriverWith() {
	d := streamtest.NewDriverWith(streamtest.Console{}, greetings(), streamtest.DriverOptions{
		Parallelism: 2, Backend: streamtest.Pebble(), Start: time.Unix(0, 0).UTC(),
	})
	out := streamtest.Output(d, "greeter", "")
	users := streamtest.Input(d, "users", "")
	users.Push("ann", "bob")
	first, ok := out.Next()
	fmt.Println(first, ok, out.Len(), d.Now().Year())
	before := d.Snapshot()
	users.Push("eve")
	d.RestoreAt(before, 3) // eve is unknown there; outputs keep what came out
	users.Push("ann", "eve")
	d.EndInput()
	fmt.Println(out.Take())
	// Output:
	// hello ann true 1 1970
	// [hello bob hello eve hello eve]
}

// Event time moves by hand: rows have the times that they are given.
func ExampleExplicitWatermarks() {
	env := stream.NewEnv()
	in := stream.From(env, streamtest.Source(0), stream.UID("numbers"), streamtest.ExplicitWatermarks())
	byAll := stream.KeyBy(in, func(int) string { return "all" }).Window(stream.Tumbling(time.Minute))
	stream.ReduceWindow(byAll, func(a, b int) int { return a + b }, stream.UID("sums"))
	d := streamtest.NewDriver(streamtest.Console{}, env)
	numbers, sums := streamtest.Input(d, "numbers", 0), streamtest.Output(d, "sums", 0)

	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	numbers.PushAt(start, 1)
	numbers.PushAt(start.Add(30*time.Second), 2)
	numbers.Watermark(start.Add(time.Minute))
	wm, ok := d.Watermark("sums")
	fmt.Println(sums.Take(), wm.Format(time.TimeOnly), ok)
	numbers.PushAt(start, 3) // too late
	fmt.Println(d.Counter("sums", "numLateRecordsDropped"))
	numbers.Idle() // holds nothing back until its next row
	// Output:
	// [3] 00:01:00 true
	// 1
}

// A record that could not be decoded is in the dead letters of its source.
func ExampleDriverInput_PushDeadLetter() {
	env := stream.NewEnv()
	users := stream.From(env, streamtest.Source(""), stream.UID("users"))
	stream.Map(stream.DeadLetters(users), func(l connectors.DeadLetter) string { return string(l.Value) + ": " + l.Error }, stream.UID("bad"))
	d := streamtest.NewDriver(streamtest.Console{}, env)
	bad := streamtest.Output(d, "bad", "")
	streamtest.Input(d, "users", "").PushDeadLetter(connectors.DeadLetter{Value: []byte("{"), Error: "not JSON"})
	fmt.Println(bad.Take())
	// Output:
	// [{: not JSON]
}

// What asynchronous functions answer comes when it comes.
func ExampleDriverOutput_Await() {
	env := stream.NewEnv()
	users := stream.From(env, streamtest.Source(""), stream.UID("users"))
	stream.Async(users, func(_ context.Context, u string) (string, error) {
		if u == "" {
			return "", errors.New("nobody")
		}
		return strings.ToUpper(u), nil
	}, stream.UID("answers"))
	d := streamtest.NewDriver(streamtest.Console{}, env)
	answers := streamtest.Output(d, "answers", "")
	streamtest.Input(d, "users", "").Push("ann", "bob")
	answers.Await(2)
	fmt.Println(answers.Take())
	streamtest.Input(d, "users", "").Push("eve")
	d.Await(func() bool { return answers.Len() == 1 })
	fmt.Println(answers.Take())
	// Output:
	// [ANN BOB]
	// [EVE]
}

// waiting counts the rows that it holds.
type waiting struct{ rows float64 }

func (w *waiting) Open(ctx *stream.RowContext[string]) error {
	ctx.Gauge("waiting", func() float64 { return w.rows })
	return nil
}

func (w *waiting) Process(*stream.RowContext[string], string) error {
	w.rows++
	return nil
}

func ExampleDriver_Gauge() {
	env := stream.NewEnv()
	users := stream.From(env, streamtest.Source(""), stream.UID("users"))
	stream.ProcessRows(users, &waiting{}, stream.UID("room"))
	d := streamtest.NewDriver(streamtest.Console{}, env)
	streamtest.Input(d, "users", "").Push("ann", "bob")
	fmt.Println(d.Gauge("room", "waiting"))
	// Output:
	// 2
}
