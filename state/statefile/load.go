package statefile

import (
	"errors"
	"fmt"
	"io"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// Loader takes in what is loaded. Its Visitor is called between Begin and End
// with what belongs to one key group, and keys that belong there.
type Loader interface {
	Visitor
	// Table returns each table of the file, in order, before all else. What
	// the file says was deleted is deleted there.
	Table(d state.Descriptor) (state.Table, error)
	Begin(g dataflow.KeyGroup)
	End() error
	// ResetValues removes the values of the key group of the last Begin.
	ResetValues() error
}

// Chains loads the files of a backend's restore. It knows what came before, so
// that a file is not added to another one than it was made for. The zero value
// is one to which nothing has been restored.
type Chains struct {
	begun int
	last  Header // of the file loaded last
	first bool   // it begins a chain
	// held are the namespaces, by table, in which there was something before
	// the chain began: what it drops there must not go with that.
	held map[string]map[int64]bool
}

// Load reads the part of a file that is of the given key groups into l. A file
// of another maximum parallelism is refused, and one whose base is not there.
func (c *Chains) Load(r io.Reader, part state.RestorePart, groups dataflow.KeyGroupRange, maxParallelism int, l Loader) error {
	fr, err := NewReader(r)
	if err != nil {
		return err
	}
	h := fr.Header()
	if h.MaxParallelism != maxParallelism {
		return fmt.Errorf("state was written with maximum parallelism %d, the job has %d: start the job with %d", h.MaxParallelism, maxParallelism, h.MaxParallelism)
	}
	want := wanted(h, part, groups)
	if err := c.follow(h, part, want); err != nil {
		return err
	}
	ld := loading{Loader: l, maxParallelism: maxParallelism}
	for _, d := range h.Tables {
		t, err := l.Table(d)
		if err != nil {
			return err
		}
		ld.tables = append(ld.tables, t)
	}
	if !part.Follows {
		c.begin(h, ld.tables)
	}
	c.last, c.first = h, !part.Follows
	if len(want) > 0 && part.Follows {
		c.drop(&ld)
	}
	return ld.read(fr, want)
}

// Single returns the last checkpoint of the only chain that was loaded; ok is
// false when there were none or several, or when it was of other key groups.
func (c *Chains) Single(groups dataflow.KeyGroupRange) (cp dataflow.CheckpointID, ok bool) {
	return c.last.Checkpoint, c.begun == 1 && c.last.Groups == groups
}

// Fresh says of a key group of the file that is being loaded whether nothing of
// it was loaded from others: the file is the first of its chain, or has all of
// the key group.
func (c *Chains) Fresh(g dataflow.KeyGroup) bool {
	return c.last.Base == 0 || c.first || c.last.Whole.Contains(g)
}

// wanted returns the key groups to read, as ranges that are not empty.
func wanted(h Header, part state.RestorePart, groups dataflow.KeyGroupRange) (want []dataflow.KeyGroupRange) {
	own := groups.Intersect(h.Groups)
	if part.Groups == nil {
		part.Groups = []dataflow.KeyGroupRange{own}
	}
	for _, g := range part.Groups {
		if w := own.Intersect(g); w.Len() > 0 {
			want = append(want, w)
		}
	}
	return want
}

// follow checks that what the file needs was loaded before it.
func (c *Chains) follow(h Header, part state.RestorePart, want []dataflow.KeyGroupRange) error {
	if part.Follows {
		switch {
		case c.begun == 0 || c.last.Groups != h.Groups:
			return fmt.Errorf("state of checkpoint %d, key groups %d to %d, is to follow that of the same key groups, which was not restored", h.Checkpoint, h.Groups.First, h.Groups.Last)
		case h.Base > c.last.Checkpoint: // what changed since an older one holds what did since that
			return fmt.Errorf("state of checkpoint %d adds to that of checkpoint %d, but follows that of %d", h.Checkpoint, h.Base, c.last.Checkpoint)
		case h.Base == 0 && len(want) > 0:
			return fmt.Errorf("state of checkpoint %d is whole: it follows nothing", h.Checkpoint)
		}
		return nil
	}
	if h.Base == 0 {
		return nil
	}
	for _, w := range want {
		if h.Whole.Intersect(w) != w {
			return fmt.Errorf("state of checkpoint %d, key groups %d to %d, adds to that of checkpoint %d, which was not restored", h.Checkpoint, w.First, w.Last, h.Base)
		}
	}
	return nil
}

func (c *Chains) begin(h Header, tables []state.Table) {
	c.begun++
	c.held = map[string]map[int64]bool{}
	if c.begun == 1 {
		return
	}
	for i, t := range tables {
		held := map[int64]bool{}
		for _, ns := range t.Namespaces() {
			held[ns] = true
		}
		c.held[h.Tables[i].Name] = held
	}
}

// drop removes the namespaces that the file says were dropped.
func (c *Chains) drop(ld *loading) {
	for _, n := range c.last.Dropped {
		t, d := ld.tables[n.Table], c.last.Tables[n.Table]
		held, known := c.held[d.Name]
		if c.begun == 1 || known && !held[n.NS] {
			t.DropNamespace(n.NS)
			continue
		}
		// Not all of it is of this chain, or the table is one that came later.
		var keys [][]byte
		t.Scan(n.NS, func(key, _ []byte) bool {
			if c.last.Groups.Contains(dataflow.KeyGroupOf(codec.HashKey(key), ld.maxParallelism)) {
				keys = append(keys, append([]byte{}, key...))
			}
			return true
		})
		for _, key := range keys {
			t.Delete(n.NS, state.KeyOf(key))
		}
	}
}

// loading is a Loader that also deletes.
type loading struct {
	Loader
	maxParallelism int
	tables         []state.Table
	group          dataflow.KeyGroup
}

var _ Changes = (*loading)(nil)

func (ld *loading) read(fr *Reader, want []dataflow.KeyGroupRange) error {
	h := fr.Header()
	var entries int64
	for {
		s, err := fr.Next(want...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		ld.group = s.Group
		ld.Begin(s.Group)
		n, err := h.Parse(s, ld)
		if err != nil {
			return err
		}
		if err := ld.End(); err != nil {
			return err
		}
		entries += n
	}
	if len(want) == 1 && want[0] == h.Groups && entries != fr.Entries() {
		return corrupt("end mark counts %d entries, found %d", fr.Entries(), entries)
	}
	return nil
}

// Delete implements Changes.
func (ld *loading) Delete(table int, ns int64, key []byte) error {
	k, err := KeyIn(key, ld.group, ld.maxParallelism)
	if err == nil {
		ld.tables[table].Delete(ns, k)
	}
	return err
}

// DeleteSub implements Changes.
func (ld *loading) DeleteSub(table int, ns int64, key, sub []byte) error {
	k, err := KeyIn(key, ld.group, ld.maxParallelism)
	if err == nil {
		ld.tables[table].(state.SubTable).DeleteSub(ns, k, sub)
	}
	return err
}

// KeyIn returns a key of the file with its hash; it is corrupt when it does
// not belong to the key group that it lies in.
func KeyIn(key []byte, g dataflow.KeyGroup, maxParallelism int) (state.Key, error) {
	k := state.Key{Bytes: key, Hash: codec.HashKey(key)}
	if belongs := dataflow.KeyGroupOf(k.Hash, maxParallelism); belongs != g {
		return k, corrupt("key %x belongs to key group %d but lies in key group %d", key, belongs, g)
	}
	return k, nil
}
