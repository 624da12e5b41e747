package cepop

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// spanMillis is the span of event time whose rows share a namespace: about
// what a watermark advances by. They are dropped together once it has passed;
// a timer for each row would cost more than the pattern.
const spanMillis = 256

// pending keeps the rows that wait for the watermark. A namespace is a span of
// time, by its start; its value the rows that a key has in it, as they came.
// Each is its time, 8 bytes little-endian, the length of its row form, and
// that.
type pending[T any] struct {
	table   state.Table
	app     state.Appender // nil when the table cannot append
	rows    *codec.Codec[T]
	compare func(a, b T) int
	buf     []byte

	// While the watermark advances.
	advancing bool
	spans     []int64 // to be visited
	visited   int     // keys of the first of them
	rest      []later
	arena     []byte

	list    []waiting
	vals    []T
	inOrder func(a, b waiting) int // order, made once
	visiting
	to     taker[T]
	ready  func() bool
	onScan func(key, val []byte) bool // see, made once
}

// visiting is how far a call of visit is.
type visiting struct {
	wm    int64
	whole bool
	seen  int
	done  bool
	err   error
}

// waiting is a row of the key in work.
type waiting struct {
	time int64
	row  []byte
	seq  int
}

// later is what is left of a key in a span that has not passed as a whole, as
// offsets in arena.
type later struct{ key, val, end int }

func openPending[T any](b state.Backend, rows *codec.Codec[T], compare func(a, b T) int) (*pending[T], error) {
	t, err := state.FramedTable(b, pendingName, "waiting rows 1 of ", rows, false, reframeWaiting)
	if err != nil {
		return nil, err
	}
	app, _ := t.(state.Appender)
	p := &pending[T]{table: t, app: app, rows: rows, compare: compare}
	p.inOrder, p.onScan = p.order, p.see
	return p, nil
}

// add keeps a row.
func (p *pending[T]) add(k state.Key, at int64, row *T) {
	ns := at &^ (spanMillis - 1)
	if p.app == nil {
		old, _ := p.table.Get(ns, k)
		p.buf = p.append(append(p.buf[:0], old...), at, row)
		p.table.Put(ns, k, p.buf)
		return
	}
	p.buf = p.append(p.buf[:0], at, row)
	p.app.Append(ns, k, p.buf)
}

func (p *pending[T]) append(dst []byte, at int64, row *T) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(at))
	// The length is not known before: a byte is left for it, and more made.
	from := len(dst)
	dst = p.rows.Append(append(dst, 0), row)
	n := len(dst) - from - 1
	if n < 0x80 {
		dst[from] = byte(n)
		return dst
	}
	var size [binary.MaxVarintLen64]byte
	used := binary.PutUvarint(size[:], uint64(n))
	dst = append(dst, size[1:used]...) // room
	copy(dst[from+used:], dst[from+1:from+1+n])
	copy(dst[from:], size[:used])
	return dst
}

// taker is given the rows of a key that are due, in order, between begin and
// end. What a row refers to is valid during the call only.
type taker[T any] interface {
	begin(k state.Key) error
	take(row *T, encoded []byte, at int64) error
	end(k state.Key) error
}

// advance gives the rows up to the watermark to t, and removes them. When
// ready says that there is no room it returns false, and is to be called again
// with the same watermark, before anything else.
func (p *pending[T]) advance(wm int64, t taker[T], ready func() bool) (done bool, err error) {
	if !p.advancing {
		p.advancing = true
		p.spans = append(p.spans[:0], p.table.Namespaces()...)
	}
	for len(p.spans) > 0 && p.spans[0] <= wm {
		ns := p.spans[0]
		whole := ns|(spanMillis-1) <= wm
		if done, err := p.visit(ns, wm, whole, t, ready); err != nil || !done {
			return false, err
		}
		if whole {
			p.table.DropNamespace(ns)
		} else {
			p.keepRest(ns)
		}
		p.spans, p.visited = slices.Delete(p.spans, 0, 1), 0
	}
	p.advancing = false
	return true, nil
}

// visit goes through the keys of a span.
func (p *pending[T]) visit(ns, wm int64, whole bool, t taker[T], ready func() bool) (done bool, err error) {
	p.visiting = visiting{wm: wm, whole: whole, done: true}
	p.to, p.ready = t, ready
	p.table.Scan(ns, p.onScan)
	return p.done, p.err
}

func (p *pending[T]) see(key, val []byte) bool {
	if p.seen++; p.seen <= p.visited {
		return true
	}
	if p.done = p.ready(); !p.done {
		return false
	}
	p.visited = p.seen
	p.err = p.key(key, val, p.wm, p.whole, p.to)
	return p.err == nil
}

// key takes the rows of a key that are due, and notes the others.
func (p *pending[T]) key(key, val []byte, wm int64, whole bool, t taker[T]) error {
	p.list = p.list[:0]
	keyAt := len(p.arena)
	p.arena = append(p.arena, key...)
	valAt := len(p.arena)
	for rest := val; len(rest) > 0; {
		n, used := uint64(0), 0
		if len(rest) > 8 {
			n, used = binary.Uvarint(rest[8:])
		}
		if used <= 0 || uint64(len(rest)-8-used) < n {
			return errState
		}
		size := 8 + used + int(n)
		if at := int64(binary.LittleEndian.Uint64(rest)); at <= wm {
			p.list = append(p.list, waiting{at, rest[8+used : size : size], len(p.list)})
		} else {
			p.arena = append(p.arena, rest[:size]...)
		}
		rest = rest[size:]
	}
	if whole || len(p.list) == 0 {
		p.arena = p.arena[:keyAt]
	} else {
		p.rest = append(p.rest, later{keyAt, valAt, len(p.arena)})
	}
	if len(p.list) == 0 {
		return nil
	}
	return p.give(state.KeyOf(key), t)
}

// give gives the rows in list to t, in order.
func (p *pending[T]) give(k state.Key, t taker[T]) error {
	clear(p.vals) // they refer to what is gone
	p.vals = slices.Grow(p.vals[:0], len(p.list))[:len(p.list)]
	for i := range p.list {
		if _, err := p.rows.DecodeAlias(p.list[i].row, &p.vals[i]); err != nil {
			return fmt.Errorf("a waiting row: %w", err)
		}
	}
	if len(p.list) > 1 {
		slices.SortFunc(p.list, p.inOrder)
	}
	if err := t.begin(k); err != nil {
		return err
	}
	for _, w := range p.list {
		if err := t.take(&p.vals[w.seq], w.row, w.time); err != nil {
			return err
		}
	}
	return t.end(k)
}

func (p *pending[T]) order(a, b waiting) int {
	c := cmp.Compare(a.time, b.time)
	if c == 0 && p.compare != nil {
		c = p.compare(p.vals[a.seq], p.vals[b.seq])
	}
	return cmp.Or(c, a.seq-b.seq)
}

// keepRest writes what is left in a span.
func (p *pending[T]) keepRest(ns int64) {
	for _, r := range p.rest {
		k := state.KeyOf(p.arena[r.key:r.val])
		if r.val == r.end {
			p.table.Delete(ns, k)
		} else {
			p.table.Put(ns, k, p.arena[r.val:r.end])
		}
	}
	p.rest, p.arena = p.rest[:0], p.arena[:0]
}
