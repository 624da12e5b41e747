package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	env := stream.NewEnv()
	out := collection.NewCollector(Count{})
	counts(env, collection.Slice(
		Line{"to be or", at(1)}, Line{"NOT to be", at(59)}, Line{"be", at(60)},
	)).To(out, stream.UID("out"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{3}}); err != nil {
		t.Fatal(err)
	}
	got := out.Rows()
	slices.SortFunc(got, func(a, b Count) int {
		if c := a.Until.Compare(b.Until); c != 0 {
			return c
		}
		return strings.Compare(a.Word, b.Word)
	})
	want := []Count{{"be", at(60), 2}, {"not", at(60), 1}, {"or", at(60), 1}, {"to", at(60), 2}, {"be", at(120), 1}}
	if !slices.Equal(got, want) {
		t.Fatalf("counts\n got %v\nwant %v", got, want)
	}
}
