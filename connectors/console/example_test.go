package console_test

import (
	"context"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func ExampleNew() {
	type word struct {
		Text string `json:"text"`
	}
	env := stream.NewEnv()
	words := stream.From(env, collection.Slice(word{"to"}, word{"be"}), stream.UID("words"))
	words.To(console.New(jsonfmt.EncoderOf[word]()).Prefix("word: "))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		panic(err)
	}
	// Output:
	// word: {"text":"to"}
	// word: {"text":"be"}
}
