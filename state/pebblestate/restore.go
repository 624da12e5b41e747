package pebblestate

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// Restore implements state.Backend. After an error the backend holds part of
// the state and must be closed.
func (b *Backend) Restore(r io.Reader) error {
	if len(b.opened) > 0 {
		return errors.New("restore of state after a table was opened: restore first")
	}
	err := b.restore(r)
	b.apply()
	if err == nil {
		err = b.Err()
	}
	if err != nil {
		return fmt.Errorf("restore key groups %d to %d: %w", b.groups.First, b.groups.Last, err)
	}
	return nil
}

func (b *Backend) restore(r io.Reader) error {
	fr, err := statefile.NewReader(r)
	if err != nil {
		return err
	}
	h := fr.Header()
	if h.MaxParallelism != b.maxParallelism {
		return fmt.Errorf("state was written with maximum parallelism %d, the job has %d: start the job with %d", h.MaxParallelism, b.maxParallelism, h.MaxParallelism)
	}
	v := &restorer{b: b}
	for _, d := range h.Tables {
		t, err := b.table(d)
		if err != nil {
			return err
		}
		v.tables = append(v.tables, t)
	}
	var entries int64
	want := b.groups.Intersect(h.Groups)
	for {
		s, err := fr.Next(want)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		v.group = s.Group
		n, err := h.Parse(s, v)
		if err != nil {
			return err
		}
		v.endMap()
		if err := b.Err(); err != nil {
			return err
		}
		entries += n
	}
	if want == h.Groups && entries != fr.Entries() {
		return fmt.Errorf("%w: end mark counts %d entries, found %d", statefile.ErrCorrupt, fr.Entries(), entries)
	}
	return nil
}

// restorer writes what a file holds to the database, past the caches: a file
// holds each entry once, so nothing need be read before. Only the heads of
// maps, which a writer may cut in two, are looked up.
type restorer struct {
	b      *Backend
	tables []*table
	group  dataflow.KeyGroup

	// The map that entries are counted of.
	table *table
	space *namespace
	key   state.Key
	count int
}

func (v *restorer) hash(key []byte) (uint64, error) {
	h := codec.HashKey(key)
	if g := dataflow.KeyGroupOf(h, v.b.maxParallelism); g != v.group {
		return h, fmt.Errorf("%w: key %x belongs to key group %d but lies in key group %d", statefile.ErrCorrupt, key, g, v.group)
	}
	return h, nil
}

// Entry implements statefile.Visitor.
func (v *restorer) Entry(table int, ns int64, key, val []byte) error {
	if _, err := v.hash(key); err != nil {
		return err
	}
	t := v.tables[table]
	n := t.obtain(ns)
	t.addKeys(n, 1)
	n.stored++
	t.count++
	v.b.key = append(appendPrefix(v.b.key[:0], t.id, ns, v.group), key...)
	v.b.set(v.b.key, val)
	return nil
}

// SubEntry implements statefile.Visitor.
func (v *restorer) SubEntry(table int, ns int64, key, sub, val []byte) error {
	t := v.tables[table]
	if v.table != t || v.space.ns != ns || !bytes.Equal(v.key.Bytes, key) {
		v.endMap()
		h, err := v.hash(key)
		if err != nil {
			return err
		}
		v.table, v.space = t, t.obtain(ns)
		v.key = state.Key{Bytes: append(v.key.Bytes[:0], key...), Hash: h}
	}
	v.count++
	v.space.stored++
	v.b.key = append(append(appendHead(v.b.key[:0], t.id, ns, v.group, key), subMark), sub...)
	v.b.set(v.b.key, val)
	return nil
}

// endMap writes the number of entries that were read of a map.
func (v *restorer) endMap() {
	if v.table != nil {
		v.b.apply()
		v.table.addSubs(v.space, v.table.head(v.space, v.key), v.count)
		v.table.settle()
	}
	v.table, v.space, v.count = nil, nil, 0
}

// GroupValue implements statefile.Visitor.
func (v *restorer) GroupValue(name string, val []byte) error {
	v.b.SetGroupValue(name, v.group, append([]byte{}, val...))
	return nil
}
