package memstate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

func allGroups() dataflow.KeyGroupRange { return dataflow.KeyGroupsOf(0, 1024, 1) }

// keysOf returns n keys in random order, their bytes one after the other as in
// a batch.
func keysOf(n int) []state.Key {
	raw := make([]byte, 8*n)
	keys := make([]state.Key, n)
	for i, v := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
		b := raw[8*i : 8*i+8]
		binary.BigEndian.PutUint64(b, uint64(v))
		keys[i] = state.KeyOf(b)
	}
	return keys
}

// reordered returns the keys in another order than they were inserted in, so
// that neither index nor pages are met in sequence.
func reordered(keys []state.Key) []state.Key {
	rand.New(rand.NewPCG(2, 2)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	raw := make([]byte, 0, 8*len(keys))
	out := make([]state.Key, len(keys))
	for i, k := range keys {
		raw = append(raw, k.Bytes...)
		out[i] = state.Key{Bytes: raw[8*i : 8*i+8], Hash: k.Hash}
	}
	return out
}

func filled(tb testing.TB, keys []state.Key) (*Backend, state.Table) {
	tb.Helper()
	b := New(allGroups(), 1024)
	t, err := b.Table(state.Descriptor{Name: "counts", Schema: "count", Fixed: 16})
	if err != nil {
		tb.Fatal(err)
	}
	for _, k := range keys {
		v, _ := t.Upsert(0, k)
		binary.LittleEndian.PutUint64(v, 1)
	}
	return b, t
}

func BenchmarkUpsertExisting(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint("keys=", n), func(b *testing.B) {
			keys := keysOf(n)
			_, t := filled(b, keys)
			keys = reordered(keys)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				v, _ := t.Upsert(0, keys[i])
				v[0]++
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

func BenchmarkUpsertBatch(b *testing.B) {
	const batch = 1000
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint("keys=", n), func(b *testing.B) {
			keys := keysOf(n)
			_, t := filled(b, keys)
			keys = reordered(keys)
			vals := make([][]byte, batch)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				t.(state.BatchUpserter).UpsertBatch(0, keys[i:i+batch], vals, nil)
				for _, v := range vals {
					v[0]++
				}
				if i += batch; i == n {
					i = 0
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/key")
		})
	}
}

func BenchmarkInsert(b *testing.B) {
	keys := keysOf(1_000_000)
	for b.Loop() {
		filled(b, keys)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/key")
}
