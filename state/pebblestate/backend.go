package pebblestate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/groupvalue"
	"github.com/leatstream/leat/state/statefile"
)

const (
	// bloom10 spares nearly all reads of keys that are not there.
	bloom10 = bloom.FilterPolicy(10)
	// batchBytesMax ends a batch of writes; above half a memtable it would
	// become one of its own.
	batchBytesMax = 32 << 10
	// deleteOneByOneMax is the number of keys up to which a range is deleted
	// key by key: each tombstone of a range is a cost to all readers.
	deleteOneByOneMax = 128
)

// Backend implements state.Backend in a database of its own.
type Backend struct {
	store          *Store
	disk           *disk
	db             *pebble.DB
	dir            string
	groups         dataflow.KeyGroupRange
	maxParallelism int
	tableCache     int64
	blindMin       int

	tables []*table
	nextID int // of a table
	opened map[string]bool
	values *groupvalue.Set
	chains statefile.Chains // what was restored

	// epoch numbers the spans between snapshots. It is read by those who write
	// table files.
	epoch atomic.Uint32
	past  past

	batch  *pebble.Batch
	point  *pebble.Iterator // for reads of keys since the last write; nil: none yet
	key    []byte
	zeroes []byte
	cached atomic.Int64 // bytes of the tables' caches

	mu struct {
		sync.Mutex
		snapshots int // not released
		closing   bool
		closed    bool // the database is
	}
}

var (
	_ state.Backend     = (*Backend)(nil)
	_ state.Failer      = (*Backend)(nil)
	_ state.OnDisk      = (*Backend)(nil)
	_ state.Incremental = (*Backend)(nil)
)

func newBackend(s *Store, dir string, groups dataflow.KeyGroupRange, maxParallelism int) *Backend {
	b := &Backend{
		store: s, disk: newDisk(s.fs, dir, s.cfg.Log), dir: dir, groups: groups, maxParallelism: maxParallelism, values: groupvalue.New(groups),
		tableCache: share(s.cfg.MemoryBytes, tableCacheShare, tableCacheMin, tableCacheMax), opened: map[string]bool{}, blindMin: blindMin,
	}
	if s.cfg.blindAbove > 0 {
		b.blindMin = s.cfg.blindAbove
	}
	b.epoch.Store(firstEpoch)
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
	t, err := b.newTable(d)
	if err == nil {
		b.tables = append(b.tables, t)
	}
	return t, err
}

// newTable makes a table with a number of its own.
func (b *Backend) newTable(d state.Descriptor) (*table, error) {
	if b.nextID >= math.MaxUint16 {
		return nil, fmt.Errorf("state table %q: the operator has %d tables already", d.Name, b.nextID)
	}
	b.nextID++
	return newTable(b, d, uint16(b.nextID-1)), nil
}

// Err implements state.Failer.
func (b *Backend) Err() error { return b.disk.err() }

func (b *Backend) fail(op string, err error) { b.disk.fail(op, b.dir, err) }

// Bytes implements state.Backend: the write-back caches. Memtables and blocks
// belong to the budget of the store. Safe for concurrent use.
func (b *Backend) Bytes() int64 { return b.cached.Load() }

// CacheBytes implements state.OnDisk: the write-back caches and the memtables.
func (b *Backend) CacheBytes() int64 {
	n := b.cached.Load()
	b.metrics(func(m *pebble.Metrics) { n += int64(m.MemTable.Size + m.MemTable.ZombieSize) })
	return n
}

// DiskBytes implements state.OnDisk.
func (b *Backend) DiskBytes() (n int64) {
	b.metrics(func(m *pebble.Metrics) { n = int64(m.DiskSpaceUsage()) })
	return n
}

func (b *Backend) metrics(fn func(*pebble.Metrics)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mu.closed {
		fn(b.db.Metrics())
	}
}

func (b *Backend) zeros(n int) []byte {
	if len(b.zeroes) < n {
		b.zeroes = make([]byte, n)
	}
	return b.zeroes[:n]
}

// Close implements state.Backend. Open snapshots stay readable; the database
// is closed and removed with the last of them.
func (b *Backend) Close() error {
	b.tables, b.values = nil, groupvalue.New(b.groups)
	b.cached.Store(0)
	b.unread()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.closing = true
	return b.closeIdle()
}

// closeIdle closes the database once nobody needs it. The caller holds mu.
func (b *Backend) closeIdle() error {
	if !b.mu.closing || b.mu.closed || b.mu.snapshots > 0 {
		return nil
	}
	b.mu.closed = true
	err := b.db.Close()
	if b.disk.err() != nil {
		err = nil // it was reported, and what follows from it need not be
	}
	b.store.closed()
	if rm := b.store.fs.RemoveAll(b.dir); rm != nil {
		err = errors.Join(err, &state.StorageError{Op: "remove", Path: b.dir, Err: rm})
	}
	return err
}

// dbKey returns the key of an entry, valid until the next call.
func (t *table) dbKey(e *entry) []byte {
	key, sub := e.name[:e.key], e.name[e.key:]
	switch e.kind {
	case kindValue:
		t.b.key = append(appendPrefix(t.b.key[:0], t.id, e.ns.ns, e.group), key...)
	case kindHead:
		t.b.key = appendHead(t.b.key[:0], t.id, e.ns.ns, e.group, key)
	case kindSub:
		t.b.key = append(append(appendHead(t.b.key[:0], t.id, e.ns.ns, e.group, key), subMark), sub...)
	}
	return t.b.key
}

// load reads an entry.
func (b *Backend) load(t *table, e *entry, withValue bool) {
	if b.disk.failed.Load() != nil {
		return
	}
	it, err := b.reader()
	if err != nil {
		b.fail("read", err)
		return
	}
	key := t.dbKey(e)
	if !it.SeekPrefixGE(key) || !bytes.Equal(it.Key(), key) {
		if err := it.Error(); err != nil {
			b.fail("read", err)
		}
		return
	}
	val, err := valueAt(it)
	if err != nil {
		b.fail("read", err)
		return
	}
	e.there, e.stored = true, true
	if withValue {
		t.cache.setValue(e, val)
	}
}

// reader returns an iterator that sees all that was written. Nothing is
// written between two batches, so that it serves all reads between them. It
// asks the filters of the last level, too, which DB.Get does not: most keys
// that are written for the first time are nowhere.
func (b *Backend) reader() (it *pebble.Iterator, err error) {
	if b.point == nil {
		b.point, err = b.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	}
	return b.point, err
}

// unread gives up what reader returned.
func (b *Backend) unread() {
	if b.point == nil {
		return
	}
	if err := b.point.Close(); err != nil {
		b.fail("read", err)
	}
	b.point = nil
}

// flush tells the database of all that changed in the table.
func (t *table) flush() {
	if len(t.cache.marked) == 0 {
		return
	}
	var empty []*namespace
	for _, i := range t.cache.marked {
		e := &t.cache.entries[i]
		e.listed = false
		if !e.dirty {
			continue
		}
		e.dirty = false
		switch {
		case e.there:
			t.b.set(t.dbKey(e), e.val)
			if !e.stored || e.unsure {
				e.ns.stored++
			}
			e.stored = true
		case e.stored:
			key := t.dbKey(e)
			t.b.delete(key)
			if !e.noted && e.kind != kindHead {
				t.b.note(key)
			}
			e.stored = false
			if !e.unsure {
				e.ns.stored--
			}
			if e.ns.empty() {
				empty = append(empty, e.ns)
			}
		}
		e.unsure, e.noted = false, false
	}
	t.b.apply()
	t.cache.marked = t.cache.marked[:0]
	for _, n := range empty {
		n.stored = 0 // what the database had of it is deleted now
		t.forget(n)
	}
}

func (b *Backend) writes() *pebble.Batch {
	if b.batch == nil {
		b.batch = b.db.NewBatch()
	}
	return b.batch
}

// set writes a value with its epoch.
func (b *Backend) set(key, val []byte) {
	op := b.writes().SetDeferred(len(key), len(val)+epochBytes)
	copy(op.Key, key)
	binary.LittleEndian.PutUint32(op.Value[copy(op.Value, val):], b.epoch.Load())
	if err := op.Finish(); err != nil {
		b.fail("write", err)
	}
	b.applyLarge()
}

func (b *Backend) delete(key []byte) {
	if err := b.writes().Delete(key, nil); err != nil {
		b.fail("write", err)
	}
	b.applyLarge()
}

func (b *Backend) applyLarge() {
	if b.batch.Len() >= batchBytesMax {
		b.apply()
	}
}

// apply writes the batch. It waits while the database is behind with writing
// memtables out: that is the back pressure of the disk.
func (b *Backend) apply() {
	if b.batch == nil || b.batch.Empty() {
		return
	}
	b.unread()
	if b.disk.failed.Load() == nil {
		if err := b.db.Apply(b.batch, pebble.NoSync); err != nil {
			b.fail("write", err)
		}
	}
	b.batch.Reset()
}

// deleteRange deletes the count keys from and up to, but not, to.
func (b *Backend) deleteRange(from, to []byte, count int) {
	if count > deleteOneByOneMax {
		if err := b.writes().DeleteRange(from, to, nil); err != nil {
			b.fail("write", err)
		}
		b.apply()
		return
	}
	b.scan(from, to, func(it *pebble.Iterator) (bool, error) {
		b.delete(it.Key())
		return true, nil
	})
	b.apply()
}

// errSought says that a visitor has moved the iterator itself.
var errSought = errors.New("moved")

// scan visits the keys from and up to, but not, to, as the database has them.
func (b *Backend) scan(from, to []byte, fn func(*pebble.Iterator) (bool, error)) {
	if b.disk.failed.Load() != nil {
		return
	}
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		b.fail("read", err)
		return
	}
	defer func() {
		if err := it.Close(); err != nil {
			b.fail("read", err)
		}
	}()
	for ok := it.First(); ok; {
		more, err := fn(it)
		switch {
		case errors.Is(err, errSought):
			ok = it.Valid()
		case err != nil:
			b.fail("read", err)
			return
		case !more:
			return
		default:
			ok = it.Next()
		}
	}
}
