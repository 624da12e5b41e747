package streamtest_test

import (
	"context"
	"fmt"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// The sum is the same although everything but checkpoints is lost after each
// seventh poll, and the parallelism changes each time.
func ExampleRun() {
	var numbers []int
	for i := range 100 {
		numbers = append(numbers, i)
	}
	env := stream.NewEnv()
	out := collection.NewCollector(0)
	all := stream.From(env, collection.Slice(numbers...).BatchRows(5), stream.UID("numbers"))
	all.Rebalance().To(out, stream.UID("out"))
	figures, err := streamtest.Run(context.Background(), env, streamtest.Options{
		Parallelism: []int{2, 3, 1}, CheckpointEvery: 3, CrashEvery: 7,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	sum := 0
	for _, n := range out.Rows() {
		sum += n
	}
	fmt.Println(sum, "disturbed:", figures.Crashes > 0)
	// Output: 4950 disturbed: true
}
