package statetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// descriptors of the tables that random operations use.
func descriptors() []state.Descriptor {
	return []state.Descriptor{
		{Name: "fixed", Schema: "count int64, sum float64", Fixed: 16},
		{Name: "varied", Schema: "bytes"},
		{Name: "maps", Schema: "map", Sub: true},
	}
}

// world is the subtasks of one operator, and random operations on them.
// Operation streams depend on the seed alone, so two worlds with the same
// seed do the same, whatever their backends.
type world struct {
	tb      testing.TB
	factory Factory
	max     int
	parts   []state.Backend
	tables  [][]state.Table // by subtask, as descriptors()
	rnd     *rand.Rand
	keys    int // distinct keys
}

func newWorld(tb testing.TB, f Factory, parallelism, maxParallelism int, seed uint64) *world {
	w := &world{tb: tb, factory: f, max: maxParallelism, rnd: rand.New(rand.NewPCG(seed, 1)), keys: 60}
	w.open(parallelism, nil)
	return w
}

// open makes backends and restores all files into each.
func (w *world) open(parallelism int, files [][]byte) {
	w.tb.Helper()
	w.close()
	w.parts, w.tables = nil, nil
	for i := range parallelism {
		b := w.factory(dataflow.KeyGroupsOf(i, w.max, parallelism), w.max)
		for _, f := range files {
			if err := b.Restore(bytes.NewReader(f), state.RestorePart{}); err != nil {
				w.tb.Fatalf("restore at parallelism %d: %v", parallelism, err)
			}
		}
		w.parts = append(w.parts, b)
		w.tables = append(w.tables, openTables(w.tb, b))
	}
}

func openTables(tb testing.TB, b state.Backend) (ts []state.Table) {
	tb.Helper()
	for _, d := range descriptors() {
		t, err := b.Table(d)
		if err != nil {
			tb.Fatal(err)
		}
		ts = append(ts, t)
	}
	return ts
}

func (w *world) close() {
	for _, b := range w.parts {
		if err := b.Close(); err != nil {
			w.tb.Error(err)
		}
	}
}

func (w *world) snapshots(cp dataflow.CheckpointID) (ss []state.Snapshot) {
	w.tb.Helper()
	for _, b := range w.parts {
		s, err := b.Snapshot(cp)
		if err != nil {
			w.tb.Fatal(err)
		}
		ss = append(ss, s)
	}
	return ss
}

func write(tb testing.TB, s state.Snapshot) []byte {
	tb.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil {
		tb.Fatal(err)
	}
	if n != int64(b.Len()) {
		tb.Errorf("WriteTo says %d bytes, wrote %d", n, b.Len())
	}
	return b.Bytes()
}

func (w *world) key() (k state.Key, subtask int) {
	n := w.rnd.IntN(w.keys)
	raw := fmt.Appendf(nil, "%0*d", n%19, n) // lengths 1 to 18, 8 among them
	if n == 0 {
		raw = nil
	}
	k = state.KeyOf(raw)
	return k, dataflow.SubtaskOf(k.Group(w.max), w.max, len(w.parts))
}

func (w *world) namespace() int64 {
	return []int64{0, -1, 7, 1 << 40, -1 << 62}[w.rnd.IntN(5)]
}

func (w *world) value() []byte {
	n := w.rnd.IntN(40)
	switch w.rnd.IntN(40) {
	case 0:
		n = 5000
	case 1:
		n = 40000
	}
	v := make([]byte, n)
	for i := range v {
		v[i] = byte(w.rnd.Uint32())
	}
	return v
}

// step does one random operation and returns what it saw, as text.
func (w *world) step() string {
	k, part := w.key()
	ns := w.namespace()
	fixed, varied, maps := w.tables[part][0], w.tables[part][1], w.tables[part][2]
	switch op := w.rnd.IntN(20); op {
	case 0, 1, 2, 3:
		return w.stepFixed(fixed, ns, k, op)
	case 4, 5, 6, 7, 8:
		return w.stepVaried(varied, ns, k, op)
	case 9, 10, 11, 12, 13, 14:
		return w.stepMap(maps, ns, k, op)
	case 15:
		g := k.Group(w.max)
		was := w.parts[part].GroupValue("bound", g)
		out := fmt.Sprintf("group value %d %x %t", g, was, was == nil)
		w.parts[part].SetGroupValue("bound", g, [][]byte{nil, {}, {1}, {2}, {3, 4}}[w.rnd.IntN(5)])
		return out
	case 16:
		if w.rnd.IntN(8) == 0 {
			i := w.rnd.IntN(3)
			for p := range w.tables {
				w.tables[p][i].DropNamespace(ns)
			}
			return fmt.Sprintf("drop %d of %d", ns, i)
		}
	case 17:
		w.keys = []int{3, 60, 400}[w.rnd.IntN(3)]
	}
	return w.counts()
}

func (w *world) stepFixed(t state.Table, ns int64, k state.Key, op int) string {
	switch op {
	case 0:
		t.Delete(ns, k)
		return fmt.Sprintf("delete %d %s", ns, k.Bytes)
	case 1:
		v, ok := t.Get(ns, k)
		return fmt.Sprintf("get %d %s: %x %t", ns, k.Bytes, v, ok)
	case 2:
		val := fmt.Appendf(nil, "%016d", w.rnd.IntN(1000))
		if over, ok := t.(state.Overwriter); ok {
			copy(over.Overwrite(ns, k), val)
		} else {
			t.Put(ns, k, val)
		}
		return "put"
	}
	v, created := t.Upsert(ns, k)
	out := fmt.Sprintf("upsert %d %s: %x %t", ns, k.Bytes, v, created)
	v[w.rnd.IntN(16)]++
	return out
}

func (w *world) stepVaried(t state.Table, ns int64, k state.Key, op int) string {
	val := w.value()
	switch op {
	case 4:
		t.Delete(ns, k)
		return fmt.Sprintf("delete %d %s", ns, k.Bytes)
	case 5:
		v, ok := t.Get(ns, k)
		return fmt.Sprintf("get %d %s: %x %t", ns, k.Bytes, v, ok)
	case 6:
		old, _ := t.Get(ns, k)
		inPlace := w.rnd.IntN(2) == 0
		if a, ok := t.(state.Appender); ok && inPlace {
			a.Append(ns, k, val)
		} else {
			t.Put(ns, k, append(slices.Clone(old), val...))
		}
		return fmt.Sprintf("append %d %s", ns, k.Bytes)
	case 7:
		old, ok := t.Get(ns, k) // a value that aliases the table's memory
		if ok {
			t.Put(ns, k, old[len(old)/2:])
		}
		return fmt.Sprintf("halve %d %s %t", ns, k.Bytes, ok)
	}
	t.Put(ns, k, val)
	return fmt.Sprintf("put %d %s %x", ns, k.Bytes, val)
}

func (w *world) stepMap(t state.Table, ns int64, k state.Key, op int) string {
	m := t.(state.SubTable)
	sub := fmt.Appendf(nil, "%d", w.rnd.IntN(12))[w.rnd.IntN(2):]
	switch op {
	case 9:
		m.DeleteSub(ns, k, sub)
		return fmt.Sprintf("delete %d %s %s", ns, k.Bytes, sub)
	case 10:
		v, ok := m.GetSub(ns, k, sub)
		return fmt.Sprintf("get %d %s %s: %x %t", ns, k.Bytes, sub, v, ok)
	case 11:
		if w.rnd.IntN(4) == 0 {
			m.ClearSub(ns, k)
		}
		return fmt.Sprintf("map %d %s: %v, %d", ns, k.Bytes, dumpMap(m, ns, k), m.LenSub(ns, k))
	}
	m.PutSub(ns, k, sub, w.value())
	return fmt.Sprintf("put %d %s %s", ns, k.Bytes, sub)
}

func (w *world) counts() string {
	var out []string
	ns := w.namespace()
	for i := range descriptors() {
		n, in := 0, 0
		for p := range w.tables {
			n += w.tables[p][i].Len()
			in += w.tables[p][i].LenNamespace(ns)
		}
		out = append(out, fmt.Sprint(n, in))
	}
	return fmt.Sprint(out)
}

func dumpMap(m state.SubTable, ns int64, k state.Key) (out []string) {
	m.ScanSub(ns, k, func(sub, val []byte) bool {
		out = append(out, fmt.Sprintf("%q=%x", sub, val))
		return true
	})
	slices.Sort(out)
	return out
}

// dump returns all that the subtasks hold, one line for each entry, sorted.
func (w *world) dump() []string {
	var out []string
	for p, b := range w.parts {
		out = append(out, dumpTables(w.tables[p], b)...)
	}
	slices.Sort(out)
	return out
}

func dumpTables(ts []state.Table, b state.Backend) (out []string) {
	for i, d := range descriptors() {
		for _, ns := range ts[i].Namespaces() {
			var keys []string
			ts[i].Scan(ns, func(key, val []byte) bool {
				if d.Sub {
					keys = append(keys, string(key))
				} else {
					out = append(out, fmt.Sprintf("%s %d %q: %x", d.Name, ns, key, val))
				}
				return true
			})
			for _, key := range keys {
				m := dumpMap(ts[i].(state.SubTable), ns, state.KeyOf([]byte(key)))
				out = append(out, fmt.Sprintf("%s %d %q: %v", d.Name, ns, key, m))
			}
		}
	}
	for g := int(b.KeyGroups().First); g <= int(b.KeyGroups().Last); g++ {
		if v := b.GroupValue("bound", dataflow.KeyGroup(g)); v != nil {
			out = append(out, fmt.Sprintf("group %d: %x", g, v))
		}
	}
	return out
}

func diff(a, b []string) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return fmt.Sprintf("line %d: nothing, want %.200s", i, b[i])
		case i >= len(b):
			return fmt.Sprintf("line %d: %.200s, want nothing", i, a[i])
		case a[i] != b[i]:
			return fmt.Sprintf("line %d: %.200s, want %.200s", i, a[i], b[i])
		}
	}
	return ""
}
