package files_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/formats/jsonfmt"
)

type row struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func decoder() (formats.Decoder[row], error) { return jsonfmt.NewDecoder(row{}) }
func encoder() (formats.Encoder[row], error) { return jsonfmt.NewEncoder(row{}) }

// sample is a file with what is to be read of it.
type sample struct {
	name string
	text []byte
	rows []row
	at   []int64 // where each record begins
	bad  int
	dec  func() (formats.Decoder[row], error)
}

func jsonSample(rows int) sample {
	s := sample{name: "a.jsonl", dec: decoder, bad: 1}
	var text bytes.Buffer
	for i := range rows {
		r := row{i, strings.Repeat("x", i*i%37)}
		s.at, s.rows = append(s.at, int64(text.Len())), append(s.rows, r)
		fmt.Fprintf(&text, `{"n":%d,"text":%q}`, r.N, r.Text)
		text.WriteString([]string{"\n", "\r\n", "\n\n"}[i%3])
	}
	text.WriteString("no record\n")
	s.at, s.rows = append(s.at, int64(text.Len())), append(s.rows, row{99, "without a line feed"})
	text.WriteString(`{"n":99,"text":"without a line feed"}`)
	s.text = text.Bytes()
	return s
}

// csvSample has columns in another order, quotes, an empty line, a record that
// is none, and line feeds within quotes if they are allowed.
func csvSample(name string, rows int, opts ...csvfmt.Option) sample {
	s := sample{name: name, dec: csvfmt.DecoderOf(row{}, opts...), bad: 1}
	var text bytes.Buffer
	text.WriteString("\ufeffskipped,text,n\r\n")
	for i := range rows {
		r := row{i, strings.Repeat(`a "b",`, i%4)}
		if len(opts) > 0 && i%5 == 2 {
			r.Text += "first\nsecond\r\n\nlast"
		}
		s.at, s.rows = append(s.at, int64(text.Len())), append(s.rows, r)
		fmt.Fprintf(&text, `x,"%s",%d`, strings.ReplaceAll(r.Text, `"`, `""`), r.N)
		text.WriteString([]string{"\n", "\r\n", "\n\n"}[i%3])
	}
	text.WriteString("x,y,no number\n")
	s.at, s.rows = append(s.at, int64(text.Len())), append(s.rows, row{99, ""})
	text.WriteString("x,,99")
	s.text = text.Bytes()
	return s
}

// bySplit gives each row to the range of size bytes in which it begins.
func (s sample) bySplit(path string, size int64) map[string][]row {
	want := make(map[string][]row)
	for from := int64(0); from < int64(len(s.text)); from += size {
		id := fmt.Sprintf("%s:%d", path, from)
		want[id] = nil
		for i, r := range s.rows {
			if from <= s.at[i] && s.at[i] < from+size {
				want[id] = append(want[id], r)
			}
		}
	}
	return want
}

func conforms(t *testing.T, s sample, cfg files.SourceConfig, want map[string][]row) {
	connectortest.TestSource(t, connectortest.SourceCase[row]{
		New:  func() connectors.SourceOf[row] { return files.NewSource(cfg, s.dec) },
		Rows: want, Bad: s.bad,
	})
}

// TestSourceConforms cuts files into ranges of every size, so that ranges end
// before, on and after line feeds, and lines span ranges.
func TestSourceConforms(t *testing.T) {
	t.Parallel()
	for _, s := range []sample{jsonSample(14), csvSample("a.csv", 20)} {
		t.Run(s.name, func(t *testing.T) {
			each(t, func(t *testing.T, r root) {
				r.put(t, s.name, s.text)
				sizes := []int64{11, 29, 30, 64, 500, 1 << 20}
				if r.s3() {
					sizes = []int64{64, 1 << 20}
				}
				for _, size := range sizes {
					t.Run(fmt.Sprint(size), func(t *testing.T) {
						t.Parallel()
						cfg := files.SourceConfig{Pattern: r.path("*"), SplitBytes: size, S3: s3}
						conforms(t, s, cfg, s.bySplit(r.path(s.name), size))
					})
				}
			})
		})
	}
}

// many rows come in several pieces, between which reading can be resumed.
const many = 2600

// TestWholeFilesConform reads files that cannot be cut, or are not.
func TestWholeFilesConform(t *testing.T) {
	t.Parallel()
	joined := csvSample("a.csv", many, csvfmt.QuotedLines())
	for name, c := range map[string]struct {
		sample sample
		file   string
		pack   bool
		split  int64
	}{
		"one range of JSON":        {jsonSample(many), "a.jsonl", false, 1 << 30},
		"one range of CSV":         {csvSample("a.csv", many), "a.csv", false, 1 << 30},
		"packed JSON":              {jsonSample(many), "a.jsonl.gz", true, 10},
		"packed CSV":               {csvSample("a.csv", many), "a.csv.gz", true, 10},
		"quoted line feeds":        {joined, "a.csv", false, 10},
		"packed quoted line feeds": {joined, "a.csv.gz", true, 10},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r root) {
				text := c.sample.text
				if c.pack {
					text = packed(t, text)
				}
				r.put(t, c.file, text)
				cfg := files.SourceConfig{Pattern: r.path("*"), SplitBytes: c.split, S3: s3}
				conforms(t, c.sample, cfg, map[string][]row{r.path(c.file) + ":0": c.sample.rows})
			})
		})
	}
}

// TestSinkConforms lets writers of every kind crash at every step.
func TestSinkConforms(t *testing.T) {
	t.Parallel()
	byTen := func(r row) string { return fmt.Sprintf("tens=%d", r.N/10%7) }
	for name, make := range map[string]func(dir string) *files.Sink[row]{
		"plain": func(dir string) *files.Sink[row] { return files.NewSink(dir, encoder).With(files.SinkConfig{S3: s3}) },
		"rolled": func(dir string) *files.Sink[row] {
			return files.NewSink(dir, encoder).With(files.SinkConfig{S3: s3, RollBytes: 700})
		},
		"in buckets": func(dir string) *files.Sink[row] {
			return files.NewSink(dir, encoder).Bucket(byTen).With(files.SinkConfig{S3: s3, OpenMax: 3})
		},
		"packed CSV in buckets": func(dir string) *files.Sink[row] {
			return files.NewSink(dir, csvfmt.EncoderOf(row{})).Bucket(byTen).With(files.SinkConfig{S3: s3, Compression: files.Gzip, RollBytes: 40})
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r root) {
				known := map[string][]byte{}
				connectortest.TestSink(t, connectortest.SinkCase[row]{
					New:     func() connectors.SinkOf[row] { return make(r.path("out")) },
					Row:     func(i int) row { return row{i, fmt.Sprint("row ", i)} },
					Visible: func() []row { return readBack(t, root(r.path("out")), known) },
					Key:     func(r row) string { return r.Text },
				})
				if n := root(r.path("out")).unpublished(t); n > 0 {
					t.Errorf("%d files are left that nobody will publish", n)
				}
			})
		})
	}
}

// readBack decodes all files of a folder, by their extensions.
func readBack(t testing.TB, r root, known map[string][]byte) (out []row) {
	t.Helper()
	r.visible(t, known)
	for name, text := range known {
		if strings.HasSuffix(name, ".gz") {
			name, text = strings.TrimSuffix(name, ".gz"), unpacked(t, text)
		}
		dec, err := decoder()
		if strings.HasSuffix(name, ".csv") {
			dec, err = csvfmt.NewDecoder(row{})
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			if h, ok := dec.(formats.HeaderDecoder); ok && bytes.HasPrefix(line, []byte("n,text")) {
				if err := h.ReadHeader(line); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				continue
			}
			var v row
			if err := dec.Decode(&formats.Record{Value: line}, &v, nil); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			out = append(out, v)
		}
	}
	return out
}
