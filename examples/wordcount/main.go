// Command wordcount counts words in windows of a minute. The lines are made
// up, or read from files of JSON texts or from a topic.
//
//	go run ./examples/wordcount
//	go run ./examples/wordcount --lines 'logs/*.jsonl'
//	go run ./examples/wordcount --local --brokers localhost:9092
package main

import (
	"flag"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

// Line is a line of text.
type Line struct {
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// Word is a word of a line.
type Word struct{ Text string }

// Count tells how often a word came in a window.
type Count struct {
	Word  string    `json:"word"`
	Until time.Time `json:"until"`
	N     int64     `json:"n"`
}

func build(env *stream.Env) error {
	set := flag.NewFlagSet("wordcount", flag.ContinueOnError)
	pattern := set.String("lines", "", `files of lines {"text":…,"at":…}; none: made-up lines`)
	count := set.Int64("count", 100_000, "number of made-up lines; 0: without end")
	p := place.Flags(env, "wordcount", set)
	var lines connectors.SourceOf[Line] = datagen.New(datagen.Config{Count: *count, Splits: 2, PerSecond: 50_000}, makeLine)
	if *pattern != "" {
		lines = files.NewSource(files.SourceConfig{Pattern: *pattern}, jsonfmt.DecoderOf(Line{}))
	}
	byWord := func(dst []byte, c *Count) []byte { return append(dst, c.Word...) }
	counts(env, place.From(p, "lines", lines)).To(place.To(p, "counts", byWord), stream.UID("out"))
	return p.Err()
}

// counts adds the job to env.
func counts(env *stream.Env, lines connectors.SourceOf[Line]) *stream.DataStream[Count] {
	all := stream.From(env, lines, stream.UID("lines"),
		stream.Timestamps(func(l Line) time.Time { return l.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(time.Second)))
	words := stream.FlatMap(all, func(l Line, emit func(Word)) {
		for _, w := range strings.Fields(l.Text) {
			emit(Word{strings.ToLower(w)})
		}
	})
	perMinute := stream.KeyBy(words, func(w Word) string { return w.Text }).Window(stream.Tumbling(time.Minute))
	return stream.AggregateWindow(perMinute, counter{}, func(word string, w stream.Window, n int64) Count {
		return Count{Word: word, Until: w.End(), N: n}
	}, stream.UID("counts"))
}

// counter counts.
type counter struct{}

// Add implements stream.Aggregator.
func (counter) Add(n *int64, _ Word) { *n++ }

// Result implements stream.Aggregator.
func (counter) Result(n *int64) int64 { return *n }

var vocabulary = strings.Fields("a leat is the channel that leads water to a mill and a mill makes flour of what flows")

func makeLine(i int64, rng *rand.Rand) Line {
	words := make([]string, 6)
	for k := range words {
		words[k] = vocabulary[rng.IntN(len(vocabulary))]
	}
	const start = 1_767_225_600 // 2026-01-01
	return Line{Text: strings.Join(words, " "), At: time.Unix(start, i*int64(5*time.Millisecond)).UTC()}
}
