package codec

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

func wideRows(n int) []wide {
	rows := make([]wide, n)
	for i := range rows {
		rows[i] = wide{Key: fmt.Sprintf("CUST-%06d", i), A: int64(i), B: 2, C: 3, D: 4, E: 5, F: 6}
	}
	return rows
}

func BenchmarkAppendColumns(b *testing.B) {
	c, rows := mustOf[wide](b), wideRows(1024)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = c.AppendColumns(buf[:0], rows)
	}
	perRow(b, len(rows))
}

func BenchmarkDecodeColumns(b *testing.B) {
	c, rows := mustOf[wide](b), wideRows(1024)
	buf := c.AppendColumns(nil, rows)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.DecodeColumns(buf); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b, len(rows))
}

func perRow(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/row")
}

func BenchmarkAppendRow(b *testing.B) {
	c, rows := mustOf[wide](b), wideRows(1)
	var buf []byte
	for b.Loop() {
		buf = c.Append(buf[:0], &rows[0])
	}
}

func BenchmarkDecodeRow(b *testing.B) {
	c, rows := mustOf[wide](b), wideRows(1)
	buf := c.Append(nil, &rows[0])
	var v wide
	for b.Loop() {
		if _, err := c.Decode(buf, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFixedUpdate(b *testing.B) {
	c := mustOf[counts](b)
	buf := make([]byte, c.Fixed())
	for b.Loop() {
		var v counts
		c.FixedLoad(buf, &v)
		v.Count++
		v.Sum += 1.5
		c.FixedStore(buf, &v)
	}
}

func BenchmarkHashKey(b *testing.B) {
	for _, n := range []int{4, 8, 10, 16, 24, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			key := make([]byte, n)
			for b.Loop() {
				HashKey(key)
			}
		})
	}
}

func BenchmarkAppendKey(b *testing.B) {
	type key struct {
		User string
		Day  int32
		Page string
	}
	c := mustOf[key](b)
	k := key{"user-000017", 20454, "/index"}
	var buf []byte
	for b.Loop() {
		buf = c.AppendKey(buf[:0], &k)
	}
}

func BenchmarkInPlaceUpdate(b *testing.B) {
	c := mustOf[counts](b)
	buf := make([]byte, c.Fixed())
	for b.Loop() {
		v, ok := c.InPlace(buf)
		if !ok {
			b.Fatal("not in place")
		}
		v.Count++
		v.Sum += 1.5
	}
}
