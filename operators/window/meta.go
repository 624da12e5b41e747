package window

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// Names of the tables of windows that are kept one by one.
const (
	tableWindows  = "windows"
	tableAccs     = "windows-accumulators"
	tableElements = "windows-elements"
)

// record is what is kept of a window beside its rows.
type record struct {
	// HomeStart and HomeEnd are the bounds under which its rows lie: those it
	// had at first. Windows that merge change their bounds all the time.
	HomeStart, HomeEnd int64
	// Next numbers the next row.
	Next uint64
	// Rows: there is something to emit.
	Rows bool
	// Events and Clocks are the timers of the trigger.
	Events, Clocks []int64
	State          []byte
}

// meta is the record of a window in work.
type meta struct {
	record
	win   Window
	dirty bool
}

// book keeps windows one by one: their records, and what is in them, as
// entries under the key. Sub keys begin with the window, so that windows of a
// key may lie in one namespace.
type book[T, A any] struct {
	metas    state.SubTable
	accs     state.SubTable // unless rows are kept
	elements state.SubTable
	metaC    *codec.Codec[record]
	accC     *codec.Codec[A]
	rowC     *codec.Codec[T]
	sub, buf []byte
	found    []meta
	rows     []Element[T]
}

func (x *book[T, A]) open(b state.Backend) (err error) {
	if x.metaC, err = codec.Of[record](); err != nil {
		return err
	}
	if x.metas, err = subTable(b, tableWindows, x.metaC, rewrite); err != nil {
		return err
	}
	if x.rowC != nil {
		x.elements, err = subTable(b, tableElements, x.rowC, rewriteElement)
		return err
	}
	x.accs, err = subTable(b, tableAccs, x.accC, rewrite)
	return err
}

// rewrite is a state.Reframe of values that are a row.
func rewrite(dst, old []byte, row func(dst, src []byte) ([]byte, error)) ([]byte, error) {
	return row(dst, old)
}

// rewriteElement is a state.Reframe of rows behind their time.
func rewriteElement(dst, old []byte, row func(dst, src []byte) ([]byte, error)) ([]byte, error) {
	if len(old) < elementTimeBytes {
		return nil, fmt.Errorf("window state: a row of %d bytes has no time", len(old))
	}
	return row(append(dst, old[:elementTimeBytes]...), old[elementTimeBytes:])
}

// elementTimeBytes is the size of the time before a row that is kept.
const elementTimeBytes = 8

func subTable(b state.Backend, name string, c state.RowCodec, reframe state.Reframe) (state.SubTable, error) {
	t, err := state.FramedTable(b, name, "", c, true, reframe)
	if err != nil {
		return nil, err
	}
	sub, ok := t.(state.SubTable)
	if !ok {
		return nil, fmt.Errorf("state backend %T: table %q with Sub set is no state.SubTable", b, name)
	}
	return sub, nil
}

// appendWindow appends a window in the order of its start, then end.
func appendWindow(dst []byte, w Window) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(w.start)^1<<63)
	return binary.BigEndian.AppendUint64(dst, uint64(w.end)^1<<63)
}

const windowBytes = 16

func windowOf(b []byte) Window {
	return Window{
		start: int64(binary.BigEndian.Uint64(b) ^ 1<<63),
		end:   int64(binary.BigEndian.Uint64(b[8:]) ^ 1<<63),
	}
}

// get loads the record of a window, or one of a new window.
func (x *book[T, A]) get(ns int64, k state.Key, w Window) (*meta, error) {
	m := &meta{win: w, record: record{HomeStart: w.start, HomeEnd: w.end}}
	x.sub = appendWindow(x.sub[:0], w)
	b, ok := x.metas.GetSub(ns, k, x.sub)
	if !ok {
		m.dirty = true
		return m, nil
	}
	return m, decodeAll(x.metaC, b, &m.record)
}

// all loads the records of all windows of a key, by start and end, until the
// next call.
func (x *book[T, A]) all(ns int64, k state.Key) (_ []meta, err error) {
	x.found = x.found[:0]
	x.metas.ScanSub(ns, k, func(sub, val []byte) bool {
		m := meta{win: windowOf(sub)}
		err = decodeAll(x.metaC, val, &m.record)
		x.found = append(x.found, m)
		return err == nil
	})
	sortMetas(x.found)
	return x.found, err
}

// sortMetas stands alone to be compiled once: in a method of book it would be
// for each type of rows.
func sortMetas(all []meta) {
	slices.SortFunc(all, func(a, b meta) int { return a.win.compare(b.win) })
}

// byArrival is in order of sequence numbers.
type byArrival[T any] []Element[T]

func (s byArrival[T]) Len() int           { return len(s) }
func (s byArrival[T]) Less(i, j int) bool { return s[i].seq < s[j].seq }
func (s byArrival[T]) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// put stores a record that was changed.
func (x *book[T, A]) put(ns int64, k state.Key, m *meta) {
	if !m.dirty {
		return
	}
	m.dirty = false
	x.sub = appendWindow(x.sub[:0], m.win)
	x.buf = x.metaC.Append(x.buf[:0], &m.record)
	x.metas.PutSub(ns, k, x.sub, x.buf)
}

// forget removes a record.
func (x *book[T, A]) forget(ns int64, k state.Key, m *meta) {
	x.sub = appendWindow(x.sub[:0], m.win)
	x.metas.DeleteSub(ns, k, x.sub)
}

func (m *meta) home() Window { return Window{start: m.HomeStart, end: m.HomeEnd} }

// acc loads the accumulator of a window into a zero A.
func (x *book[T, A]) acc(ns int64, k state.Key, m *meta, acc *A) error {
	x.sub = appendWindow(x.sub[:0], m.home())
	b, ok := x.accs.GetSub(ns, k, x.sub)
	if !ok {
		return nil
	}
	return decodeAll(x.accC, b, acc)
}

func (x *book[T, A]) setAcc(ns int64, k state.Key, m *meta, acc *A) {
	x.sub = appendWindow(x.sub[:0], m.home())
	x.buf = x.accC.Append(x.buf[:0], acc)
	x.accs.PutSub(ns, k, x.sub, x.buf)
}

// add adds a row that is kept.
func (x *book[T, A]) add(ns int64, k state.Key, m *meta, v *T, at int64) {
	x.sub = binary.BigEndian.AppendUint64(appendWindow(x.sub[:0], m.home()), m.Next)
	x.buf = binary.LittleEndian.AppendUint64(x.buf[:0], uint64(at))
	x.buf = x.rowC.Append(x.buf, v)
	x.elements.PutSub(ns, k, x.sub, x.buf)
	m.Next++
	m.dirty = true
}

// load returns the rows of a window in order of arrival, until the next call.
func (x *book[T, A]) load(ns int64, k state.Key, m *meta) (_ []Element[T], err error) {
	clear(x.rows)
	x.rows = x.rows[:0]
	home := m.home()
	x.elements.ScanSub(ns, k, func(sub, val []byte) bool {
		if windowOf(sub) != home {
			return true
		}
		e := Element[T]{seq: binary.BigEndian.Uint64(sub[windowBytes:]), at: int64(binary.LittleEndian.Uint64(val))}
		err = decodeAll(x.rowC, val[8:], &e.Value)
		x.rows = append(x.rows, e)
		return err == nil
	})
	sort.Sort(byArrival[T](x.rows))
	return x.rows, err
}

// keep removes the rows of a window that are not in kept, which is in order.
func (x *book[T, A]) keep(ns int64, k state.Key, m *meta, all []uint64, kept []Element[T]) {
	for _, seq := range all {
		if len(kept) > 0 && kept[0].seq == seq {
			kept = kept[1:]
			continue
		}
		x.sub = binary.BigEndian.AppendUint64(appendWindow(x.sub[:0], m.home()), seq)
		x.elements.DeleteSub(ns, k, x.sub)
	}
}

// empty removes what is in a window.
func (x *book[T, A]) empty(ns int64, k state.Key, m *meta) error {
	if !m.Rows {
		return nil
	}
	m.Rows, m.dirty = false, true
	if x.rowC == nil {
		x.sub = appendWindow(x.sub[:0], m.home())
		x.accs.DeleteSub(ns, k, x.sub)
		return nil
	}
	rows, err := x.load(ns, k, m)
	if err != nil {
		return err
	}
	seqs := seqsOf(rows)
	x.keep(ns, k, m, seqs, nil)
	return nil
}

func seqsOf[T any](rows []Element[T]) []uint64 {
	seqs := make([]uint64, len(rows))
	for i := range rows {
		seqs[i] = rows[i].seq
	}
	return seqs
}

// absorb moves what is in from to the end of what is in to.
func (x *book[T, A]) absorb(ns int64, k state.Key, to, from *meta, merge func(into, from *A)) error {
	if !from.Rows {
		return nil
	}
	had := to.Rows
	to.Rows, to.dirty = true, true
	if x.rowC == nil {
		var a, b A
		if err := x.acc(ns, k, to, &a); err != nil {
			return err
		}
		if err := x.acc(ns, k, from, &b); err != nil {
			return err
		}
		if had {
			merge(&a, &b)
		} else {
			a = b
		}
		x.setAcc(ns, k, to, &a)
		return x.empty(ns, k, from)
	}
	rows, err := x.load(ns, k, from)
	if err != nil {
		return err
	}
	rows = slices.Clone(rows)
	for i := range rows {
		x.add(ns, k, to, &rows[i].Value, rows[i].at)
	}
	return x.empty(ns, k, from)
}
