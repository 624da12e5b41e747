package cepop

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// pendingBytesMax bounds the rows of a key that wait for the watermark.
const pendingBytesMax = state.EntryBytesMax / 4

// pending keeps the rows of each key that wait for the watermark. A value
// begins with the earliest time among its rows; each row is its time, the
// length of its row form, and that. Times are 8 bytes, little-endian.
type pending[T any] struct {
	table   state.Table
	app     state.Appender // nil when the table cannot append
	rows    *codec.Codec[T]
	compare func(a, b T) int

	entry []byte
	buf   []byte
	list  []waiting
	vals  []T
}

// waiting is a row of the key in work.
type waiting struct {
	time int64
	row  []byte
	seq  int
}

func openPending[T any](b state.Backend, rows *codec.Codec[T], compare func(a, b T) int) (*pending[T], error) {
	t, err := b.Table(state.Descriptor{Name: pendingName, Schema: "waiting rows 1 of " + rows.Schema()})
	if err != nil {
		return nil, err
	}
	app, _ := t.(state.Appender)
	return &pending[T]{table: t, app: app, rows: rows, compare: compare}, nil
}

// add keeps a row; first is set when none of the key's rows is earlier.
func (p *pending[T]) add(k state.Key, at int64, row []byte) (first bool, err error) {
	e := binary.LittleEndian.AppendUint64(p.entry[:0], uint64(at))
	e = binary.AppendUvarint(e, uint64(len(row)))
	e = append(e, row...)
	p.entry = e
	val, ok := p.table.Get(0, k)
	switch {
	case !ok:
		p.buf = append(binary.LittleEndian.AppendUint64(p.buf[:0], uint64(at)), e...)
		p.table.Put(0, k, p.buf)
		return true, nil
	case len(val)+len(e) > pendingBytesMax:
		return false, fmt.Errorf("more than %d bytes of rows wait for the watermark: is a source idle, or ahead of the others?", pendingBytesMax)
	case at < int64(binary.LittleEndian.Uint64(val)) || p.app == nil:
		least := min(at, int64(binary.LittleEndian.Uint64(val)))
		first = at < int64(binary.LittleEndian.Uint64(val))
		p.buf = append(binary.LittleEndian.AppendUint64(p.buf[:0], uint64(least)), val[8:]...)
		p.buf = append(p.buf, e...)
		p.table.Put(0, k, p.buf)
		return first, nil
	}
	p.app.Append(0, k, e)
	return false, nil
}

// first returns the time of the key's earliest row, noTimer if it has none.
func (p *pending[T]) first(k state.Key) int64 {
	val, ok := p.table.Get(0, k)
	if !ok {
		return noTimer
	}
	return int64(binary.LittleEndian.Uint64(val))
}

// each calls fn for the key's rows up to the watermark, in order. What a row
// refers to is valid during the call only.
func (p *pending[T]) each(k state.Key, wm int64, fn func(row *T, encoded []byte, at int64) error) error {
	val, ok := p.table.Get(0, k)
	p.list = p.list[:0]
	if !ok || int64(binary.LittleEndian.Uint64(val)) > wm {
		return nil
	}
	p.buf = append(p.buf[:0], val...)
	if err := p.parse(wm); err != nil {
		return err
	}
	clear(p.vals)
	p.vals = slices.Grow(p.vals[:0], len(p.list))[:len(p.list)]
	for i := range p.list {
		if _, err := p.rows.DecodeAlias(p.list[i].row, &p.vals[i]); err != nil {
			return fmt.Errorf("a waiting row: %w", err)
		}
	}
	slices.SortFunc(p.list, func(a, b waiting) int {
		c := cmp.Compare(a.time, b.time)
		if c == 0 && p.compare != nil {
			c = p.compare(p.vals[a.seq], p.vals[b.seq])
		}
		return cmp.Or(c, a.seq-b.seq)
	})
	for _, w := range p.list {
		if err := fn(&p.vals[w.seq], w.row, w.time); err != nil {
			return err
		}
	}
	return nil
}

// parse lists the rows in buf that are due.
func (p *pending[T]) parse(wm int64) error {
	for rest := p.buf[8:]; len(rest) > 0; {
		n, used := uint64(0), 0
		if len(rest) > 8 {
			n, used = binary.Uvarint(rest[8:])
		}
		if used <= 0 || uint64(len(rest)-8-used) < n {
			return errState
		}
		at := int64(binary.LittleEndian.Uint64(rest))
		size := 8 + used + int(n)
		if at <= wm {
			p.list = append(p.list, waiting{at, rest[8+used : size : size], len(p.list)})
		}
		rest = rest[size:]
	}
	return nil
}

// drop removes the key's rows up to the watermark, which each has visited,
// and returns the time of the earliest that is left, noTimer if none is.
func (p *pending[T]) drop(k state.Key, wm int64) int64 {
	if len(p.list) == 0 {
		return p.first(k)
	}
	least := int64(noTimer)
	p.entry = append(p.entry[:0], make([]byte, 8)...)
	for rest := p.buf[8:]; len(rest) > 0; {
		n, used := binary.Uvarint(rest[8:])
		size := 8 + used + int(n)
		if at := int64(binary.LittleEndian.Uint64(rest)); at > wm {
			least = min(least, at)
			p.entry = append(p.entry, rest[:size]...)
		}
		rest = rest[size:]
	}
	if len(p.entry) == 8 {
		p.table.Delete(0, k)
		return noTimer
	}
	binary.LittleEndian.PutUint64(p.entry, uint64(least))
	p.table.Put(0, k, p.entry)
	return least
}
