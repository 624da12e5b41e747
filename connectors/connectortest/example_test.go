package connectortest_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/connectortest"
)

// run runs a test as go test would, without -v: what that tells of the test
// would be taken for output of the example.
func run(test func(t *testing.T)) {
	if v := flag.Lookup("test.v"); v != nil {
		was := v.Value.String()
		_ = flag.Set("test.v", "false")
		defer func() { _ = flag.Set("test.v", was) }()
	}
	all := func(_, _ string) (bool, error) { return true, nil }
	fmt.Println("ok:", testing.RunTests(all, []testing.InternalTest{{Name: "Test", F: test}}))
}

func source() connectortest.SourceCase[int] {
	return connectortest.SourceCase[int]{
		New:  func() connectors.SourceOf[int] { return collection.Slice(1, 2, 3) },
		Rows: map[string][]int{"part-0": {1, 2, 3}},
	}
}

func sink() connectortest.SinkCase[int] {
	rows := collection.NewCollector(0)
	return connectortest.SinkCase[int]{
		New: func() connectors.SinkOf[int] { return rows }, Row: func(i int) int { return i },
		Visible: rows.Rows, Key: strconv.Itoa,
	}
}

// The test of a source: run is go test here.
func ExampleTestSource() {
	run(func(t *testing.T) { connectortest.TestSource(t, source()) })
	// Output:
	// ok: true
}

// The test of a sink: run is go test here.
func ExampleTestSink() {
	run(func(t *testing.T) { connectortest.TestSink(t, sink()) })
	// Output:
	// ok: true
}

// The checks as values: here those that a source does not keep which has lost a
// row.
func ExampleSourceChecks() {
	lossy := source()
	lossy.Rows["part-0"] = []int{1, 2, 3, 4}
	for _, check := range connectortest.SourceChecks(0) {
		if err := check.Run(context.Background(), lossy); err != nil {
			fmt.Println("the source", check.Name)
			break
		}
	}
	for _, check := range connectortest.SinkChecks(0) {
		if err := check.Run(context.Background(), sink()); err != nil {
			fmt.Println("the sink", check.Name, err)
		}
	}
	// Output:
	// the source reads everything once
}

// A test of one's own drives a reader with what the engine would give it.
func ExampleNewReaderContext() {
	src := collection.Slice("a", "b")
	splits, err := src.NewEnumerator(connectortest.NewEnumeratorContext(nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := splits.Discover(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := connectortest.NewReaderContext(func() {})
	clock := connectortest.NewClock(time.Unix(0, 0))
	ctx.Clock = clock // time moves by hand; by default it is MachineClock
	reader, err := src.NewReader(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(reader.AddSplits(found))
	got, ok, err := reader.Next()
	fmt.Println(got.Batch.Rows, ok, err)
	_, waits := clock.Next()
	clock.Advance(time.Second)
	fmt.Println(clock.Now().Unix(), waits, connectortest.MachineClock().Now().Unix() > 1)
	// Output:
	// <nil>
	// [a b] true <nil>
	// 1 false true
}

// A writer of one's own gets what the engine would give it.
func ExampleNewWriterContext() {
	rows := collection.NewCollector("")
	w, err := rows.NewWriter(connectortest.NewWriterContext(0, 1, func() {}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Close(), len(rows.Rows()))
	// Output:
	// <nil> 0
}
