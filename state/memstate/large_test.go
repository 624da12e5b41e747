package memstate

import (
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"github.com/leatstream/leat/state"
)

// largeKeys are the keys of BenchmarkTenMillionKeys, of 32 bytes each with a
// value of 32.
const (
	largeKeys      = 10_000_000
	largeEntry     = 32 + 32
	largeRaw       = largeKeys * largeEntry
	largeChanged   = largeKeys / 10
	largeScrambler = 0x9e3779b97f4a7c15
)

func largeKey(i uint64) (key [32]byte) {
	for w := range 4 {
		binary.LittleEndian.PutUint64(key[8*w:], (i+uint64(w)<<32)*largeScrambler)
	}
	return key
}

// BenchmarkTenMillionKeys builds a state of ten million keys and tells what it
// takes: between snapshots, while one is written and a tenth of the keys or all
// change, and of each collection. It is what bench/results/state-memory.txt
// holds. One iteration is enough.
func BenchmarkTenMillionKeys(b *testing.B) {
	for b.Loop() {
		before, without := heap(), gcCPU(b)
		backend := New(allGroups(), 1024)
		t, err := backend.Table(state.Descriptor{Name: "values", Schema: "x", Fixed: 32})
		if err != nil {
			b.Fatal(err)
		}
		change := func(n uint64) {
			for i := range n {
				key := largeKey(i * (largeKeys / n))
				v, _ := t.Upsert(0, state.KeyOf(key[:]))
				binary.LittleEndian.PutUint64(v, i+1)
			}
		}
		change(largeKeys)
		with := gcCPU(b)
		rest := heap() - before
		b.Logf("%d keys of 32 bytes with values of 32: %d MB raw", largeKeys, largeRaw/1_000_000)
		b.Logf("between snapshots  %5d MB of heap, %.2f times the raw bytes (%d MB of pages and index)", rest/1_000_000, float64(rest)/largeRaw, backend.Bytes()/1_000_000)
		for _, n := range []uint64{largeChanged, largeKeys} {
			s, err := backend.Snapshot(1)
			if err != nil {
				b.Fatal(err)
			}
			change(n) // before anything of the snapshot is given back
			peak := heap() - before
			written, err := s.WriteTo(io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			s.Release()
			b.Logf("during a snapshot  %5d MB of heap, %.2f times the raw bytes, when %d keys change before it is written (%d MB)", peak/1_000_000, float64(peak)/largeRaw, n, written/1_000_000)
		}
		b.Logf("a collection takes %s of CPU, %s without the keys", with, without)
		b.ReportMetric(float64(rest)/largeRaw, "times-raw")
		b.ReportMetric(float64((with - without).Milliseconds()), "ms-GC")
		runtime.KeepAlive(backend)
	}
}

// heap is what lives on the heap.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
