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

	// What load found, in order of time; vals holds the encoded accumulators.
	list []timeOf
	vals []byte

	// The span in work is list[from:to]. Of [from, flip) suffixes holds the
	// sums up to flip, encoded; back is the sum of [flip, to).
	from, flip, to int
	suffixes       [][]byte
	back           A
	acc            A
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
	x.table = sub
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
	return !had, nil
}

// load reads all times of a key.
func (x *timesOfKey[A]) load(k state.Key) (err error) {
	x.list, x.vals = x.list[:0], x.vals[:0]
	x.table.ScanSub(0, k, func(sub, val []byte) bool {
		if len(sub) != 8 {
			err = fmt.Errorf("a time of %d bytes", len(sub))
			return false
		}
		off := len(x.vals)
		x.vals = append(x.vals, val...)
		x.list = append(x.list, timeOf{at: int64(binary.BigEndian.Uint64(sub) ^ 1<<63), off: off, end: len(x.vals)})
		return true
	})
	slices.SortFunc(x.list, func(a, b timeOf) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	var zero A
	x.from, x.flip, x.to, x.back = 0, 0, 0, zero
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
func (x *timesOfKey[A]) forget(k state.Key, gone func(t int64) bool) int64 {
	for i := range x.list {
		if !gone(x.list[i].at) {
			x.list = x.list[i:]
			return x.list[0].at
		}
		x.table.DeleteSub(0, k, x.subOf(x.list[i].at))
	}
	x.list = x.list[:0]
	return dataflow.TimeMax
}
