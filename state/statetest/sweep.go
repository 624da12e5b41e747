package statetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// evens drops the values whose first byte is odd, and halves those that are
// longer than 40 bytes, in tables whose values may do so.
func evens(fixed bool) state.Trim {
	return func(val []byte) ([]byte, bool) {
		if len(val) > 0 && val[0]%2 == 1 {
			return nil, false
		}
		if !fixed && len(val) > 40 {
			return val[len(val)/2:], true
		}
		return val, true
	}
}

func sweepers(t *testing.T, tabs []state.Table) (out []state.Sweeper) {
	t.Helper()
	for _, tab := range tabs {
		s, ok := tab.(state.Sweeper)
		if !ok {
			t.Skip("the backend does not sweep: it has no state with a TTL")
		}
		out = append(out, s)
	}
	return out
}

// sweepAll trims until nothing changes any more, n values a call.
func sweepAll(s state.Sweeper, n int, trim state.Trim) {
	for changed := true; changed; {
		changed = false
		for end := false; !end; {
			end = s.Sweep(n, func(val []byte) ([]byte, bool) {
				left, keep := trim(val)
				changed = changed || !keep || len(left) != len(val)
				return left, keep
			})
		}
	}
}

func testSweep(t *testing.T, f Factory) {
	for seed, n := range []int{1, 7, 100000} {
		w := fillWorld(t, f, 1, uint64(seed), 1500)
		ref := fillWorld(t, NewReference, 1, uint64(seed), 1500)
		mine := sweepers(t, w.tables[0])
		for round := range 5 {
			var snap state.Snapshot
			var want []string
			if round == 2 {
				want, snap = w.dump(), w.snapshots(1)[0]
			}
			for i, s := range sweepers(t, ref.tables[0]) {
				sweepAll(mine[i], n, evens(i == 0))
				sweepAll(s, n, evens(i == 0))
			}
			if d := diff(w.dump(), ref.dump()); d != "" {
				t.Fatalf("%d values a call, round %d: %s", n, round, d)
			}
			if snap != nil {
				wantFile(t, f, write(t, snap), want)
				snap.Release()
			}
			for range 300 {
				if a, b := w.step(), ref.step(); a != b {
					t.Fatalf("%d values a call, round %d: %.300s, want %.300s", n, round, a, b)
				}
			}
		}
	}
}

// file is what a snapshot of the world's only subtask holds.
func file(t *testing.T, w *world) []byte {
	t.Helper()
	s := w.snapshots(1)[0]
	defer s.Release()
	return write(t, s)
}

func wantFile(t *testing.T, f Factory, file []byte, want []string) {
	t.Helper()
	got := newWorld(t, f, 1, suiteGroups, 0)
	defer got.close()
	got.open(1, [][]byte{file})
	if d := diff(got.dump(), want); d != "" {
		t.Errorf("the snapshot: %s", d)
	}
}

func testSweepInSteps(t *testing.T, f Factory) {
	b, tabs := fresh(t, f)
	s := sweepers(t, tabs)[1]
	const keys = 20_000
	for i := range keys {
		tabs[1].Put(int64(i%3), key(fmt.Sprint(i)), []byte{byte(i / (keys / 2)), 1, 2, 3})
	}
	full := b.Bytes()
	calls, most := 0, 0
	for end := false; !end; calls++ {
		seen := 0
		end = s.Sweep(100, func(val []byte) ([]byte, bool) { seen++; return val, val[0] == 0 })
		most = max(most, seen)
		if tabs[1].Len() > keys {
			t.Fatal("a sweep added values")
		}
	}
	if n := tabs[1].Len(); n != keys/2 {
		t.Errorf("%d values are left, want %d", n, keys/2)
	}
	if calls > 1 && most > 5000 {
		t.Errorf("a call for 100 values looked at %d", most)
	}
	sweepAll(s, keys, func([]byte) ([]byte, bool) { return nil, false })
	if n := tabs[1].Len() + len(tabs[1].Namespaces()); n != 0 || b.Bytes() > full/10 {
		t.Errorf("%d values and namespaces and %d of %d bytes are left of nothing", n, b.Bytes(), full)
	}
}

func testSnapshotTrim(t *testing.T, f Factory) {
	w := fillWorld(t, f, 1, 11, 2000)
	moment := 0
	for i, s := range sweepers(t, w.tables[0]) {
		s.OnSnapshot(func() state.Trim {
			moment++
			w.parts[0].SetGroupValue("bound", dataflow.KeyGroup(i), []byte("at snapshot"))
			return evens(i == 0)
		})
	}
	before := w.dump()
	snap := w.snapshots(1)[0]
	if moment != 3 {
		t.Errorf("%d tables were told of the snapshot, want 3", moment)
	}
	after := w.dump()
	if n := len(after) - len(before); n < 0 || n > 3 {
		t.Errorf("the snapshot changed what the tables hold")
	}
	ref := newWorld(t, NewReference, 1, suiteGroups, 0)
	defer ref.close()
	for _, tab := range w.tables[0] {
		tab.(state.Sweeper).OnSnapshot(nil)
	}
	ref.open(1, [][]byte{file(t, w)})
	for i, s := range sweepers(t, ref.tables[0]) {
		s.Sweep(0, evens(i == 0))
	}
	want := ref.dump()
	file := writeMeanwhile(t, []state.Snapshot{snap}, func() { w.churn(100) })[0]
	wantFile(t, f, file, want)
	wantFile(t, NewReference, file, want)
}

// rewritten is what testMigrate makes of an entry.
func rewritten(sub, val []byte) ([]byte, []byte, error) {
	val = append([]byte("new "), val...)
	if sub == nil {
		return nil, val, nil
	}
	return append([]byte("s"), sub...), val, nil
}

func testMigrate(t *testing.T, f Factory) {
	if _, ok := f(whole(), suiteGroups).(state.Migrator); !ok {
		t.Skip("the backend does not migrate")
	}
	for seed := range uint64(4) {
		w := fillWorld(t, f, 1, seed, 1500)
		old := file(t, w)
		got, want := migrated(t, f, old), migrated(t, NewReference, old)
		if d := diff(got, want); d != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
	}
}

func migrated(t *testing.T, f Factory, file []byte) []string {
	t.Helper()
	b := f(whole(), suiteGroups)
	defer b.Close()
	m := b.(state.Migrator)
	if _, ok := m.Restored("varied"); ok {
		t.Error("a table was restored out of nothing")
	}
	if err := b.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
		t.Fatal(err)
	}
	var tabs []state.Table
	for _, d := range descriptors() {
		old, ok := m.Restored(d.Name)
		if !ok || old != d {
			t.Errorf("restored table %q is %+v, %t", d.Name, old, ok)
		}
		d.Schema = "new " + d.Schema
		if d.Fixed > 0 {
			d.Fixed += 4
		}
		if err := m.Migrate(d, rewritten); err != nil {
			t.Fatal(err)
		}
		tab, err := b.Table(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Restored(d.Name); ok {
			t.Errorf("table %q can be migrated after it was opened", d.Name)
		}
		tabs = append(tabs, tab)
	}
	out := dumpTables(tabs, b)
	slices.Sort(out)
	return out
}

func testMigrateKeepsOrderAndRoom(t *testing.T, f Factory) {
	old := f(whole(), suiteGroups)
	defer old.Close()
	if _, ok := old.(state.Migrator); !ok {
		t.Skip("the backend does not migrate")
	}
	m := openTables(t, old)[2].(state.SubTable)
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 30_000 {
		m.PutSub(0, key(fmt.Sprint(rnd.IntN(50))), fmt.Append(nil, rnd.IntN(400)), make([]byte, 30))
		m.DeleteSub(0, key(fmt.Sprint(rnd.IntN(50))), fmt.Append(nil, rnd.IntN(400)))
	}
	s, err := old.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	b := f(whole(), suiteGroups)
	defer b.Close()
	err = b.Restore(bytes.NewReader(write(t, s)), state.RestorePart{})
	s.Release()
	if err != nil {
		t.Fatal(err)
	}
	before, most, seen := b.Bytes(), int64(0), 0
	d := descriptors()[2]
	d.Schema = "same size"
	err = b.(state.Migrator).Migrate(d, func(sub, val []byte) ([]byte, []byte, error) {
		if seen++; seen%500 == 0 {
			most = max(most, b.Bytes())
		}
		return sub, val, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ref := b.(*Reference); !ref && most > before*5/4 {
		t.Errorf("migrating %d bytes took %d", before, most)
	}
	tab, err := b.Table(d)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 50 {
		if got, want := order(tab.(state.SubTable), k), order(m, k); !slices.Equal(got, want) {
			t.Fatalf("the map of key %d is in the order %v, want %v", k, got, want)
		}
	}
}

func order(m state.SubTable, k int) (out []string) {
	m.ScanSub(0, key(fmt.Sprint(k)), func(sub, _ []byte) bool { out = append(out, string(sub)); return true })
	return out
}

func testMigrateError(t *testing.T, f Factory) {
	if _, ok := f(whole(), suiteGroups).(state.Migrator); !ok {
		t.Skip("the backend does not migrate")
	}
	w := fillWorld(t, f, 1, 2, 300)
	b := f(whole(), suiteGroups)
	defer b.Close()
	if err := b.Restore(bytes.NewReader(file(t, w)), state.RestorePart{}); err != nil {
		t.Fatal(err)
	}
	d := descriptors()[1]
	d.Schema = "other"
	bad := errors.New("bad value")
	err := b.(state.Migrator).Migrate(d, func(_, _ []byte) ([]byte, []byte, error) { return nil, nil, bad })
	if !errors.Is(err, bad) {
		t.Errorf("the error of a rewrite became %v", err)
	}
}
