package files_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/csvfmt"
)

// fatal wants a fault with a code and a remedy, which names no secret.
func fatal(t *testing.T, err error, code, text string) {
	t.Helper()
	var f *connectors.FatalError
	if !errors.As(err, &f) || f.Code != code || f.Fix == "" || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %s with %q", err, code, text)
	}
	if err != nil && strings.Contains(err.Error(), s3.SecretKey) {
		t.Errorf("the secret is in %v", err)
	}
}

func enumerate(t *testing.T, cfg files.SourceConfig, restored []byte) connectors.Enumerator {
	t.Helper()
	cfg.S3 = s3
	e, err := files.NewSource(cfg, decoder).NewEnumerator(&connectors.EnumeratorContext{Restored: restored})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func discover(t *testing.T, e connectors.Enumerator) (splits []connectors.Split, state []byte) {
	t.Helper()
	splits, err := e.Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if state, err = e.Snapshot(); err != nil {
		t.Fatal(err)
	}
	return splits, state
}

// readSplits reads splits to their ends, or to the first error.
func readSplits(t *testing.T, src *files.Source[row], deadLetters bool, splits ...connectors.Split) (rows []row, bad []connectors.DeadLetter, err error) {
	t.Helper()
	woken := make(chan struct{}, 64)
	r, err := src.NewReader(&connectors.ReaderContext{Wake: func() { woken <- struct{}{} }, DeadLetters: deadLetters})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.AddSplits(splits); err != nil {
		t.Fatal(err)
	}
	for left := len(splits); left > 0; {
		f, ok, err := r.Next()
		if err != nil {
			return rows, bad, err
		}
		if !ok {
			<-woken
			continue
		}
		if f.Batch != nil {
			rows = append(rows, columnar.Rows[row](f.Batch)...)
		}
		bad = append(bad, f.Bad...)
		if f.SplitEnd {
			left--
		}
	}
	return rows, bad, nil
}

func TestNewFilesAreFound(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		cfg := files.SourceConfig{Pattern: r.path("*.jsonl"), Interval: time.Second, SplitBytes: 20}
		if files.NewSource(cfg, decoder).Bounded() {
			t.Error("a source that looks again is bounded")
		}
		e := enumerate(t, cfg, nil)
		if splits, _ := discover(t, e); len(splits) != 0 || e.Interval() != time.Second {
			t.Fatalf("splits %v, interval %v", splits, e.Interval())
		}
		r.put(t, "b.jsonl", bytes.Repeat([]byte("x"), 30))
		first, _ := discover(t, e)
		r.put(t, "a.jsonl", bytes.Repeat([]byte("x"), 10))
		r.put(t, "other", []byte("x"))
		second, state := discover(t, e)
		if len(first) != 2 || len(second) != 3 || !reflect.DeepEqual(second[:2], first) {
			t.Fatalf("splits %v, then %v", first, second)
		}
		// Another life, and other settings: what was found stays as it is.
		cfg.SplitBytes = 7
		again, _ := discover(t, enumerate(t, cfg, state))
		if !reflect.DeepEqual(again, second) {
			t.Errorf("restored: %v, want %v", again, second)
		}
		r.put(t, "a.jsonl", bytes.Repeat([]byte("x"), 11))
		_, err := enumerate(t, cfg, state).Discover(t.Context())
		fatal(t, err, "LEAT5304", "a.jsonl has changed since it was found: it had 10 bytes")
	})
}

func TestTooManyFiles(t *testing.T) {
	t.Parallel()
	r := root(t.TempDir())
	r.put(t, "a", nil)
	e := enumerate(t, files.SourceConfig{Pattern: r.path("*"), Interval: time.Second, FilesMax: 2}, nil)
	discover(t, e)
	r.put(t, "b", nil)
	discover(t, e)
	r.put(t, "c", nil)
	_, err := e.Discover(t.Context())
	fatal(t, err, "LEAT5310", "more than 2 files")
}

// Of the same size but other content: only S3 tells.
func TestAChangedObjectIsNotRead(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		cfg := files.SourceConfig{Pattern: r.path("*"), S3: s3}
		r.put(t, "a", []byte(`{"n":1}`))
		splits, _ := discover(t, enumerate(t, cfg, nil))
		r.put(t, "a", []byte(`{"n":2}`))
		if r.s3() {
			_, _, err := readSplits(t, files.NewSource(cfg, decoder), true, splits...)
			fatal(t, err, "LEAT5304", "has changed since it was found")
		}
		r.put(t, "a", []byte(`{"n":1} `))
		_, _, err := readSplits(t, files.NewSource(cfg, decoder), true, splits...)
		fatal(t, err, "LEAT5304", "has changed since it was found")
	})
}

func TestFaultsOfReading(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r root) {
		_, err := enumerate(t, files.SourceConfig{Pattern: r.path("none*")}, nil).Discover(t.Context())
		fatal(t, err, "LEAT5301", "no file matches")

		r.put(t, "header.csv", []byte("n,other\n1,2\n"))
		r.put(t, "quote.csv", []byte("n,text\n1,\"two\nlines\"\n3,\n"))
		r.put(t, "bad.csv", []byte("n,text\n1,a\nx,b\n"))
		r.put(t, "no.gz", []byte("this is not packed"))
		short := packed(t, bytes.Repeat([]byte(`{"n":1}`+"\n"), 10_000))
		r.put(t, "short.gz", short[:len(short)-9])
		for _, c := range []struct{ file, code, text string }{
			{"header.csv", "LEAT5308", `there is no column "text"`},
			{"quote.csv", "LEAT5307", "line at byte 7 of " + r.path("quote.csv")},
			{"no.gz", "LEAT5302", "is no gzip file"},
			{"short.gz", "LEAT5302", "unexpected EOF"},
		} {
			cfg := files.SourceConfig{Pattern: r.path(c.file), S3: s3}
			dec := decoder
			if strings.HasSuffix(c.file, ".csv") {
				dec = csvfmt.DecoderOf(row{})
			}
			splits, _ := discover(t, enumerate(t, cfg, nil))
			for _, deadLetters := range []bool{false, true} {
				_, _, err := readSplits(t, files.NewSource(cfg, dec), deadLetters, splits...)
				fatal(t, err, c.code, c.text)
			}
		}

		cfg := files.SourceConfig{Pattern: r.path("bad.csv"), S3: s3}
		src := files.NewSource(cfg, csvfmt.DecoderOf(row{}))
		splits, _ := discover(t, enumerate(t, cfg, nil))
		_, _, err = readSplits(t, src, false, splits...)
		if want := `line at byte 11 of ` + r.path("bad.csv") + `: csvfmt: column n: "x" is no whole number`; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		rows, bad, err := readSplits(t, src, true, splits...)
		if err != nil || len(rows) != 1 || len(bad) != 1 || bad[0].Offset != 11 || bad[0].Topic != r.path("bad.csv") || string(bad[0].Value) != "x,b" {
			t.Errorf("rows %v, set aside %+v, error %v", rows, bad, err)
		}
	})
	missing := files.SourceConfig{Pattern: "s3://leat-none/x*"}
	_, err := enumerate(t, missing, nil).Discover(t.Context())
	fatal(t, err, "LEAT5305", `has no bucket "leat-none"`)
	missing.S3 = s3
	missing.S3.AccessKey = "nobody"
	e, err := files.NewSource(missing, decoder).NewEnumerator(&connectors.EnumeratorContext{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, err = e.Discover(t.Context())
	fatal(t, err, "LEAT5306", "refuses")
}

func TestLongLinesAreRefused(t *testing.T) {
	t.Parallel()
	r := root(t.TempDir())
	r.put(t, "long", bytes.Repeat([]byte("x"), 200_000))
	r.put(t, "long.csv", []byte("n,text\n1,\""+strings.Repeat("line\n", 1000)))
	for name, dec := range map[string]func() (formats.Decoder[row], error){"long": decoder, "long.csv": csvfmt.DecoderOf(row{}, csvfmt.QuotedLines())} {
		cfg := files.SourceConfig{Pattern: r.path(name), LineBytesMax: 1000}
		splits, _ := discover(t, enumerate(t, cfg, nil))
		_, _, err := readSplits(t, files.NewSource(cfg, dec), true, splits...)
		if err == nil || !strings.Contains(err.Error(), "longer than 1000 bytes") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Positions and state as older versions wrote them.
func TestOldPositionsGoOn(t *testing.T) {
	t.Parallel()
	r := root(t.TempDir())
	r.put(t, "a", []byte("{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"))
	cfg := files.SourceConfig{Pattern: r.path("*"), SplitBytes: 10}
	src := files.NewSource(cfg, decoder)
	rows, _, err := readSplits(t, src, false, connectors.Split{ID: r.path("a") + ":0", Position: []byte{1, 1, 8, 24}})
	if err != nil || len(rows) != 2 || rows[0].N != 2 {
		t.Errorf("rows %v, error %v", rows, err)
	}
	splits, state := discover(t, enumerate(t, cfg, fmt.Appendf(nil, `{"version":1,"files":[{"path":%q,"bytes":24}]}`, r.path("a"))))
	again, _ := discover(t, enumerate(t, cfg, state))
	if len(splits) != 3 || !reflect.DeepEqual(again, splits) {
		t.Fatalf("splits %v, then %v", splits, again)
	}
	if rows, _, err = readSplits(t, src, false, splits...); err != nil || len(rows) != 3 {
		t.Errorf("rows %v, error %v", rows, err)
	}
	for _, state := range []string{`{"version":3}`, `{`, ``} {
		if _, err := src.NewEnumerator(&connectors.EnumeratorContext{Restored: []byte(state)}); err == nil {
			t.Errorf("state %q is accepted", state)
		}
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	t.Parallel()
	source := files.NewSource(files.SourceConfig{Pattern: "[", Interval: -1, SplitBytes: -1, Compression: 9}, decoder).Fault()
	bucketless := files.NewSource(files.SourceConfig{Pattern: "s3:///x", Interval: time.Microsecond, S3: files.S3{AccessKey: "k", AccessKeyEnv: "K", Endpoint: "ftp://x"}}, decoder).Fault()
	sink := files.NewSink[row]("", nil).Bucket(nil).With(files.SinkConfig{RollBytes: -1, OpenMax: -1, Compression: 9}).Fault()
	for _, c := range []struct {
		err   error
		wants []string
	}{
		{source, []string{`pattern "[" names no files`, "splits of -1 bytes", "-1ns is negative", "compression 9"}},
		{bucketless, []string{"names no bucket", "shorter than a millisecond", "by its value and by the name", "only one of access key", "endpoint of S3"}},
		{sink, []string{"folder has no name", "no encoder", "buckets is nil", "rolled at -1 bytes", "at most -1 files", "compression 9"}},
		{files.NewSource[row](files.SourceConfig{Pattern: "x"}, nil).Fault(), []string{"no decoder"}},
		{files.NewSink("s3://", encoder).Fault(), []string{"names no bucket"}},
	} {
		for _, want := range c.wants {
			if c.err == nil || !strings.Contains(c.err.Error(), want) {
				t.Errorf("error %v, want %q", c.err, want)
			}
		}
	}
}

func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	keys := files.S3{AccessKey: "hidden-key", SecretKey: "hidden-secret", SessionToken: "hidden-token"}
	src := files.NewSource(files.SourceConfig{Pattern: "s3://b/*", S3: keys}, decoder)
	sink := files.NewSink("s3://b/x", encoder).With(files.SinkConfig{S3: keys})
	if text := src.Name() + src.Detail() + sink.Name() + sink.Detail(); strings.Contains(text, "hidden") {
		t.Errorf("a key is in %q", text)
	}
}
