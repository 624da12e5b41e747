package window

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// Names of the tables that are made of the panes.
const (
	tableLive     = "window-live"
	tableSuffixes = "window-suffixes"
)

// shared makes the results of overlapping windows out of panes, with a fixed
// number of merges for each pane and key however many panes a window has.
//
// The panes of the window in work are cut at flip. Of those before it, each
// key has a suffix: all from its first pane to flip. Of those after it, the
// sum so far. So a window is the suffix and the sum. Beside each pane before
// flip lies what becomes of the suffix of its keys when it leaves: the next
// one, so that a key's suffix is read where the pane is gone through, in
// order, and never looked for. When the last suffix has left, all panes become
// suffixes anew.
//
// Invariant: for each key with an entry in a pane of [from, upto), live holds
// it: Front is all of [max(from, its pane), flip), Back all of [flip, upto).
// Suffixes exist for panes of [from, flip). All of it is a copy of the panes:
// it is made anew after a restore, when key groups of subtasks that were not
// equally far have come together.
type shared[A any] struct {
	panes Panes
	merge func(into, from *A)
	table *aggregates[A] // the panes

	live     aggregates[live[A]]
	suffixes aggregates[suffix[A]]

	from, flip, upto int64
	valid            bool // the above is set
	done             int64

	lv    live[A]
	sx    suffix[A]
	front suffix[A]
	acc   A
	keep  []int64

	ahead ahead
	bulk  sharedBulk[A]
}

// mark is where a suffix begins, and whether live has a Back: twice the time
// from the pane's start to flip, which is more than 0 for a pane that it has,
// and hasBack. It is one number so that an accumulator of numbers makes entries
// that are copied as they lie in memory.
type mark uint64

const hasBack mark = 1

// has reports whether there is a suffix.
func (m mark) has() bool { return m > hasBack }

// passes reports whether the suffix begins before the panes that stay, which
// are those from stays before flip on.
func (m mark) passes(stays int64) bool { return m.has() && int64(m>>1) > stays }

// markOf reads the mark at the start of a row form of suffix or live.
func markOf(row []byte) mark { return mark(binary.LittleEndian.Uint64(row)) }

func setMark(row []byte, m mark) { binary.LittleEndian.PutUint64(row, uint64(m)) }

// mark returns that of a pane before flip.
func (s *shared[A]) mark(pane int64) mark { return mark(s.flip-pane) << 1 }

// live is what there is of one key in the window in work: Front is all of the
// key from the pane of Mark to flip. Zero is nothing. It begins as suffix does.
type live[A any] struct {
	Mark        mark
	Front, Back A
}

// suffix is what becomes of a key when a pane leaves: Mark is of the pane after
// it that has the key, if there is one; Acc is all of the key from there to
// flip.
type suffix[A any] struct {
	Mark mark
	Acc  A
}

func (s *shared[A]) open(b state.Backend) (err error) {
	if s.live.codec, err = codec.Of[live[A]](); err != nil {
		return err
	}
	if s.suffixes.codec, err = codec.Of[suffix[A]](); err != nil {
		return err
	}
	s.live.name, s.suffixes.name = tableLive, tableSuffixes
	if err := s.live.open(b); err != nil {
		return err
	}
	if err := s.suffixes.open(b); err != nil {
		return err
	}
	s.reset()
	s.done = dataflow.TimeMin
	return nil
}

// reset drops what was made of the panes.
func (s *shared[A]) reset() {
	for _, t := range []interface {
		namespaces() []int64
		drop(int64)
	}{&s.live, &s.suffixes} {
		for _, ns := range slices.Clone(t.namespaces()) {
			t.drop(ns)
		}
	}
	s.valid = false
}

// next returns the first window with a record that is complete at wm, of
// those not complete at after.
func (s *shared[A]) next(after, wm int64) (win Window, ok bool) {
	end := s.panes.firstEnd(dataflow.AddTime(after, 1))
	all := s.table.namespaces()
	i, _ := slices.BinarySearch(all, s.panes.start(end))
	if i == len(all) {
		return win, false
	}
	if all[i] >= end {
		end = s.panes.firstEnd(all[i])
	}
	win = Window{start: s.panes.start(end), end: end}
	return win, win.last() <= wm
}

// within returns the panes of a span, ascending, until the next call.
func (s *shared[A]) within(from, to int64) []int64 {
	all := s.table.namespaces()
	i, _ := slices.BinarySearch(all, from)
	j, _ := slices.BinarySearch(all, to)
	s.keep = append(s.keep[:0], all[i:max(i, j)]...)
	return s.keep
}

// advance brings live to the panes of a window.
func (s *shared[A]) advance(win Window) error {
	if !s.valid || win.start >= s.flip {
		return s.turn(win)
	}
	for _, p := range s.within(s.upto, win.end) {
		if err := s.enter(p); err != nil {
			return err
		}
	}
	s.upto = win.end
	return s.leave(win.start)
}

// turn makes suffixes of all panes of a window.
func (s *shared[A]) turn(win Window) error {
	s.reset()
	s.from, s.flip, s.upto = win.start, win.end, win.end
	panes := s.within(win.start, win.end)
	for _, p := range slices.Backward(panes) {
		err := s.ahead.scan(s.table.table, p, func(keys []state.Key, vals [][]byte) error { return s.prependAll(p, keys, vals) })
		if err != nil {
			return err
		}
	}
	s.valid = true
	return nil
}

// prependAll puts what pane p holds of keys before their suffixes.
func (s *shared[A]) prependAll(p int64, keys []state.Key, vals [][]byte) error {
	if s.live.bulk != nil && s.suffixes.bulk != nil {
		return s.bulk.prepend(s, p, keys, vals)
	}
	s.live.prefetch(0, keys)
	for i, k := range keys {
		if err := s.begin(k, vals[i]); err != nil {
			return err
		}
		s.prepend(p, k)
		s.live.commit(0, k, &s.lv)
	}
	return nil
}

// begin loads what live holds of a key, and what a pane does.
func (s *shared[A]) begin(k state.Key, val []byte) error {
	var zero A
	s.lv, s.acc = live[A]{}, zero
	if err := s.live.begin(0, k, &s.lv); err != nil {
		return err
	}
	return s.table.load(val, &s.acc)
}

// prepend puts s.acc, of pane p, before Front of s.lv.
func (s *shared[A]) prepend(p int64, k state.Key) {
	s.sx = suffix[A]{Mark: s.lv.Mark, Acc: s.lv.Front}
	s.suffixes.commit(p, k, &s.sx) // not after: the merge may take Front apart
	if s.lv.Mark.has() {
		s.merge(&s.acc, &s.lv.Front)
	}
	s.lv.Mark, s.lv.Front = s.mark(p), s.acc
}

// enter adds a pane after flip.
func (s *shared[A]) enter(p int64) error { return s.ahead.scan(s.table.table, p, s.appendAll) }

// appendAll puts what a pane holds of keys behind what live holds.
func (s *shared[A]) appendAll(keys []state.Key, vals [][]byte) error {
	if s.live.bulk != nil {
		return s.bulk.append(s, keys, vals)
	}
	s.live.prefetch(0, keys)
	for i, k := range keys {
		if err := s.begin(k, vals[i]); err != nil {
			return err
		}
		s.append()
		s.live.commit(0, k, &s.lv)
	}
	return nil
}

// append puts s.acc behind Back of s.lv.
func (s *shared[A]) append() {
	if s.lv.Mark&hasBack != 0 {
		s.merge(&s.lv.Back, &s.acc)
		return
	}
	s.lv.Mark, s.lv.Back = s.lv.Mark|hasBack, s.acc
}

// leave takes the panes before start, which is at most upto, out of live.
func (s *shared[A]) leave(start int64) error {
	if !s.valid || start <= s.from {
		return nil
	}
	if start >= s.upto {
		s.reset()
		return nil
	}
	all := s.suffixes.namespaces()
	for len(all) > 0 && all[0] < start {
		p := all[0]
		if err := s.expire(p, start); err != nil {
			return err
		}
		s.suffixes.drop(p)
		all = s.suffixes.namespaces()
	}
	s.from = start
	return nil
}

// expire lets pane p leave: the suffix of each of its keys becomes the next
// one. A key whose next pane leaves as well is passed over: that one's own
// turn comes.
func (s *shared[A]) expire(p, start int64) error {
	stays := s.flip - start // how long before flip a pane may begin that stays
	return s.ahead.scan(s.suffixes.table, p, func(keys []state.Key, vals [][]byte) error {
		return s.followAll(stays, keys, vals)
	})
}

// followAll moves keys to their next suffixes.
func (s *shared[A]) followAll(stays int64, keys []state.Key, next [][]byte) error {
	if s.live.bulk != nil && s.suffixes.bulk != nil {
		s.bulk.follow(s, stays, keys, next)
		return nil
	}
	s.live.prefetch(0, keys)
	for i, k := range keys {
		s.sx, s.lv = suffix[A]{}, live[A]{}
		if err := s.suffixes.load(next[i], &s.sx); err != nil {
			return err
		}
		if s.sx.Mark.passes(stays) {
			continue
		}
		if err := s.live.begin(0, k, &s.lv); err != nil {
			return err
		}
		s.lv.Mark, s.lv.Front = s.sx.Mark|s.lv.Mark&hasBack, s.sx.Acc
		if s.lv.Mark != 0 {
			s.live.commit(0, k, &s.lv)
		} else {
			s.live.table.Delete(0, k)
		}
	}
	return nil
}

// repair makes what live holds of a key anew, after a record came for a pane
// that is in it.
func (s *shared[A]) repair(pane int64, k state.Key) error {
	if !s.valid || pane < s.from || pane >= s.upto {
		return nil
	}
	s.lv = live[A]{}
	panes := s.within(s.from, s.upto)
	cut, _ := slices.BinarySearch(panes, s.flip)
	for _, p := range slices.Backward(panes[:cut]) {
		found, err := s.at(p, k)
		if err != nil {
			return err
		}
		if found {
			s.prepend(p, k)
		}
	}
	for _, p := range panes[cut:] {
		found, err := s.at(p, k)
		if err != nil {
			return err
		}
		if found {
			s.append()
		}
	}
	s.live.commit(0, k, &s.lv)
	return nil
}

// at loads what a pane holds of a key into s.acc.
func (s *shared[A]) at(p int64, k state.Key) (found bool, err error) {
	v, ok := s.table.table.Get(p, k)
	if !ok {
		return false, nil
	}
	var zero A
	s.acc = zero
	return true, s.table.load(v, &s.acc)
}

// whole makes acc all of a window and key, out of the panes themselves.
func (s *shared[A]) whole(win Window, k state.Key, acc *A) error {
	first := true
	for _, p := range s.within(win.start, win.end) {
		found, err := s.at(p, k)
		switch {
		case err != nil:
			return err
		case !found:
		case first:
			*acc, first = s.acc, false
		default:
			s.merge(acc, &s.acc)
		}
	}
	return nil
}

// read makes s.acc of an entry of live.
func (s *shared[A]) read(val []byte) (*A, error) {
	s.lv = live[A]{}
	if err := s.live.load(val, &s.lv); err != nil {
		return nil, fmt.Errorf("overlapping windows: %w", err)
	}
	switch {
	case !s.lv.Mark.has():
		return &s.lv.Back, nil
	case s.lv.Mark&hasBack != 0:
		s.merge(&s.lv.Front, &s.lv.Back)
	}
	return &s.lv.Front, nil
}
