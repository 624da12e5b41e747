package files_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/stream"
)

// nested does not fit a line of columns.
type nested struct {
	ID    int64
	Place struct{ City string }
}

// TestTypeThatAFormatRefuses wants a type that cannot be written or read to be
// a fault of the program with its line, each once.
func TestTypeThatAFormatRefuses(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	conn := kafka.Connection{Brokers: []string{"localhost:1"}}
	src, err := kafka.NewSource(kafka.SourceConfig{Connection: conn, Topics: []string{"in"}}, csvfmt.DecoderOf(nested{}))
	if err != nil {
		t.Fatal(err)
	}
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: conn, Topic: "out", Delivery: kafka.AtLeastOnce}, csvfmt.EncoderOf(nested{}))
	if err != nil {
		t.Fatal(err)
	}
	rows := stream.From(env, collection.Slice(nested{}), stream.UID("rows"))
	rows.To(files.NewSink(t.TempDir(), csvfmt.EncoderOf(nested{})), stream.UID("files"))
	rows.To(console.New(csvfmt.EncoderOf(nested{})), stream.UID("console"))
	rows.To(sink, stream.UID("kafka"))
	stream.From(env, files.NewSource(files.SourceConfig{Pattern: "in/*"}, csvfmt.DecoderOf(nested{})), stream.UID("read"))
	stream.From(env, src, stream.UID("consume"))
	_, err = env.Graph()
	if err == nil {
		t.Fatal("a type that has no line was accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{
		`files .*: encoder`, `console: encoder`, `kafka out: encoder`, `files in/\*: decoder`, `kafka in: decoder`,
	} {
		whole := regexp.MustCompile(`^files/fault_test\.go:\d+: ` + want + `: csvfmt: \S+\.Place: .* does not fit one column: [^:]*$`)
		if i >= len(lines) || !whole.MatchString(lines[i]) {
			t.Errorf("want %s in\n%s", want, err)
		}
	}
	if len(lines) != 5 {
		t.Errorf("%d faults:\n%s", len(lines), err)
	}
}
