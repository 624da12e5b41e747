package files_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestAJobThatCrashes copies files from and to either place, by a job that
// loses everything now and then, at another parallelism each time.
func TestAJobThatCrashes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		var want []row
		for f := range 5 {
			var text []byte
			for i := range 6000 {
				v := row{f*10_000 + i, fmt.Sprint("row ", i)}
				want = append(want, v)
				text = fmt.Appendf(text, "{\"n\":%d,\"text\":%q}\n", v.N, v.Text)
			}
			r.put(t, fmt.Sprintf("in/%d.jsonl", f), text)
		}
		env := stream.NewEnv()
		rows := stream.From(env, files.NewSource(files.SourceConfig{Pattern: r.path("in/*"), SplitBytes: 1 << 20, S3: s3}, jsonfmt.DecoderOf(row{})), stream.UID("in"))
		rows.To(files.NewSink(r.path("out"), csvfmt.EncoderOf(row{})).
			Bucket(func(r row) string { return fmt.Sprint("d=", r.N%3) }).
			With(files.SinkConfig{S3: s3, RollBytes: 5000, Compression: files.Gzip}), stream.UID("out"))
		figures, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 1, 3}, CheckpointEvery: 2, CrashEvery: 9})
		if err != nil || figures.Crashes == 0 {
			t.Fatalf("%+v, error %v", figures, err)
		}
		out := root(r.path("out"))
		got := readBack(t, out, look(t, out))
		slices.SortFunc(got, func(a, b row) int { return a.N - b.N })
		if !slices.Equal(got, want) {
			t.Errorf("%d rows came out, want %d", len(got), len(want))
		}
		if n := out.unpublished(t); n > 0 {
			t.Errorf("%d files are left that nobody will publish", n)
		}
	})
}

// TestFilesThatComeWhileAJobRuns makes each file when the one before was read.
func TestFilesThatComeWhileAJobRuns(t *testing.T) {
	t.Parallel()
	r := root(t.TempDir())
	r.put(t, "0.csv", []byte("n,text\n0,x\n"))
	env := stream.NewEnv()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []int
	rows := stream.From(env, files.NewSource(files.SourceConfig{Pattern: r.path("*.csv"), Interval: time.Second}, csvfmt.DecoderOf(row{})), stream.UID("in"))
	stream.Map(rows, func(v row) row {
		got = append(got, v.N)
		if v.N == 4 {
			cancel()
		}
		if next := v.N + 1; next < 5 {
			// It is complete when it appears.
			if err := os.WriteFile(r.path("new"), fmt.Appendf(nil, "n,text\n%d,x\n", next), 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Rename(r.path("new"), filepath.Join(string(r), fmt.Sprint(next, ".csv"))); err != nil {
				t.Error(err)
			}
		}
		return v
	}, stream.UID("next")).To(collection.NewCollector(row{}), stream.UID("out"))
	if _, err := streamtest.Run(ctx, env, streamtest.Options{CheckpointEvery: 3}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if want := []int{0, 1, 2, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("rows %v", got)
	}
}
