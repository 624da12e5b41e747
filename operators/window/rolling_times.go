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
	acc   A

	*spans[A] // of the key that was loaded last
	// kept holds what was loaded of keys, a copy of the table, so that the next
	// watermark goes on where the last one was. size is its number of times.
	kept      map[string]*spans[A]
	size, max int
}

// timesMaxDefault is about 25 MB of small accumulators.
const timesMaxDefault = 1 << 18

// spans is a copy of the times of a key, and how far folding them has come.
type spans[A any] struct {
	// In order of time; vals holds the encoded accumulators.
	list []timeOf
	vals []byte

	// The span in work is list[from:to]. Of [from, flip) suffixes holds the
	// sums up to flip, encoded; back is the sum of [flip, to).
	from, flip, to int
	suffixes       [][]byte
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
	x.table, x.kept = sub, make(map[string]*spans[A])
	return nil
}

func (x *timesOfKey[A]) subOf(t int64) []byte {
	binary.BigEndian.PutUint64(x.sub[:], uint64(t)^1<<63)
	return x.sub[:]
}

// add changes the accumulator of a time; first: there was none.
func (x *timesOfKey[A]) add(k state.Key, t int64, change func(*A)) (first bool, err error) {
	var acc A
	sub := x.subOf(t)
	val, had := x.table.GetSub(0, k, sub)
	if had {
		if err := decodeAll(x.codec, val, &acc); err != nil {
			return false, err
		}
	}
	change(&acc)
	x.buf = x.codec.Append(x.buf[:0], &acc)
	x.table.PutSub(0, k, sub, x.buf)
	switch s := x.kept[string(k.Bytes)]; {
	case s == nil:
	case !had && (len(s.list) == 0 || s.list[len(s.list)-1].at < t):
		s.append(t, x.buf)
		if x.size++; x.size > x.max {
			x.drop(k)
		}
	default:
		x.drop(k)
	}
	return !had, nil
}

// append adds a time behind the others.
func (s *spans[A]) append(t int64, val []byte) {
	off := len(s.vals)
	s.vals = append(s.vals, val...)
	s.list = append(s.list, timeOf{at: t, off: off, end: len(s.vals)})
}

// drop gives up the copy of a key.
func (x *timesOfKey[A]) drop(k state.Key) {
	if s := x.kept[string(k.Bytes)]; s != nil {
		x.size -= len(s.list)
		delete(x.kept, string(k.Bytes))
	}
}

// resume loads the times of a key to go on with spans behind those of before.
func (x *timesOfKey[A]) resume(k state.Key) error {
	if x.spans = x.kept[string(k.Bytes)]; x.spans != nil {
		return nil
	}
	if err := x.load(k); err != nil {
		return err
	}
	if x.size += len(x.list); x.size > x.max {
		clear(x.kept)
		x.size = len(x.list)
	}
	x.kept[string(k.Bytes)] = x.spans
	return nil
}

// load reads all times of a key, for spans anywhere.
func (x *timesOfKey[A]) load(k state.Key) (err error) {
	x.spans = &spans[A]{}
	x.table.ScanSub(0, k, func(sub, val []byte) bool {
		if len(sub) != 8 {
			err = fmt.Errorf("a time of %d bytes", len(sub))
			return false
		}
		x.append(int64(binary.BigEndian.Uint64(sub)^1<<63), val)
		return true
	})
	slices.SortFunc(x.list, func(a, b timeOf) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	x.lay()
	return err
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
func (x *timesOfKey[A]) search(t int64) int {
	i, _ := slices.BinarySearchFunc(x.list, t, func(e timeOf, t int64) int {
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
	if from > x.to { // nothing of the last one is in it
		var zero A
		x.flip, x.to, x.back = from, from, zero
	}
	x.from = from
	for ; x.to < to; x.to++ {
		var acc A
		if err := x.read(x.to, &acc); err != nil {
			return nil, err
		}
		x.merge(&x.back, &acc)
	}
	if x.from >= x.flip {
		if err := x.turn(); err != nil {
			return nil, err
		}
	}
	var zero A
	x.acc = zero
	if err := decodeAll(x.codec, x.suffixes[x.flip-1-x.from], &x.acc); err != nil {
		return nil, err
	}
	if x.flip < x.to {
		// back goes on: what it merges into must not share memory with it.
		var back A
		x.buf = x.codec.Append(x.buf[:0], &x.back)
		if err := decodeAll(x.codec, x.buf, &back); err != nil {
			return nil, err
		}
		x.merge(&x.acc, &back)
	}
	return &x.acc, nil
}

// turn makes suffixes of all times of the span in work. suffixes[0] is the
// last time alone.
func (x *timesOfKey[A]) turn() error {
	n := x.to - x.from
	for len(x.suffixes) < n {
		x.suffixes = append(x.suffixes, nil)
	}
	for i := range n {
		var acc A
		if err := x.read(x.to-1-i, &acc); err != nil {
			return err
		}
		if i > 0 {
			var rest A
			if err := decodeAll(x.codec, x.suffixes[i-1], &rest); err != nil {
				return err
			}
			x.merge(&acc, &rest)
		}
		x.suffixes[i] = x.codec.Append(x.suffixes[i][:0], &acc)
	}
	var zero A
	x.flip, x.back = x.to, zero
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
	if n == len(x.list) {
		x.drop(k)
		return dataflow.TimeMax
	}
	x.size -= n
	x.cut(n)
	return x.list[0].at
}

// cut removes the first n times. What has come no further than them is made
// anew with the next span, which begins behind them.
func (s *spans[A]) cut(n int) {
	s.list = s.list[n:]
	s.from, s.flip, s.to = max(0, s.from-n), max(0, s.flip-n), max(0, s.to-n)
	if s.list[0].off > len(s.vals)/2 {
		s.lay()
	}
}

// lay puts the values in the order of their times, without gaps.
func (s *spans[A]) lay() {
	list, vals := s.list, s.vals
	s.list, s.vals = make([]timeOf, 0, len(list)), make([]byte, 0, len(vals)/2)
	for _, e := range list {
		s.append(e.at, vals[e.off:e.end])
	}
}
