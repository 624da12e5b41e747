package window

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// contents is what a window operator keeps under (window, key): an
// accumulator of type A. All methods are called once per slot or result, not
// per record.
type contents[A any] interface {
	open(b state.Backend) error
	// begin makes acc, a zero A, ready for the records of a batch.
	begin(ns int64, k state.Key, acc *A) error
	// commit writes acc after the records of a batch.
	commit(ns int64, k state.Key, acc *A)
	// complete makes an acc that was committed one that holds everything.
	complete(ns int64, k state.Key, acc *A) error
	// scan calls fn with each entry of a window, until it returns false.
	scan(ns int64, fn func(key, val []byte) bool)
	// read makes acc, a zero A, of an entry of scan.
	read(ns int64, key, val []byte, acc *A) error
	namespaces() []int64
	drop(ns int64)
}

// Names of the tables; they are part of the state's format.
const (
	tableAggregates = "window-aggregates"
	tableCounts     = "window-counts"
	tableRecords    = "window-records"
)

// aggregates keeps one encoded accumulator under each window and key. The
// state is overwritten in place when its size is fixed.
type aggregates[A any] struct {
	name  string // of the table
	codec *codec.Codec[A]
	table state.Table
	bulk  state.BatchUpserter // nil when the size varies
	early state.Prefetcher    // nil: none
	fixed int
	buf   []byte
}

func (c *aggregates[A]) open(b state.Backend) (err error) {
	c.fixed = c.codec.Fixed()
	c.table, err = state.RowTable(b, c.name, c.codec, false)
	if c.fixed > 0 {
		c.bulk, _ = c.table.(state.BatchUpserter)
	}
	c.early, _ = c.table.(state.Prefetcher)
	return err
}

// prefetch says that the keys are asked for next.
func (c *aggregates[A]) prefetch(ns int64, keys []state.Key) {
	if c.early != nil {
		c.early.Prefetch(ns, keys)
	}
}

func (c *aggregates[A]) begin(ns int64, k state.Key, acc *A) error {
	v, ok := c.table.Get(ns, k)
	if !ok {
		return nil
	}
	return c.load(v, acc)
}

func (c *aggregates[A]) load(v []byte, acc *A) error {
	if c.fixed > 0 && len(v) == c.fixed {
		c.codec.FixedLoad(v, acc)
		return nil
	}
	return decodeAll(c.codec, v, acc)
}

func (c *aggregates[A]) commit(ns int64, k state.Key, acc *A) {
	if c.fixed > 0 {
		v, _ := c.table.Upsert(ns, k)
		c.codec.FixedStore(v, acc)
		return
	}
	c.buf = c.codec.Append(c.buf[:0], acc)
	c.table.Put(ns, k, c.buf)
}

func (c *aggregates[A]) complete(int64, state.Key, *A) error { return nil }

func (c *aggregates[A]) scan(ns int64, fn func(key, val []byte) bool) { c.table.Scan(ns, fn) }

func (c *aggregates[A]) read(_ int64, _, val []byte, acc *A) error { return c.load(val, acc) }

func (c *aggregates[A]) namespaces() []int64 { return c.table.Namespaces() }

func (c *aggregates[A]) drop(ns int64) { c.table.DropNamespace(ns) }

// records keeps the records themselves: a list under each window and key, as
// entries numbered in order of arrival, so that adding one does not rewrite
// the others.
type records[T any] struct {
	codec  *codec.Codec[T]
	counts state.Table
	table  state.SubTable
	buf    []byte
	sub    [8]byte
}

func (c *records[T]) open(b state.Backend) (err error) {
	if c.counts, err = b.Table(state.Descriptor{Name: tableCounts, Schema: "uint64", Fixed: 8}); err != nil {
		return err
	}
	t, err := state.RowTable(b, tableRecords, c.codec, true)
	if err != nil {
		return err
	}
	sub, ok := t.(state.SubTable)
	if !ok {
		return fmt.Errorf("state backend %T: table %q with Sub set is no state.SubTable", b, tableRecords)
	}
	c.table = sub
	return nil
}

func (c *records[T]) begin(int64, state.Key, *[]T) error { return nil }

func (c *records[T]) commit(ns int64, k state.Key, acc *[]T) {
	v, _ := c.counts.Upsert(ns, k)
	n := binary.LittleEndian.Uint64(v)
	binary.LittleEndian.PutUint64(v, n+uint64(len(*acc)))
	for i := range *acc {
		binary.BigEndian.PutUint64(c.sub[:], n+uint64(i))
		c.buf = c.codec.Append(c.buf[:0], &(*acc)[i])
		c.table.PutSub(ns, k, c.sub[:], c.buf)
	}
}

func (c *records[T]) complete(ns int64, k state.Key, acc *[]T) error {
	v, _ := c.counts.Get(ns, k)
	return c.load(ns, k, v, acc)
}

func (c *records[T]) scan(ns int64, fn func(key, val []byte) bool) { c.counts.Scan(ns, fn) }

func (c *records[T]) read(ns int64, key, val []byte, acc *[]T) error {
	return c.load(ns, keyOf(key), val, acc)
}

func (c *records[T]) load(ns int64, k state.Key, count []byte, acc *[]T) error {
	if len(count) != 8 {
		return fmt.Errorf("window state: count has %d bytes, want 8", len(count))
	}
	rows := make([]T, binary.LittleEndian.Uint64(count))
	n := 0
	var err error
	c.table.ScanSub(ns, k, func(sub, val []byte) bool {
		at := binary.BigEndian.Uint64(sub)
		if at >= uint64(len(rows)) {
			err = fmt.Errorf("window state: record %d of %d", at, len(rows))
			return false
		}
		n++
		err = decodeAll(c.codec, val, &rows[at])
		return err == nil
	})
	if err == nil && n != len(rows) {
		err = fmt.Errorf("window state: %d records where %d were counted", n, len(rows))
	}
	*acc = rows
	return err
}

func (c *records[T]) namespaces() []int64 { return c.counts.Namespaces() }

func (c *records[T]) drop(ns int64) {
	c.counts.Scan(ns, func(key, _ []byte) bool {
		c.table.ClearSub(ns, keyOf(key))
		return true
	})
	c.counts.DropNamespace(ns)
}

// decodeAll reads a value that fills src.
func decodeAll[T any](c *codec.Codec[T], src []byte, v *T) error {
	rest, err := c.Decode(src, v)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("window state: %d bytes follow a value of %d", len(rest), len(src)-len(rest))
	}
	return err
}

func keyOf(encoded []byte) state.Key {
	return state.Key{Bytes: encoded, Hash: codec.HashKey(encoded)}
}
