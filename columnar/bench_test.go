package columnar

import (
	"fmt"
	"testing"
)

// wide is a row of 64 bytes with a text as its key.
type wide struct {
	Key           string
	A, B, C, D, E int64
	F             float64
}

func wideBatch(b *testing.B, n int) (*Batch, RowType) {
	rt, err := TypeOf[wide]()
	if err != nil {
		b.Fatal(err)
	}
	rows, times := make([]wide, n), make([]int64, n)
	for i := range rows {
		rows[i] = wide{Key: fmt.Sprintf("CUST-%06d", i*7919%100000), A: int64(i), B: 2, C: 3, D: 4, E: 5, F: 6}
		times[i] = 1767225600000 + int64(i)
	}
	return NewBatch(rows, times), rt
}

func perRow(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/row")
}

func BenchmarkHashRows(b *testing.B) {
	batch, _ := wideBatch(b, 1024)
	text, err := HasherOf(func(w wide) string { return w.Key })
	if err != nil {
		b.Fatal(err)
	}
	number, err := HasherOf(func(w wide) int64 { return w.A })
	if err != nil {
		b.Fatal(err)
	}
	pair, err := HasherOf(func(w wide) struct {
		S string
		N int64
	} {
		return struct {
			S string
			N int64
		}{w.Key, w.A}
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, h := range map[string]KeyHasher{"text": text, "number": number, "pair": pair} {
		b.Run(name, func(b *testing.B) {
			var dst []uint64
			for b.Loop() {
				dst = h.HashRows(dst[:0], batch.Rows)
			}
			perRow(b, 1024)
		})
	}
}

func BenchmarkSplit(b *testing.B) {
	batch, rt := wideBatch(b, 1024)
	h, err := HasherOf(func(w wide) string { return w.Key })
	if err != nil {
		b.Fatal(err)
	}
	targets := NewKeyTargets(1024, 4).Append(nil, h.HashRows(nil, batch.Rows))
	var p Partitioner
	b.ReportAllocs()
	for b.Loop() {
		p.Split(batch, rt, targets, 4, func(int, *Batch) {})
	}
	perRow(b, 1024)
}

func BenchmarkAppendBatch(b *testing.B) {
	batch, rt := wideBatch(b, 1024)
	var wire []byte
	b.ReportAllocs()
	for b.Loop() {
		wire = rt.AppendBatch(wire[:0], batch)
	}
	b.ReportMetric(float64(len(wire))/1024, "B/row")
	perRow(b, 1024)
}

func BenchmarkDecodeBatch(b *testing.B) {
	batch, rt := wideBatch(b, 1024)
	wire := rt.AppendBatch(nil, batch)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rt.DecodeBatch(wire); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b, 1024)
}
