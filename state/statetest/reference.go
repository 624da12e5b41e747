package statetest

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// Reference is a state.Backend made of Go maps: too slow and too large for
// use, too simple to be wrong. It is what other backends are compared with.
type Reference struct {
	groups         dataflow.KeyGroupRange
	maxParallelism int
	tables         []*refTable
	values         map[refGroup][]byte
	chains         statefile.Chains
}

type refGroup struct {
	name  string
	group dataflow.KeyGroup
}

type refKey struct {
	ns  int64
	key string
}

type refTable struct {
	d          state.Descriptor
	opened     bool
	vals       map[refKey][]byte
	subs       map[refKey]map[string][]byte
	onSnapshot func() state.Trim
}

var (
	_ state.Backend  = (*Reference)(nil)
	_ state.Table    = (*refTable)(nil)
	_ state.SubTable = (*refTable)(nil)
	_ state.Sweeper  = (*refTable)(nil)
	_ state.Migrator = (*Reference)(nil)
)

// NewReference returns an empty reference backend.
func NewReference(groups dataflow.KeyGroupRange, maxParallelism int) state.Backend {
	return &Reference{groups: groups, maxParallelism: maxParallelism, values: map[refGroup][]byte{}}
}

// KeyGroups implements state.Backend.
func (b *Reference) KeyGroups() dataflow.KeyGroupRange { return b.groups }

// MaxParallelism implements state.Backend.
func (b *Reference) MaxParallelism() int { return b.maxParallelism }

// Bytes implements state.Backend.
func (b *Reference) Bytes() int64 {
	var n int64
	for _, t := range b.tables {
		for k, v := range t.vals {
			n += int64(len(k.key) + len(v) + 8)
		}
		for k, m := range t.subs {
			for sub, v := range m {
				n += int64(len(k.key) + len(sub) + len(v) + 8)
			}
		}
	}
	return n
}

// Tables implements state.TableLister.
func (b *Reference) Tables() []state.Descriptor {
	var ds []state.Descriptor
	for _, t := range b.tables {
		ds = append(ds, t.d)
	}
	slices.SortFunc(ds, func(x, y state.Descriptor) int { return strings.Compare(x.Name, y.Name) })
	return ds
}

// Close implements state.Backend.
func (b *Reference) Close() error { return nil }

// Table implements state.Backend.
func (b *Reference) Table(d state.Descriptor) (state.Table, error) {
	t, err := b.table(d)
	if err != nil {
		return nil, err
	}
	t.opened = true
	return t, nil
}

func (b *Reference) table(d state.Descriptor) (*refTable, error) {
	if d.Sub {
		d.Fixed = 0
	}
	for _, t := range b.tables {
		if t.d.Name == d.Name {
			return t, state.CheckDescriptor(t.d, d)
		}
	}
	t := &refTable{d: d, vals: map[refKey][]byte{}, subs: map[refKey]map[string][]byte{}}
	b.tables = append(b.tables, t)
	return t, nil
}

// GroupValue implements state.Backend.
func (b *Reference) GroupValue(name string, g dataflow.KeyGroup) []byte {
	return b.values[refGroup{name, g}]
}

// SetGroupValue implements state.Backend.
func (b *Reference) SetGroupValue(name string, g dataflow.KeyGroup, v []byte) {
	if v == nil {
		delete(b.values, refGroup{name, g})
		return
	}
	b.values[refGroup{name, g}] = append([]byte{}, v...)
}

// Get implements state.Table.
func (t *refTable) Get(ns int64, k state.Key) ([]byte, bool) {
	if t.d.Sub {
		return nil, len(t.subs[refKey{ns, string(k.Bytes)}]) > 0
	}
	v, ok := t.vals[refKey{ns, string(k.Bytes)}]
	return v, ok
}

// Put implements state.Table.
func (t *refTable) Put(ns int64, k state.Key, val []byte) {
	t.vals[refKey{ns, string(k.Bytes)}] = bytes.Clone(val)
}

// Delete implements state.Table.
func (t *refTable) Delete(ns int64, k state.Key) {
	delete(t.vals, refKey{ns, string(k.Bytes)})
	delete(t.subs, refKey{ns, string(k.Bytes)})
}

// Upsert implements state.Table.
func (t *refTable) Upsert(ns int64, k state.Key) ([]byte, bool) {
	rk := refKey{ns, string(k.Bytes)}
	v, ok := t.vals[rk]
	if !ok {
		v = make([]byte, t.d.Fixed)
		t.vals[rk] = v
	}
	return v, !ok
}

// Namespaces implements state.Table.
func (t *refTable) Namespaces() []int64 {
	set := map[int64]bool{}
	for k := range t.vals {
		set[k.ns] = true
	}
	for k := range t.subs {
		set[k.ns] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Scan implements state.Table.
func (t *refTable) Scan(ns int64, fn func(key, val []byte) bool) {
	for k := range t.subs {
		if k.ns == ns && !fn([]byte(k.key), nil) {
			return
		}
	}
	for k, v := range t.vals {
		if k.ns == ns && !fn([]byte(k.key), v) {
			return
		}
	}
}

// DropNamespace implements state.Table.
func (t *refTable) DropNamespace(ns int64) {
	maps.DeleteFunc(t.vals, func(k refKey, _ []byte) bool { return k.ns == ns })
	maps.DeleteFunc(t.subs, func(k refKey, _ map[string][]byte) bool { return k.ns == ns })
}

// LenNamespace implements state.Table.
func (t *refTable) LenNamespace(ns int64) int {
	n := 0
	t.Scan(ns, func(_, _ []byte) bool { n++; return true })
	return n
}

// Len implements state.Table and state.SubTable.
func (t *refTable) Len() int {
	n := len(t.vals)
	for _, m := range t.subs {
		n += len(m)
	}
	return n
}

// GetSub implements state.SubTable.
func (t *refTable) GetSub(ns int64, k state.Key, sub []byte) ([]byte, bool) {
	v, ok := t.subs[refKey{ns, string(k.Bytes)}][string(sub)]
	return v, ok
}

// PutSub implements state.SubTable.
func (t *refTable) PutSub(ns int64, k state.Key, sub, val []byte) {
	rk := refKey{ns, string(k.Bytes)}
	if t.subs[rk] == nil {
		t.subs[rk] = map[string][]byte{}
	}
	t.subs[rk][string(sub)] = bytes.Clone(val)
}

// DeleteSub implements state.SubTable.
func (t *refTable) DeleteSub(ns int64, k state.Key, sub []byte) {
	rk := refKey{ns, string(k.Bytes)}
	delete(t.subs[rk], string(sub))
	if len(t.subs[rk]) == 0 {
		delete(t.subs, rk)
	}
}

// ScanSub implements state.SubTable, in order of subkey.
func (t *refTable) ScanSub(ns int64, k state.Key, fn func(sub, val []byte) bool) {
	m := t.subs[refKey{ns, string(k.Bytes)}]
	for _, sub := range slices.Sorted(maps.Keys(m)) {
		if !fn([]byte(sub), m[sub]) {
			return
		}
	}
}

// LenSub implements state.SubTable.
func (t *refTable) LenSub(ns int64, k state.Key) int { return len(t.subs[refKey{ns, string(k.Bytes)}]) }

// ClearSub implements state.SubTable.
func (t *refTable) ClearSub(ns int64, k state.Key) { delete(t.subs, refKey{ns, string(k.Bytes)}) }

// refSnapshot is a file made at once.
type refSnapshot struct {
	file     []byte
	released atomic.Bool
}

// Snapshot implements state.Backend.
func (b *Reference) Snapshot(cp dataflow.CheckpointID) (state.Snapshot, error) {
	var out bytes.Buffer
	h := statefile.Header{Checkpoint: cp, MaxParallelism: b.maxParallelism, Groups: b.groups}
	trims := make([]state.Trim, len(b.tables))
	for i, t := range b.tables {
		h.Tables = append(h.Tables, t.d)
		if t.onSnapshot != nil {
			trims[i] = t.onSnapshot()
		}
	}
	w, err := statefile.NewWriter(&out, h)
	if err != nil {
		return nil, err
	}
	var sections []statefile.Section
	var entries int64
	for g := int(b.groups.First); g <= int(b.groups.Last); g++ {
		body, n := b.section(dataflow.KeyGroup(g), trims)
		entries += n
		if len(body) > 0 {
			sections = append(sections, statefile.Section{Group: dataflow.KeyGroup(g), Body: body})
		}
	}
	if err := w.Chunk(sections); err != nil {
		return nil, err
	}
	if err := w.Finish(entries); err != nil {
		return nil, err
	}
	return &refSnapshot{file: out.Bytes()}, nil
}

func (b *Reference) section(g dataflow.KeyGroup, trims []state.Trim) (body []byte, entries int64) {
	for k, v := range b.values {
		if k.group == g {
			body = statefile.AppendGroupValue(body, k.name, v)
		}
	}
	in := func(k refKey) bool { return state.KeyOf([]byte(k.key)).Group(b.maxParallelism) == g }
	for i, t := range b.tables {
		left := &refTable{vals: maps.Clone(t.vals), subs: map[refKey]map[string][]byte{}}
		for k, m := range t.subs {
			left.subs[k] = maps.Clone(m)
		}
		if trims[i] != nil {
			left.Sweep(0, trims[i])
		}
		for k, v := range left.vals {
			if in(k) {
				body = statefile.AppendEntries(body, i, k.ns, 1)
				body = statefile.AppendEntry(body, t.d.Fixed, []byte(k.key), v)
				entries++
			}
		}
		for k, m := range left.subs {
			if !in(k) {
				continue
			}
			body = statefile.AppendSubEntries(body, i, k.ns, []byte(k.key), len(m))
			for _, sub := range slices.Sorted(maps.Keys(m)) {
				body = statefile.AppendSubEntry(body, []byte(sub), m[sub])
				entries++
			}
		}
	}
	return body, entries
}

// WriteTo implements state.Snapshot.
func (s *refSnapshot) WriteTo(w io.Writer) (int64, error) {
	if s.released.Load() {
		return 0, errors.New("snapshot was released")
	}
	n, err := w.Write(s.file)
	return int64(n), err
}

// Release implements state.Snapshot.
func (s *refSnapshot) Release() { s.released.Store(true) }

// Restore implements state.Backend.
func (b *Reference) Restore(r io.Reader, part state.RestorePart) error {
	return b.chains.Load(r, part, b.groups, b.maxParallelism, &refLoader{b: b})
}

type refLoader struct {
	b      *Reference
	tables []*refTable
	group  dataflow.KeyGroup
}

// Table implements statefile.Loader.
func (v *refLoader) Table(d state.Descriptor) (state.Table, error) {
	t, err := v.b.table(d)
	v.tables = append(v.tables, t)
	return t, err
}

// Begin implements statefile.Loader.
func (v *refLoader) Begin(g dataflow.KeyGroup) { v.group = g }

// End implements statefile.Loader.
func (*refLoader) End() error { return nil }

// Entry implements statefile.Visitor.
func (v *refLoader) Entry(table int, ns int64, key, val []byte) error {
	v.tables[table].Put(ns, state.Key{Bytes: key, Hash: codec.HashKey(key)}, val)
	return nil
}

// SubEntry implements statefile.Visitor.
func (v *refLoader) SubEntry(table int, ns int64, key, sub, val []byte) error {
	v.tables[table].PutSub(ns, state.Key{Bytes: key, Hash: codec.HashKey(key)}, sub, val)
	return nil
}

// GroupValue implements statefile.Visitor.
func (v *refLoader) GroupValue(name string, val []byte) error {
	v.b.SetGroupValue(name, v.group, append([]byte{}, val...))
	return nil
}

// ResetValues implements statefile.Loader.
func (v *refLoader) ResetValues() error {
	maps.DeleteFunc(v.b.values, func(k refGroup, _ []byte) bool { return k.group == v.group })
	return nil
}
