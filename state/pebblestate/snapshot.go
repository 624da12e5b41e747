package pebblestate

import (
	"bytes"
	"errors"
	"fmt"
	"io"

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
	header statefile.Header
	tables map[uint16]frozenTable // by the number in keys
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

var _ state.Snapshot = (*snapshot)(nil)

// Snapshot implements state.Backend. It writes back what the caches hold, and
// so takes as long as they are large, whatever the size of the state.
func (b *Backend) Snapshot(cp dataflow.CheckpointID) (state.Snapshot, error) {
	s := &snapshot{b: b, tables: map[uint16]frozenTable{}, header: statefile.Header{Checkpoint: cp, MaxParallelism: b.maxParallelism, Groups: b.groups}}
	for i, t := range b.tables {
		s.header.Tables = append(s.header.Tables, t.d)
		ft := frozenTable{place: i}
		if t.onSnapshot != nil {
			ft.trim = t.onSnapshot()
		}
		s.tables[t.id] = ft
	}
	for _, t := range b.tables {
		t.flush()
		t.askDoubted()
	}
	b.unread() // an operator that only reads does not hold old files for good
	if err := b.Err(); err != nil {
		return nil, err
	}
	s.values = b.values.Freeze()
	s.lease = statefile.NewLease(func() { b.released(s) })
	s.db = b.db.NewSnapshot()
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
	if err := s.lease.Enter(); err != nil {
		return 0, err
	}
	defer s.lease.Leave()
	fw, err := statefile.NewWriter(w, s.header)
	if err != nil {
		return fw.Bytes(), err
	}
	c := &chunker{s: s, w: fw, bodies: make([][]byte, s.header.Groups.Len())}
	err = c.run()
	if err != nil && s.b.Err() != nil {
		err = errors.Join(err, s.b.Err())
	}
	return fw.Bytes(), err
}

// chunker turns the database's order, which is by table and namespace, into
// chunks of sections by key group.
type chunker struct {
	s       *snapshot
	w       *statefile.Writer
	bodies  [][]byte // of the chunk, by key group from the first
	bytes   int      // in bodies
	begun   bool     // group values are written
	entries int64

	// The run under way: entries of one namespace and key group, of a map also
	// of one key.
	at     address
	place  int // of its table in the header
	key    []byte
	parsed []byte
	run_   []byte
	count  int
}

func (c *chunker) run() error {
	it, err := c.s.db.NewIter(&pebble.IterOptions{})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = c.add(it)
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return err
	}
	c.endRun()
	if c.bytes > 0 || !c.begun {
		if err := c.flush(); err != nil {
			return err
		}
	}
	return c.w.Finish(c.entries)
}

func (c *chunker) add(it *pebble.Iterator) error {
	val, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	at, key, err := parsePrefix(it.Key())
	if err != nil {
		return err
	}
	ft, ok := c.s.tables[at.table]
	if !ok {
		return nil // of a table that was migrated, not yet dropped
	}
	if !c.s.header.Groups.Contains(at.group) {
		return fmt.Errorf("state of key %x is of no key group in %d to %d: the operator wrote under a foreign key", key, c.s.header.Groups.First, c.s.header.Groups.Last)
	}
	d := &c.s.header.Tables[ft.place]
	if d.Sub {
		return c.addSub(ft, at, key, val)
	}
	val, keep := ft.left(val)
	if !keep {
		return nil
	}
	if at != c.at || c.count == 0 {
		c.endRun()
		c.at, c.place = at, ft.place
	}
	c.run_ = statefile.AppendEntry(c.run_, d.Fixed, key, val)
	c.count++
	return c.full()
}

func (c *chunker) addSub(ft frozenTable, at address, b, val []byte) error {
	key, sub, err := parseHead(c.parsed[:0], b)
	if err != nil {
		return err
	}
	c.parsed = key
	if len(sub) == 0 {
		c.endRun()
		c.at, c.place, c.key = at, ft.place, append(c.key[:0], key...)
		return nil
	}
	if at != c.at || !bytes.Equal(key, c.key) {
		return fmt.Errorf("entry of key %x, which has no head", key)
	}
	if val, keep := ft.left(val); keep {
		c.run_ = statefile.AppendSubEntry(c.run_, sub[1:], val)
		c.count++
	}
	return c.full()
}

// full ends the chunk when it is large enough.
func (c *chunker) full() error {
	if c.bytes+len(c.run_) < statefile.ChunkBytesMax {
		return nil
	}
	c.endRun()
	return c.flush()
}

// endRun moves the run to its key group's body, behind its count.
func (c *chunker) endRun() {
	if c.count == 0 {
		return
	}
	body := &c.bodies[c.at.group-c.s.header.Groups.First]
	was := len(*body)
	if c.s.header.Tables[c.place].Sub {
		*body = statefile.AppendSubEntries(*body, c.place, c.at.ns, c.key, c.count)
	} else {
		*body = statefile.AppendEntries(*body, c.place, c.at.ns, c.count)
	}
	*body = append(*body, c.run_...)
	c.bytes += len(*body) - was
	c.entries += int64(c.count)
	c.run_, c.count = c.run_[:0], 0
}

// flush writes what is gathered as one chunk.
func (c *chunker) flush() error {
	if err := c.s.lease.Check(); err != nil {
		return err
	}
	var sections []statefile.Section
	for i, body := range c.bodies {
		if !c.begun {
			body = append(c.s.values.AppendTo(nil, i), body...)
		}
		if len(body) > 0 {
			sections = append(sections, statefile.Section{Group: c.s.header.Groups.First + dataflow.KeyGroup(i), Body: body})
		}
		c.bodies[i] = c.bodies[i][:0]
	}
	c.begun, c.bytes = true, 0
	return c.w.Chunk(sections)
}
