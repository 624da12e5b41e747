package collection_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func Example() {
	env := stream.NewEnv()
	out := collection.NewCollector(0)
	numbers := stream.From(env, collection.Slice(1, 2, 3), stream.UID("numbers"))
	stream.Map(numbers, func(n int) int { return n * n }).To(out, stream.UID("out"))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(out.Rows())
	// Output: [1 4 9]
}

// Each slice of Partitions is a split: it has a watermark of its own and is
// read beside the others.
func ExamplePartitions() {
	env := stream.NewEnv()
	out := collection.NewCollector("")
	stream.From(env, collection.Partitions([]string{"a", "b"}, []string{"c"}), stream.UID("letters")).
		To(out, stream.UID("out"))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{Parallelism: []int{2}}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(len(out.Rows()), "rows")
	// Output: 3 rows
}

// A source without an end, as Kafka is one: the job goes on after its rows.
// The event times of what came out are kept.
func ExampleSource_Endless() {
	env := stream.NewEnv()
	out := collection.NewCollector(0)
	seconds := stream.From(env, collection.Slice(1, 2, 3).BatchRows(1).Endless(), stream.UID("seconds"),
		stream.Timestamps(func(s int) time.Time { return time.Unix(int64(s), 0) }))
	seconds.To(out, stream.UID("out"))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{StopIdle: true}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(out.Rows(), out.Times())
	// Output:
	// [1 2 3] [1000 2000 3000]
}

// Rows have no times of their own: event time is taken from them with
// stream.Timestamps.
func ExampleSource_Timeless() {
	fmt.Println(collection.Slice(1, 2).Timeless())
	// Output: true
}
