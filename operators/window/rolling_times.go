package window

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// timesOfKey keeps an accumulator for each time at which rows of a key came,
// and folds spans of them. Spans are asked for in order of time: then each
// costs a fixed number of merges, however many times it has.
type timesOfKey[A any] struct {
	codec *codec.Codec[A]
	merge func(into, from *A)
	table state.SubTable
	sub   [8]byte
	buf   []byte
	moved []byte
	acc   A // of fold
	// In work; here, since the codec and the functions of the user would make
	// them escape.
	one, other A

	*spans[A] // of the key that was loaded last
	loose     spans[A]
	// kept holds what was loaded of keys, a copy of the table, so that the next
	// watermark goes on where the last one was. size is its number of times.
	// Some keys, empty, have none: most of them come again.
	kept      map[string]*spans[A]
	size, max int
	empty     int
	idle      []*spans[A] // for the next keys

	onScan  func(sub, val []byte) bool // scanned, made once
	scanErr error
}

// idleMax bounds the spans that are kept for other keys, idleTimesMax and
// idleBytesMax how large each may be, and each of its buffers.
const (
	idleMax      = 1024
	idleTimesMax = 256
	idleBytesMax = 4 << 10
)

// timesMaxDefault is about 25 MB of small accumulators.
const timesMaxDefault = 1 << 18

// spans is a copy of the times of a key, and how far folding them has come.
type spans[A any] struct {
	// In order of time; vals holds the encoded accumulators, and dead bytes
	// that are no more of any. room is empty and begins where the memory of list
	// does.
	list, room []timeOf
	vals       []byte
	dead       int

	// The span in work is list[from:to]. Of [from, flip) suffixes holds the
	// sums up to flip, encoded, the last time alone first: ends is where each
	// of them ends. back is the sum of [flip, to).
	from, flip, to int
	suffixes       []byte
	ends           []int
	back           A
}

// timeOf is a time and where its accumulator lies in vals.
type timeOf struct {
	at       int64
	off, end int
}

func (x *timesOfKey[A]) open(b state.Backend) error {
	t, err := state.RowTable(b, tableRolling, x.codec, true)
	if err != nil {
		return err
	}
	sub, ok := t.(state.SubTable)
	if !ok {
		return fmt.Errorf("state backend %T: table %q with Sub set is no state.SubTable", b, tableRolling)
	}
	x.table, x.kept, x.onScan = sub, make(map[string]*spans[A]), x.scanned
	return nil
}

func (x *timesOfKey[A]) subOf(t int64) []byte {
	binary.BigEndian.PutUint64(x.sub[:], uint64(t)^1<<63)
	return x.sub[:]
}

// add changes the accumulator of a time; first: there was none.
func (x *timesOfKey[A]) add(k state.Key, t int64, change func(*A)) (first bool, err error) {
	var zero A
	x.one = zero
	sub := x.subOf(t)
	val, had := x.table.GetSub(0, k, sub)
	if had {
		if err := decodeAll(x.codec, val, &x.one); err != nil {
			return false, err
		}
	}
	change(&x.one)
	x.buf = x.codec.Append(x.buf[:0], &x.one)
	x.table.PutSub(0, k, sub, x.buf)
	s := x.kept[string(k.Bytes)]
	if s == nil {
		return !had, nil
	}
	if len(s.list) == 0 {
		x.empty--
	}
	before := len(s.list)
	ok := s.put(t, x.buf)
	x.size += len(s.list) - before
	if !ok || x.size > x.max {
		x.drop(k)
	} else if s.dead > len(s.vals)/2 {
		x.lay(s)
	}
	return !had, nil
}

// put changes the accumulator of a time, or adds it. It returns false when a
// sum may have the time already.
func (s *spans[A]) put(t int64, val []byte) bool {
	i := s.search(t)
	if i < s.to && i < len(s.list) {
		return false
	}
	if i == len(s.list) || s.list[i].at != t {
		s.grow()
		s.list = s.list[:len(s.list)+1]
		copy(s.list[i+1:], s.list[i:])
		s.list[i] = timeOf{at: t, off: len(s.vals), end: len(s.vals) + len(val)}
		s.vals = append(s.vals, val...)
		return true
	}
	e := &s.list[i]
	if e.end-e.off == len(val) {
		copy(s.vals[e.off:], val)
		return true
	}
	s.dead += e.end - e.off
	e.off, e.end = len(s.vals), len(s.vals)+len(val)
	s.vals = append(s.vals, val...)
	return true
}

// grow makes room for another time.
func (s *spans[A]) grow() {
	switch {
	case len(s.list) < cap(s.list):
	case 2*len(s.list) < cap(s.room):
		s.list = append(s.room, s.list...)
	default:
		s.list = slices.Grow(s.list, 1)
		s.room = s.list[:0]
	}
}

// drop gives up the copy of a key.
func (x *timesOfKey[A]) drop(k state.Key) {
	s := x.kept[string(k.Bytes)]
	if s == nil {
		return
	}
	x.size -= len(s.list)
	delete(x.kept, string(k.Bytes))
	if len(x.idle) < idleMax && cap(s.room) <= idleTimesMax {
		s.reset()
		x.idle = append(x.idle, s)
	}
}

// reset empties the spans. Large buffers are left to the collector: a key
// without times keeps what it has.
func (s *spans[A]) reset() {
	if cap(s.room) > idleTimesMax {
		s.room = nil
	}
	*s = spans[A]{list: s.room, room: s.room, vals: emptied(s.vals), suffixes: emptied(s.suffixes), ends: emptied(s.ends)}
}

// emptied returns the buffer without content, nil when it is large.
func emptied[E any](b []E) []E {
	if cap(b) > idleBytesMax {
		return nil
	}
	return b[:0]
}

// resume loads the times of a key to go on with spans behind those of before.
func (x *timesOfKey[A]) resume(k state.Key) error {
	if x.spans = x.kept[string(k.Bytes)]; x.spans != nil {
		return nil
	}
	if n := len(x.idle) - 1; n >= 0 {
		x.spans, x.idle = x.idle[n], x.idle[:n]
	} else {
		x.spans = &spans[A]{}
	}
	if err := x.scan(k); err != nil {
		return err
	}
	if x.size += len(x.list); x.size > x.max {
		clear(x.kept)
		x.size, x.empty = len(x.list), 0
	}
	if len(x.list) == 0 {
		x.empty++
	}
	x.kept[string(k.Bytes)] = x.spans
	return nil
}

// load reads all times of a key, for spans anywhere.
func (x *timesOfKey[A]) load(k state.Key) error {
	x.loose.reset()
	x.spans = &x.loose
	return x.scan(k)
}

// scan reads all times of a key, of which none is loaded.
func (x *timesOfKey[A]) scan(k state.Key) error {
	s := x.spans
	x.scanErr = nil
	x.table.ScanSub(0, k, x.onScan)
	slices.SortFunc(s.list, func(a, b timeOf) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	x.lay(s)
	return x.scanErr
}

func (x *timesOfKey[A]) scanned(sub, val []byte) bool {
	if len(sub) != 8 {
		x.scanErr = fmt.Errorf("a time of %d bytes", len(sub))
		return false
	}
	s := x.spans
	s.grow()
	at := int64(binary.BigEndian.Uint64(sub) ^ 1<<63)
	s.list = append(s.list, timeOf{at: at, off: len(s.vals), end: len(s.vals) + len(val)})
	s.vals = append(s.vals, val...)
	return true
}

// lasts goes through the last instants of the windows of the loaded times that
// lie in [from, to], in order: each time itself, and each time + 1 + span when
// a time lies between.
func (x *timesOfKey[A]) lasts(span, from, to int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		own, after := x.search(from), x.search(dataflow.AddTime(from, -span-1))
		for {
			for after+1 < len(x.list) && x.list[after+1].at > dataflow.AddTime(x.list[after].at, span+1) {
				after++ // alone: nothing lies in the window after it
			}
			last := dataflow.TimeMax
			if own < len(x.list) {
				last = x.list[own].at
			}
			if after+1 < len(x.list) {
				last = min(last, dataflow.AddTime(x.list[after].at, span+1))
			}
			if own >= len(x.list) && after+1 >= len(x.list) || last > to || !yield(last) {
				return
			}
			if own < len(x.list) && x.list[own].at == last {
				own++
			}
			if after+1 < len(x.list) && dataflow.AddTime(x.list[after].at, span+1) == last {
				after++
			}
		}
	}
}

// has reports whether a time is among the loaded ones.
func (x *timesOfKey[A]) has(t int64) bool {
	i := x.search(t)
	return i < len(x.list) && x.list[i].at == t
}

// search returns the first of the times that is not before t.
func (s *spans[A]) search(t int64) int {
	i, _ := slices.BinarySearchFunc(s.list, t, func(e timeOf, t int64) int {
		if e.at < t {
			return -1
		}
		return 1
	})
	return i
}

// fold returns the sum of a window, which is the caller's until the next call.
// Windows come in order since load; the window has a time.
func (x *timesOfKey[A]) fold(w Window) (*A, error) {
	from, to := x.search(w.start), x.search(w.end)
	var zero A
	if from > x.to { // nothing of the last one is in it
		x.flip, x.to, x.back = from, from, zero
	}
	x.from = from
	for ; x.to < to; x.to++ {
		x.one = zero
		if err := x.read(x.to, &x.one); err != nil {
			return nil, err
		}
		x.merge(&x.back, &x.one)
	}
	if x.from >= x.flip {
		if err := x.turn(); err != nil {
			return nil, err
		}
	}
	x.acc = zero
	if err := decodeAll(x.codec, x.suffix(x.flip-1-x.from), &x.acc); err != nil {
		return nil, err
	}
	if x.flip < x.to {
		// back goes on: what it merges into must not share memory with it.
		x.one = zero
		x.buf = x.codec.Append(x.buf[:0], &x.back)
		if err := decodeAll(x.codec, x.buf, &x.one); err != nil {
			return nil, err
		}
		x.merge(&x.acc, &x.one)
	}
	return &x.acc, nil
}

// suffix returns the sum of the last i+1 times before flip.
func (s *spans[A]) suffix(i int) []byte {
	from := 0
	if i > 0 {
		from = s.ends[i-1]
	}
	return s.suffixes[from:s.ends[i]]
}

// turn makes suffixes of all times of the span in work.
func (x *timesOfKey[A]) turn() error {
	s := x.spans
	s.suffixes, s.ends = s.suffixes[:0], s.ends[:0]
	var zero A
	for i := range s.to - s.from {
		x.one = zero
		if err := x.read(s.to-1-i, &x.one); err != nil {
			return err
		}
		if i > 0 {
			x.other = zero
			if err := decodeAll(x.codec, s.suffix(i-1), &x.other); err != nil {
				return err
			}
			x.merge(&x.one, &x.other)
		}
		s.suffixes = x.codec.Append(s.suffixes, &x.one)
		s.ends = append(s.ends, len(s.suffixes))
	}
	s.flip, s.back = s.to, zero
	return nil
}

func (x *timesOfKey[A]) read(i int, acc *A) error {
	return decodeAll(x.codec, x.vals[x.list[i].off:x.list[i].end], acc)
}

// forget removes the loaded times for which gone holds, the first ones; it
// returns the first that stays, dataflow.TimeMax when none does.
// It is for what resume loaded.
func (x *timesOfKey[A]) forget(k state.Key, gone func(t int64) bool) int64 {
	n := 0
	for ; n < len(x.list) && gone(x.list[n].at); n++ {
		x.table.DeleteSub(0, k, x.subOf(x.list[n].at))
	}
	x.size -= n
	if n == len(x.list) {
		if n > 0 {
			x.spans.reset()
			x.empty++
			x.shed()
		}
		return dataflow.TimeMax
	}
	x.cut(n)
	if x.dead > len(x.vals)/2 {
		x.lay(x.spans)
	}
	return x.list[0].at
}

// shed gives up the keys without times once they are more than the others.
func (x *timesOfKey[A]) shed() {
	if x.empty <= idleMax+len(x.kept)/2 {
		return
	}
	for k, s := range x.kept {
		if len(s.list) == 0 {
			delete(x.kept, k)
		}
	}
	x.empty = 0
}

// cut removes the first n times. What has come no further than them is made
// anew with the next span, which begins behind them.
func (s *spans[A]) cut(n int) {
	for _, e := range s.list[:n] {
		s.dead += e.end - e.off
	}
	s.list = s.list[n:]
	s.from, s.flip, s.to = max(0, s.from-n), max(0, s.flip-n), max(0, s.to-n)
}

// lay puts the values in the order of their times, without gaps, and gives
// back what a burst took.
func (x *timesOfKey[A]) lay(s *spans[A]) {
	x.moved = x.moved[:0]
	for i := range s.list {
		e := &s.list[i]
		off := len(x.moved)
		x.moved = append(x.moved, s.vals[e.off:e.end]...)
		e.off, e.end = off, len(x.moved)
	}
	if cap(s.vals) > 4*len(x.moved)+1024 {
		s.vals = nil
	}
	s.vals, s.dead = append(s.vals[:0], x.moved...), 0
	if cap(s.room) > 4*len(s.list)+64 {
		s.room = make([]timeOf, 0, len(s.list))
	}
	s.list = append(s.room, s.list...)
}
