package files_test

import (
	"fmt"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/formats/jsonfmt"
)

type trade struct {
	ID     string `json:"id"`
	Region string `json:"region"`
	Amount int64  `json:"amount" leat:"decimal=2"`
	At     int64  `json:"at" leat:"time=millis"`
}

func trades(n int) []trade {
	out := make([]trade, n)
	for i := range out {
		out[i] = trade{fmt.Sprintf("TRADE-%06d", i), []string{"EU", "US"}[i%2], int64(i) * 100, 1_767_225_600_123 + int64(i)}
	}
	return out
}

// BenchmarkFiles writes and reads a batch of a thousand rows, on a disk.
func BenchmarkFiles(b *testing.B) {
	for name, f := range map[string]struct {
		enc func() (formats.Encoder[trade], error)
		dec func() (formats.Decoder[trade], error)
	}{
		"JSON": {jsonfmt.EncoderOf(trade{}), jsonfmt.DecoderOf(trade{})},
		"CSV":  {csvfmt.EncoderOf(trade{}), csvfmt.DecoderOf(trade{})},
	} {
		dir := b.TempDir()
		const batches, rows = 200, 1000
		b.Run("write "+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				writeTrades(b, dir, f.enc, batches, columnar.NewBatch(trades(rows), nil))
			}
			b.ReportMetric(float64(b.N)*batches*rows/b.Elapsed().Seconds(), "rows/s")
		})
		b.Run("read "+name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n += readTrades(b, dir, f.dec)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func writeTrades(b *testing.B, dir string, enc func() (formats.Encoder[trade], error), batches int, batch *columnar.Batch) {
	b.Helper()
	w, err := files.NewSink(dir, enc).NewWriter(&connectors.WriterContext{Info: dataflow.TaskInfo{Parallelism: 1}, Incarnation: dataflow.Incarnation(dataflow.NewJobID())})
	if err != nil {
		b.Fatal(err)
	}
	for range batches {
		if err := w.Write(batch); err != nil {
			b.Fatal(err)
		}
	}
	all, err := w.Prepare(b.Context(), 1, true)
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Commit(b.Context(), all); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// readTrades reads a folder and returns the number of its rows.
func readTrades(b *testing.B, dir string, dec func() (formats.Decoder[trade], error)) (n int) {
	b.Helper()
	src := files.NewSource(files.SourceConfig{Pattern: dir + "/part-*"}, dec)
	e, err := src.NewEnumerator(&connectors.EnumeratorContext{})
	if err != nil {
		b.Fatal(err)
	}
	splits, err := e.Discover(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	woken := make(chan struct{}, 1)
	r, err := src.NewReader(&connectors.ReaderContext{Wake: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	if err := r.AddSplits(splits); err != nil {
		b.Fatal(err)
	}
	for left := len(splits); left > 0; {
		f, ok, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			<-woken
			continue
		}
		if f.Batch != nil {
			n += len(columnar.Rows[trade](f.Batch))
		}
		if f.SplitEnd {
			left--
		}
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	return n
}
