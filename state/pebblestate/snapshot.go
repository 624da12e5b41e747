package pebblestate

import (
	"errors"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/groupvalue"
	"github.com/leatstream/leat/state/statefile"
)

// snapshot is the state at one moment, as a snapshot of the database.
type snapshot struct {
	b      *Backend
	db     *pebble.Snapshot
	epoch  uint32 // that ended with it
	base   taken  // what a delta adds to
	gone   []gone // since the base
	header statefile.Header
	tables map[uint16]*frozenTable // by the number in keys
	values groupvalue.Frozen
	lease  *statefile.Lease
}

// frozenTable is what a snapshot knows of a table.
type frozenTable struct {
	place int        // in the header
	trim  state.Trim // nil: all is written
}

// left returns what of a value is written.
func (t *frozenTable) left(val []byte) ([]byte, bool) {
	if t.trim == nil {
		return val, true
	}
	return t.trim(val)
}

var _ state.Delta = (*snapshot)(nil)

// Snapshot implements state.Backend. It writes back what the caches hold, and
// so takes as long as they are large, whatever the size of the state.
func (b *Backend) Snapshot(cp dataflow.CheckpointID) (state.Snapshot, error) {
	s := &snapshot{b: b, tables: map[uint16]*frozenTable{}, header: statefile.Header{Checkpoint: cp, MaxParallelism: b.maxParallelism, Groups: b.groups}}
	for i, t := range b.tables {
		s.header.Tables = append(s.header.Tables, t.d)
		ft := &frozenTable{place: i}
		if t.onSnapshot != nil {
			ft.trim = t.onSnapshot()
		}
		s.tables[t.id] = ft
	}
	for _, t := range b.tables {
		t.flush()
		t.askDoubted()
	}
	b.putLog()
	b.apply()
	b.unread() // an operator that only reads does not hold old files for good
	if err := b.Err(); err != nil {
		return nil, err
	}
	s.epoch, s.base = b.epoch.Load(), b.usable()
	if s.base.cp != 0 {
		s.gone = slices.Clone(b.past.gone)
	}
	b.took(taken{cp: cp, epoch: s.epoch, values: b.values.Epoch()})
	s.values = b.values.Freeze()
	s.lease = statefile.NewLease(func() { b.released(s) })
	s.db = b.db.NewSnapshot()
	b.epoch.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.snapshots++
	return s, nil
}

// Release implements state.Snapshot. A WriteTo that is still running ends
// with an error soon, and the database's snapshot is given up when it has.
func (s *snapshot) Release() { s.lease.Release() }

func (b *Backend) released(s *snapshot) {
	if err := s.db.Close(); err != nil {
		b.fail("release", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.snapshots--
	if err := b.closeIdle(); err != nil {
		b.store.cfg.Log.Warn("closing local state", "dir", b.dir, "err", err)
	}
}

// WriteTo implements state.Snapshot.
func (s *snapshot) WriteTo(w io.Writer) (int64, error) {
	return s.write(w, s.header, (*chunker).all)
}

// write writes a file of which fill gathers the entries.
func (s *snapshot) write(w io.Writer, h statefile.Header, fill func(*chunker) error) (int64, error) {
	if err := s.lease.Enter(); err != nil {
		return 0, err
	}
	defer s.lease.Leave()
	c, err := newChunker(s, w, h)
	if err == nil {
		err = c.write(fill)
	}
	if err != nil && s.b.Err() != nil {
		err = errors.Join(err, s.b.Err())
	}
	return c.w.Bytes(), err
}
