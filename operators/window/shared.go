package window

import (
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
// The panes of the window in work are cut at flip. Of those before it, a
// suffix is kept for each pane and key: all from this pane to flip. Of those
// after it, the sum so far. So a window is the suffix of its first pane and
// the sum; a pane that leaves is replaced by the next suffix of its keys; and
// when the last suffix has left, all panes become suffixes anew.
//
// Invariant: for each key with an entry in a pane of [from, upto), live holds
// it: Front is all of [max(from, First), flip), Back all of [flip, upto).
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

	lv   live[A]
	sx   suffix[A]
	acc  A
	keep []int64

	panesAhead  ahead[A]
	expireAhead ahead[int64]
}

// live is what there is of one key in the window in work.
type live[A any] struct {
	// First is the pane that Front begins with, or noPane.
	First       int64
	HasBack     bool
	Front, Back A
}

// suffix is all of a key from one pane to the flip; Next is the pane after it
// that has the key, or noPane.
type suffix[A any] struct {
	Next int64
	Acc  A
}

// noPane stands for the end of a chain: it is the start of no pane but one
// that holds no time.
const noPane = dataflow.TimeMax

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
	panes := s.within(win.start, win.end)
	for _, p := range slices.Backward(panes) {
		err := s.each(p, func(k state.Key) error {
			s.lv = live[A]{First: noPane}
			if err := s.live.begin(0, k, &s.lv); err != nil {
				return err
			}
			s.prepend(p, k)
			return nil
		})
		if err != nil {
			return err
		}
	}
	s.from, s.flip, s.upto, s.valid = win.start, win.end, win.end, true
	return nil
}

// prepend puts s.acc, of pane p, before Front of s.lv.
func (s *shared[A]) prepend(p int64, k state.Key) {
	if s.lv.First != noPane {
		s.merge(&s.acc, &s.lv.Front)
	}
	s.sx = suffix[A]{Next: s.lv.First, Acc: s.acc}
	s.suffixes.commit(p, k, &s.sx)
	s.lv.First, s.lv.Front = p, s.acc
	s.live.commit(0, k, &s.lv)
}

// each calls fn for the keys of a pane, with what is theirs in s.acc. fn looks
// them up in live, which is told of some of them ahead.
func (s *shared[A]) each(p int64, fn func(k state.Key) error) (err error) {
	x := &s.panesAhead
	x.reset()
	run := func() error {
		s.live.prefetch(0, x.keys)
		return x.each(func(k state.Key, acc *A) error {
			s.acc = *acc
			return fn(k)
		})
	}
	s.table.scan(p, func(key, val []byte) bool {
		if err = s.table.load(val, x.add(key)); err == nil && x.full() {
			err = run()
		}
		return err == nil
	})
	if err == nil {
		err = run()
	}
	return err
}

// enter adds a pane after flip.
func (s *shared[A]) enter(p int64) error {
	return s.each(p, func(k state.Key) error {
		s.lv = live[A]{First: noPane}
		if err := s.live.begin(0, k, &s.lv); err != nil {
			return err
		}
		s.append()
		s.live.commit(0, k, &s.lv)
		return nil
	})
}

// append puts s.acc behind Back of s.lv.
func (s *shared[A]) append() {
	if s.lv.HasBack {
		s.merge(&s.lv.Back, &s.acc)
		return
	}
	s.lv.HasBack, s.lv.Back = true, s.acc
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

// expire replaces the suffix of pane p by the next one of each of its keys.
func (s *shared[A]) expire(p, start int64) (err error) {
	x := &s.expireAhead
	x.reset()
	run := func() error {
		s.live.prefetch(0, x.keys)
		if len(x.vals) > 0 { // most keys have the same pane next
			s.suffixes.prefetch(x.vals[0], x.keys)
		}
		return x.each(func(k state.Key, next *int64) error { return s.follow(k, *next, start) })
	}
	s.suffixes.scan(p, func(key, val []byte) bool {
		s.sx = suffix[A]{}
		if err = s.suffixes.load(val, &s.sx); err != nil {
			return false
		}
		if *x.add(key) = s.sx.Next; x.full() {
			err = run()
		}
		return err == nil
	})
	if err == nil {
		err = run()
	}
	return err
}

// follow moves the front of a key to a pane, unless that leaves as well: then
// the pane's own turn comes, and live is not read before.
func (s *shared[A]) follow(k state.Key, to, start int64) error {
	if to != noPane && to < start {
		return nil
	}
	s.lv = live[A]{First: noPane}
	if err := s.live.begin(0, k, &s.lv); err != nil {
		return err
	}
	if to == noPane && !s.lv.HasBack {
		s.live.table.Delete(0, k)
		return nil
	}
	var zero A
	s.lv.First, s.lv.Front = to, zero
	if to != noPane {
		s.sx = suffix[A]{}
		if err := s.suffixes.begin(to, k, &s.sx); err != nil {
			return err
		}
		s.lv.Front = s.sx.Acc
	}
	s.live.commit(0, k, &s.lv)
	return nil
}

// repair makes what live holds of a key anew, after a record came for a pane
// that is in it.
func (s *shared[A]) repair(pane int64, k state.Key) error {
	if !s.valid || pane < s.from || pane >= s.upto {
		return nil
	}
	s.lv = live[A]{First: noPane}
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
	case s.lv.First == noPane:
		return &s.lv.Back, nil
	case s.lv.HasBack:
		s.merge(&s.lv.Front, &s.lv.Back)
	}
	return &s.lv.Front, nil
}
