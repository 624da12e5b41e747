package pebblestate

import (
	"bytes"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state/statefile"
)

// chunker turns the database's order, which is by table and namespace, into
// chunks of sections by key group.
type chunker struct {
	s       *snapshot
	header  statefile.Header
	w       *statefile.Writer
	bodies  [][]byte // of the chunk, by key group from the first
	bytes   int      // in bodies
	spare   [][]byte // bodies of earlier chunks, of other key groups
	spared  int      // bytes of spare
	begun   bool     // group values are written
	entries int64
	read    uint64 // bytes of blocks, cached or not

	// The run under way: entries or deleted keys of one namespace and key
	// group, of a map also of one key.
	kind   runKind
	at     address
	place  int // of its table in the header
	key    []byte
	parsed []byte
	run    []byte
	count  int
}

// runKind says what a run is of. A kind plus runDeleted is that of what was
// deleted of it.
type runKind int

const (
	runEntries runKind = iota // of a table, or keys with what is under them
	runSubs                   // under one key
	runDeleted
)

// newChunker begins a file.
func newChunker(s *snapshot, w io.Writer, h statefile.Header) (*chunker, error) {
	fw, err := statefile.NewWriter(w, h)
	return &chunker{s: s, header: h, w: fw, bodies: make([][]byte, h.Groups.Len())}, err
}

// write writes what fill gathers, and ends the file.
func (c *chunker) write(fill func(*chunker) error) error {
	if err := fill(c); err != nil {
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

// all writes everything.
func (c *chunker) all() error {
	return c.visit(pebble.IterOptions{UpperBound: appendTable(nil, logTable)}, c.add)
}

// find returns the table of a key of the database, nil when it is none of the
// snapshot, and what else the key says.
func (c *chunker) find(dbKey []byte) (ft *frozenTable, at address, key []byte, err error) {
	at, key, err = parsePrefix(dbKey)
	if err != nil {
		return nil, at, nil, err
	}
	ft, ok := c.s.tables[at.table]
	if !ok {
		return nil, at, nil, nil // of a table that was migrated, not yet dropped
	}
	if !c.header.Groups.Contains(at.group) {
		return nil, at, nil, fmt.Errorf("state of key %x is of no key group in %d to %d: the operator wrote under a foreign key", key, c.header.Groups.First, c.header.Groups.Last)
	}
	return ft, at, key, nil
}

// add writes an entry that is written whatever its age.
func (c *chunker) add(it *pebble.Iterator) error {
	val, err := valueAt(it)
	if err != nil {
		return err
	}
	ft, at, key, err := c.find(it.Key())
	if err != nil || ft == nil {
		return err
	}
	if c.header.Tables[ft.place].Sub {
		return c.addSub(ft, at, key, val)
	}
	if val, keep := ft.left(val); keep {
		c.begin(runEntries, at, ft.place, nil)
		c.entry(key, val)
	}
	return c.full()
}

// addSub begins a run at the head of a map, for the entries that follow.
func (c *chunker) addSub(ft *frozenTable, at address, b, val []byte) error {
	key, sub, err := parseHead(c.parsed[:0], b)
	if err != nil {
		return err
	}
	c.parsed = key
	if len(sub) == 0 {
		c.begin(runSubs, at, ft.place, key)
		return nil
	}
	if at != c.at || !bytes.Equal(key, c.key) {
		return fmt.Errorf("entry of key %x, which has no head", key)
	}
	if val, keep := ft.left(val); keep {
		c.entry(sub[1:], val)
	}
	return c.full()
}

// begin ends the run under way if what follows is of another one. key is that
// of a map.
func (c *chunker) begin(k runKind, at address, place int, key []byte) {
	if c.count > 0 && k == c.kind && at == c.at && bytes.Equal(key, c.key) {
		return
	}
	c.endRun()
	c.kind, c.at, c.place, c.key = k, at, place, append(c.key[:0], key...)
}

// entry adds to the run.
func (c *chunker) entry(key, val []byte) {
	switch c.kind {
	case runEntries:
		c.run = statefile.AppendEntry(c.run, c.header.Tables[c.place].Fixed, key, val)
	case runSubs:
		c.run = statefile.AppendSubEntry(c.run, key, val)
	default:
		c.run = statefile.AppendDeletedKey(c.run, key)
	}
	c.count++
}

// full ends the chunk when it is large enough.
func (c *chunker) full() error {
	if c.bytes+len(c.run) < statefile.ChunkBytesMax {
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
	body := &c.bodies[c.at.group-c.header.Groups.First]
	if last := len(c.spare) - 1; last >= 0 && *body == nil {
		*body, c.spare = c.spare[last], c.spare[:last]
		c.spared -= cap(*body)
	}
	was := len(*body)
	switch c.kind {
	case runEntries:
		*body = statefile.AppendEntries(*body, c.place, c.at.ns, c.count)
	case runSubs:
		*body = statefile.AppendSubEntries(*body, c.place, c.at.ns, c.key, c.count)
	case runEntries + runDeleted:
		*body = statefile.AppendDeleted(*body, c.place, c.at.ns, c.count)
	case runSubs + runDeleted:
		*body = statefile.AppendDeletedSubs(*body, c.place, c.at.ns, c.key, c.count)
	}
	*body = append(*body, c.run...)
	c.bytes += len(*body) - was
	c.entries += int64(c.count)
	c.run, c.count = c.run[:0], 0
}

// values begins the section of a key group with its values: all of them, in a
// delta if one has changed.
func (c *chunker) values(i int) (body []byte) {
	if c.header.Base != 0 && !c.header.Whole.Contains(c.header.Groups.First+dataflow.KeyGroup(i)) {
		if !c.s.values.ChangedSince(c.s.base.values, i) {
			return nil
		}
		body = statefile.AppendResetValues(nil)
	}
	return c.s.values.AppendTo(body, i)
}

// flush writes what is gathered as one chunk.
func (c *chunker) flush() error {
	if err := c.s.lease.Check(); err != nil {
		return err
	}
	var sections []statefile.Section
	for i, body := range c.bodies {
		if !c.begun {
			body = append(c.values(i), body...)
		}
		if len(body) > 0 {
			sections = append(sections, statefile.Section{Group: c.header.Groups.First + dataflow.KeyGroup(i), Body: body})
		}
		c.bodies[i] = nil
	}
	c.begun, c.bytes = true, 0
	err := c.w.Chunk(sections)
	for i := range sections {
		c.reuse(sections[i].Body)
	}
	return err
}

// reuse keeps a body for another section. Key groups come one after the other,
// so that a body kept for each would in the end be as large as the state.
func (c *chunker) reuse(body []byte) {
	if c.spared+cap(body) > 2*statefile.ChunkBytesMax {
		return
	}
	c.spared += cap(body)
	c.spare = append(c.spare, body[:0])
}
