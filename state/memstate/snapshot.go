package memstate

import (
	"fmt"
	"io"
	"slices"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/groupvalue"
	"github.com/leatstream/leat/state/statefile"
)

// snapshot is the state at one moment. It holds page lists that the backend
// copies before it changes them.
type snapshot struct {
	b      *Backend
	epoch  uint32
	base   taken // what a delta adds to
	header statefile.Header
	tables []frozenTable
	values groupvalue.Frozen
	lease  *statefile.Lease

	held int64 // bytes that it alone holds, guarded by b.mu
}

type frozenTable struct {
	layout layout
	lists  []*pageList
	gone   []gone     // since the base
	trim   state.Trim // nil: all is written
}

// left returns what of an entry's value is written.
func (t *frozenTable) left(e []byte) (val []byte, keep bool) {
	val = t.layout.value(e)
	if t.trim == nil {
		return val, true
	}
	return t.trim(val)
}

var _ state.Delta = (*snapshot)(nil)

// Snapshot implements state.Backend. It copies a reference for each table and
// for each name of group values; the next write to a namespace copies its
// list of pages, the next write to a page copies the page.
func (b *Backend) Snapshot(cp dataflow.CheckpointID) (state.Snapshot, error) {
	s := &snapshot{b: b, epoch: b.epoch, header: statefile.Header{
		Checkpoint: cp, MaxParallelism: b.maxParallelism, Groups: b.groups,
	}}
	for _, t := range b.tables {
		s.header.Tables = append(s.header.Tables, t.d)
		s.tables = append(s.tables, frozenTable{layout: t.layout})
		if t.onSnapshot != nil {
			s.tables[len(s.tables)-1].trim = t.onSnapshot()
		}
	}
	s.base = b.usable()
	for i, t := range b.tables {
		s.tables[i].lists = t.lists
		if s.base.cp != 0 {
			s.tables[i].gone = slices.Clone(t.gone)
		}
	}
	b.took(taken{cp: cp, epoch: b.epoch, values: b.values.Epoch()})
	s.values = b.values.Freeze()
	s.lease = statefile.NewLease(func() { b.released(s) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.open = append(b.mu.open, s)
	b.shared.Store(b.epoch)
	b.setEpoch(b.epoch + 1)
	return s, nil
}

// Release implements state.Snapshot. A WriteTo that is still running ends
// with an error soon, and the pages are given up when it has.
func (s *snapshot) Release() { s.lease.Release() }

func (b *Backend) released(s *snapshot) {
	b.unlist(s)
	b.recount()
}

func (b *Backend) unlist(s *snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.mu.open, s)
	if i < 0 {
		return
	}
	b.mu.open = slices.Delete(b.mu.open, i, i+1)
	if i > 0 {
		b.mu.open[i-1].held += s.held
	} else {
		b.mu.held -= s.held
	}
	var newest uint32
	if n := len(b.mu.open); n > 0 {
		newest = b.mu.open[n-1].epoch
	}
	b.shared.Store(newest)
	s.tables, s.values = nil, nil
}

// WriteTo implements state.Snapshot.
func (s *snapshot) WriteTo(w io.Writer) (int64, error) {
	if err := s.lease.Enter(); err != nil {
		return 0, err
	}
	defer s.lease.Leave()
	c, err := s.newChunker(w, s.header)
	if err == nil {
		c.put, c.values = c.appendGroup, s.values.AppendTo
		err = c.run()
	}
	return c.w.Bytes(), err
}

// chunker gathers references until they are worth a chunk, orders them by key
// group, and writes them.
type chunker struct {
	s        *snapshot
	w        *statefile.Writer
	refs     []groupedRef
	sorted   []groupedRef
	perGroup []int // refs by key group, from the first
	bytes    int   // of the entries in refs
	entries  int64
	buf      []byte
	begun    bool // group values are written
	err      error

	put    func(refs []groupedRef)             // writes those of a key group
	values func(body []byte, group int) []byte // writes the group's values
}

// groupedRef is an entry, by the place of its page list and in the pages; or a
// record of a log of what is gone.
type groupedRef struct {
	table, list uint32
	ref         reference
	group       uint16 // minus the first
	part        part
}

// part says what is written of an entry.
type part uint8

const (
	partWhole   part = iota // the entry; of a head all under its key
	partTail                // of a head: the young entries at the end of the list
	partOne                 // an entry under a key alone
	partTrimmed             // that it is deleted
)

func (s *snapshot) newChunker(w io.Writer, h statefile.Header) (*chunker, error) {
	fw, err := statefile.NewWriter(w, h)
	return &chunker{s: s, w: fw, perGroup: make([]int, s.header.Groups.Len())}, err
}

func (c *chunker) run() error {
	for t := range c.s.tables {
		ft := &c.s.tables[t]
		for l, list := range ft.lists {
			if err := c.addList(uint32(t), uint32(l), ft, list); err != nil {
				return err
			}
		}
	}
	return c.finish()
}

func (c *chunker) finish() error {
	if len(c.refs) > 0 || !c.begun {
		if err := c.flush(); err != nil {
			return err
		}
	}
	return c.w.Finish(c.entries)
}

func (c *chunker) addList(t, l uint32, ft *frozenTable, list *pageList) error {
	lay := ft.layout
	return c.eachPage(list, func(p uint32, buf []byte) {
		lay.eachIn(p, buf, func(r reference, e []byte) bool {
			key := lay.key(e)
			size := lay.size(e)
			if lay.sub {
				if word(e, 0)&flagHead == 0 {
					c.bytes += size // written with its head; counted where it lies
					return true
				}
				key, _ = lay.parts(e)
			} else if _, keep := ft.left(e); !keep {
				return true
			}
			c.add(groupedRef{table: t, list: l, ref: r}, c.groupOf(key), size)
			return c.err == nil
		})
	})
}

// eachPage calls fn for the pages of a list, and writes a chunk when there is
// enough for it.
func (c *chunker) eachPage(list *pageList, fn func(p uint32, buf []byte)) error {
	for p, buf := range list.bufs {
		if fn(uint32(p), buf); c.err != nil {
			return c.err
		}
		if err := c.full(); err != nil {
			return err
		}
	}
	return nil
}

func (c *chunker) full() error {
	if c.bytes < statefile.ChunkBytesMax {
		return nil
	}
	return c.flush()
}

// groupOf returns the key group of a key, less the first one.
func (c *chunker) groupOf(key []byte) dataflow.KeyGroup {
	g := dataflow.KeyGroupOf(codec.HashKey(key), c.s.header.MaxParallelism) - c.s.header.Groups.First
	if int(g) >= len(c.perGroup) {
		c.err = fmt.Errorf("state of key %x is of no key group in %d to %d: the operator wrote under a foreign key", key, c.s.header.Groups.First, c.s.header.Groups.Last)
		return 0
	}
	return g
}

func (c *chunker) add(r groupedRef, g dataflow.KeyGroup, size int) {
	r.group = uint16(g)
	c.refs = append(c.refs, r)
	c.perGroup[g]++
	c.bytes += size
}

// flush writes what is gathered as one chunk.
func (c *chunker) flush() error {
	if err := c.s.lease.Check(); err != nil {
		return err
	}
	c.order()
	ends := make([]int, len(c.perGroup))
	c.buf = c.buf[:0]
	rest := c.sorted
	for g, n := range c.perGroup {
		if !c.begun {
			c.buf = c.values(c.buf, g)
		}
		c.put(rest[:n])
		rest = rest[n:]
		ends[g] = len(c.buf)
		c.perGroup[g] = 0
	}
	var sections []statefile.Section
	from := 0
	for g, to := range ends {
		if to > from {
			sections = append(sections, statefile.Section{Group: c.s.header.Groups.First + dataflow.KeyGroup(g), Body: c.buf[from:to]})
		}
		from = to
	}
	c.begun, c.bytes, c.refs = true, 0, c.refs[:0]
	return c.w.Chunk(sections)
}

// order sorts refs by key group, stably, in linear time.
func (c *chunker) order() {
	next := make([]int, len(c.perGroup))
	sum := 0
	for g, n := range c.perGroup {
		next[g] = sum
		sum += n
	}
	c.sorted = slices.Grow(c.sorted[:0], sum)[:sum]
	for _, r := range c.refs {
		c.sorted[next[r.group]] = r
		next[r.group]++
	}
}

// alike returns how many of the first refs are of one namespace and part.
func alike(refs []groupedRef) int {
	n := 1
	for n < len(refs) && refs[n].table == refs[0].table && refs[n].list == refs[0].list && refs[n].part == refs[0].part {
		n++
	}
	return n
}

// appendGroup writes the entries of one key group, in runs of a namespace.
func (c *chunker) appendGroup(refs []groupedRef) {
	for len(refs) > 0 {
		n := alike(refs)
		ft := &c.s.tables[refs[0].table]
		list := ft.lists[refs[0].list]
		if ft.layout.sub {
			c.appendMaps(ft, list, refs[:n])
		} else {
			c.appendEntries(ft, list, refs[:n])
		}
		refs = refs[n:]
	}
}

func (c *chunker) appendEntries(ft *frozenTable, list *pageList, refs []groupedRef) {
	c.buf = statefile.AppendEntries(c.buf, int(refs[0].table), list.ns, len(refs))
	for _, r := range refs {
		e := list.at(r.ref)
		val, _ := ft.left(e)
		c.buf = statefile.AppendEntry(c.buf, ft.layout.fixed, ft.layout.key(e), val)
	}
	c.entries += int64(len(refs))
}

func (c *chunker) appendMaps(ft *frozenTable, list *pageList, refs []groupedRef) {
	for _, r := range refs {
		e := list.at(r.ref)
		key, _ := ft.layout.parts(e)
		h := loadHead(ft.layout.value(e))
		count := int(h.count)
		if ft.trim != nil {
			count = 0
			ft.eachLeft(list, h, func(_, _ []byte) { count++ })
		}
		if count == 0 {
			continue
		}
		c.buf = statefile.AppendSubEntries(c.buf, int(r.table), list.ns, key, count)
		ft.eachLeft(list, h, func(sub, val []byte) { c.buf = statefile.AppendSubEntry(c.buf, sub, val) })
		c.entries += int64(count)
	}
}

// eachLeft calls fn for what is written of a map.
func (t *frozenTable) eachLeft(list *pageList, h subHead, fn func(sub, val []byte)) {
	for next := h.first; next != 0; {
		e := list.at(reference(next - 1))
		_, sub := t.layout.parts(e)
		if val, keep := t.left(e); keep {
			fn(sub, val)
		}
		next = word(e, 5)
	}
}

func (l *pageList) at(r reference) []byte { return l.bufs[r.page()][r.off():] }
