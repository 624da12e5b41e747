package memstate

import (
	"bytes"
	"fmt"
	"io"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state/statefile"
)

// Base implements state.Delta.
func (s *snapshot) Base() dataflow.CheckpointID { return s.base.cp }

// WriteDelta implements state.Delta. It looks at the pages that were written
// to since the base, and at all of them when key groups are to be whole.
func (s *snapshot) WriteDelta(w io.Writer, whole dataflow.KeyGroupRange) (int64, error) {
	if s.base.cp == 0 {
		return 0, fmt.Errorf("checkpoint %d has no base: its state has to be written whole", s.header.Checkpoint)
	}
	if err := s.lease.Enter(); err != nil {
		return 0, err
	}
	defer s.lease.Leave()
	h := s.header
	h.Base, h.Whole, h.Dropped = s.base.cp, whole.Intersect(h.Groups), s.dropped()
	c, err := s.newChunker(w, h)
	if err == nil {
		d := &delta{chunker: c, whole: h.Whole}
		err = d.run()
	}
	return c.w.Bytes(), err
}

// dropped returns the namespaces that were dropped since the base.
func (s *snapshot) dropped() (all []statefile.Namespace) {
	for i := range s.tables {
		seen := map[int64]bool{}
		for _, g := range s.tables[i].gone {
			for _, ns := range g.dropped {
				if g.epoch > s.base.epoch && !seen[ns] {
					seen[ns] = true
					all = append(all, statefile.Namespace{Table: i, NS: ns})
				}
			}
		}
	}
	return all
}

// delta writes what changed since the base of a snapshot: first what is gone,
// then what is there. Entries are young when they were written since.
type delta struct {
	*chunker
	whole dataflow.KeyGroupRange

	// tails are the places, by page, of entries that are written with their
	// head; of the list in work.
	tails map[uint32]*[1 << offBits / 64]uint64
}

func (d *delta) run() error {
	d.values = d.appendValues
	d.put = d.appendGone
	for t := range d.s.tables {
		if err := d.addGone(uint32(t), &d.s.tables[t]); err != nil {
			return err
		}
	}
	if len(d.refs) > 0 {
		if err := d.flush(); err != nil {
			return err
		}
	}
	d.put = d.appendChanged
	for t := range d.s.tables {
		ft := &d.s.tables[t]
		for l, list := range ft.lists {
			add := d.addEntries
			if ft.layout.sub {
				add = d.addMaps
			}
			if err := add(uint32(t), uint32(l), ft, list); err != nil {
				return err
			}
		}
	}
	return d.finish()
}

// isWhole reports whether all of a key group, less the first, is written.
func (d *delta) isWhole(g dataflow.KeyGroup) bool {
	return d.whole.Contains(d.s.header.Groups.First + g)
}

// visit says whether something of a page may have to be written.
func (d *delta) visit(list *pageList, p uint32) bool {
	return list.epochs[p] > d.s.base.epoch || d.whole.Len() > 0 && list.bufs[p] != nil
}

// young reports whether an entry of a page was written since the base.
func (d *delta) young(list *pageList, p uint32, e []byte) bool {
	return list.epochs[p] > d.s.base.epoch && writtenIn(word(e, 0), list.epochs[p]) > d.s.base.epoch
}

func (d *delta) youngAt(list *pageList, r reference) bool { return d.young(list, r.page(), list.at(r)) }

// appendValues writes the values of a key group if one has changed.
func (d *delta) appendValues(body []byte, g int) []byte {
	switch {
	case d.isWhole(dataflow.KeyGroup(g)):
	case d.s.values.ChangedSince(d.s.base.values, g):
		body = statefile.AppendResetValues(body)
	default:
		return body
	}
	return d.s.values.AppendTo(body, g)
}

// addGone gathers what the logs of a table hold of key groups that are not whole.
func (d *delta) addGone(t uint32, ft *frozenTable) error {
	for l := range ft.gone {
		g := &ft.gone[l]
		if g.epoch <= d.s.base.epoch {
			continue
		}
		for i := 0; i < len(g.log); {
			_, key, _, _, next := g.at(i)
			group := d.groupOf(key)
			if d.err != nil {
				return d.err
			}
			if !d.isWhole(group) {
				d.add(groupedRef{table: t, list: uint32(l), ref: reference(i)}, group, next-i)
			}
			if err := d.full(); err != nil {
				return err
			}
			i = next
		}
	}
	return nil
}

// appendGone writes the deleted keys of one key group, in runs.
func (d *delta) appendGone(refs []groupedRef) {
	at := func(r groupedRef) (int64, []byte, []byte, bool) {
		ns, key, sub, isSub, _ := d.s.tables[r.table].gone[r.list].at(int(r.ref))
		return ns, key, sub, isSub
	}
	for len(refs) > 0 {
		ns, key, _, isSub := at(refs[0])
		n := 1
		for n < len(refs) && refs[n].table == refs[0].table {
			nextNS, nextKey, _, nextSub := at(refs[n])
			if nextNS != ns || nextSub != isSub || isSub && !bytes.Equal(nextKey, key) {
				break
			}
			n++
		}
		if isSub {
			d.buf = statefile.AppendDeletedSubs(d.buf, int(refs[0].table), ns, key, n)
		} else {
			d.buf = statefile.AppendDeleted(d.buf, int(refs[0].table), ns, n)
		}
		for _, r := range refs[:n] {
			_, one, sub, _ := at(r)
			if isSub {
				one = sub
			}
			d.buf = statefile.AppendDeletedKey(d.buf, one)
		}
		d.entries += int64(n)
		refs = refs[n:]
	}
}

// addEntries gathers entries of a table without subkeys.
func (d *delta) addEntries(t, l uint32, ft *frozenTable, list *pageList) error {
	return d.eachPage(list, func(p uint32, buf []byte) {
		if !d.visit(list, p) {
			return
		}
		ft.layout.eachIn(p, buf, func(r reference, e []byte) bool {
			young := d.young(list, p, e)
			if !young && d.whole.Len() == 0 {
				return true
			}
			g := d.groupOf(ft.layout.key(e))
			d.addLeft(groupedRef{table: t, list: l, ref: r}, g, ft, e, young)
			return d.err == nil
		})
	})
}

// addLeft gathers an entry if it is young or of a whole key group. A young one
// of which nothing is left is gone: the base may have it as it was.
func (d *delta) addLeft(r groupedRef, g dataflow.KeyGroup, ft *frozenTable, e []byte, young bool) {
	whole := d.isWhole(g)
	if d.err != nil || !young && !whole {
		return
	}
	if _, keep := ft.left(e); !keep {
		if whole {
			return
		}
		r.part = partTrimmed
	}
	d.add(r, g, ft.layout.size(e))
}

// addMaps gathers the entries of a table with subkeys: first those that are
// written with their heads, which keep the order of insertion, then what has
// changed in the midst of a list.
func (d *delta) addMaps(t, l uint32, ft *frozenTable, list *pageList) error {
	d.tails = map[uint32]*[1 << offBits / 64]uint64{}
	err := d.eachPage(list, func(p uint32, buf []byte) {
		if !d.visit(list, p) {
			return
		}
		ft.layout.eachIn(p, buf, func(r reference, e []byte) bool {
			young := d.young(list, p, e)
			if word(e, 0)&flagHead == 0 || !young && d.whole.Len() == 0 {
				return true
			}
			key, _ := ft.layout.parts(e)
			g, ref := d.groupOf(key), groupedRef{table: t, list: l, ref: r}
			switch h := loadHead(ft.layout.value(e)); {
			case d.err != nil:
				return false
			case d.isWhole(g):
				d.add(ref, g, d.under(ft, list, h))
			case young:
				ref.part = partTail
				d.add(ref, g, d.markTail(ft, list, h))
			}
			return true
		})
	})
	if err != nil {
		return err
	}
	return d.eachPage(list, func(p uint32, buf []byte) {
		if list.epochs[p] <= d.s.base.epoch {
			return
		}
		ft.layout.eachIn(p, buf, func(r reference, e []byte) bool {
			if word(e, 0)&flagHead != 0 || !d.young(list, p, e) || d.inTail(r) {
				return true
			}
			key, _ := ft.layout.parts(e)
			if g := d.groupOf(key); d.err == nil && !d.isWhole(g) {
				d.addLeft(groupedRef{table: t, list: l, ref: r, part: partOne}, g, ft, e, true)
			}
			return d.err == nil
		})
	})
}

// under is the size of the entries of a map.
func (d *delta) under(ft *frozenTable, list *pageList, h subHead) (size int) {
	for next := h.first; next != 0; {
		e := list.at(reference(next - 1))
		size += ft.layout.size(e)
		next = word(e, 5)
	}
	return size
}

// tail returns where the young entries at the end of a list begin, as
// reference+1, 0 when there are none. All entries that were added since the
// base are among them, for they were added at the end.
func (d *delta) tail(list *pageList, h subHead) (first uint32) {
	for prev := h.last; prev != 0 && d.youngAt(list, reference(prev-1)); {
		first = prev
		prev = word(list.at(reference(prev-1)), 4)
	}
	return first
}

func (d *delta) markTail(ft *frozenTable, list *pageList, h subHead) (size int) {
	for next := d.tail(list, h); next != 0; {
		r := reference(next - 1)
		e := list.at(r)
		size += ft.layout.size(e)
		bits := d.tails[r.page()]
		if bits == nil {
			bits = new([1 << offBits / 64]uint64)
			d.tails[r.page()] = bits
		}
		off := uint32(r) & (1<<offBits - 1)
		bits[off/64] |= 1 << (off % 64)
		next = word(e, 5)
	}
	return size
}

func (d *delta) inTail(r reference) bool {
	bits := d.tails[r.page()]
	off := uint32(r) & (1<<offBits - 1)
	return bits != nil && bits[off/64]&(1<<(off%64)) != 0
}

// appendChanged writes the entries of one key group.
func (d *delta) appendChanged(refs []groupedRef) {
	for len(refs) > 0 {
		n := alike(refs)
		ft := &d.s.tables[refs[0].table]
		list := ft.lists[refs[0].list]
		switch {
		case refs[0].part == partTail:
			d.appendTails(ft, list, refs[:n])
		case refs[0].part == partOne:
			d.appendOnes(ft, list, refs[:n])
		case refs[0].part == partTrimmed:
			d.appendTrimmed(ft, list, refs[:n])
		case ft.layout.sub:
			d.appendMaps(ft, list, refs[:n])
		default:
			d.appendEntries(ft, list, refs[:n])
		}
		refs = refs[n:]
	}
}

func (d *delta) appendTails(ft *frozenTable, list *pageList, refs []groupedRef) {
	for _, r := range refs {
		head := list.at(r.ref)
		key, _ := ft.layout.parts(head)
		h := loadHead(ft.layout.value(head))
		h.first = d.tail(list, h)
		kept, all := 0, 0
		for next := h.first; next != 0; all++ {
			e := list.at(reference(next - 1))
			if _, keep := ft.left(e); keep {
				kept++
			}
			next = word(e, 5)
		}
		if kept < all {
			d.buf = statefile.AppendDeletedSubs(d.buf, int(r.table), list.ns, key, all-kept)
			for next := h.first; next != 0; {
				e := list.at(reference(next - 1))
				if _, keep := ft.left(e); !keep {
					_, sub := ft.layout.parts(e)
					d.buf = statefile.AppendDeletedKey(d.buf, sub)
				}
				next = word(e, 5)
			}
		}
		if kept > 0 {
			d.buf = statefile.AppendSubEntries(d.buf, int(r.table), list.ns, key, kept)
			ft.eachLeft(list, h, func(sub, val []byte) { d.buf = statefile.AppendSubEntry(d.buf, sub, val) })
		}
		d.entries += int64(all)
	}
}

func (d *delta) appendOnes(ft *frozenTable, list *pageList, refs []groupedRef) {
	for _, r := range refs {
		e := list.at(r.ref)
		key, sub := ft.layout.parts(e)
		val, _ := ft.left(e)
		d.buf = statefile.AppendSubEntries(d.buf, int(r.table), list.ns, key, 1)
		d.buf = statefile.AppendSubEntry(d.buf, sub, val)
	}
	d.entries += int64(len(refs))
}

func (d *delta) appendTrimmed(ft *frozenTable, list *pageList, refs []groupedRef) {
	for _, r := range refs {
		e := list.at(r.ref)
		if ft.layout.sub {
			key, sub := ft.layout.parts(e)
			d.buf = statefile.AppendDeletedSubs(d.buf, int(r.table), list.ns, key, 1)
			d.buf = statefile.AppendDeletedKey(d.buf, sub)
			continue
		}
		d.buf = statefile.AppendDeleted(d.buf, int(r.table), list.ns, 1)
		d.buf = statefile.AppendDeletedKey(d.buf, ft.layout.key(e))
	}
	d.entries += int64(len(refs))
}
