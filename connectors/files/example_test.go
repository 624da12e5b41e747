package files_test

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// run runs the job that was built to its end.
func run(env *stream.Env) {
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		fmt.Println(err)
	}
}

// folder makes a folder with one file.
func folder(name, text string) (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "files-")
	if err != nil {
		fmt.Println(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		fmt.Println(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// Lines of JSON from one folder to another, exactly once.
func Example() {
	type trade struct {
		Symbol string `json:"symbol"`
		Cents  int64  `json:"price" leat:"decimal=2"`
	}
	dir, remove := folder("trades.jsonl", `{"symbol":"tin","price":3.10}`+"\n"+`{"symbol":"zinc","price":0}`+"\n")
	defer remove()

	env := stream.NewEnv()
	trades := stream.From(env, files.NewSource(
		files.SourceConfig{Pattern: filepath.Join(dir, "*.jsonl")}, jsonfmt.DecoderOf(trade{})), stream.UID("trades"))
	trades.Filter(func(t trade) bool { return t.Cents > 0 }).
		To(files.NewSink(filepath.Join(dir, "out"), jsonfmt.EncoderOf(trade{})), stream.UID("out"))
	run(env)

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

// CSV whose columns are found by the header line; what does not fit is told
// with its place.
func ExampleNewSource() {
	type trade struct {
		Symbol string  `json:"symbol"`
		Cents  int64   `json:"price" leat:"decimal=2"`
		Note   *string `json:"note"`
	}
	dir, remove := folder("trades.csv", "price;symbol;note\n3.10;tin;\nmuch;zinc;\n4;lead;\"first; last\"\n")
	defer remove()

	env := stream.NewEnv()
	trades := stream.From(env, files.NewSource(
		files.SourceConfig{Pattern: filepath.Join(dir, "*.csv")},
		csvfmt.DecoderOf(trade{}, csvfmt.Delimiter(';'))), stream.UID("trades"))
	stream.Map(trades, func(t trade) string { return fmt.Sprint(t.Symbol, " ", t.Cents, " ", t.Note != nil) }).
		To(console.Of(""), stream.UID("good"))
	stream.Map(stream.DeadLetters(trades), func(d connectors.DeadLetter) string {
		return fmt.Sprintf("%s, byte %d: %s", filepath.Base(d.Topic), d.Offset, d.Error)
	}).To(console.Of("").Prefix("bad: "), stream.UID("bad"))
	run(env)
	// Unordered output:
	// tin 310 false
	// lead 400 true
	// bad: trades.csv, byte 28: csvfmt: column price: "much" is no decimal of at most 2 fraction digits
}

type sale struct {
	Region string    `json:"region"`
	Cents  int64     `json:"amount" leat:"decimal=2"`
	At     time.Time `json:"at"`
}

func sales() connectors.SourceOf[sale] {
	at := func(hour int) time.Time { return time.Date(2026, 1, 1, hour, 30, 0, 0, time.UTC) }
	return collection.Slice(sale{"EU", 3_10, at(5)}, sale{"US", 4_00, at(5)}, sale{"EU", 1_00, at(6)})
}

// Packed files of CSV in folders by region and hour.
func ExampleSink_Bucket() {
	dir, remove := folder("other", "")
	defer remove()

	env := stream.NewEnv()
	sink := files.NewSink(filepath.Join(dir, "sales"), csvfmt.EncoderOf(sale{})).
		Bucket(func(s sale) string {
			return "region=" + s.Region + "/hour=" + s.At.Format("2006-01-02T15")
		}).
		With(files.SinkConfig{Compression: files.Gzip, RollBytes: 64 << 20})
	stream.From(env, sales(), stream.UID("sales")).To(sink, stream.UID("files"))
	run(env)

	parts, _ := filepath.Glob(filepath.Join(dir, "sales", "*", "*", "part-*.csv.gz")) // the pattern is well-formed
	for _, part := range parts {
		fmt.Println(strings.TrimPrefix(filepath.Dir(part), dir+"/"))
	}
	// Output:
	// sales/region=EU/hour=2026-01-01T05
	// sales/region=EU/hour=2026-01-01T06
	// sales/region=US/hour=2026-01-01T05
}

// The same on S3. The keys are those of the environment, unless others are
// named.
func ExampleSink_With() {
	endpoint := keysInEnvironment()
	env := stream.NewEnv()
	sink := files.NewSink("s3://"+bucket+"/sales", jsonfmt.EncoderOf(sale{})).
		Bucket(func(s sale) string { return "region=" + s.Region }).
		With(files.SinkConfig{S3: files.S3{
			Endpoint: endpoint, Region: "us-east-1", AccessKeyEnv: "ARCHIVE_KEY", SecretKeyEnv: "ARCHIVE_SECRET",
		}})
	stream.From(env, sales(), stream.UID("sales")).To(sink, stream.UID("files"))
	run(env)

	var folders []string
	for o := range client.ListObjects(context.Background(), bucket, minio.ListObjectsOptions{Prefix: "sales/", Recursive: true}) {
		folders = append(folders, path.Dir(o.Key))
	}
	slices.Sort(folders)
	fmt.Println(folders)
	// Output: [sales/region=EU sales/region=US]
}

// keysInEnvironment sets the variables and returns the server's endpoint.
func keysInEnvironment() (endpoint string) {
	for name, key := range map[string]string{"ARCHIVE_KEY": s3.AccessKey, "ARCHIVE_SECRET": s3.SecretKey} {
		if err := os.Setenv(name, key); err != nil {
			fmt.Println(err)
		}
	}
	return s3.Endpoint
}

// A source that looks for new files never ends.
func ExampleSourceConfig() {
	src := files.NewSource(files.SourceConfig{
		Pattern:  "s3://incoming/orders/*/*.csv.gz",
		Interval: 30 * time.Second,
	}, csvfmt.DecoderOf(sale{}))
	fmt.Println(src.Bounded(), src.Fault())
	fmt.Println("lines have no times, so event time is taken from the rows:", src.Timeless())
	// Output:
	// false <nil>
	// lines have no times, so event time is taken from the rows: true
}

// A file is unpacked when its name says that it is packed; Plain and Gzip say
// it whatever the names are.
func ExampleCompression() {
	dir, remove := folder("sales.csv.gz", "region;amount;at\nEU;3;2026-01-01T05:30:00Z\n") // not packed, in spite of its name
	defer remove()
	for _, packed := range []files.Compression{files.ByName, files.Plain} {
		env := stream.NewEnv()
		src := files.NewSource(files.SourceConfig{Pattern: filepath.Join(dir, "*"), Compression: packed}, csvfmt.DecoderOf(sale{}, csvfmt.Delimiter(';')))
		stream.Map(stream.From(env, src, stream.UID("sales")), func(s sale) string { return s.Region }).To(console.Of(""), stream.UID("out"))
		_, err := streamtest.Run(context.Background(), env, streamtest.Options{})
		fmt.Println(err == nil)
	}
	// Output:
	// false
	// EU
	// true
}
