package console_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func ExampleSink_Into() {
	var printed strings.Builder
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Slice(1, 2), stream.UID("numbers"))
	numbers.To(console.Of(0).Into(&printed))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		panic(err)
	}
	fmt.Printf("%q\n", printed.String())
	// Output: "1\n2\n"
}

func ExampleNew() {
	type word struct {
		Text string `json:"text"`
	}
	env := stream.NewEnv()
	words := stream.From(env, collection.Slice(word{"to"}, word{"be"}), stream.UID("words"))
	words.To(console.New(jsonfmt.EncoderOf(word{})).Prefix("word: "))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		panic(err)
	}
	// Output:
	// word: {"text":"to"}
	// word: {"text":"be"}
}

// A type that the format refuses is a fault of the program: To asks for it.
func ExampleSink_Fault() {
	fmt.Println(console.New(csvfmt.EncoderOf([]string{})).Fault())
	// Output: encoder: csvfmt: []string is no struct: a record has a field for each column
}
