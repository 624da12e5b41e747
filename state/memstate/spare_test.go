package memstate

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/leatstream/leat/state"
)

// Namespaces that come as others go are made of what those leave: of a ring of
// four, each with many keys, and of many small ones. Not parallel: it reads the
// process's figures.
func TestNamespacesComeOutOfThoseThatGo(t *testing.T) {
	for name, c := range map[string]struct{ ring, keys int }{"large": {4, 20_000}, "small": {300, 5}} {
		for i, kind := range []string{"fixed", "varied", "maps"} {
			_, tabs := opened(t)
			keys := keysOf(c.keys)
			value, sub := make([]byte, 40), numbered(7).Bytes
			next := 0
			turn := func() {
				for _, k := range keys {
					switch i {
					case 0:
						tabs[0].Upsert(int64(next), k)
					case 1:
						tabs[1].Put(int64(next), k, value)
					case 2:
						tabs[2].(state.SubTable).PutSub(int64(next), k, sub, value)
					}
				}
				if next >= c.ring {
					tabs[i].DropNamespace(int64(next - c.ring))
				}
				next++
			}
			for range 2*c.ring + 2 {
				turn()
			}
			turns := max(20, c.ring)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range turns {
				turn()
			}
			runtime.ReadMemStats(&after)
			each := float64(after.Mallocs-before.Mallocs) / float64(turns)
			t.Logf("%s, %s: %.2f allocations for each namespace of %d keys", name, kind, each, c.keys)
			if limit := max(2, 0.0005*float64(c.keys)); each > limit {
				t.Errorf("%s, %s: %.2f allocations for each namespace of %d keys, at most %v", name, kind, each, c.keys, limit)
			}
		}
	}
}

// Tables that drop a namespace at once, when the next one is not full yet, as
// the sides of a join do, leave enough for it and for its lists of pages. Not
// parallel: it reads the process's figures.
func TestTablesThatDropTogetherLeaveWhatIsNeeded(t *testing.T) {
	const count, turns = 60_000, 5
	b := New(allGroups(), 1024)
	var sides []state.Table
	for _, name := range []string{"left", "right"} {
		side, err := b.Table(state.Descriptor{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		sides = append(sides, side)
	}
	keys, value := keysOf(count), make([]byte, 400)
	next := int64(0)
	fill := func(keys []state.Key) {
		for _, side := range sides {
			for _, k := range keys {
				side.Put(next, k, value)
			}
		}
	}
	turn := func() {
		fill(keys[:count*6/10])
		for _, side := range sides {
			side.DropNamespace(next - 1)
		}
		fill(keys[count*6/10:])
		next++
	}
	for range 5 {
		turn()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range turns {
		turn()
	}
	runtime.ReadMemStats(&after)
	if each := float64(after.Mallocs-before.Mallocs) / turns; each > 4 {
		t.Errorf("%v allocations for each namespace of %d keys, at most 4", each, count)
	}
}

// A page that a snapshot has is not given to another namespace.
func TestSnapshotsKeepTheirPages(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 3))
	b, tabs := opened(t)
	fill := func(ns int64, with byte) {
		for i := range 2000 {
			tabs[1].Put(ns, numbered(i), bytes.Repeat([]byte{with}, 1+rnd.IntN(60)))
		}
	}
	fill(0, 'a')
	for round := range int64(20) {
		snap, err := b.Snapshot(1)
		if err != nil {
			t.Fatal(err)
		}
		var want, got bytes.Buffer
		if _, err := snap.WriteTo(&want); err != nil {
			t.Fatal(err)
		}
		tabs[1].DropNamespace(round)
		fill(round+1, 'b'+byte(round))
		fill(100, 'z')
		tabs[1].DropNamespace(100)
		if _, err := snap.WriteTo(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("round %d: the snapshot has changed since it was taken", round)
		}
		snap.Release()
		check(t, b, "released")
	}
}

// A new namespace begins as large as the one before it was, and is as good
// when it becomes smaller.
func TestIndexIsSpreadByExperience(t *testing.T) {
	t.Parallel()
	b, tabs := opened(t)
	keys := keysOf(50_000)
	for ns, n := range []int{50_000, 50_000, 3000, 900, 20_000, 50_000, 1} {
		for _, k := range keys[:n] {
			tabs[0].Upsert(int64(ns), k)
		}
		check(t, b, "filled")
		for i, k := range keys {
			if _, ok := tabs[0].Get(int64(ns), k); ok != (i < n) {
				t.Fatalf("namespace %d of %d keys: key %d is there: %t", ns, n, i, ok)
			}
		}
		for _, k := range keys[:n/2] {
			tabs[0].Delete(int64(ns), k)
		}
		check(t, b, "half emptied")
	}
}

// Entries whose subkey is their key are not all found at one place.
func TestSubkeysLikeTheirKeysHaveHashesOfTheirOwn(t *testing.T) {
	t.Parallel()
	keys := keysOf(20_000)
	tags := map[uint32]bool{}
	for _, k := range keys {
		tags[tagOf(subHash(k.Hash, k.Bytes))] = true
	}
	if len(tags) < len(keys)*99/100 {
		t.Errorf("%d keys have %d tags", len(keys), len(tags))
	}
}
