package streamtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// StateOf reads keyed state of an operator: open opens handles as the operator
// does in its Open, and they refer to key. The key is of the type that KeyBy
// was given; another one ends the test. Windows keep their state under a namespace: open may set one.
//
//	var pages state.Map[string, int64]
//	streamtest.StateOf(d, "counts", "ann", func(k *state.Keyed) error { return pages.Open(k, "pages") })
//
// The handles are valid until the job goes on. A state that the operator does
// not have is an error.
func StateOf[K comparable](d *Driver, uid string, key K, open func(*state.Keyed) error) {
	d.tb.Helper()
	c, err := codec.Of[K]()
	if err != nil {
		d.fail(fmt.Errorf("key of %q: %w", uid, err))
		return
	}
	subs := d.keyed(uid)
	if len(subs) == 0 {
		return
	}
	if have := subs[0].node.KeySchema; have != "" && have != c.Schema() {
		d.fail(fmt.Errorf("the keys of operator %q are of type %s, but the test asks for %#v of type %s", uid, have, key, c.Schema()))
		return
	}
	at := state.KeyOf(c.AppendKey(nil, &key))
	mp := d.run.graph.MaxParallelism
	s := subs[dataflow.SubtaskOf(at.Group(mp), mp, len(subs))]
	keyed := state.NewKeyed(known{s.state, d, uid})
	keyed.ReadAt(clock.Millis(d.run.clock), s.emitted)
	keyed.SetKey(at)
	if err := open(keyed); err != nil {
		d.fail(fmt.Errorf("state of operator %q: %w", uid, err))
	}
}

// ValueOf reads a state.Value of an operator by key into v, and says whether
// there is one; v is the Default or zero if not. The options are those that
// the operator gives.
func ValueOf[T any, K comparable](d *Driver, uid string, key K, name string, v *T, opts ...state.Option) (ok bool) {
	d.tb.Helper()
	var h state.Value[T]
	StateOf(d, uid, key, func(k *state.Keyed) error { return h.Open(k, name, opts...) })
	if d.err != nil {
		return false
	}
	*v, ok = h.Get()
	return ok
}

// StateLen returns the number of entries in a state of an operator, over all
// keys and windows: an entry is a key's value, list or map entry. It shows
// whether state is cleaned up. The timers of a process function are in
// states of their own.
func (d *Driver) StateLen(uid, name string) int {
	d.tb.Helper()
	tables, err := d.tables(uid)
	n, ok := tables[name]
	if err == nil && !ok && d.err == nil {
		err = unknownState(name, tables)
	}
	if err != nil {
		d.fail(fmt.Errorf("state of operator %q: %w", uid, err))
	}
	return n
}

// keyed returns the subtasks of an operator that must have keyed state.
func (d *Driver) keyed(uid string) []*subtask {
	d.tb.Helper()
	subs := d.subtasks(uid)
	if len(subs) > 0 && subs[0].state == nil {
		d.fail(fmt.Errorf("operator %q has no keyed state", uid))
		return nil
	}
	return subs
}

// tables counts the entries of an operator's states.
func (d *Driver) tables(uid string) (map[string]int, error) {
	d.tb.Helper()
	out := make(map[string]int)
	for _, s := range d.keyed(uid) {
		frozen, err := s.state.Snapshot(d.run.lastID)
		if err != nil {
			return nil, err
		}
		var buf bytes.Buffer
		_, err = frozen.WriteTo(&buf)
		frozen.Release()
		if err != nil {
			return nil, err
		}
		if err := countEntries(&buf, s.state.KeyGroups(), out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// countEntries adds the entries of each table of a state file.
func countEntries(r io.Reader, groups dataflow.KeyGroupRange, to map[string]int) error {
	f, err := statefile.NewReader(r)
	if err != nil {
		return err
	}
	count := entryCounter{header: f.Header(), to: to}
	for _, t := range count.header.Tables {
		if t.Name != state.KeyTable {
			to[t.Name] += 0
		}
	}
	for {
		section, err := f.Next(groups)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := count.header.Parse(section, count); err != nil {
			return err
		}
	}
}

type entryCounter struct {
	header statefile.Header
	to     map[string]int
}

// Entry implements statefile.Visitor.
func (c entryCounter) Entry(table int, _ int64, _, _ []byte) error {
	c.to[c.header.Tables[table].Name]++
	return nil
}

// SubEntry implements statefile.Visitor.
func (c entryCounter) SubEntry(table int, _ int64, _, _, _ []byte) error {
	c.to[c.header.Tables[table].Name]++
	return nil
}

// GroupValue implements statefile.Visitor.
func (c entryCounter) GroupValue(string, []byte) error { return nil }

func unknownState(name string, have map[string]int) error {
	var names []string
	for n := range have {
		names = append(names, n)
	}
	slices.Sort(names)
	return fmt.Errorf("there is no state %q, only %q", name, names)
}

// known is a backend that makes no new tables: a test that asks for a state
// by a wrong name must not be told that it is empty.
type known struct {
	state.Backend
	d   *Driver
	uid string
}

// Table implements state.Backend.
func (b known) Table(desc state.Descriptor) (state.Table, error) {
	tables, err := b.d.tables(b.uid)
	if err != nil {
		return nil, err
	}
	if _, ok := tables[desc.Name]; !ok {
		return nil, unknownState(desc.Name, tables)
	}
	return b.Backend.Table(desc)
}
