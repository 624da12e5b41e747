package krecord_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/formats"
)

type rec struct {
	ts         int64
	key, value []byte
	headers    []formats.Header
}

func randomRecord(r *rand.Rand) rec {
	out := rec{ts: 1_700_000_000_000 + r.Int64N(20_000) - 10_000}
	blob := func() []byte {
		switch r.IntN(5) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		return bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(300))
	}
	out.key, out.value = blob(), blob()
	for range r.IntN(3) {
		out.headers = append(out.headers, formats.Header{Key: fmt.Sprintf("h%d", r.IntN(4)), Value: blob()})
	}
	return out
}

func build(t testing.TB, recs []rec, c krecord.Codec, p kwire.Producer, seq int32, txn bool) []byte {
	t.Helper()
	var b krecord.Builder
	b.Reset()
	for _, r := range recs {
		b.Append(r.ts, r.key, r.value, r.headers)
	}
	var d krecord.Deflater
	if err := b.Seal(c, &d); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(b.Stamp(p, seq, txn))
}

func TestWhatIsBuiltIsRead(t *testing.T) {
	t.Parallel()
	for codec := krecord.NoCompression; codec <= krecord.Zstd; codec++ {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, uint64(codec)))
			var it krecord.Iter
			for range 100 {
				recs := make([]rec, 1+r.IntN(60))
				for i := range recs {
					recs[i] = randomRecord(r)
				}
				raw := build(t, recs, codec, kwire.Producer{ID: 7, Epoch: 3}, 11, true)
				it.Reset(raw, 0, true, nil)
				checkRecords(t, &it, recs)
				if h := it.Batch(); h.ProducerID != 7 || h.ProducerEpoch != 3 || h.BaseSequence != 11 || !h.Transactional || h.Control {
					t.Fatalf("header %+v", *h)
				}
			}
		})
	}
}

func checkRecords(t *testing.T, it *krecord.Iter, want []rec) {
	t.Helper()
	var r krecord.Record
	for i, w := range want {
		if !it.Next(&r) {
			t.Fatalf("record %d of %d is missing: %v", i, len(want), it.Err())
		}
		if r.Offset != int64(i) || it.Position() != int64(i)+1 || r.Timestamp != w.ts {
			t.Fatalf("record %d: offset %d, position %d, time %d, want time %d", i, r.Offset, it.Position(), r.Timestamp, w.ts)
		}
		if !bytes.Equal(r.Key, w.key) || (r.Key == nil) != (w.key == nil) || !bytes.Equal(r.Value, w.value) || (r.Value == nil) != (w.value == nil) {
			t.Fatalf("record %d: key %v value %v, want %v %v", i, r.Key, r.Value, w.key, w.value)
		}
		hs, err := it.Headers(nil, &r)
		if err != nil || len(hs) != len(w.headers) || r.HasHeaders() != (len(hs) > 0) {
			t.Fatalf("record %d: %d headers, %v, want %d", i, len(hs), err, len(w.headers))
		}
		for j, h := range hs {
			if h.Key != w.headers[j].Key || !bytes.Equal(h.Value, w.headers[j].Value) {
				t.Fatalf("record %d header %d: %v, want %v", i, j, h, w.headers[j])
			}
		}
	}
	if it.Next(&r) || it.Err() != nil {
		t.Fatalf("a record too many, or %v", it.Err())
	}
}

func TestEachFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	raw := build(t, []rec{{ts: 5, key: []byte("k"), value: []byte("value")}}, krecord.NoCompression, kwire.Producer{ID: 1}, 0, false)
	for i := 21; i < len(raw); i++ {
		for bit := range 8 {
			b := slices.Clone(raw)
			b[i] ^= 1 << bit
			var it krecord.Iter
			var r krecord.Record
			it.Reset(b, 0, true, nil)
			if it.Next(&r) {
				t.Fatalf("byte %d bit %d: the batch was taken", i, bit)
			}
			if it.Err() == nil {
				t.Fatalf("byte %d bit %d: no error", i, bit)
			}
		}
	}
}

func TestCutBatchIsLeftForTheNextFetch(t *testing.T) {
	t.Parallel()
	one := build(t, []rec{{value: []byte("a")}, {value: []byte("b")}}, krecord.NoCompression, kwire.NoProducer(), -1, false)
	raw := append(slices.Clone(one), one...)
	for cut := range raw {
		var it krecord.Iter
		var r krecord.Record
		it.Reset(raw[:cut], 0, true, nil)
		n := 0
		for it.Next(&r) {
			n++
		}
		want := 0
		if cut >= len(one) {
			want = 2
		}
		if n != want || it.Err() != nil || it.Position() != int64(want) {
			t.Fatalf("cut at %d: %d records, position %d, %v", cut, n, it.Position(), it.Err())
		}
	}
}

func TestIterationDoesNotAllocate(t *testing.T) {
	recs := make([]rec, 500)
	for i := range recs {
		recs[i] = rec{ts: int64(i), key: []byte("key"), value: bytes.Repeat([]byte("x"), 100)}
	}
	raw := build(t, recs, krecord.NoCompression, kwire.Producer{ID: 1}, 0, true)
	var it krecord.Iter
	var r krecord.Record
	if n := testing.AllocsPerRun(20, func() {
		it.Reset(raw, 0, true, nil)
		for it.Next(&r) {
		}
	}); n != 0 {
		t.Fatalf("%v allocations for %d records", n, len(recs))
	}
}

// TestShortWay compares the two ways of reading a record, also on damaged
// bytes.
func TestShortWay(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	short, all := 0, 0
	for i := range 3000 {
		recs := make([]rec, 1+r.IntN(40))
		for j := range recs {
			if recs[j] = randomRecord(r); r.IntN(2) == 0 {
				recs[j].headers = nil
			}
			recs[j].ts = 1_700_000_000_000 + r.Int64N(1<<(1+r.IntN(20)))
		}
		raw := build(t, recs, krecord.NoCompression, kwire.NoProducer(), -1, false)
		h, batch, _, err := krecord.ReadHeader(raw)
		if err != nil {
			t.Fatal(err)
		}
		body := batch[krecord.HeaderBytes:]
		if i%2 == 1 {
			for range 1 + r.IntN(4) {
				body[r.IntN(len(body))] ^= 1 << r.IntN(8)
			}
			body = body[:r.IntN(len(body)+1)]
		}
		h.LogAppendTime = i%5 == 0
		n, err := krecord.BothWays(body, h)
		if err != nil {
			t.Fatal(err)
		}
		short, all = short+n, all+len(recs)
	}
	if short < all/10 {
		t.Fatalf("%d of %d records went the short way", short, all)
	}
}

func TestSequenceWraps(t *testing.T) {
	t.Parallel()
	if got := krecord.NextSequence(1<<31-2, 3); got != 1 {
		t.Fatalf("got %d", got)
	}
	if got := krecord.NextSequence(5, 3); got != 8 {
		t.Fatalf("got %d", got)
	}
}

func FuzzIter(f *testing.F) {
	for c := krecord.NoCompression; c <= krecord.Zstd; c++ {
		f.Add(build(f, []rec{{ts: 1, key: []byte("k"), value: bytes.Repeat([]byte("v"), 200), headers: []formats.Header{{Key: "h", Value: []byte("1")}}}, {ts: 2}}, c, kwire.Producer{ID: 5}, 0, true))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fixCRCs(raw)
		var it krecord.Iter
		var r krecord.Record
		it.Reset(raw, 0, true, []kwire.AbortedTxn{{ProducerID: 5, FirstOffset: 100}})
		last := int64(-1)
		for it.Next(&r) {
			if r.Offset <= last {
				t.Fatalf("offset %d after %d", r.Offset, last)
			}
			last = r.Offset
			_, _ = it.Headers(nil, &r)
		}
		if it.Position() <= last {
			t.Fatalf("position %d after offset %d", it.Position(), last)
		}
		_, _, _, _ = krecord.EndOf(raw, 0)
	})
}

// fixCRCs lets the fuzzer get past the checksum.
func fixCRCs(raw []byte) {
	for len(raw) > 0 {
		_, batch, rest, err := krecord.ReadHeader(raw)
		if err != nil {
			return
		}
		krecord.PutCRCForTest(batch)
		raw = rest
	}
}

func BenchmarkIterate(b *testing.B) {
	recs := make([]rec, 1000)
	for i := range recs {
		recs[i] = rec{ts: int64(i), key: fmt.Appendf(nil, "key-%d", i), value: bytes.Repeat([]byte("x"), 100)}
	}
	raw := build(b, recs, krecord.NoCompression, kwire.Producer{ID: 1}, 0, true)
	var it krecord.Iter
	var r krecord.Record
	b.ReportAllocs()
	for b.Loop() {
		it.Reset(raw, 0, true, nil)
		for it.Next(&r) {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}

func BenchmarkBuild(b *testing.B) {
	key, value := []byte("key-12345"), bytes.Repeat([]byte("x"), 100)
	var bl krecord.Builder
	var d krecord.Deflater
	b.ReportAllocs()
	for b.Loop() {
		bl.Reset()
		for i := range 1000 {
			bl.Append(int64(i), key, value, nil)
		}
		_ = bl.Seal(krecord.NoCompression, &d)
		bl.Stamp(kwire.Producer{ID: 1}, 0, true)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
