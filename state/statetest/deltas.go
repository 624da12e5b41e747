package statetest

import (
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// testDeltaTrim takes a delta that leaves out changed values whose older ones
// the base holds: they are gone, in the midst and at the end of maps as well.
func testDeltaTrim(t *testing.T, f Factory, into []Factory) {
	h := newHistory(t, f, into, 4)
	h.close()
	h.parts = h.chains.open(0, f, 1)
	h.openTables()
	base := func() {
		h.cp++
		h.chains.take(h.cp, h.parts)()
		h.committed, h.late = h.cp, h.cp
		h.commit()
	}
	h.chains.slices = suiteGroups
	m := h.tables[0][2].(state.SubTable)
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		h.tables[0][1].Put(0, key(k), []byte("old"))
		for _, sub := range []string{"1", "2", "3"} {
			m.PutSub(0, key(k), []byte(sub), []byte("old"))
			h.model.putSub(place{"maps", 0, k}, sub, "old")
		}
	}
	base()
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		h.tables[0][1].Put(0, key(k), []byte("gone"))
		for _, sub := range []string{"2", "4"} {
			m.PutSub(0, key(k), []byte(sub), []byte("gone"))
		}
		h.model.deleteSub(place{"maps", 0, k}, "2")
		m.PutSub(0, key(k), []byte("5"), []byte("new"))
		h.model.putSub(place{"maps", 0, k}, "5", "new")
	}
	m.PutSub(0, key("a"), []byte("1"), []byte("gone")) // no entry of it is left
	m.PutSub(0, key("a"), []byte("3"), []byte("gone"))
	m.PutSub(0, key("a"), []byte("5"), []byte("gone"))
	delete(h.model.maps, place{"maps", 0, "a"})
	for _, tab := range h.tables[0][1:] {
		s, ok := tab.(state.Sweeper)
		if !ok {
			t.Skip("the backend does not sweep: it has no state with a TTL")
		}
		s.OnSnapshot(func() state.Trim {
			return func(val []byte) ([]byte, bool) { return val, string(val) != "gone" }
		})
	}
	base()
	if _, ok := h.parts[0].(state.Incremental); ok && h.chains.deltas != 1 {
		t.Errorf("%d deltas were written, want 1", h.chains.deltas)
	}
	h.models = map[dataflow.CheckpointID]*plain{h.cp: h.model}
	h.had = map[dataflow.CheckpointID]int{h.cp: h.opened}
	h.verify()
	h.close()
}
