package pebblestate

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// reads is the number of blocks that the database was asked for, in its cache
// or on disk, and of the filters that it asked.
func (s *backendSide) reads() (n int64) {
	s.b.(*Backend).metrics(func(m *pebble.Metrics) {
		n = m.BlockCache.Hits + m.BlockCache.Misses + m.Filter.Hits + m.Filter.Misses
	})
	return n
}

// filled has many keys in the database and hardly any in its cache.
func filled(t *testing.T, batches int) *backendSide {
	t.Helper()
	s := openBackend(t, MemoryMin)
	keys := make([][largeKey]byte, largeBatch)
	for i := range batches {
		for j := range keys {
			keys[j] = spread(uint64(i*largeBatch + j))
		}
		s.put(keys, uint64(i))
	}
	return s
}

// TestPutDoesNotRead: what a put asks of the database does not grow with the
// number of puts, neither of new keys nor of old ones, also when
// the table is told of the keys ahead.
func TestPutDoesNotRead(t *testing.T) {
	t.Parallel()
	val := make([]byte, largeValue)
	for _, tt := range []struct {
		name  string
		write func(s *backendSide, keys []state.Key)
		reads bool
	}{
		{"put", func(s *backendSide, keys []state.Key) {
			for _, k := range keys {
				s.vals.Put(0, k, val)
			}
		}, false},
		{"overwrite", func(s *backendSide, keys []state.Key) {
			for _, k := range keys {
				copy(s.vals.(state.Overwriter).Overwrite(0, k), val)
			}
		}, false},
		{"put of keys told ahead", func(s *backendSide, keys []state.Key) {
			s.vals.(state.Prefetcher).Prefetch(0, keys)
			for _, k := range keys {
				s.vals.Put(0, k, val)
			}
		}, false},
		{"upsert", func(s *backendSide, keys []state.Key) {
			for _, k := range keys {
				s.vals.Upsert(0, k)
			}
		}, true},
		{"put where lengths are asked for", func(s *backendSide, keys []state.Key) {
			for _, k := range keys {
				s.vals.Put(0, k, val)
			}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := filled(t, 40)
			defer s.close(t)
			var keys []state.Key
			for i := range uint64(100) {
				old, fresh := spread(i*31), spread(1<<40+i)
				keys = append(keys, state.KeyOf(old[:]), state.KeyOf(fresh[:]))
			}
			s.vals.(*table).flush()
			if tt.name == "put where lengths are asked for" {
				s.vals.Len()
			}
			s.quiet(t)
			before := s.reads()
			tt.write(s, keys)
			if n := s.reads() - before; (n > 0) != tt.reads {
				t.Errorf("%d reads for %d writes", n, len(keys))
			}
			want := 40*largeBatch + len(keys)/2
			if n := s.vals.Len(); n != want {
				t.Errorf("%d keys, want %d", n, want)
			}
		})
	}
}

// quiet waits until nothing is written or merged behind the task's back.
func (s *backendSide) quiet(t *testing.T) {
	t.Helper()
	db := s.b.(*Backend).db
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
}

// TestLengthsAfterBlindPuts compares all lengths with a map while keys come,
// come again and go, in two namespaces large enough that puts do not look.
func TestLengthsAfterBlindPuts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 5))
			w := newCounted(t)
			for range 30 {
				w.change(rnd, 400+rnd.IntN(2000))
				if rnd.IntN(2) == 0 {
					w.check(t, rnd.IntN(4))
				}
			}
			for i := range 4 {
				w.check(t, i)
			}
		})
	}
}

// counted is a table beside what it should hold.
type counted struct {
	s    *backendSide
	tab  *table
	want map[int64]map[uint64]bool
}

func newCounted(t *testing.T) *counted {
	t.Helper()
	s := openBackend(t, MemoryMin)
	t.Cleanup(func() { s.close(t) })
	return &counted{s: s, tab: s.vals.(*table), want: map[int64]map[uint64]bool{1: {}, 2: {}, 3: {}}}
}

func (w *counted) change(rnd *rand.Rand, n int) {
	ns, span := 1+rnd.Int64N(3), 1+rnd.Uint64N(6000)
	deletes := rnd.IntN(101) // of a hundred
	if rnd.IntN(12) == 0 {
		w.tab.DropNamespace(ns)
		clear(w.want[ns])
		return
	}
	var val [largeValue]byte
	for range n {
		i := rnd.Uint64N(span)
		b := spread(i)
		k := state.KeyOf(b[:])
		if rnd.IntN(100) < deletes {
			w.tab.Delete(ns, k)
			delete(w.want[ns], i)
			continue
		}
		w.tab.Put(ns, k, val[:])
		w.want[ns][i] = true
	}
}

// check asks one of the questions: whoever asks for a length makes the table
// look from then on, so most of the time none is asked.
func (w *counted) check(t *testing.T, question int) {
	t.Helper()
	var all int
	var spaces []int64
	for _, ns := range slices.Sorted(maps.Keys(w.want)) {
		if n := len(w.want[ns]); n > 0 {
			all += n
			spaces = append(spaces, ns)
		}
	}
	switch question {
	case 0:
		if got := w.tab.Namespaces(); !slices.Equal(got, spaces) {
			t.Fatalf("namespaces %v, want %v", got, spaces)
		}
	case 1:
		if got := w.tab.LenAbout(); got < 0 || got > 4*all+1000 || w.tab.maybe == 0 && got != all {
			t.Fatalf("about %d keys, there are %d", got, all)
		}
	case 2:
		w.tab.exact = false // as if this were the first
		if got := w.tab.Len(); got != all {
			t.Fatalf("%d keys, want %d", got, all)
		}
		w.tab.exact = false
	default:
		for ns, keys := range w.want {
			if got := w.tab.LenNamespace(ns); got != len(keys) {
				t.Fatalf("%d keys in %d, want %d", got, ns, len(keys))
			}
		}
		w.tab.exact = false
	}
}

// TestEmptiedNamespaceIsForgotten: one whose keys were deleted one by one,
// after puts that did not look, leaves nothing behind.
func TestEmptiedNamespaceIsForgotten(t *testing.T) {
	t.Parallel()
	s := openBackend(t, MemoryMin)
	defer s.close(t)
	var val [largeValue]byte
	keys := make([]state.Key, 0, 4*blindMin)
	for i := range cap(keys) {
		b := spread(uint64(i))
		keys = append(keys, state.KeyOf(b[:]))
	}
	tab := s.vals.(*table)
	for range 3 {
		for _, k := range keys {
			tab.Put(7, k, val[:])
		}
	}
	if tab.maybe == 0 {
		t.Fatal("all puts looked")
	}
	for _, k := range keys {
		tab.Delete(7, k)
	}
	snap, err := s.b.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	snap.Release()
	if len(tab.spaces) > 0 || tab.maybe != 0 || tab.count != 0 {
		t.Errorf("left: %d namespaces, %d keys, %d in doubt", len(tab.spaces), tab.count, tab.maybe)
	}
}

// Restored state counts as known: 128 key groups, one file.
func TestBlindPutsAfterRestore(t *testing.T) {
	t.Parallel()
	from := filled(t, 4)
	defer from.close(t)
	snap, err := from.b.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	_, err = snap.WriteTo(&file)
	snap.Release()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Dir: t.TempDir(), MemoryBytes: MemoryMin})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.New(dataflow.KeyGroupsOf(0, 128, 1), 128)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(&file, state.RestorePart{}); err != nil {
		t.Fatal(err)
	}
	tab, err := b.Table(state.Descriptor{Name: "values", Schema: "x", Fixed: largeValue})
	if err != nil {
		t.Fatal(err)
	}
	to := &backendSide{s: s, b: b, vals: tab}
	defer to.close(t)
	keys := make([][largeKey]byte, 2*largeBatch)
	for j := range keys {
		keys[j] = spread(uint64(3*largeBatch + j))
	}
	to.put(keys, 1)
	if tab.(*table).maybe == 0 {
		t.Error("all puts looked")
	}
	if n := tab.Len(); n != 5*largeBatch {
		t.Errorf("%d keys, want %d", n, 5*largeBatch)
	}
}
