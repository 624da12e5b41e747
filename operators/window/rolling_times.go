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
	built []byte
	acc   A // of fold
	// In work; here, since the codec and the functions of the user would make
	// them escape.
	one, other A

	*spans[A] // of the key that was loaded last
	loose     spans[A]
	// kept holds what was loaded of keys, a copy of the table, by their hashes,
	// so that the next watermark goes on where the last one was. size is its
	// number of times. Some keys, empty, have none: most of them come again.
	kept      map[uint64]*spans[A]
	size, max int
	empty     int
	idle      []*spans[A] // for the next keys

	// What all spans are made of; forgets counts towards the next review of it.
	pool    spanPieces
	forgets int

	onScan  func(sub, val []byte) bool // scanned, made once
	scanErr error
}

// timesMaxDefault is about 25 MB of small accumulators.
const timesMaxDefault = 1 << 18

func (x *timesOfKey[A]) open(b state.Backend) error {
	t, err := state.RowTable(b, tableRolling, x.codec, true)
	if err != nil {
		return err
	}
	sub, ok := t.(state.SubTable)
	if !ok {
		return fmt.Errorf("state backend %T: table %q with Sub set is no state.SubTable", b, tableRolling)
	}
	x.table, x.kept, x.onScan = sub, make(map[uint64]*spans[A]), x.scanned
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
	s := x.find(k)
	if s == nil {
		return !had, nil
	}
	if len(s.list) == 0 {
		x.empty--
	}
	before := len(s.list)
	ok := x.put(s, t, x.buf)
	x.size += len(s.list) - before
	if !ok || x.size > x.max {
		x.drop(s)
	} else if s.dead > len(s.vals)/2 {
		x.lay(s)
	}
	return !had, nil
}

// load reads all times of a key, for spans anywhere.
func (x *timesOfKey[A]) load(k state.Key) error {
	s := &x.loose
	if cap(s.room) > timesLooseMax || cap(s.vals) > bytesLooseMax {
		x.strip(s)
	}
	*s = spans[A]{list: s.room, room: s.room, vals: s.vals[:0], suffixes: s.suffixes[:0], ends: s.ends[:0]}
	x.spans = s
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
	x.grow(s)
	at := int64(binary.BigEndian.Uint64(sub) ^ 1<<63)
	s.list = append(s.list, timeOf{at: at, off: len(s.vals), end: len(s.vals) + len(val)})
	s.vals = append(x.pool.bytes.grow(s.vals, len(val)), val...)
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
	n := s.to - s.from
	s.ends = x.pool.ends.grow(s.ends[:0], n)
	built, before := x.built[:0], 0
	var zero A
	for i := range n {
		x.one = zero
		if err := x.read(s.to-1-i, &x.one); err != nil {
			return err
		}
		if i > 0 {
			x.other = zero
			if err := decodeAll(x.codec, built[before:], &x.other); err != nil {
				return err
			}
			x.merge(&x.one, &x.other)
		}
		before = len(built)
		built = x.codec.Append(built, &x.one)
		s.ends = append(s.ends, len(built))
	}
	x.built = built
	s.suffixes = append(x.pool.bytes.grow(s.suffixes[:0], len(built)), built...)
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
	x.review()
	n := 0
	for ; n < len(x.list) && gone(x.list[n].at); n++ {
		x.table.DeleteSub(0, k, x.subOf(x.list[n].at))
	}
	x.size -= n
	if n == len(x.list) {
		if n > 0 {
			x.strip(x.spans)
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
