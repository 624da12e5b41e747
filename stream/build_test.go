package stream_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
)

type unencodable struct{ C chan int }

// TestFaultsAreReportedTogether builds a program with one fault of each kind.
func TestFaultsAreReportedTogether(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv(stream.MaxParallelism(8))
	src := stream.From(env, collection.Slice(1, 2), stream.UID("src"))
	stream.From(env, collection.Slice(1, 2), stream.UID("src"))
	stream.Map(src, func(i int) unencodable { return unencodable{} })
	byKey := stream.KeyBy(src, func(i int) int { return i })
	win := byKey.Window(stream.Tumbling(0), stream.AllowedLateness(-time.Second))
	win.Late()
	src.Filter(func(int) bool { return true }, stream.Parallelism(9))
	stream.From(env, collection.Slice("a"), stream.UID("text"), stream.TimestampMillis(func(i int) int64 { return 0 }))
	stream.DeadLetters(stream.Map(src, func(i int) int { return i }))
	src.To(collection.NewCollector(0))
	stream.From(env, datagen.New(datagen.Config{Count: -1, Splits: -2}, func(int64, *rand.Rand) int { return 0 }), stream.UID("gen"))
	untimed := stream.From(env, collection.Slice(1, 2), stream.UID("untimed"), stream.Watermarks(stream.Monotonous()))
	stream.KeyBy(untimed, func(i int) int { return i }).Window(stream.Tumbling(time.Minute))
	src.To(files.NewSink("", jsonfmt.EncoderOf(0)), stream.UID("files"))
	_, err := env.Graph()
	if err == nil {
		t.Fatal("a broken program was accepted")
	}
	for _, want := range []string{
		`two operators have UID "src" (the other at stream/build_test.go:`,
		`unencodable.C`,
		`window of 0s is shorter than a millisecond`,
		`allowed lateness -1s is negative`,
		`needs event time, but source "collection" (UID "src", at stream/build_test.go:23) has no watermarks: add stream.Watermarks to its From`,
		`needs event time, but the rows of source "collection" (UID "untimed", at stream/build_test.go:34) have no times: add stream.Timestamps to its From`,
		`Late is asked of a window without a function`,
		`parallelism is not between 1 and the maximum parallelism 8`,
		`the timestamp function takes int, but rows of source "collection" are string`,
		`dead letters are asked of operator "map#2"`,
		`sink has state and needs a name for good`,
		`datagen: count -1 is negative`,
		`datagen: number of splits -2 is less than 1`,
		`files: the sink's folder has no name`,
	} {
		found := false
		for _, line := range strings.Split(err.Error(), "\n") {
			if strings.Contains(line, want) && strings.HasPrefix(line, "stream/build_test.go:") {
				found = true
			}
		}
		if !found {
			t.Errorf("no line at this file says %q in:\n%v", want, err)
		}
	}
}

func build() (*graph.JobGraph, error) {
	env := stream.NewEnv(stream.JobName("j"))
	src := stream.From(env, collection.Slice(3, 1, 2), stream.UID("src")).Rebalance()
	odd := src.Filter(func(i int) bool { return i%2 == 1 })
	odd.Union(stream.Map(src, func(i int) int { return -i })).
		Partition(func(v, parallelism int) int { return v % parallelism }).
		To(collection.NewCollector(0), stream.UID("out"), stream.Parallelism(3))
	return env.Graph()
}

// TestGraphIsDeterministic builds a program twice.
func TestGraphIsDeterministic(t *testing.T) {
	t.Parallel()
	a, err := build()
	if err != nil {
		t.Fatal(err)
	}
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	if a.Fingerprint() != b.Fingerprint() {
		t.Fatal("two builds differ")
	}
	var edges []string
	for _, e := range a.Edges {
		edges = append(edges, a.Node(e.From).UID+" "+string(e.Partitioning)+" "+a.Node(e.To).UID)
	}
	got := strings.Join(edges, "\n")
	want := "src rebalance filter#1\nsrc rebalance map#1\nfilter#1 custom out\nmap#1 custom out"
	if got != want {
		t.Fatalf("edges\n%s\nwant\n%s", got, want)
	}
}
