package memstate

import (
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
	if len(b.opened) > 0 || b.epoch > firstEpoch {
		return errors.New("restore of state after a table was opened or a snapshot was taken: restore first")
	}
	b.past = past{}
	b.setEpoch(restoreEpoch)
	defer b.restored()
	if err := b.chains.Load(r, part, b.groups, b.maxParallelism, &restorer{b: b}); err != nil {
		return fmt.Errorf("restore key groups %d to %d: %w", b.groups.First, b.groups.Last, err)
	}
	return nil
}

// restored begins the epoch after that of what was restored, which is a base
// if it is a checkpoint of the same key groups.
func (b *Backend) restored() {
	values := b.values.Epoch()
	b.values.Freeze()
	cp, ok := b.chains.Single(b.groups)
	b.past = past{logging: ok}
	if ok {
		b.past.base = taken{cp: cp, epoch: restoreEpoch, values: values}
	}
	b.setEpoch(firstEpoch)
}

// keyIn returns a key of the file, unless it is too long with a subkey.
func (v *restorer) keyIn(key, sub []byte) (state.Key, error) {
	if n := len(key) + len(sub); n >= state.KeyBytesMax {
		return state.Key{}, &state.LimitError{Entry: int64(n), Limit: state.KeyBytesMax}
	}
	return statefile.KeyIn(key, v.group, v.b.maxParallelism)
}

// restorer puts what a file holds into the backend's tables.
type restorer struct {
	b      *Backend
	tables []*table
	group  dataflow.KeyGroup
	n      int // entries
}

// loadStride is how many entries are loaded between two looks at the limit.
const loadStride = 1 << 10

// loaded counts an entry and looks, now and then, whether the limit holds.
func (v *restorer) loaded() error {
	if v.n++; v.n%loadStride == 0 {
		return v.b.Err()
	}
	return nil
}

// Table implements statefile.Loader.
func (v *restorer) Table(d state.Descriptor) (state.Table, error) {
	t, err := v.b.table(d)
	v.tables = append(v.tables, t)
	return t, err
}

// Begin implements statefile.Loader.
func (v *restorer) Begin(g dataflow.KeyGroup) { v.group = g }

// End implements statefile.Loader.
func (v *restorer) End() error { return nil }

// Entry implements statefile.Visitor.
func (v *restorer) Entry(table int, ns int64, key, val []byte) error {
	k, err := v.keyIn(key, nil)
	if err != nil {
		return err
	}
	v.tables[table].Put(ns, k, val)
	return v.loaded()
}

// SubEntry implements statefile.Visitor.
func (v *restorer) SubEntry(table int, ns int64, key, sub, val []byte) error {
	k, err := v.keyIn(key, sub)
	if err != nil {
		return err
	}
	v.tables[table].PutSub(ns, k, sub, val)
	return v.loaded()
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
