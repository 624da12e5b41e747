package files_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/formats/csvfmt"
)

// write opens a writer of subtask 0 of 1.
func write(t *testing.T, sink *files.Sink[row], life dataflow.Incarnation, attempt dataflow.Attempt, prepared ...connectors.Committable) (w connectors.Writer, rejected *[]error) {
	t.Helper()
	rejected = new([]error)
	w, err := sink.NewWriter(&connectors.WriterContext{
		Info: dataflow.TaskInfo{Operator: dataflow.OperatorIDOf("out"), Parallelism: 1, Attempt: attempt}, Incarnation: life, Wake: func() {},
		Reject: func(_ *columnar.Batch, _ int, err error) { *rejected = append(*rejected, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if err := w.Recover(t.Context(), prepared); err != nil {
		t.Fatal(err)
	}
	return w, rejected
}

func add(t *testing.T, w connectors.Writer, rows ...row) {
	t.Helper()
	if err := w.Write(columnar.NewBatch(rows, nil)); err != nil {
		t.Fatal(err)
	}
}

func prepare(t *testing.T, w connectors.Writer) []connectors.Committable {
	t.Helper()
	all, err := w.Prepare(t.Context(), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func commit(t *testing.T, w connectors.Writer) {
	t.Helper()
	if err := w.Commit(t.Context(), prepare(t, w)); err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, r root) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	r.visible(t, all)
	return all
}

func TestFilesRollBySize(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		w, _ := write(t, files.NewSink(string(r), csvfmt.EncoderOf(row{})).With(files.SinkConfig{S3: s3, RollBytes: 30}), "life", 1)
		for i := range 10 {
			add(t, w, row{i, "0123456789"})
		}
		committables := prepare(t, w)
		if len(committables) != 1 || len(look(t, r)) != 0 {
			t.Fatalf("%d committables, visible %v", len(committables), look(t, r))
		}
		if err := w.Commit(t.Context(), committables); err != nil {
			t.Fatal(err)
		}
		all := look(t, r)
		if len(all) != 5 || len(readBack(t, r, all)) != 10 {
			t.Errorf("%d files, %d rows", len(all), len(readBack(t, r, all)))
		}
		for name, text := range all {
			if !strings.HasPrefix(string(text), "n,text\n") || len(text) > 45 || !strings.HasSuffix(name, ".csv") {
				t.Errorf("%s is %q", name, text)
			}
		}
		if more := prepare(t, w); len(more) != 0 {
			t.Errorf("nothing was written, committables %v", more)
		}
	})
}

func TestLargeFilesGoUpInParts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		w, _ := write(t, files.NewSink(string(r), encoder).With(files.SinkConfig{S3: s3}), "life", 1)
		text := strings.Repeat("x", 100_000)
		for i := range 130 {
			add(t, w, row{i, text})
		}
		commit(t, w)
		all := look(t, r)
		if got := readBack(t, r, all); len(all) != 1 || len(got) != 130 || got[129] != (row{129, text}) {
			t.Errorf("%d files, %d rows", len(all), len(got))
		}
	})
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		sink := files.NewSink(string(r), encoder).Bucket(func(r row) string { return r.Text }).With(files.SinkConfig{S3: s3})
		w, rejected := write(t, sink, "life", 1)
		wrong := []string{"/abs", "../up", "a/../../b", "a//b", "a/", "./a", ".hidden", "a/.hidden", ".", "a\nb", strings.Repeat("x", 600)}
		add(t, w, row{1, "date=1/hour=05"}, row{2, ""}, row{3, "date=1/hour=06"}, row{4, "date=1/hour=05"})
		for _, bucket := range wrong {
			add(t, w, row{0, bucket})
		}
		commit(t, w)
		if len(*rejected) != len(wrong) {
			t.Errorf("%d rows were rejected, want %d: %v", len(*rejected), len(wrong), *rejected)
		}
		got := make(map[string]string)
		for name, text := range look(t, r) {
			got[strings.TrimSuffix(filepath.Dir("/"+name), "/")] += string(text)
		}
		want := map[string]string{
			"":                `{"n":2,"text":""}` + "\n",
			"/date=1/hour=06": `{"n":3,"text":"date=1/hour=06"}` + "\n",
			"/date=1/hour=05": `{"n":1,"text":"date=1/hour=05"}` + "\n" + `{"n":4,"text":"date=1/hour=05"}` + "\n",
		}
		if !maps.Equal(got, want) {
			t.Errorf("visible %q, want %q", got, want)
		}
	})
}

// With more buckets than open files the one that was not used for the longest
// is ended.
func TestOpenFilesAreBounded(t *testing.T) {
	t.Parallel()
	r := root(t.TempDir())
	sink := files.NewSink(string(r), encoder).Bucket(func(r row) string { return r.Text })
	w, _ := write(t, sink.With(files.SinkConfig{OpenMax: 2}), "life", 1)
	for i, b := range []string{"a", "b", "a", "c", "a", "b"} { // c ends b, b ends c
		add(t, w, row{i, b})
	}
	commit(t, w)
	got := make(map[string]int)
	for name := range look(t, r) {
		got[filepath.Dir(name)]++
	}
	if want := map[string]int{"a": 1, "b": 2, "c": 1}; !maps.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	w, _ = write(t, sink.With(files.SinkConfig{OpenMax: 1, FilesMax: 3}), "life", 2)
	add(t, w, row{1, "a"}, row{2, "b"}, row{3, "c"})
	err := w.Write(columnar.NewBatch([]row{{4, "d"}}, nil))
	fatal(t, err, "LEAT5311", "made 3 files in one checkpoint")
}

// A savepoint is the start of another life of the job: it leaves alone what
// the first life has not published yet, and both have names of their own.
func TestLivesDoNotMeet(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		sink := files.NewSink(string(r), encoder).With(files.SinkConfig{S3: s3})
		first, _ := write(t, sink, "one", 1)
		add(t, first, row{1, "first"})
		sealed := prepare(t, first)
		second, _ := write(t, sink, "two", 1)
		add(t, second, row{2, "second"})
		commit(t, second)
		if err := first.Commit(t.Context(), sealed); err != nil {
			t.Fatal(err)
		}
		if rows := readBack(t, r, look(t, r)); len(rows) != 2 {
			t.Errorf("rows %v", rows)
		}
	})
}

// What is lost is told, however it was lost; what is there is not damaged.
func TestLostFilesAreTold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		sink := files.NewSink(string(r), encoder).With(files.SinkConfig{S3: s3})
		w, _ := write(t, sink, "life", 1)
		add(t, w, row{1, "x"})
		lost := prepare(t, w)
		// A later attempt that knows nothing of it removes it.
		later, _ := write(t, sink, "life", 2)
		fatal(t, later.Commit(t.Context(), lost), "LEAT5303", "is gone")
		fatal(t, w.Commit(t.Context(), lost), "LEAT5303", "is gone")
	})
}

func TestCommittablesOfAnyKind(t *testing.T) {
	t.Parallel()
	r := root(t.TempDir())
	w, _ := write(t, files.NewSink(string(r), encoder), "life", 1)
	// Version 1 was one file.
	r.put(t, ".part-x", []byte("{\"n\":1,\"text\":\"\"}\n"))
	old := connectors.Committable{Data: []byte(`{"version":1,"hidden":".part-x","final":"part-x.jsonl"}`)}
	for range 2 {
		if err := w.Commit(t.Context(), []connectors.Committable{old}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(r.path("part-x.jsonl")); err != nil {
		t.Error(err)
	}
	for _, data := range []string{
		``, `{}`, `{"version":9}`, `{"version":1,"hidden":".x","final":"../x"}`, `{"version":1,"hidden":"../x","final":"x"}`,
		`{"version":2,"files":[{"name":"/etc/x","handle":".x"}]}`, `{"version":2,"files":[{"name":"a/../../x","handle":".x"}]}`,
		`{"version":2,"files":[{"name":"a"}]}`,
	} {
		if err := w.Commit(t.Context(), []connectors.Committable{{Data: []byte(data)}}); err == nil || errors.As(err, new(*connectors.FatalError)) {
			t.Errorf("%s: error %v", data, err)
		}
	}
}

func TestSinksAreChecked(t *testing.T) {
	t.Parallel()
	check := func(dir string, s files.S3) error {
		return files.NewSink(dir, encoder).With(files.SinkConfig{S3: s}).Check(t.Context(), connectors.CheckInfo{})
	}
	if err := errors.Join(check("s3://"+bucket+"/x", s3), check(t.TempDir(), files.S3{})); err != nil {
		t.Error(err)
	}
	fatal(t, check("s3://leat-none/x", s3), "LEAT5305", "leat-none")
	wrong := s3
	wrong.SecretKey = "wrong"
	fatal(t, check("s3://"+bucket, wrong), "LEAT5306", "refuses")
}

func TestKeysFromTheEnvironment(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", s3.Endpoint)
	t.Setenv("AWS_REGION", s3.Region)
	named := files.S3{AccessKeyEnv: "OTHER_KEY", SecretKeyEnv: "OTHER_SECRET"}
	_, err := files.NewSink("s3://"+bucket, encoder).With(files.SinkConfig{S3: named}).NewWriter(&connectors.WriterContext{})
	fatal(t, err, "LEAT5306", "OTHER_KEY")
	for _, c := range []struct {
		key, secret string
		s3          files.S3
	}{{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", files.S3{}}, {"OTHER_KEY", "OTHER_SECRET", named}} {
		t.Setenv(c.key, s3.AccessKey)
		t.Setenv(c.secret, s3.SecretKey)
		r := root(fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)))
		w, _ := write(t, files.NewSink(string(r), encoder).With(files.SinkConfig{S3: c.s3}), "life", 1)
		add(t, w, row{1, "x"})
		commit(t, w)
		if names := slices.Collect(maps.Keys(look(t, r))); len(names) != 1 || !strings.HasPrefix(names[0], "part-") {
			t.Errorf("visible %q", names)
		}
	}
}

// Nothing is allocated per row while a file is written.
func TestWritingDoesNotAllocate(t *testing.T) {
	w, _ := write(t, files.NewSink(t.TempDir(), csvfmt.EncoderOf(row{})).Bucket(func(r row) string { return "a" }), "life", 1)
	rows := make([]row, 1000)
	for i := range rows {
		rows[i] = row{i, "text"}
	}
	b := columnar.NewBatch(rows, nil)
	n := testing.AllocsPerRun(100, func() {
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 {
		t.Errorf("%v allocations for %d rows", n, len(rows))
	}
	if err := w.Flush(context.Background()); err != nil {
		t.Error(err)
	}
}
