package memstate

import (
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
	if err := b.restore(r); err != nil {
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
		entries += n
	}
	if want == h.Groups && entries != fr.Entries() {
		return fmt.Errorf("%w: end mark counts %d entries, found %d", statefile.ErrCorrupt, fr.Entries(), entries)
	}
	return nil
}

// restorer puts what a file holds into the backend's tables.
type restorer struct {
	b      *Backend
	tables []*table
	group  dataflow.KeyGroup
}

func (v *restorer) key(key []byte) (state.Key, error) {
	k := state.Key{Bytes: key, Hash: codec.HashKey(key)}
	if g := dataflow.KeyGroupOf(k.Hash, v.b.maxParallelism); g != v.group {
		return k, fmt.Errorf("%w: key %x belongs to key group %d but lies in key group %d", statefile.ErrCorrupt, key, g, v.group)
	}
	return k, nil
}

// Entry implements statefile.Visitor.
func (v *restorer) Entry(table int, ns int64, key, val []byte) error {
	k, err := v.key(key)
	if err == nil {
		v.tables[table].Put(ns, k, val)
	}
	return err
}

// SubEntry implements statefile.Visitor.
func (v *restorer) SubEntry(table int, ns int64, key, sub, val []byte) error {
	k, err := v.key(key)
	if err == nil {
		v.tables[table].PutSub(ns, k, sub, val)
	}
	return err
}

// GroupValue implements statefile.Visitor.
func (v *restorer) GroupValue(name string, val []byte) error {
	v.b.SetGroupValue(name, v.group, append([]byte{}, val...))
	return nil
}
