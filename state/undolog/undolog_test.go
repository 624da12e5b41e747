package undolog_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statetest"
	"github.com/leatstream/leat/state/undolog"
)

func wrapped(g dataflow.KeyGroupRange, m int) state.Backend {
	b := undolog.New(memstate.New(g, m))
	b.Begin() // as in the middle of a row
	return b
}

// TestConformance wants a wrapped backend to be one like any other.
func TestConformance(t *testing.T) { statetest.Run(t, wrapped) }

// TestIsNotSeen compares a wrapped backend with the one that it wraps.
func TestIsNotSeen(t *testing.T) {
	t.Parallel()
	plain := func(g dataflow.KeyGroupRange, m int) state.Backend { return memstate.New(g, m) }
	for seed := range uint64(4) {
		statetest.Compare(t, wrapped, plain, seed, 1500)
	}
}

// world is a backend with a table of each kind.
type world struct {
	b      *undolog.Backend
	fixed  state.Table
	varied state.Table
	maps   state.SubTable
	all    []state.Table
}

func open(t *testing.T) *world {
	t.Helper()
	w := &world{b: undolog.New(memstate.New(dataflow.KeyGroupsOf(0, 8, 1), 8))}
	for _, d := range []state.Descriptor{
		{Name: "fixed", Schema: "f", Fixed: 8}, {Name: "varied", Schema: "v"}, {Name: "maps", Schema: "m", Sub: true},
	} {
		tb, err := w.b.Table(d)
		if err != nil {
			t.Fatal(err)
		}
		w.all = append(w.all, tb)
	}
	w.fixed, w.varied, w.maps = w.all[0], w.all[1], w.all[2].(state.SubTable)
	return w
}

// dump lists everything that is stored, sorted.
func (w *world) dump() []string {
	var out []string
	for i, tb := range w.all {
		for _, ns := range tb.Namespaces() {
			tb.Scan(ns, func(key, val []byte) bool {
				out = append(out, fmt.Sprintf("%d %d %q %q", i, ns, key, val))
				return true
			})
		}
	}
	for ns := range int64(3) {
		for k := range 6 {
			w.maps.ScanSub(ns, key(k), func(sub, val []byte) bool {
				out = append(out, fmt.Sprintf("map %d %d %q %q", ns, k, sub, val))
				return true
			})
		}
	}
	for g := range 8 {
		out = append(out, fmt.Sprintf("group %d %q", g, w.b.GroupValue("g", dataflow.KeyGroup(g))))
	}
	slices.Sort(out)
	return out
}

func key(i int) state.Key { return state.KeyOf(fmt.Append(nil, "key", i)) }

// write does one random write.
func (w *world) write(rng *rand.Rand) {
	ns, k := rng.Int64N(3), key(rng.IntN(6))
	val := bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, rng.IntN(30))
	sub := []byte{byte('0' + rng.IntN(5))}
	switch rng.IntN(12) {
	case 0, 1:
		v, _ := w.fixed.Upsert(ns, k)
		binary.LittleEndian.PutUint64(v, rng.Uint64())
	case 2:
		w.fixed.Delete(ns, k)
	case 3:
		w.varied.Put(ns, k, val)
	case 4, 5:
		w.varied.(state.Appender).Append(ns, k, val)
	case 6:
		w.varied.Delete(ns, k)
	case 7, 8:
		w.maps.PutSub(ns, k, sub, val)
	case 9:
		w.maps.DeleteSub(ns, k, sub)
	case 10:
		w.b.SetGroupValue("g", dataflow.KeyGroup(rng.IntN(8)), val)
	default:
		if rng.IntN(4) == 0 {
			w.all[rng.IntN(3)].DropNamespace(ns)
			return
		}
		w.maps.ClearSub(ns, k)
	}
}

// TestRollback does rows of random writes, of which some are taken back.
func TestRollback(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 9))
		w := open(t)
		changed := 0
		for range 100 {
			before := w.dump()
			w.b.Begin()
			for range rng.IntN(12) {
				w.write(rng)
			}
			if rng.IntN(2) == 0 {
				w.b.Commit()
				continue
			}
			if !slices.Equal(before, w.dump()) {
				changed++
			}
			w.b.Rollback()
			if after := w.dump(); !slices.Equal(after, before) {
				t.Fatalf("seed %d: after the rollback\n%q\nwant\n%q", seed, after, before)
			}
		}
		if changed == 0 {
			t.Fatalf("seed %d: no rollback had anything to do", seed)
		}
	}
}

// BenchmarkWrite compares a counter's write with and without a log.
func BenchmarkWrite(b *testing.B) {
	for _, logged := range []bool{false, true} {
		b.Run(fmt.Sprint("logged=", logged), func(b *testing.B) {
			u := undolog.New(memstate.New(dataflow.KeyGroupsOf(0, 8, 1), 8))
			t, err := u.Table(state.Descriptor{Name: "t", Schema: "s", Fixed: 8})
			if err != nil {
				b.Fatal(err)
			}
			k := key(1)
			b.ReportAllocs()
			for b.Loop() {
				if logged {
					u.Begin()
				}
				v, _ := t.Upsert(0, k)
				v[0]++
			}
		})
	}
}
