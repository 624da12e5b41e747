package files_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// Lines of JSON from one folder to another, exactly once.
func Example() {
	type trade struct {
		Symbol string `json:"symbol"`
		Cents  int64  `json:"price" leat:"decimal=2"`
	}
	dir, err := os.MkdirTemp("", "trades-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	lines := `{"symbol":"tin","price":3.10}` + "\n" + `{"symbol":"zinc","price":0}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "trades.jsonl"), []byte(lines), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	env := stream.NewEnv()
	trades := stream.From(env, files.NewSource(
		files.SourceConfig{Pattern: filepath.Join(dir, "*.jsonl")}, jsonfmt.DecoderOf[trade]()), stream.UID("trades"))
	trades.Filter(func(t trade) bool { return t.Cents > 0 }).
		To(files.NewSink(filepath.Join(dir, "out"), jsonfmt.EncoderOf[trade]()), stream.UID("out"))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		fmt.Println(err)
		return
	}

	parts, _ := filepath.Glob(filepath.Join(dir, "out", "part-*")) // the pattern is well-formed
	for _, part := range parts {
		text, err := os.ReadFile(part)
		fmt.Print(string(text))
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// {"symbol":"tin","price":3.10}
}
