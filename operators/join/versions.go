package join

import (
	"encoding/binary"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// flagGone marks a version that says that the row is deleted.
const flagGone = 2

// versions keeps what the rows of a table were at which times: under a key
// the versions by time, each in the form of a buffer's entry.
type versions[R any] struct {
	rows  buffer[R] // for its form; the table is another
	table state.Table
	enc   []byte
}

func (x *versions[R]) open(b state.Backend, name string, c *codec.Codec[R]) (err error) {
	x.rows.codec = c
	x.table, err = state.FramedTable(b, name, "versions: ", c, false, reframe)
	return err
}

// add puts a version in its place; one of the same time is replaced. It
// reports whether there are others.
func (x *versions[R]) add(k state.Key, t int64, row *R, gone bool) (others bool) {
	old, _ := x.table.Get(0, k)
	at, after := len(old), len(old)
	for from := 0; from < len(old); {
		to := entryEnd(old, from)
		switch v := entryTime(old, from); {
		case v == t:
			at, after = from, to
		case v > t && from < at:
			at, after = from, from
		}
		from = to
	}
	x.enc = append(x.enc[:0], old[:at]...)
	flags := byte(0)
	if gone {
		flags = flagGone
		var zero R
		row = &zero
	}
	x.enc = x.rows.appendEntry(x.enc, t, flags, row)
	x.enc = append(x.enc, old[after:]...)
	others = len(old) > after-at
	x.table.Put(0, k, x.enc)
	return others
}

// at returns the version that is valid at a time; it is borrowed.
func (x *versions[R]) at(k state.Key, t int64) (val []byte, f found, ok bool) {
	val, _ = x.table.Get(0, k)
	for from := 0; from < len(val) && entryTime(val, from) <= t; {
		to := entryEnd(val, from)
		f = found{entryTime(val, from), from, to}
		ok = val[from+8]&flagGone == 0
		from = to
	}
	return val, f, ok
}

// prune removes the versions that are over at a time: all before the one that
// is valid then, and that one, too, if it is a deletion.
func (x *versions[R]) prune(k state.Key, t int64) {
	val, f, ok := x.at(k, t)
	from := f.from
	if !ok {
		from = f.to
	}
	switch {
	case from == len(val):
		x.table.Delete(0, k)
	case from > 0:
		x.enc = append(x.enc[:0], val[from:]...)
		x.table.Put(0, k, x.enc)
	}
}

func entryTime(val []byte, at int) int64 { return int64(binary.LittleEndian.Uint64(val[at:])) }

func entryEnd(val []byte, at int) int {
	return at + entryHead + int(binary.LittleEndian.Uint32(val[at+9:]))
}
