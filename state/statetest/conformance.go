package statetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// Run runs the conformance suite on backends of f. A failing test names the
// sentence of the contract that does not hold.
func Run(t *testing.T, f Factory) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*testing.T, Factory)
	}{
		{"a value given is copied, a value put replaces", testPut},
		{"upsert makes zero bytes and returns them in place", testUpsert},
		{"batched upsert equals single upserts", testUpsertBatch},
		{"a batched scan equals a scan", testScanBatch},
		{"overwrite returns the value in place, whatever was there", testOverwrite},
		{"empty keys, empty values and absent ones differ", testEmpty},
		{"namespaces are ascending and those that hold an entry", testNamespaces},
		{"scan visits each entry once and stops when told", testScan},
		{"a map's entries are its own", testMaps},
		{"group values travel with their key group", testGroupValues},
		{"a snapshot holds the state as of its moment", testSnapshotMoment},
		{"several snapshots are independent", testSnapshotsIndependent},
		{"a released snapshot is not written", testReleased},
		{"restore spreads state over any parallelism", testRescale},
		{"files of a chain add to one another", testChain},
		{"a chain drops what is its own", testChainsApart},
		{"a restored table that is never opened is kept", testUnopenedKept},
		{"a contradicting descriptor is an error naming both schemas", testSchemas},
		{"another maximum parallelism is an error naming both", testMaxParallelism},
		{"sweeps leave what they are told, whatever their steps", testSweep},
		{"a sweep looks at few values at a time and gives memory back", testSweepInSteps},
		{"a snapshot holds what is left of its tables", testSnapshotTrim},
		{"a migrated table holds the rewritten entries", testMigrate},
		{"migration keeps the order of maps and needs little room", testMigrateKeepsOrderAndRoom},
		{"an error of a rewrite ends the migration", testMigrateError},
		{"corrupt bytes are an error and never a panic", testCorrupt},
		{"state agrees with the reference under random operations", testReference},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, f)
		})
	}
}

const suiteGroups = 128

func whole() dataflow.KeyGroupRange { return dataflow.KeyGroupsOf(0, suiteGroups, 1) }

func fresh(t *testing.T, f Factory) (state.Backend, []state.Table) {
	t.Helper()
	b := f(whole(), suiteGroups)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, openTables(t, b)
}

func key(s string) state.Key { return state.KeyOf([]byte(s)) }

func wantValue(t *testing.T, tab state.Table, ns int64, k, want string) {
	t.Helper()
	if v, ok := tab.Get(ns, key(k)); !ok || string(v) != want {
		t.Errorf("value of %q in %d is %q %t, want %q", k, ns, v, ok, want)
	}
}

func wantNone(t *testing.T, tab state.Table, ns int64, k string) {
	t.Helper()
	if v, ok := tab.Get(ns, key(k)); ok {
		t.Errorf("value of %q in %d is %q, want none", k, ns, v)
	}
}

func testPut(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	raw, val := []byte("k"), []byte("first")
	tabs[1].Put(0, state.KeyOf(raw), val)
	copy(val, "XXXXX")
	raw[0] = 'X'
	wantValue(t, tabs[1], 0, "k", "first")
	wantNone(t, tabs[1], 1, "k")
	for _, v := range []string{"", "longer than before by far", "s", strings.Repeat("x", 100_000), "t"} {
		tabs[1].Put(0, key("k"), []byte(v))
		wantValue(t, tabs[1], 0, "k", v)
	}
	tabs[1].Delete(0, key("absent"))
	tabs[1].Delete(0, key("k"))
	tabs[1].Delete(0, key("k"))
	wantNone(t, tabs[1], 0, "k")
	if n := tabs[1].Len(); n != 0 {
		t.Errorf("%d keys left", n)
	}
}

func testUpsert(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	tabs[0].Put(0, key("old"), []byte("0123456789abcdef"))
	tabs[0].Delete(0, key("old"))
	for i := range 3 {
		v, created := tabs[0].Upsert(0, key("old"))
		if len(v) != 16 || created != (i == 0) || int(v[3]) != i {
			t.Fatalf("upsert %d: %x created=%t", i, v, created)
		}
		v[3]++
	}
	if v, _ := tabs[0].Get(0, key("old")); v[3] != 3 {
		t.Errorf("value is %x", v)
	}
}

func testUpsertBatch(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	batch, ok := tabs[0].(state.BatchUpserter)
	if !ok {
		t.Skip("the backend has no batched upsert")
	}
	for round := range 4 {
		var keys []state.Key
		for i := range 300 {
			keys = append(keys, key(fmt.Sprint("key", i%(100*(round+1)))))
		}
		vals, created := make([][]byte, len(keys)), make([]bool, len(keys))
		batch.UpsertBatch(5, keys, vals, created)
		n := 0
		for i, v := range vals {
			if len(v) != 16 {
				t.Fatalf("value %d has %d bytes", i, len(v))
			}
			v[0]++
			if created[i] {
				n++
			}
		}
		if want := []int{100, 100, 100, 0}[round]; n != want {
			t.Errorf("round %d created %d, want %d", round, n, want)
		}
	}
	batch.UpsertBatch(6, nil, nil, nil)
	sum := 0
	tabs[0].Scan(5, func(_, val []byte) bool { sum += int(val[0]); return true })
	if sum != 1200 || tabs[0].Len() != 300 || len(tabs[0].Namespaces()) != 1 {
		t.Errorf("counted %d in %d keys, want 1200 in 300", sum, tabs[0].Len())
	}
}

func testScanBatch(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	batch, ok := tabs[0].(state.BatchScanner)
	if !ok {
		t.Skip("the backend has no batched scan")
	}
	for _, n := range []int{0, 1, 127, 128, 129, 20_000} {
		for i := range n + n/2 {
			v, _ := tabs[0].Upsert(int64(n), key(fmt.Sprint("key", i)))
			copy(v, fmt.Sprintf("%016d", i))
		}
		for i := range n / 2 { // what is gone is not seen
			tabs[0].Delete(int64(n), key(fmt.Sprint("key", 3*i)))
		}
		want, got := map[string]string{}, map[string]string{}
		tabs[0].Scan(int64(n), func(k, val []byte) bool { want[string(k)] = string(val); return true })
		seen, calls := 0, 0
		batch.ScanBatch(int64(n), func(keys []state.Key, vals [][]byte) bool {
			for i, k := range keys {
				got[string(k.Bytes)] = string(vals[i])
				if k.Hash != codec.HashKey(k.Bytes) {
					t.Fatalf("hash of %q is %x", k.Bytes, k.Hash)
				}
			}
			seen, calls = seen+len(keys), calls+1
			return true
		})
		if seen != n || len(want) != n || !maps.Equal(got, want) {
			t.Errorf("%d of %d entries came, %d keys", seen, n, len(got))
		}
		again := 0
		batch.ScanBatch(int64(n), func([]state.Key, [][]byte) bool { again++; return false })
		if again != min(n, 1) || n > 0 && calls == 0 {
			t.Errorf("%d calls after the first said to stop", again)
		}
	}
}

func testOverwrite(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	over, ok := tabs[0].(state.Overwriter)
	if !ok {
		t.Skip("the table has no Overwrite")
	}
	const keys = 3000
	for round := range 3 {
		for i := range keys {
			v := over.Overwrite(5, key(fmt.Sprint("key", i)))
			if len(v) != 16 {
				t.Fatalf("value has %d bytes", len(v))
			}
			copy(v, fmt.Sprintf("%08d%08d", round, i))
		}
	}
	tabs[0].Delete(5, key("key7"))
	for _, i := range []int{0, 1, keys - 1} {
		wantValue(t, tabs[0], 5, fmt.Sprint("key", i), fmt.Sprintf("%08d%08d", 2, i))
	}
	wantNone(t, tabs[0], 5, "key7")
	sum := 0
	tabs[0].Scan(5, func(_, v []byte) bool { sum++; return string(v[:8]) == "00000002" })
	if n := tabs[0].Len(); n != keys-1 || sum != keys-1 {
		t.Errorf("%d keys, %d seen, want %d", n, sum, keys-1)
	}
}

func testEmpty(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	tabs[1].Put(0, key(""), nil)
	wantValue(t, tabs[1], 0, "", "")
	wantNone(t, tabs[1], 0, "\x00")
	m := tabs[2].(state.SubTable)
	m.PutSub(0, key(""), nil, nil)
	m.PutSub(0, key("ab"), []byte("c"), []byte("1"))
	m.PutSub(0, key("a"), []byte("bc"), []byte("2"))
	if v, ok := m.GetSub(0, key(""), []byte{}); !ok || len(v) != 0 {
		t.Errorf("empty entry is %q %t", v, ok)
	}
	if v, _ := m.GetSub(0, key("a"), []byte("bc")); string(v) != "2" {
		t.Errorf("key a, subkey bc is %q: it was taken for ab, c", v)
	}
	if _, ok := m.GetSub(0, key("abc"), nil); ok {
		t.Error("key abc exists")
	}
}

func testNamespaces(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	for i, tab := range tabs {
		for _, ns := range []int64{5, -5, 0, 1 << 62, -1 << 63, 7} {
			if i == 2 {
				tab.(state.SubTable).PutSub(ns, key("k"), []byte("s"), nil)
			} else {
				tab.Put(ns, key("k"), make([]byte, 16))
			}
		}
		before := tab.Namespaces()
		tab.Delete(-5, key("k"))
		tab.DropNamespace(0)
		tab.DropNamespace(123)
		if want := []int64{-1 << 63, 5, 7, 1 << 62}; !slices.Equal(tab.Namespaces(), want) {
			t.Errorf("table %d: namespaces %v, want %v", i, tab.Namespaces(), want)
		}
		if want := []int64{-1 << 63, -5, 0, 5, 7, 1 << 62}; !slices.Equal(before, want) {
			t.Errorf("table %d: namespaces changed in the caller's hand to %v", i, before)
		}
		if tab.LenNamespace(0) != 0 || tab.LenNamespace(7) != 1 || tab.Len() != 4 {
			t.Errorf("table %d: lengths %d %d %d", i, tab.LenNamespace(0), tab.LenNamespace(7), tab.Len())
		}
	}
}

func testScan(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	for i := range 1000 {
		tabs[1].Put(1, key(fmt.Sprint(i)), fmt.Appendf(nil, "v%d", i))
		tabs[1].Put(2, key(fmt.Sprint(i)), nil)
	}
	seen := map[string]bool{}
	tabs[1].Scan(1, func(k, v []byte) bool {
		if string(v) != "v"+string(k) || seen[string(k)] {
			t.Errorf("key %s value %s, seen before: %t", k, v, seen[string(k)])
		}
		seen[string(k)] = true
		return true
	})
	if len(seen) != 1000 {
		t.Errorf("scan saw %d of 1000", len(seen))
	}
	n := 0
	tabs[1].Scan(1, func(_, _ []byte) bool { n++; return n < 10 })
	if n != 10 {
		t.Errorf("scan went on to %d after it was told to stop at 10", n)
	}
}

func testMaps(t *testing.T, f Factory) {
	_, tabs := fresh(t, f)
	m := tabs[2].(state.SubTable)
	for i := range 50 {
		for k := range 20 {
			m.PutSub(0, key(fmt.Sprint(k)), fmt.Append(nil, i), fmt.Append(nil, k*i))
		}
	}
	for i := range 25 {
		m.DeleteSub(0, key("7"), fmt.Append(nil, i*2))
		m.DeleteSub(0, key("7"), fmt.Append(nil, i*2))
	}
	m.ClearSub(0, key("8"))
	m.ClearSub(0, key("absent"))
	if a, b, c := m.LenSub(0, key("7")), m.LenSub(0, key("8")), m.Len(); a != 25 || b != 0 || c != 20*50-75 {
		t.Errorf("lengths %d %d %d", a, b, c)
	}
	sum := 0
	m.ScanSub(0, key("7"), func(sub, val []byte) bool {
		var i, v int
		_, errSub := fmt.Sscan(string(sub), &i)
		_, errVal := fmt.Sscan(string(val), &v)
		if errSub != nil || errVal != nil || v != 7*i || i%2 == 0 {
			t.Errorf("entry %s=%s", sub, val)
		}
		sum += i
		return true
	})
	if sum != 625 {
		t.Errorf("the map's subkeys sum up to %d, want 625", sum)
	}
	if n := tabs[2].LenNamespace(0); n != 19 {
		t.Errorf("%d keys, want 19", n)
	}
}

func testGroupValues(t *testing.T, f Factory) {
	b, _ := fresh(t, f)
	if v := b.GroupValue("bound", 3); v != nil {
		t.Errorf("unset value is %x", v)
	}
	for g := range suiteGroups {
		b.SetGroupValue("bound", dataflow.KeyGroup(g), []byte{byte(g)})
		b.SetGroupValue("other", dataflow.KeyGroup(g), []byte("o"))
	}
	b.SetGroupValue("bound", 5, nil)
	s, err := b.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	b.SetGroupValue("bound", 70, []byte{99})
	b.SetGroupValue("bound", 71, nil)
	file := write(t, s)
	s.Release()
	for i := range 3 {
		r := dataflow.KeyGroupsOf(i, suiteGroups, 3)
		part := f(r, suiteGroups)
		if err := part.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
			t.Fatal(err)
		}
		for g := r.First; g <= r.Last; g++ {
			want := []byte{byte(g)}
			if g == 5 {
				want = nil
			}
			if v := part.GroupValue("bound", g); !bytes.Equal(v, want) || (v == nil) != (want == nil) {
				t.Errorf("group %d of part %d: %x, want %x", g, i, v, want)
			}
		}
		if err := part.Close(); err != nil {
			t.Error(err)
		}
	}
}

// fillWorld makes a world with random content.
func fillWorld(t *testing.T, f Factory, parallelism int, seed uint64, steps int) *world {
	t.Helper()
	w := newWorld(t, f, parallelism, suiteGroups, seed)
	t.Cleanup(w.close)
	for range steps {
		w.step()
	}
	return w
}

func testSnapshotMoment(t *testing.T, f Factory) {
	for seed := range uint64(8) {
		w := fillWorld(t, f, 1, seed, 300)
		for range 4 {
			want := w.dump()
			files := writeMeanwhile(t, w.snapshots(1), func() { w.churn(200) })
			got := newWorld(t, f, 1, suiteGroups, 0)
			got.open(1, files)
			if d := diff(got.dump(), want); d != "" {
				t.Errorf("seed %d: %s", seed, d)
			}
			got.close()
		}
	}
}

func testSnapshotsIndependent(t *testing.T, f Factory) {
	w := fillWorld(t, f, 1, 9, 300)
	var snaps []state.Snapshot
	var dumps [][]string
	for i := range 5 {
		snaps = append(snaps, w.snapshots(dataflow.CheckpointID(i))...)
		dumps = append(dumps, w.dump())
		w.churn(50)
	}
	for _, i := range []int{3, 0, 4, 2, 1} {
		file := write(t, snaps[i])
		if again := write(t, snaps[i]); !bytes.Equal(file, again) {
			t.Errorf("snapshot %d is another when written again", i)
		}
		snaps[i].Release()
		w.churn(20)
		got := newWorld(t, f, 1, suiteGroups, 0)
		got.open(1, [][]byte{file})
		if d := diff(got.dump(), dumps[i]); d != "" {
			t.Errorf("snapshot %d: %s", i, d)
		}
		got.close()
	}
}

func testReleased(t *testing.T, f Factory) {
	w := fillWorld(t, f, 1, 3, 50)
	s := w.snapshots(1)[0]
	s.Release()
	if _, err := s.WriteTo(new(bytes.Buffer)); err == nil {
		t.Error("a released snapshot was written")
	}
}

func testRescale(t *testing.T, f Factory) {
	w := fillWorld(t, f, 1, 4, 1500)
	want := w.dump()
	for _, p := range []int{3, 2, 128, 1, 7, 1} {
		var files [][]byte
		for _, s := range w.snapshots(1) {
			files = append(files, write(t, s))
			s.Release()
		}
		w.open(p, files)
		if d := diff(w.dump(), want); d != "" {
			t.Fatalf("at parallelism %d: %s", p, d)
		}
	}
}

func testUnopenedKept(t *testing.T, f Factory) {
	w := fillWorld(t, f, 1, 5, 500)
	want := w.dump()
	for range 3 {
		s := w.snapshots(1)[0]
		file := write(t, s)
		s.Release()
		b := f(whole(), suiteGroups)
		if err := b.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
			t.Fatal(err)
		}
		s, err := b.Snapshot(2)
		if err != nil {
			t.Fatal(err)
		}
		w.open(1, [][]byte{write(t, s)})
		s.Release()
	}
	if d := diff(w.dump(), want); d != "" {
		t.Error(d)
	}
}

func testSchemas(t *testing.T, f Factory) {
	w := fillWorld(t, f, 1, 6, 100)
	s := w.snapshots(1)[0]
	file := write(t, s)
	s.Release()
	b := f(whole(), suiteGroups)
	if err := b.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []state.Descriptor{
		{Name: "fixed", Schema: "other schema", Fixed: 16},
		{Name: "fixed", Schema: "count int64, sum float64", Fixed: 8},
		{Name: "varied", Schema: "bytes", Fixed: 4},
		{Name: "maps", Schema: "map"},
	} {
		_, err := b.Table(d)
		if err == nil {
			t.Errorf("descriptor %+v was accepted", d)
			continue
		}
		for _, have := range descriptors() {
			if have.Name == d.Name && (!strings.Contains(err.Error(), have.Schema) || !strings.Contains(err.Error(), d.Schema)) {
				t.Errorf("error %q does not name schemas %q and %q", err, have.Schema, d.Schema)
			}
		}
	}
	other := f(whole(), suiteGroups)
	if _, err := other.Table(state.Descriptor{Name: "fixed", Schema: "x", Fixed: 4}); err != nil {
		t.Fatal(err)
	}
	if err := other.Restore(bytes.NewReader(file), state.RestorePart{}); err == nil {
		t.Error("restore into an open table of another schema was accepted")
	}
}

func testMaxParallelism(t *testing.T, f Factory) {
	w := fillWorld(t, f, 1, 6, 100)
	s := w.snapshots(1)[0]
	file := write(t, s)
	s.Release()
	err := f(dataflow.KeyGroupsOf(0, 64, 1), 64).Restore(bytes.NewReader(file), state.RestorePart{})
	if err == nil || !strings.Contains(err.Error(), "128") || !strings.Contains(err.Error(), "64") {
		t.Errorf("restore into maximum parallelism 64: %v", err)
	}
}

func testCorrupt(t *testing.T, f Factory) {
	w := newWorld(t, f, 1, suiteGroups, 1)
	defer w.close()
	k := key("key")
	w.tables[0][0].Put(3, k, []byte("0123456789abcdef"))
	w.tables[0][1].Put(0, k, []byte("value"))
	w.tables[0][2].(state.SubTable).PutSub(0, key("other"), []byte("sub"), []byte("value"))
	w.parts[0].SetGroupValue("bound", 7, []byte("b"))
	s := w.snapshots(1)[0]
	file := write(t, s)
	s.Release()
	check := func(what string, bad []byte) {
		b := f(whole(), suiteGroups)
		defer b.Close()
		err := b.Restore(bytes.NewReader(bad), state.RestorePart{})
		if err == nil {
			t.Errorf("%s: no error", what)
		} else if !errors.Is(err, statefile.ErrCorrupt) {
			t.Errorf("%s: error %v does not wrap ErrCorrupt", what, err)
		}
	}
	for i := range file {
		check(fmt.Sprintf("cut at byte %d", i), file[:i])
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := slices.Clone(file)
			bad[i] ^= flip
			check(fmt.Sprintf("byte %d of %d flipped by %#x", i, len(file), flip), bad)
		}
	}
	check("a byte more", append(slices.Clone(file), 0))
	check("twice the file", append(slices.Clone(file), file...))
}

func testReference(t *testing.T, f Factory) {
	for seed := range uint64(3) {
		Compare(t, f, NewReference, 100+seed, 3000)
	}
}
