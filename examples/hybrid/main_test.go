package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/connectors/hybrid"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestHybrid reads files and then a collection, with crashes all along.
func TestHybrid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 5, minute, 0, 0, time.UTC) }
	for name, lines := range map[string][]string{
		"orders-0-2.jsonl": {`{"region":"EU","amount":1.50,"at":"2026-01-01T05:10:00Z"}`, `{"region":"EU","amount":2.25,"at":"2026-01-01T05:40:00Z"}`},
		"orders-1-1.jsonl": {`{"region":"US","amount":8,"at":"2026-01-01T05:41:00Z"}`},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	history := files.NewSource(files.SourceConfig{Pattern: filepath.Join(dir, "orders-*.jsonl")}, jsonfmt.DecoderOf(Order{}))
	live := collection.Slice(Order{"EU", 4_00, at(50)}, Order{"EU", 16_00, at(61)}, Order{"US", 32_00, at(59)})
	env, out := stream.NewEnv(), collection.NewCollector(Revenue{})
	revenue(env, hybrid.New(history, live)).To(out, stream.UID("out"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 3}, CheckpointEvery: 2, CrashEvery: 5}); err != nil {
		t.Fatal(err)
	}
	got := out.Rows()
	slices.SortFunc(got, func(a, b Revenue) int { return int(a.Sum - b.Sum) })
	if want := []Revenue{{"EU", at(0), 3, 7_75}, {"EU", at(60), 1, 16_00}, {"US", at(0), 2, 40_00}}; !slices.Equal(got, want) {
		t.Errorf("revenue %v, want %v", got, want)
	}
}

// The last file of a partition says where the topic goes on.
func TestOffsetsAfter(t *testing.T) {
	t.Parallel()
	end := func(ids ...string) (e hybrid.End) {
		for _, id := range ids {
			e.Splits = append(e.Splits, connectors.EndedSplit{Split: connectors.Split{ID: id}})
		}
		return e
	}
	got, err := offsetsAfter(end("s3://b/orders-0-700.jsonl:0", "s3://b/orders-0-1500.jsonl:0", "s3://b/orders-1-3.jsonl:64"), "orders")
	want := map[kafka.TopicPartition]int64{{Topic: "orders", Partition: 0}: 1500, {Topic: "orders", Partition: 1}: 3}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("offsets %v, error %v, want %v", got, err, want)
	}
	for _, id := range []string{"/a/orders.jsonl:0", "/a/orders-x-1.jsonl:0", "/a/orders-1-x.jsonl:0"} {
		if _, err := offsetsAfter(end(id), "orders"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", id)) {
			t.Errorf("file %s: error %v", id, err)
		}
	}
}
