package hybrid_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// Files first, then a source that goes on (here it is bounded, too, so that
// the job ends by itself).
func ExampleNew() {
	type order struct {
		ID string `json:"id"`
	}
	dir, err := os.MkdirTemp("", "orders-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "1.jsonl"), []byte(`{"id":"a"}`+"\n"+`{"id":"b"}`+"\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	history := files.NewSource(files.SourceConfig{Pattern: filepath.Join(dir, "*.jsonl")}, jsonfmt.DecoderOf(order{}))
	live := collection.Slice(order{"c"}, order{"d"})

	env, out := stream.NewEnv(), collection.NewCollector(order{})
	stream.From(env, hybrid.New(history, live), stream.UID("orders")).To(out, stream.UID("out"))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(out.Rows())
	// Output: [{a} {b} {c} {d}]
}

// The names of the files say up to which offset each partition is in them:
// orders-3-1500.jsonl holds those of partition 3 before offset 1500.
func ExampleSource_Then() {
	type order struct {
		ID string `json:"id"`
	}
	build := func(env *stream.Env) error {
		live := func(from kafka.Start) (*kafka.Source[order], error) {
			return kafka.NewSource(kafka.SourceConfig{
				Connection: kafka.Connection{Brokers: []string{"kafka-1:9092"}},
				Topics:     []string{"orders"},
				Start:      from,
			}, jsonfmt.DecoderOf(order{}))
		}
		next, err := live(kafka.Earliest())
		if err != nil {
			return err
		}
		history := files.NewSource(files.SourceConfig{Pattern: "/archive/orders-*.jsonl"}, jsonfmt.DecoderOf(order{}))
		all := hybrid.New(history).Then(next, func(_ context.Context, end hybrid.End) (connectors.SourceOf[order], error) {
			from, err := offsetsAfter(end)
			if err != nil {
				return nil, err
			}
			return live(kafka.FromOffsets(from))
		})
		stream.From(env, all, stream.UID("orders")).To(collection.NewCollector(order{}), stream.UID("out"))
		return nil
	}
	env := stream.NewEnv()
	if err := build(env); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := env.Graph(); err != nil {
		fmt.Println(err)
		return
	}
	from, err := offsetsAfter(hybrid.End{Splits: []connectors.EndedSplit{{Split: connectors.Split{ID: "/archive/orders-3-1500.jsonl:0"}}}})
	fmt.Println(from, err)
	// Output: map[orders-3:1500] <nil>
}

// offsetsAfter reads the offsets that follow an archive from its files' names.
func offsetsAfter(end hybrid.End) (map[kafka.TopicPartition]int64, error) {
	from := make(map[kafka.TopicPartition]int64)
	for _, s := range end.Splits {
		name, _, _ := strings.Cut(filepath.Base(s.ID), ".") // a file's split is path:byte
		parts := strings.Split(name, "-")
		if len(parts) != 3 {
			return nil, fmt.Errorf("file %q: want topic-partition-offset.jsonl", s.ID)
		}
		partition, err := strconv.ParseInt(parts[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", s.ID, err)
		}
		next, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", s.ID, err)
		}
		tp := kafka.TopicPartition{Topic: parts[0], Partition: int32(partition)}
		from[tp] = max(from[tp], next)
	}
	return from, nil
}

// What a source has read up to, when its splits end at times (a source of
// Kafka with StopTime does): another one begins there.
func ExampleEnd() {
	day := func(n int) int64 { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC).UnixMilli() }
	end := hybrid.End{Splits: []connectors.EndedSplit{{Watermark: day(3)}, {Watermark: day(2)}}}
	earliest, ok := end.Earliest()
	latest, _ := end.Latest()
	fmt.Println(earliest.UTC().Format(time.DateOnly), latest.UTC().Format(time.DateOnly), ok)
	// Output:
	// 2026-01-02 2026-01-03 true
}
