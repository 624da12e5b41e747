package stream_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
)

// Options of a step: what it is called, how many subtasks it has, and with
// which steps it shares a thread and a slot.
func ExampleName() {
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Slice(1, 2), stream.UID("numbers"))
	squares := stream.Map(numbers, func(n int) int { return n * n },
		stream.UID("squares"), stream.Name("square each number"), stream.Parallelism(2),
		stream.StartChain(), stream.SlotSharingGroup("heavy"))
	texts := stream.Map(squares, func(n int) string { return fmt.Sprint(n) }, stream.UID("texts"), stream.NoChaining())
	texts.To(collection.NewCollector(""), stream.UID("out"))
	g, err := env.Graph()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range g.Nodes {
		fmt.Printf("%s: %q in group %q\n", n.UID, n.Name, n.SlotGroup)
	}
	// Output:
	// numbers: "numbers" in group ""
	// squares: "square each number" in group "heavy"
	// texts: "texts" in group ""
	// out: "out" in group ""
}

// What becomes of a job that fails: here it is started again three times, ten
// seconds apart. The default never gives up and waits longer each time.
func ExampleRestartFixed() {
	env := stream.NewEnv(
		stream.RestartFixed(3, 10*time.Second), // or RestartFailureRate, RestartExponential, RestartNever
		stream.CheckpointsRetained(5),
		stream.MaxParallelism(512),
		stream.BufferTimeout(5*time.Millisecond))
	from(env).To(collection.NewCollector(click{}), stream.UID("out"))
	g, err := env.Graph()
	fmt.Println(g.MaxParallelism, err)
	// Output: 512 <nil>
}

// An evictor drops rows for good before the function of the window is called:
// here all but the first of each minute.
func ExampleCustomEvictor() {
	env := stream.NewEnv()
	few := stream.CustomEvictor(func(_ stream.Window, rows []stream.WindowElement[click]) []stream.WindowElement[click] {
		return rows[:min(len(rows), 1)]
	})
	win := byUser(env).Window(stream.Tumbling(time.Minute), stream.Evictor(few))
	show(env, stream.ProcessWindow(win, func(user string, _ stream.Window, rows []click, emit func(string)) {
		emit(fmt.Sprint(user, " ", rows[0].N, strings.Repeat("!", len(rows))))
	}, stream.UID("first of a minute")))
	// Output:
	// ann 1!
	// ann 32!
	// ann 8!
	// bob 16!
	// bob 2!
}

// Rows whose value is far from that of the last one are dropped.
func ExampleKeepNear() {
	env := stream.NewEnv()
	near := stream.KeepNear(30, func(row, last click) float64 { return float64(last.N - row.N) })
	win := byUser(env).Window(stream.Tumbling(time.Hour), stream.Evictor(near))
	show(env, stream.ProcessWindow(win, func(user string, _ stream.Window, rows []click, emit func(string)) {
		emit(fmt.Sprint(user, " ", len(rows)))
	}, stream.UID("near")))
	// Output:
	// ann 3
	// bob 2
}

// Days that begin an hour before midnight.
func ExampleOffset() {
	env := stream.NewEnv()
	days := byUser(env).Window(stream.Tumbling(24*time.Hour, stream.Offset(-time.Hour)))
	show(env, stream.AggregateWindow(days, sumClicks{}, func(user string, day stream.Window, sum int64) string {
		return fmt.Sprint(user, " ", day.Start().Format(time.Kitchen), " ", sum)
	}, stream.UID("days")))
	// Output:
	// ann 11:00PM 45
	// bob 11:00PM 18
}
