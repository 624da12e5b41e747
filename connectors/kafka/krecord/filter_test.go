package krecord_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

// logModel is a log of a few producers, with what a reader of committed
// records must see and what the broker says of aborted transactions.
type logModel struct {
	batches []modelBatch
	txns    []modelTxn
	end     int64
}

type modelBatch struct {
	first, last int64
	raw         []byte
	producer    int64
	txn         int // index of its transaction, -1
	marker      bool
	values      []string
}

type modelTxn struct {
	producer        int64
	first, markerAt int64
	done, kept      bool
}

func randomLog(t testing.TB, r *rand.Rand, steps int) *logModel {
	l := &logModel{}
	open := map[int64]int{}
	for step := range steps {
		p := r.Int64N(4)
		txn, isOpen := open[p]
		switch n := r.IntN(10); {
		case n < 5: // transactional data
			if !isOpen {
				txn = len(l.txns)
				open[p] = txn
				l.txns = append(l.txns, modelTxn{producer: p, first: l.end})
			}
			l.data(t, r, p, txn, step)
		case n < 6: // data outside transactions, of a producer that may have one open
			l.data(t, r, 100+p, -1, step)
		case n < 7: // a hole, as compaction leaves it
			l.end += r.Int64N(4)
		case isOpen:
			l.marker(t, p, txn, n == 7)
			delete(open, p)
		}
	}
	for p, txn := range open {
		l.marker(t, p, txn, p%2 == 0)
	}
	return l
}

func (l *logModel) data(t testing.TB, r *rand.Rand, p int64, txn, step int) {
	var recs []rec
	var values []string
	for i := range 1 + r.IntN(3) {
		v := fmt.Sprintf("%d.%d", step, i)
		values = append(values, v)
		recs = append(recs, rec{ts: 1, value: []byte(v)})
	}
	raw := build(t, recs, krecord.Codec(r.IntN(5)), kwire.Producer{ID: p}, 0, txn >= 0)
	l.add(modelBatch{producer: p, txn: txn, raw: raw, values: values}, int64(len(recs)))
}

func (l *logModel) marker(t testing.TB, p int64, txn int, commit bool) {
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	raw := build(t, []rec{{ts: 1, key: key, value: make([]byte, 6)}}, krecord.NoCompression, kwire.Producer{ID: p}, -1, true)
	raw[22] |= 0x20
	krecord.PutCRCForTest(raw)
	l.txns[txn].markerAt, l.txns[txn].done, l.txns[txn].kept = l.end, true, commit
	l.add(modelBatch{producer: p, txn: txn, raw: raw, marker: true}, 1)
}

func (l *logModel) add(b modelBatch, n int64) {
	b.first, b.last = l.end, l.end+n-1
	binary.BigEndian.PutUint64(b.raw, uint64(l.end))
	l.batches = append(l.batches, b)
	l.end += n
}

// fetch answers as a broker: whole batches from the one that holds the offset,
// and the aborted transactions that overlap them, in an order of its own.
func (l *logModel) fetch(r *rand.Rand, from int64, batches int) (raw []byte, aborted []kwire.AbortedTxn, next int64) {
	i, _ := slices.BinarySearchFunc(l.batches, from, func(b modelBatch, o int64) int { return int(b.last - o) })
	upto := min(len(l.batches), i+batches)
	if i == upto {
		return nil, nil, l.end
	}
	next = l.batches[upto-1].last + 1
	for _, b := range l.batches[i:upto] {
		raw = append(raw, b.raw...)
	}
	for _, x := range l.txns {
		if !x.kept && x.markerAt >= from && x.first < next {
			aborted = append(aborted, kwire.AbortedTxn{ProducerID: x.producer, FirstOffset: x.first})
		}
	}
	r.Shuffle(len(aborted), func(a, b int) { aborted[a], aborted[b] = aborted[b], aborted[a] })
	return raw, aborted, next
}

func (l *logModel) committed(from int64) []string {
	var out []string
	for _, b := range l.batches {
		if b.marker || (b.txn >= 0 && !l.txns[b.txn].kept) {
			continue
		}
		for i, v := range b.values {
			if b.first+int64(i) >= from {
				out = append(out, v)
			}
		}
	}
	return out
}

func checkFilter(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	l := randomLog(t, r, 20+r.IntN(100))
	var it krecord.Iter
	for range 20 {
		at := r.Int64N(l.end + 1)
		want := l.committed(at)
		var got []string
		for at < l.end {
			raw, aborted, next := l.fetch(r, at, 1+r.IntN(6))
			it.Reset(raw, at, true, aborted)
			var rc krecord.Record
			for it.Next(&rc) {
				got = append(got, string(rc.Value))
			}
			if it.Err() != nil {
				t.Fatal(it.Err())
			}
			if len(raw) > 0 && it.Position() != next {
				t.Fatalf("seed %d: position %d after a fetch up to %d", seed, it.Position(), next)
			}
			at = max(next, it.Position())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %q\nwant %q", seed, got, want)
		}
	}
}

func TestFilterAgainstAModelOfTheLog(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		checkFilter(t, seed)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkFilter(t, seed) })
}
