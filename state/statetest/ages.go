package statetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// testAges deletes, changes and looks at entries of every age up to some
// hundred checkpoints: a backend may count epochs in few bits.
func testAges(t *testing.T, f Factory, into []Factory) {
	h := newHistory(t, f, into, 1)
	h.close()
	h.chains.rnd, h.chains.slices = rand.New(rand.NewPCG(1, 2)), 40
	h.parts = h.chains.open(0, f, 1)
	h.openTables()
	const epochs = 420
	key := func(kind string, epoch int) string { return fmt.Sprint(kind, " of ", epoch) }
	for e := range epochs {
		for i, age := range []int{1, 30, 60, 61, 64, 126, 127, 128, 254, 381} {
			kind := fmt.Sprint("deleted at ", age)
			h.set(e, key(kind, e), e)
			h.setAlone(key("alone "+kind, e), age)
			h.remove(key("alone "+kind, e-age))
			h.remove(key(kind, e-age))
			h.setMap(key(kind, e%7), fmt.Sprint(e), e)
			h.removeMap(key(kind, (e-age+7*age)%7), fmt.Sprint(e-age))
			if h.set(e, key(fmt.Sprint("changed at ", age), e), e); e >= age {
				h.set(e, key(fmt.Sprint("changed at ", age), e-age), i)
			}
		}
		h.cp = dataflow.CheckpointID(e + 1)
		h.models[h.cp], h.had[h.cp], h.committed, h.late = h.model, h.opened, h.cp, h.cp
		h.chains.take(h.cp, h.parts)()
		if e%100 < 30 { // then the base gets older, and too old
			h.commit()
		}
		if e%100 > 80 && e%4 == 0 || e%29 == 0 || e == epochs-1 {
			h.verify()
		}
		if t.Failed() {
			break
		}
	}
	h.end()
}

func (h *history) set(n int, k string, v int) {
	val := fmt.Sprintf("%016d", v)
	h.tables[0][n%2].Put(0, key(k), []byte(val))
	h.model.vals[place{descriptors()[n%2].Name, 0, k}] = val
}

// setAlone gives an entry a page of its own, if there are pages.
func (h *history) setAlone(k string, age int) {
	val := strings.Repeat("x", 5000)
	if age != 127 && age != 254 {
		val = "x"
	}
	h.tables[0][1].Put(0, key(k), []byte(val))
	h.model.vals[place{"varied", 0, k}] = val
}

func (h *history) remove(k string) {
	for i := range 2 {
		h.tables[0][i].Delete(0, key(k))
		delete(h.model.vals, place{descriptors()[i].Name, 0, k})
	}
}

func (h *history) setMap(k, sub string, v int) {
	h.tables[0][2].(state.SubTable).PutSub(0, key(k), []byte(sub), fmt.Append(nil, v))
	h.model.putSub(place{"maps", 0, k}, sub, fmt.Sprint(v))
}

func (h *history) removeMap(k, sub string) {
	h.tables[0][2].(state.SubTable).DeleteSub(0, key(k), []byte(sub))
	h.model.deleteSub(place{"maps", 0, k}, sub)
}

// testMigrateChain rewrites the tables that a chain holds, and goes on with
// deltas of the new ones.
func testMigrateChain(t *testing.T, f Factory, into []Factory) {
	if _, ok := f(whole(), suiteGroups).(state.Migrator); !ok {
		t.Skip("the backend does not migrate")
	}
	h := newHistory(t, f, into, 3)
	for range 30 {
		h.epoch(40)
	}
	h.written()
	h.close()
	h.parts = h.chains.open(h.committed, f, len(h.parts))
	h.model, h.opened, h.late = h.models[h.committed].clone(), h.had[h.committed], 0
	for _, b := range h.parts {
		for _, d := range historyTables()[:h.opened] {
			d.Schema = "new " + d.Schema
			if err := b.(state.Migrator).Migrate(d, reversed); err != nil {
				t.Fatal(err)
			}
		}
	}
	for at, v := range h.model.vals {
		_, now, _ := reversed(nil, []byte(v))
		h.model.vals[at] = string(now)
	}
	for _, l := range h.model.maps {
		for i := range l {
			_, now, _ := reversed(nil, []byte(l[i].val))
			l[i].val = string(now)
		}
	}
	h.schema, h.committed = "new ", 0
	h.openTables()
	for range 30 {
		h.epoch(40)
	}
	h.written()
	h.committed = h.cp
	h.verify()
	h.end()
}

// reversed turns a value around.
func reversed(sub, val []byte) ([]byte, []byte, error) {
	val = slices.Clone(val)
	slices.Reverse(val)
	return sub, val, nil
}
