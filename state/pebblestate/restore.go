package pebblestate

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// Restore implements state.Backend. After an error the backend holds part of
// the state and must be closed.
func (b *Backend) Restore(r io.Reader, part state.RestorePart) error {
	if len(b.opened) > 0 || b.epoch.Load() > firstEpoch {
		return errors.New("restore of state after a table was opened or a snapshot was taken: restore first")
	}
	b.past = past{}
	b.epoch.Store(restoreEpoch)
	defer b.restored()
	err := b.chains.Load(r, part, b.groups, b.maxParallelism, &restorer{b: b})
	b.apply()
	if err == nil {
		err = b.Err()
	}
	if err != nil {
		return fmt.Errorf("restore key groups %d to %d: %w", b.groups.First, b.groups.Last, err)
	}
	return nil
}

// restored begins the epoch after that of what was restored, which is a base
// if it is a checkpoint of the same key groups.
func (b *Backend) restored() {
	for _, t := range b.tables {
		t.flush() // it is of the epoch that ends
	}
	values := b.values.Epoch()
	b.values.Freeze()
	cp, ok := b.chains.Single(b.groups)
	b.past = past{logging: ok}
	if ok {
		b.past.base = taken{cp: cp, epoch: restoreEpoch, values: values}
	}
	b.epoch.Store(firstEpoch)
}

// restorer writes to the database, past the caches, what the first file of a
// chain holds, and a later one of key groups of which it has all: each entry is
// there once, and nothing else that is restored has any of its key group, so
// nothing need be read before. Only the heads of maps, which a writer may cut in
// two, are looked up. What later files of the chain change goes the way of all
// changes.
type restorer struct {
	b      *Backend
	tables []*table
	group  dataflow.KeyGroup
	fresh  bool // nothing of the key group is there

	// The map that entries are counted of.
	table *table
	space *namespace
	key   state.Key
	count int
}

// Table implements statefile.Loader.
func (v *restorer) Table(d state.Descriptor) (state.Table, error) {
	t, err := v.b.table(d)
	v.tables = append(v.tables, t)
	return t, err
}

// Begin implements statefile.Loader.
func (v *restorer) Begin(g dataflow.KeyGroup) { v.group, v.fresh = g, v.b.chains.Fresh(g) }

// End implements statefile.Loader.
func (v *restorer) End() error {
	v.endMap()
	return v.b.Err()
}

// Entry implements statefile.Visitor.
func (v *restorer) Entry(table int, ns int64, key, val []byte) error {
	k, err := statefile.KeyIn(key, v.group, v.b.maxParallelism)
	if err != nil {
		return err
	}
	t := v.tables[table]
	if !v.fresh {
		t.Put(ns, k, val)
		return nil
	}
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
	if !v.fresh {
		k, err := statefile.KeyIn(key, v.group, v.b.maxParallelism)
		if err == nil {
			t.PutSub(ns, k, sub, val)
		}
		return err
	}
	if v.table != t || v.space.ns != ns || !bytes.Equal(v.key.Bytes, key) {
		v.endMap()
		k, err := statefile.KeyIn(key, v.group, v.b.maxParallelism)
		if err != nil {
			return err
		}
		v.table, v.space = t, t.obtain(ns)
		v.key = state.Key{Bytes: append(v.key.Bytes[:0], key...), Hash: k.Hash}
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
	v.b.SetGroupValue(name, v.group, append([]byte{}, val...)) // not nil, though empty
	return nil
}

// ResetValues implements statefile.Loader.
func (v *restorer) ResetValues() error {
	v.b.values.Reset(v.group)
	return nil
}
