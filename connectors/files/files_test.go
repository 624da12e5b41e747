package files_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type row struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func decoder() (formats.Decoder[row], error) { return jsonfmt.NewDecoder[row]() }
func encoder() (formats.Encoder[row], error) { return jsonfmt.NewEncoder[row]() }

// TestSourceConforms cuts files into ranges of every size, so that ranges end
// before, on and after line feeds, and lines span ranges.
func TestSourceConforms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var text bytes.Buffer
	var at []int64
	var all []row
	for i := range 14 {
		r := row{i, strings.Repeat("x", i*i%37)}
		at = append(at, int64(text.Len()))
		all = append(all, r)
		fmt.Fprintf(&text, `{"n":%d,"text":%q}`, r.N, r.Text)
		text.WriteString([]string{"\n", "\r\n", "\n\n"}[i%3])
	}
	text.WriteString("no record\n")
	at = append(at, int64(text.Len()))
	all = append(all, row{99, "without a line feed"})
	text.WriteString(`{"n":99,"text":"without a line feed"}`)
	path := filepath.Join(dir, "a.jsonl")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{11, 29, 30, 64, 500, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			want := make(map[string][]row)
			for from := int64(0); from < int64(text.Len()); from += size {
				id := fmt.Sprintf("%s:%d", path, from)
				want[id] = nil
				for i, r := range all {
					if from <= at[i] && at[i] < from+size {
						want[id] = append(want[id], r)
					}
				}
			}
			connectortest.TestSource(t, connectortest.SourceCase[row]{
				New: func() connectors.SourceOf[row] {
					return files.NewSource(files.SourceConfig{Pattern: filepath.Join(dir, "*.jsonl"), SplitBytes: size}, decoder)
				},
				Rows: want, Bad: 1,
			})
		})
	}
}

func TestLongLinesAreRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 200_000), 0o600); err != nil {
		t.Fatal(err)
	}
	woken := make(chan struct{}, 16)
	r, err := files.NewSource(files.SourceConfig{Pattern: path, LineBytesMax: 1000}, decoder).
		NewReader(&connectors.ReaderContext{Wake: func() { woken <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := r.AddSplits([]connectors.Split{{ID: path + ":0", Position: []byte{1, 1, 0, 0xc0, 0x9a, 0x0c}}}); err != nil {
		t.Fatal(err)
	}
	<-woken
	if _, _, err = r.Next(); err == nil || !strings.Contains(err.Error(), "longer than 1000 bytes") {
		t.Fatalf("error %v", err)
	}
}

func TestSinkConforms(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	dec, err := jsonfmt.NewDecoder[row]()
	if err != nil {
		t.Fatal(err)
	}
	connectortest.TestSink(t, connectortest.SinkCase[row]{
		New: func() connectors.SinkOf[row] { return files.NewSink(dir, encoder) },
		Row: func(i int) row { return row{i, fmt.Sprint(i)} },
		Visible: func() []row {
			names, err := filepath.Glob(filepath.Join(dir, "part-*"))
			if err != nil {
				t.Fatal(err)
			}
			var out []row
			for _, name := range names {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				for line := range bytes.Lines(b) {
					var r row
					if err := dec.DecodeBytes(bytes.TrimSpace(line), &r, nil); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					out = append(out, r)
				}
			}
			return out
		},
		Key: func(r row) string { return r.Text },
	})
	hidden, err := filepath.Glob(filepath.Join(dir, ".part-*"))
	if err != nil || len(hidden) > 0 {
		t.Fatalf("hidden files %v are left, error %v", hidden, err)
	}
}
