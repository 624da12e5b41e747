package join

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// An entry of a buffer is its time (8 bytes), its flags, the length of its
// row (4 bytes), and the row; integers are little-endian.
const (
	entryHead   = 13
	flagMatched = 1
)

// widthMin bounds from below the span of time whose rows share a namespace:
// each namespace costs memory of its own.
const widthMin = 128

// buffer keeps rows by key and time. Its namespaces are spans of event time,
// so that what is too old is dropped at once; under each key are the rows of
// the span in order of arrival, of which adding one writes no other.
type buffer[T any] struct {
	codec *codec.Codec[T]
	table state.Table
	app   state.Appender // nil when the table cannot append
	width int64          // a power of two
	live  []int64        // namespaces with rows, ascending

	enc   []byte
	arena codec.Arena
	found []found
	slab  []T
	one   T
}

// found is a row in the value that is being read.
type found struct {
	time     int64
	from, to int
}

func (x *buffer[T]) open(b state.Backend, name string, span int64) (err error) {
	x.width = max(widthMin, int64(1)<<bits.Len64(uint64(span/2)))
	x.table, err = state.FramedTable(b, name, fmt.Sprintf("rows of %d ms: ", x.width), x.codec, false, reframe)
	if err != nil {
		return err
	}
	x.app, _ = x.table.(state.Appender)
	x.live = x.table.Namespaces()
	return nil
}

func (x *buffer[T]) bucket(t int64) int64 { return t &^ (x.width - 1) }

// add appends a row under a key.
func (x *buffer[T]) add(k state.Key, t int64, flags byte, row *T) {
	ns := x.bucket(t)
	if i, ok := slices.BinarySearch(x.live, ns); !ok {
		x.live = slices.Insert(x.live, i, ns)
	}
	x.enc = x.enc[:0]
	if x.app == nil {
		old, _ := x.table.Get(ns, k)
		x.enc = append(x.enc, old...)
	}
	x.enc = x.appendEntry(x.enc, t, flags, row)
	if x.app != nil {
		x.app.Append(ns, k, x.enc)
		return
	}
	x.table.Put(ns, k, x.enc)
}

// appendEntry appends the form of a row.
func (x *buffer[T]) appendEntry(dst []byte, t int64, flags byte, row *T) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t))
	dst = append(dst, flags, 0, 0, 0, 0)
	from := len(dst)
	dst = x.codec.Append(dst, row)
	binary.LittleEndian.PutUint32(dst[from-4:], uint32(len(dst)-from))
	return dst
}

// scan finds the rows of a value with times from lo to hi, and without any of
// the flags; they are in order of time, and of arrival within one.
func (x *buffer[T]) scan(val []byte, lo, hi int64, without byte) []found {
	x.found = x.found[:0]
	sorted := true
	last := lo
	for at := 0; at < len(val); {
		t, to := entryTime(val, at), entryEnd(val, at)
		if t >= lo && t <= hi && val[at+8]&without == 0 {
			x.found = append(x.found, found{t, at, to})
			sorted = sorted && t >= last
			last = t
		}
		at = to
	}
	if !sorted {
		sortFound(x.found)
	}
	return x.found
}

// sortFound stands alone to be compiled once: in a method of buffer it would
// be for each type of rows.
func sortFound(all []found) {
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(a.time, b.time) })
}

// load reads a row. Unless it may be kept it is valid until the next load.
func (x *buffer[T]) load(val []byte, f found, keep bool) *T {
	v := &x.one
	if keep {
		if len(x.slab) == 0 {
			x.slab = make([]T, slabRows)
		}
		v, x.slab = &x.slab[0], x.slab[1:]
	}
	src := val[f.from+entryHead : f.to]
	if x.codec.Fixed() > 0 {
		x.codec.FixedLoad(src, v)
		return v
	}
	if err := x.codec.DecodeIn(&x.arena, src, v); err != nil {
		panic(fmt.Sprintf("join state holds a row that does not decode: %v", err))
	}
	return v
}

// slabRows is how many rows that may be kept are made at once.
const slabRows = 64

// mark sets a flag of the rows that scan found last, and reports whether that
// changed anything; then val, which is borrowed from the table, is no more
// valid.
func (x *buffer[T]) mark(ns int64, k state.Key, val []byte, flag byte) {
	changed := false
	for _, f := range x.found {
		changed = changed || val[f.from+8]&flag == 0
	}
	if !changed {
		return
	}
	x.enc = append(x.enc[:0], val...)
	for _, f := range x.found {
		x.enc[f.from+8] |= flag
	}
	x.table.Put(ns, k, x.enc)
}

// between returns the namespaces that hold times from lo to hi.
func (x *buffer[T]) between(lo, hi int64) []int64 {
	lo, hi = x.bucket(lo), x.bucket(hi)
	from := 0
	for from < len(x.live) && x.live[from] < lo {
		from++
	}
	to := from
	for to < len(x.live) && x.live[to] <= hi {
		to++
	}
	return x.live[from:to]
}

// dropBefore removes the namespaces whose times are all at or before t.
func (x *buffer[T]) dropBefore(t int64) {
	n := 0
	for n < len(x.live) && x.live[n]+(x.width-1) <= t {
		x.table.DropNamespace(x.live[n])
		n++
	}
	x.live = slices.Delete(x.live, 0, n)
}
