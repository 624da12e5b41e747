package memstate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/leatstream/leat/state"
)

// table implements state.Table, and state.SubTable when its descriptor says so.
type table struct {
	b      *Backend
	d      state.Descriptor
	layout layout

	spaces map[int64]*space
	peak   int    // most spaces since the map was made
	last   *space // of the last call, which is most often that of the next
	count  int    // values, over all spaces
	// newest is the space made last, nil when it is gone; sized the entries
	// that it had then. A new one is expected to become like it.
	newest *space
	sized  int
	spare  []*space // empty

	// lists holds one page list for each space, in no order. A snapshot takes
	// the slice as it is; it is copied before the next change.
	lists      []*pageList
	owners     []*space // owners[i] owns lists[i]
	listsEpoch uint32

	order []int64 // namespaces, ascending; nil: to be made again

	touched uint32 // by Prefetch and ScanBatch
	scanned *scanned

	gone []gone // by epoch, oldest first

	sweep      sweep
	onSnapshot func() state.Trim
}

var (
	_ state.Table         = (*table)(nil)
	_ state.SubTable      = (*table)(nil)
	_ state.BatchUpserter = (*table)(nil)
	_ state.Prefetcher    = (*table)(nil)
	_ state.BatchScanner  = (*table)(nil)
	_ state.Appender      = (*table)(nil)
)

func newTable(b *Backend, d state.Descriptor) *table {
	return &table{b: b, d: d, layout: newLayout(d.Fixed, d.Sub), spaces: map[int64]*space{}, listsEpoch: b.epoch}
}

// spaceBytes is what a space is counted with beside its pages and index: the
// structures themselves and their entries in the table's map and lists.
const spaceBytes = 384

func (t *table) lookup(ns int64) *space {
	if t.last != nil && t.last.pages.ns == ns {
		return t.last
	}
	s := t.spaces[ns]
	if s != nil {
		t.last = s
	}
	return s
}

func (t *table) obtain(ns int64) *space {
	if s := t.lookup(ns); s != nil {
		return s
	}
	s, ok := pop(&t.spare)
	if !ok {
		s = &space{layout: t.layout, idx: index{b: t.b}}
	}
	if t.newest != nil {
		t.sized = t.newest.idx.count
	}
	s.begin(t, ns)
	s.idx.begin(t.sized)
	s.keys, s.born, t.newest = 0, t.b.epoch, s
	t.b.bytes.Add(spaceBytes)
	t.ownLists()
	t.lists = append(t.lists, s.pages)
	t.owners = append(t.owners, s)
	if n := len(t.order); n == len(t.spaces) && (n == 0 || t.order[n-1] < ns) {
		t.order = append(t.order, ns)
	} else {
		t.order = nil
	}
	t.spaces[ns] = s
	t.peak = max(t.peak, len(t.spaces))
	t.last = s
	return s
}

func (t *table) ownLists() {
	if t.listsEpoch <= t.b.shared.Load() {
		t.lists = append(make([]*pageList, 0, len(t.lists)+1), t.lists...)
		t.listsEpoch = t.b.epoch
	}
}

func (t *table) setList(slot int, p *pageList) {
	t.ownLists()
	t.lists[slot] = p
}

// remove forgets a space, with all that it holds.
func (t *table) remove(s *space) {
	ns := s.pages.ns
	if t.newest == s {
		t.newest, t.sized = nil, s.idx.count
	}
	t.b.bytes.Add(-spaceBytes)
	t.ownLists()
	n := len(t.lists) - 1
	t.lists[s.slot], t.owners[s.slot] = t.lists[n], t.owners[n]
	t.owners[s.slot].slot = s.slot
	t.lists[n], t.owners[n] = nil, nil
	t.lists, t.owners = t.lists[:n], t.owners[:n]
	if len(t.order) > 0 && t.order[0] == ns {
		t.order = t.order[1:]
	} else {
		t.order = nil
	}
	delete(t.spaces, ns)
	t.last = nil
	s.release()
	s.idx.release()
	if len(t.spare) < spareSpacesMax {
		t.spare = append(t.spare, s)
	}
	t.shrink()
}

// shrink gives back the room that a burst of namespaces left in the map and
// the lists: a Go map alone never does.
func (t *table) shrink() {
	if t.peak < 64 || len(t.spaces) > t.peak/4 {
		return
	}
	spaces := make(map[int64]*space, len(t.spaces))
	maps.Copy(spaces, t.spaces)
	t.spaces, t.peak = spaces, len(spaces)
	t.lists, t.owners = slices.Clone(t.lists), slices.Clone(t.owners)
	t.order = nil
}

// settle ends a change that may have emptied the space or left pages to compact.
func (t *table) settle(s *space) {
	if s.idx.count == 0 {
		t.remove(s)
		return
	}
	s.compact()
}

// require panics when a method is used on a table of another kind: that is a
// mistake in the operator, not a matter of data.
func (t *table) require(ok bool, method string) {
	if !ok {
		panic(fmt.Sprintf("memstate: %s on table %q, which has fixed=%d sub=%t", method, t.d.Name, t.d.Fixed, t.d.Sub))
	}
}

// Get implements state.Table.
func (t *table) Get(ns int64, k state.Key) ([]byte, bool) {
	s := t.lookup(ns)
	if s == nil {
		return nil, false
	}
	if t.d.Sub {
		_, _, _, ok := s.findHead(tagOf(k.Hash), k.Bytes)
		return nil, ok
	}
	_, _, r, ok := s.find(tagOf(k.Hash), k.Bytes)
	if !ok {
		return nil, false
	}
	return s.value(s.at(r)), true
}

// Put implements state.Table.
func (t *table) Put(ns int64, k state.Key, val []byte) {
	t.require(!t.d.Sub, "Put")
	if t.d.Fixed > 0 {
		t.require(len(val) == t.d.Fixed, fmt.Sprintf("Put of %d bytes", len(val)))
		e, _ := t.Upsert(ns, k)
		copy(e, val)
		return
	}
	s := t.obtain(ns)
	tag := tagOf(k.Hash)
	g, pos, r, ok := s.find(tag, k.Bytes)
	if ok {
		s.setValue(tag, r, val)
	} else {
		limit(len(k.Bytes), len(val))
		t.created(s)
		_, e := s.create(g, pos, tag, 0, k.Bytes, len(val))
		setWord(e, 1, uint32(len(val)))
		copy(s.value(e), val)
	}
	s.compact()
}

func (t *table) created(s *space) {
	s.keys++
	t.count++
}

// Append implements state.Appender.
func (t *table) Append(ns int64, k state.Key, val []byte) {
	t.require(!t.d.Sub && t.d.Fixed == 0, "Append")
	s := t.lookup(ns)
	if s == nil {
		t.Put(ns, k, val)
		return
	}
	tag := tagOf(k.Hash)
	_, _, r, ok := s.find(tag, k.Bytes)
	if !ok {
		t.Put(ns, k, val)
		return
	}
	s.appendValue(tag, r, val)
	s.compact()
}

// Delete implements state.Table.
func (t *table) Delete(ns int64, k state.Key) {
	if t.d.Sub {
		t.ClearSub(ns, k)
		return
	}
	s := t.lookup(ns)
	if s == nil {
		return
	}
	tag := tagOf(k.Hash)
	g, pos, r, ok := s.find(tag, k.Bytes)
	if !ok {
		return
	}
	s.noteKey(r, k.Bytes)
	s.destroy(g, pos, tag, r)
	s.keys--
	t.count--
	t.settle(s)
}

// Upsert implements state.Table.
func (t *table) Upsert(ns int64, k state.Key) ([]byte, bool) {
	s := t.last
	if s == nil || s.pages.ns != ns {
		t.require(t.d.Fixed > 0, "Upsert")
		s = t.obtain(ns)
	}
	if len(s.victims) > 0 {
		s.compact() // not after: what is returned must stay where it is
	}
	return t.upsert(s, k)
}

func (t *table) upsert(s *space, k state.Key) ([]byte, bool) {
	tag := tagOf(k.Hash)
	g, pos, r, ok := s.find(tag, k.Bytes)
	if ok {
		e := s.change(r)
		from := s.header + len(k.Bytes)
		return e[from : from+s.fixed : from+s.fixed], false
	}
	limit(len(k.Bytes), 0)
	t.created(s)
	_, e := s.create(g, pos, tag, 0, k.Bytes, s.fixed)
	return s.value(e), true
}

// Namespaces implements state.Table.
func (t *table) Namespaces() []int64 {
	if len(t.order) != len(t.spaces) {
		t.order = slices.Sorted(maps.Keys(t.spaces))
	}
	return t.order[:len(t.order):len(t.order)]
}

// Scan implements state.Table.
func (t *table) Scan(ns int64, fn func(key, val []byte) bool) {
	s := t.lookup(ns)
	if s == nil {
		return
	}
	t.layout.each(s.pages.bufs, func(_ reference, e []byte) bool {
		switch {
		case !t.d.Sub:
			return fn(s.key(e), s.value(e))
		case word(e, 0)&flagHead != 0:
			return fn(s.key(e), nil)
		}
		return true
	})
}

// DropNamespace implements state.Table.
func (t *table) DropNamespace(ns int64) {
	s := t.lookup(ns)
	if s == nil {
		return
	}
	t.noteDrop(s)
	t.count -= s.idx.count
	if t.d.Sub {
		t.count += s.keys // heads are no values
	}
	t.remove(s)
}

// LenNamespace implements state.Table.
func (t *table) LenNamespace(ns int64) int {
	if s := t.lookup(ns); s != nil {
		return s.keys
	}
	return 0
}

// Len implements state.Table and state.SubTable.
func (t *table) Len() int { return t.count }
