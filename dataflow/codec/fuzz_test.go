package codec

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"
)

// hostile is a type whose decoders meet every kind of count and length.
type hostile struct {
	S     string
	B     bool
	By    []byte
	L     []string
	Pairs [][2]int32
	M     map[string][]int64
	P     *address
	T     [1]*bool
	N     int32
}

func seedRows() []hostile {
	r := rand.New(rand.NewPCG(8, 8))
	rows := make([]hostile, 12)
	for i := range rows {
		rows[i] = random[hostile](r)
	}
	return rows
}

// Any bytes are read or refused; what is read is written and read again.
func FuzzDecode(f *testing.F) {
	c := mustOf[hostile](f)
	for _, v := range seedRows() {
		f.Add(c.Append(nil, &v))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var v, again hostile
		if _, err := c.Decode(src, &v); err != nil {
			return
		}
		row := c.Append(nil, &v)
		if rest, err := c.Decode(row, &again); err != nil || len(rest) > 0 || !bytes.Equal(c.Append(nil, &again), row) {
			t.Fatalf("%x is read as %+v, written as %x, read as %+v, %v", src, v, row, again, err)
		}
	})
}

func FuzzDecodeColumns(f *testing.F) {
	c := mustOf[hostile](f)
	rows := seedRows()
	for n := range rows {
		f.Add(c.AppendColumns(nil, rows[:n]))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		rows, err := c.DecodeColumns(src)
		if err != nil {
			return
		}
		columns := c.AppendColumns(nil, rows)
		again, err := c.DecodeColumns(columns)
		if err != nil || !bytes.Equal(c.AppendColumns(nil, again), columns) {
			t.Fatalf("%x is read as %+v, written as %x, read as %+v, %v", src, rows, columns, again, err)
		}
	})
}

func FuzzDecodeKey(f *testing.F) {
	c := mustOf[hostile](f)
	for _, v := range seedRows() {
		f.Add(c.AppendKey(nil, &v))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var v, again hostile
		if err := c.DecodeKey(src, &v); err != nil {
			return
		}
		key := c.AppendKey(nil, &v)
		if err := c.DecodeKey(key, &again); err != nil || !bytes.Equal(c.AppendKey(nil, &again), key) {
			t.Fatalf("%x is read as %+v, written as %x, read as %+v, %v", src, v, key, again, err)
		}
	})
}

// Counts that the bytes cannot hold ask for no memory.
func TestHostileCountsAllocateLittle(t *testing.T) {
	huge := []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}
	rows := mustOf[[]hostile](t)
	maps := mustOf[map[string]everything](t)
	columns := mustOf[everything](t)
	grown := allocated(func() {
		var s []hostile
		var m map[string]everything
		if _, err := rows.Decode(append(huge, make([]byte, 100)...), &s); err == nil {
			t.Error("a huge slice was accepted")
		}
		if _, err := maps.Decode(append(huge, make([]byte, 100)...), &m); err == nil {
			t.Error("a huge map was accepted")
		}
		if _, err := columns.DecodeColumns(append(bytes.Repeat([]byte{0xFF}, 4), make([]byte, 1000)...)); err == nil {
			t.Error("a huge batch was accepted")
		}
	})
	if grown > 1<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
