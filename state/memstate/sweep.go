package memstate

import "github.com/leatstream/leat/state"

// sweep is where a table's sweep goes on.
type sweep struct {
	slot int // of the space, in table.owners
	page int
	gone []reference // of the page in work
}

var (
	_ state.Sweeper  = (*table)(nil)
	_ state.Migrator = (*Backend)(nil)
)

// OnSnapshot implements state.Sweeper.
func (t *table) OnSnapshot(fn func() state.Trim) { t.onSnapshot = fn }

// Sweep implements state.Sweeper, by whole pages.
func (t *table) Sweep(n int, trim state.Trim) (end bool) {
	w := &t.sweep
	for n > 0 && w.slot < len(t.owners) {
		s := t.owners[w.slot]
		if w.page >= len(s.pages.bufs) {
			w.slot, w.page = w.slot+1, 0
			continue
		}
		n -= t.sweepPage(s, uint32(w.page), trim)
		w.page++
		if s.idx.count == 0 {
			t.remove(s) // another space takes its slot
			w.page = 0
			continue
		}
		s.compact()
	}
	if w.slot < len(t.owners) {
		return false
	}
	w.slot, w.page = 0, 0
	return true
}

// sweepPage returns how many entries it saw, and one for the page.
func (t *table) sweepPage(s *space, p uint32, trim state.Trim) int {
	seen, gone := 1, t.sweep.gone[:0]
	s.eachIn(p, s.pages.bufs[p], func(r reference, e []byte) bool {
		if s.sub && word(e, 0)&flagHead != 0 {
			return true
		}
		seen++
		val := s.value(e)
		left, keep := trim(val)
		switch {
		case !keep:
			gone = append(gone, r)
		case len(left) != len(val) || len(left) > 0 && &left[0] != &val[0]:
			t.replace(s, r, left)
		}
		return true
	})
	for _, r := range gone {
		t.discard(s, r)
	}
	t.sweep.gone = gone
	return seen
}

func (t *table) replace(s *space, r reference, val []byte) {
	if s.fixed > 0 {
		t.require(len(val) == s.fixed, "Sweep to another size")
		copy(s.value(s.change(r)), val)
		return
	}
	s.setValue(s.tag(s.at(r)), r, val)
}

// discard removes an entry; the caller compacts.
func (t *table) discard(s *space, r reference) {
	e := s.at(r)
	t.count--
	if !s.sub {
		s.keys--
		s.noteKey(r, s.key(e))
		s.removeRef(s.tag(e), r)
		return
	}
	s.noteSub(r)
	key, _ := s.parts(e)
	key = append(t.b.scratch[:0], key...) // unlinking may copy its page
	t.b.scratch = key
	tag := s.tag(e)
	s.unlink(r, state.KeyOf(key).Hash, key)
	s.removeRef(tag, r)
}

// Restored implements state.Migrator.
func (b *Backend) Restored(name string) (state.Descriptor, bool) {
	for _, t := range b.tables {
		if t.d.Name == name && !b.opened[name] {
			return t.d, true
		}
	}
	return state.Descriptor{}, false
}

// Migrate implements state.Migrator. Pages of the old table are given up one
// by one as their entries move.
func (b *Backend) Migrate(d state.Descriptor, rewrite state.Rewrite) error {
	for i, old := range b.tables {
		if old.d.Name != d.Name {
			continue
		}
		old.require(!b.opened[d.Name] && old.d.Sub == d.Sub, "Migrate")
		if d.Sub {
			d.Fixed = 0
		}
		now := newTable(b, d)
		for len(old.owners) > 0 {
			if err := now.take(old.owners[0], rewrite); err != nil {
				return err
			}
			old.remove(old.owners[0])
		}
		b.tables[i] = now
		b.startAnew()
		return nil
	}
	return nil
}

// take moves the entries of a space of another table into t.
func (t *table) take(s *space, rewrite state.Rewrite) (err error) {
	s.idx.release() // pages are read without it
	s.idx.begin(0)
	ns := s.pages.ns
	for p := range s.pages.bufs {
		s.eachIn(uint32(p), s.pages.bufs[p], func(_ reference, e []byte) bool {
			if s.sub && word(e, 0)&flagHead != 0 {
				return true
			}
			var key, sub, val []byte
			key = s.key(e)
			if s.sub {
				key, sub = s.parts(e)
			}
			if sub, val, err = rewrite(sub, s.value(e)); err != nil {
				return false
			}
			if s.sub {
				t.PutSub(ns, state.KeyOf(key), sub, val)
			} else {
				t.Put(ns, state.KeyOf(key), val)
			}
			return true
		})
		if err != nil {
			return err
		}
		s.dropPage(uint32(p))
	}
	return nil
}
