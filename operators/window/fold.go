package window

import (
	"fmt"

	"github.com/leatstream/leat/state"
)

// bulkWindowsMax is the number of windows in one batch up to which state is
// looked up window by window, all keys at once. Each costs a look at every row.
const bulkWindowsMax = 8

// bulk is what a lookup of many keys needs.
type bulk struct {
	wins []int64 // starts of the windows of the batch in work
	nums []int32 // slots of the window in work
	keys []state.Key
	vals [][]byte
}

// fold adds the rows to the accumulators of their slots, which are read from
// state before and written after.
func (o *operator[K, T, A, O]) fold(rows []T) error {
	if t, ok := o.contents.(*aggregates[A]); ok && t.bulk != nil && o.windows() {
		for _, ns := range o.bulk.wins {
			o.foldWindow(t, ns, rows)
		}
		return nil
	}
	for i := range o.slots.list {
		s := &o.slots.list[i]
		k := state.Key{Bytes: o.slots.encoded(s), Hash: s.hash}
		if err := o.contents.begin(s.win.start, k, &s.acc); err != nil {
			return fmt.Errorf("window state of %v: %w", s.key, err)
		}
	}
	for i := range rows {
		if n := o.rowSlots[i]; n >= 0 {
			o.at = i
			o.add(&o.slots.list[n].acc, rows[i])
		}
	}
	for i := range o.slots.list {
		s := &o.slots.list[i]
		o.contents.commit(s.win.start, state.Key{Bytes: o.slots.encoded(s), Hash: s.hash}, &s.acc)
	}
	return nil
}

// windows collects the windows of the slots, unless they are too many.
func (o *operator[K, T, A, O]) windows() bool {
	o.bulk.wins = o.bulk.wins[:0]
next:
	for i := range o.slots.list {
		start := o.slots.list[i].win.start
		for _, w := range o.bulk.wins {
			if w == start {
				continue next
			}
		}
		if len(o.bulk.wins) == bulkWindowsMax {
			return false
		}
		o.bulk.wins = append(o.bulk.wins, start)
	}
	return true
}

// foldWindow adds the rows of one window. The values lie where state keeps
// them until the next call on the table.
func (o *operator[K, T, A, O]) foldWindow(t *aggregates[A], ns int64, rows []T) {
	x := &o.bulk
	x.nums, x.keys = x.nums[:0], x.keys[:0]
	for i := range o.slots.list {
		if s := &o.slots.list[i]; s.win.start == ns {
			x.nums = append(x.nums, int32(i))
			x.keys = append(x.keys, state.Key{Bytes: o.slots.encoded(s), Hash: s.hash})
		}
	}
	if len(x.vals) < len(x.keys) {
		x.vals = make([][]byte, 2*len(x.keys))
	}
	t.bulk.UpsertBatch(ns, x.keys, x.vals, nil)
	for i, n := range x.nums {
		t.codec.FixedLoad(x.vals[i], &o.slots.list[n].acc)
	}
	all := len(o.bulk.wins) == 1
	for i := range rows {
		n := o.rowSlots[i]
		if n < 0 || !all && o.slots.list[n].win.start != ns {
			continue
		}
		o.at = i
		o.add(&o.slots.list[n].acc, rows[i])
	}
	for i, n := range x.nums {
		t.codec.FixedStore(x.vals[i], &o.slots.list[n].acc)
	}
	clear(x.vals[:len(x.keys)])
}
