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

// RunChains does random operations on backends of f with snapshots all along,
// of which some are aborted and some are known to be committed only after the
// next was taken, and which are written as deltas where f can. What their files
// hold is restored into backends of each of into, at any parallelism, and
// compared with plain Go maps. Now and then the history goes on from there.
func RunChains(t *testing.T, f Factory, into ...Factory) {
	t.Helper()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("history ", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, f, into, seed)
			for range 150 {
				h.epoch(10 + h.rnd.IntN(60))
				if t.Failed() {
					break
				}
			}
			h.end()
		})
	}
	t.Run("a delta leaves out", func(t *testing.T) { t.Parallel(); testDeltaTrim(t, f, into) })
	t.Run("migration after a chain", func(t *testing.T) { t.Parallel(); testMigrateChain(t, f, into) })
	t.Run("entries of all ages", func(t *testing.T) { t.Parallel(); testAges(t, f, into) })
}

// laterTable is one that operators of a history open at some time.
const laterTable = 3

func historyTables() []state.Descriptor {
	return append(descriptors(), state.Descriptor{Name: "later", Schema: "bytes"})
}

// descriptors are those of the first tables as they are now.
func (h *history) descriptors(n int) []state.Descriptor {
	ds := historyTables()[:n]
	for i := range ds {
		ds[i].Schema = h.schema + ds[i].Schema
	}
	return ds
}

// history is the subtasks of one operator, what they should hold, and the
// files of their checkpoints.
type history struct {
	t      *testing.T
	f      Factory
	into   []Factory
	rnd    *rand.Rand
	parts  []state.Backend
	tables [][]state.Table
	opened int    // tables
	schema string // what their schemas begin with
	model  *plain
	chains *chains

	cp        dataflow.CheckpointID
	models    map[dataflow.CheckpointID]*plain
	had       map[dataflow.CheckpointID]int // tables that there were
	committed dataflow.CheckpointID
	late      dataflow.CheckpointID // committed, but the backends do not know; 0: none
	write     func()                // of a snapshot not yet written; nil: none
}

func newHistory(t *testing.T, f Factory, into []Factory, seed uint64) *history {
	rnd := rand.New(rand.NewPCG(seed, 77))
	h := &history{
		t: t, f: f, into: into, rnd: rnd, opened: laterTable, model: newPlain(), chains: newChains(t, rnd),
		models: map[dataflow.CheckpointID]*plain{}, had: map[dataflow.CheckpointID]int{},
	}
	h.parts = h.chains.open(0, f, 1+rnd.IntN(3))
	h.openTables()
	return h
}

func (h *history) openTables() {
	h.t.Helper()
	h.tables = nil
	for _, b := range h.parts {
		var tabs []state.Table
		for _, d := range h.descriptors(h.opened) {
			tab, err := b.Table(d)
			if err != nil {
				h.t.Fatal(err)
			}
			tabs = append(tabs, tab)
		}
		h.tables = append(h.tables, tabs)
	}
}

func (h *history) close() {
	for _, b := range h.parts {
		if err := b.Close(); err != nil {
			h.t.Error(err)
		}
	}
}

func (h *history) end() {
	h.t.Helper()
	if h.write != nil {
		h.write()
	}
	h.close()
	_, incremental := h.parts[0].(state.Incremental)
	if incremental && h.chains.deltas < 4*h.chains.wholes {
		h.t.Errorf("%d deltas and %d whole files: deltas were hardly tested", h.chains.deltas, h.chains.wholes)
	}
}

// epoch does some operations and takes a snapshot.
func (h *history) epoch(steps int) {
	h.t.Helper()
	for i := range steps {
		if i == steps/2 {
			h.written() // while the backends went on
		}
		h.step()
	}
	h.written()
	if h.rnd.IntN(3) == 0 {
		h.commit()
	}
	h.cp++
	h.models[h.cp], h.had[h.cp] = h.model.clone(), h.opened
	h.write = h.chains.take(h.cp, h.parts)
	if h.opened == laterTable && h.rnd.IntN(20) == 0 {
		h.opened++
		for i, b := range h.parts {
			tab, err := b.Table(h.descriptors(laterTable + 1)[laterTable])
			if err != nil {
				h.t.Fatal(err)
			}
			h.tables[i] = append(h.tables[i], tab)
		}
	}
}

// written ends the snapshot of the last checkpoint, and decides what becomes
// of it: aborted, committed, or committed without the backends' knowledge.
func (h *history) written() {
	if h.write == nil {
		return
	}
	h.write()
	h.write = nil
	switch fate := h.rnd.IntN(10); {
	case fate < 2: // aborted
	case fate < 5:
		h.committed, h.late = h.cp, h.cp
	default:
		h.committed, h.late = h.cp, h.cp
		h.commit()
	}
	if h.committed == h.cp && h.rnd.IntN(5) == 0 {
		h.verify()
	}
	if h.committed > 0 && h.rnd.IntN(25) == 0 {
		h.restart()
	}
}

// commit tells the backends of the last commit.
func (h *history) commit() {
	if h.late == 0 {
		return
	}
	h.chains.committed(h.late, h.parts)
	h.late = 0
}

// verify restores the last committed checkpoint beside the history.
func (h *history) verify() {
	for i, f := range h.into {
		bs := h.chains.open(h.committed, f, []int{1, 2, 3, 7}[h.rnd.IntN(4)])
		h.compare(f, bs, fmt.Sprintf("checkpoint %d of %d files, restored into backend %d of %d", h.committed, len(h.chains.by[h.committed][0].files), i, len(bs)))
		for _, b := range bs {
			if err := b.Close(); err != nil {
				h.t.Error(err)
			}
		}
	}
}

func (h *history) compare(into Factory, bs []state.Backend, what string) {
	h.t.Helper()
	var tables [][]state.Table
	ds := h.descriptors(h.had[h.committed])
	for _, b := range bs {
		var tabs []state.Table
		for _, d := range ds {
			tab, err := b.Table(d)
			if err != nil {
				h.t.Fatal(err)
			}
			tabs = append(tabs, tab)
		}
		tables = append(tables, tabs)
	}
	want := h.models[h.committed]
	if d := diff(dumpBackends(bs, tables, ds, false), want.dump(false)); d != "" {
		h.t.Errorf("%s: %s", what, d)
	}
	if keepsOrder(h.t, h.f) && keepsOrder(h.t, into) {
		if d := diff(dumpBackends(bs, tables, ds, true), want.dump(true)); d != "" {
			h.t.Errorf("%s, in order: %s", what, d)
		}
	}
}

// keepsOrder reports whether the maps of a backend are in order of insertion,
// not of subkey.
func keepsOrder(t *testing.T, f Factory) bool {
	t.Helper()
	b := f(whole(), suiteGroups)
	defer b.Close()
	m := openTables(t, b)[2].(state.SubTable)
	for _, sub := range []string{"b", "a"} {
		m.PutSub(0, key("k"), []byte(sub), nil)
	}
	first := ""
	m.ScanSub(0, key("k"), func(sub, _ []byte) bool { first = string(sub); return false })
	return first == "b"
}

// restart goes on from the last committed checkpoint, at the same or at
// another parallelism.
func (h *history) restart() {
	h.t.Helper()
	h.close()
	p := len(h.parts)
	if h.rnd.IntN(3) == 0 {
		p = 1 + h.rnd.IntN(4)
	}
	h.parts = h.chains.open(h.committed, h.f, p)
	h.model, h.opened, h.late = h.models[h.committed].clone(), h.had[h.committed], 0
	h.openTables()
}

// step does one random operation on the backends and on the model.
func (h *history) step() {
	id := h.rnd.IntN(80)
	k := state.KeyOf(fmt.Appendf(nil, "%0*d", id%19, id))
	part := dataflow.SubtaskOf(k.Group(suiteGroups), suiteGroups, len(h.parts))
	ns := int64(h.rnd.IntN(4))
	tabs := h.tables[part]
	at := func(i int) place { return place{historyTables()[i].Name, ns, string(k.Bytes)} }
	switch op := h.rnd.IntN(24); op {
	case 0, 1, 2:
		val := fmt.Appendf(nil, "%016d", h.rnd.IntN(1000))
		tabs[0].Put(ns, k, val)
		h.model.vals[at(0)] = string(val)
	case 3:
		h.batch(part, ns)
	case 4, 5:
		tabs[0].Delete(ns, k)
		delete(h.model.vals, at(0))
	case 6, 7, 8:
		h.varied(1, tabs[1], ns, k, at(1))
	case 9:
		if len(tabs) > laterTable {
			h.varied(laterTable, tabs[laterTable], ns, k, at(laterTable))
		}
	case 10, 11, 12, 13, 14, 15, 16, 17:
		if h.rnd.IntN(2) == 0 {
			h.maps(tabs[2].(state.SubTable), ns, k, at(2), op)
			return
		}
		few := key(fmt.Sprint("few", h.rnd.IntN(4))) // whose maps change much
		part = dataflow.SubtaskOf(few.Group(suiteGroups), suiteGroups, len(h.parts))
		h.maps(h.tables[part][2].(state.SubTable), 0, few, place{"maps", 0, string(few.Bytes)}, op)
	case 18:
		g := k.Group(suiteGroups)
		val := [][]byte{nil, {}, {1}, {2}, {3, 4}}[h.rnd.IntN(5)]
		h.parts[part].SetGroupValue("bound", g, val)
		if h.model.groups[g] = string(val); val == nil {
			delete(h.model.groups, g)
		}
	case 19:
		if h.rnd.IntN(4) == 0 {
			i := h.rnd.IntN(len(tabs))
			tabs[i].DropNamespace(ns)
			h.model.drop(historyTables()[i].Name, ns, h.parts[part].KeyGroups())
		}
	case 20:
		if h.rnd.IntN(40) == 0 {
			h.bulk(part)
		}
	case 21:
		if h.rnd.IntN(20) == 0 {
			h.sweep()
		}
	}
}

// varied does one operation on a table of values that vary in size.
func (h *history) varied(i int, t state.Table, ns int64, k state.Key, at place) {
	old := h.model.vals[at]
	val := strings.Repeat("x", h.rnd.IntN(60)) + fmt.Sprint(h.rnd.IntN(1000))
	if h.rnd.IntN(60) == 0 {
		val = strings.Repeat(val, 300)
	}
	switch h.rnd.IntN(4) {
	case 0:
		t.Delete(ns, k)
		delete(h.model.vals, at)
		return
	case 1:
		if a, ok := t.(state.Appender); ok && len(old) < 100_000 {
			a.Append(ns, k, []byte(val))
			h.model.vals[at] = old + val
			return
		}
	}
	t.Put(ns, k, []byte(val))
	h.model.vals[at] = val
}

func (h *history) maps(m state.SubTable, ns int64, k state.Key, at place, op int) {
	sub := fmt.Sprint(h.rnd.IntN(12))[h.rnd.IntN(2):]
	switch {
	case op == 10 && h.rnd.IntN(5) == 0:
		m.ClearSub(ns, k)
		delete(h.model.maps, at)
	case op <= 12:
		m.DeleteSub(ns, k, []byte(sub))
		h.model.deleteSub(at, sub)
	default:
		val := strings.Repeat("v", h.rnd.IntN(60))
		m.PutSub(ns, k, []byte(sub), []byte(val))
		h.model.putSub(at, sub, val)
	}
}

// batch counts some keys of a subtask.
func (h *history) batch(part int, ns int64) {
	batch, ok := h.tables[part][0].(state.BatchUpserter)
	if !ok {
		return
	}
	var keys []state.Key
	for id := range 40 {
		k := key(fmt.Sprint("batch", id, h.rnd.IntN(3)))
		if h.parts[part].KeyGroups().Contains(k.Group(suiteGroups)) {
			keys = append(keys, k)
		}
	}
	vals := make([][]byte, len(keys))
	batch.UpsertBatch(ns, keys, vals, nil)
	for i, v := range vals {
		v[0]++
		h.model.vals[place{"fixed", ns, string(keys[i].Bytes)}] = string(v)
	}
}

// bulk fills a namespace, or deletes all in it key by key, which is more than
// is noted of deletions.
func (h *history) bulk(part int) {
	t, ns := h.tables[part][0], int64(9)
	_, fill := h.model.vals[place{"fixed", ns, "bulk 0"}]
	for i := range 4000 {
		k := key(fmt.Sprint("bulk ", i))
		p := place{"fixed", ns, string(k.Bytes)}
		if !h.parts[part].KeyGroups().Contains(k.Group(suiteGroups)) {
			continue
		}
		if fill {
			t.Delete(ns, k)
			delete(h.model.vals, p)
			continue
		}
		v, _ := t.Upsert(ns, k)
		v[1] = byte(i)
		h.model.vals[p] = string(v)
	}
}

// sweep changes, shortens and removes values of all tables.
func (h *history) sweep() {
	trim := func(val []byte) ([]byte, bool) {
		return val[:min(len(val), 40)], len(val)%7 > 0
	}
	fixed := func(val []byte) ([]byte, bool) {
		val = slices.Clone(val)
		val[0] = 'x'
		return val, val[15]%5 > 0
	}
	for _, tabs := range h.tables {
		for i, t := range tabs {
			s, ok := t.(state.Sweeper)
			switch {
			case !ok:
				return
			case i == 0:
				sweepAll(s, 50, fixed)
			default:
				sweepAll(s, 50, trim)
			}
		}
	}
	for at, v := range h.model.vals {
		fn := trim
		if at.table == "fixed" {
			fn = fixed
		}
		if left, keep := fn([]byte(v)); keep {
			h.model.vals[at] = string(left)
		} else {
			delete(h.model.vals, at)
		}
	}
	for at, l := range h.model.maps {
		for _, p := range slices.Clone(l) {
			if left, keep := trim([]byte(p.val)); keep {
				h.model.putSub(at, p.sub, string(left))
			} else {
				h.model.deleteSub(at, p.sub)
			}
		}
	}
}
