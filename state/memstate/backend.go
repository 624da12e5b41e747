package memstate

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/groupvalue"
	"github.com/leatstream/leat/state/statefile"
)

// Backend implements state.Backend in memory. Get and Upsert do not allocate,
// except for pages and index as the state grows, and for one copy of each
// page that is written to while a snapshot is open.
type Backend struct {
	groups         dataflow.KeyGroupRange
	maxParallelism int

	tables []*table // in order of creation
	opened map[string]bool
	values *groupvalue.Set
	chains statefile.Chains // what was restored

	// epoch numbers the spans between snapshots. What carries an epoch at or
	// below shared may be in use by a snapshot.
	epoch  uint32
	stamp  uint32        // of epoch, in its place in word 0 of entries
	shared atomic.Uint32 // epoch of the newest unreleased snapshot, or 0
	past   past

	bytes   atomic.Int64 // live pages, indexes and structures
	spare   spare
	scratch []byte

	among *Backends // with which it shares a limit; nil: alone
	over  error     // a *state.LimitError

	mu struct {
		sync.Mutex
		open []*snapshot // not released, oldest first
		held int64       // bytes that only snapshots hold
		// counted is its part of the sum of among.
		counted int64
	}
}

var (
	_ state.Backend     = (*Backend)(nil)
	_ state.TableLister = (*Backend)(nil)
	_ state.Incremental = (*Backend)(nil)
)

// New returns an empty backend that owns groups.
func New(groups dataflow.KeyGroupRange, maxParallelism int) *Backend {
	b := &Backend{groups: groups, maxParallelism: maxParallelism, values: groupvalue.New(groups), opened: map[string]bool{}}
	b.setEpoch(firstEpoch)
	return b
}

// KeyGroups implements state.Backend.
func (b *Backend) KeyGroups() dataflow.KeyGroupRange { return b.groups }

// GroupValue implements state.Backend.
func (b *Backend) GroupValue(name string, g dataflow.KeyGroup) []byte { return b.values.Get(name, g) }

// SetGroupValue implements state.Backend.
func (b *Backend) SetGroupValue(name string, g dataflow.KeyGroup, v []byte) { b.values.Put(name, g, v) }

// MaxParallelism implements state.Backend.
func (b *Backend) MaxParallelism() int { return b.maxParallelism }

// Table implements state.Backend. The same name gives the same table.
func (b *Backend) Table(d state.Descriptor) (state.Table, error) {
	t, err := b.table(d)
	if err != nil {
		return nil, err
	}
	b.opened[d.Name] = true
	return t, nil
}

// table returns the table of a descriptor, made if need be.
func (b *Backend) table(d state.Descriptor) (*table, error) {
	if d.Fixed < 0 || d.Fixed >= state.EntryBytesMax {
		return nil, fmt.Errorf("state table %q: fixed size of %d bytes, at most %d", d.Name, d.Fixed, state.EntryBytesMax-1)
	}
	if d.Sub && d.Fixed > 0 {
		d.Fixed = 0 // a fixed size is of no use to maps; it is part of the schema
	}
	for _, t := range b.tables {
		if t.d.Name == d.Name {
			return t, state.CheckDescriptor(t.d, d)
		}
	}
	t := newTable(b, d)
	b.tables = append(b.tables, t)
	return t, nil
}

// Tables implements state.TableLister.
func (b *Backend) Tables() []state.Descriptor {
	ds := make([]state.Descriptor, len(b.tables))
	for i, t := range b.tables {
		ds[i] = t.d
	}
	slices.SortFunc(ds, func(a, c state.Descriptor) int { return strings.Compare(a.Name, c.Name) })
	return ds
}

// Bytes implements state.Backend: live pages and indexes, a constant for each
// namespace, what is kept of those that were given up beyond a constant, and
// the pages that unreleased snapshots hold alone. While several snapshots are
// open the last part is an upper bound. Safe for concurrent use.
func (b *Backend) Bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Load() + max(0, b.spare.bytes.Load()-spareBytesMin) + b.mu.held
}

// hold accounts bytes that left the live state but are shared with the newest
// snapshot.
func (b *Backend) hold(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := len(b.mu.open) - 1; last >= 0 {
		b.mu.open[last].held += int64(n)
		b.mu.held += int64(n)
	}
}

// Close implements state.Backend. Open snapshots stay readable.
func (b *Backend) Close() error {
	b.tables, b.values = nil, groupvalue.New(b.groups)
	b.spare.drop()
	b.bytes.Store(0)
	b.recount()
	return nil
}
