package savepoint

import (
	"bytes"
	"errors"

	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statefile"
	"github.com/leatstream/leat/state/stateform"
)

// portion is the state that is put together at a time: some key groups, or,
// where one of them is larger than may be held, every shares-th of its keys.
type portion struct {
	groups        dataflow.KeyGroupRange
	share, shares uint64
}

// gather exports files that have to be put together first: a chain, or windows
// that have merged.
func (x *exporter) gather(files []*controlv1.StateHandle, held dataflow.KeyGroupRange) error {
	sizes := make([]int64, held.Len())
	for i, want := range chain.Read(files, held) {
		if len(want) == 0 {
			continue
		}
		if err := x.sizes(files[i], held, want, sizes); err != nil {
			return err
		}
	}
	for _, p := range portions(held, sizes, x.q.GatherBytesMax) {
		if err := x.portion(files, p); err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) sizes(h *controlv1.StateHandle, held dataflow.KeyGroupRange, want []dataflow.KeyGroupRange, sizes []int64) error {
	f := x.s.open(x.ctx, h)
	defer f.close()
	r, err := statefile.NewReader(f)
	if err == nil {
		err = r.Sizes(func(g dataflow.KeyGroup, n int64) {
			for _, w := range want {
				if w.Contains(g) {
					sizes[g-held.First] += n
				}
			}
		})
	}
	if err != nil {
		return located(h, err)
	}
	return nil
}

// portions divides the key groups so that none has more than bytesMax, as far
// as keys can be told apart.
func portions(held dataflow.KeyGroupRange, sizes []int64, bytesMax int64) []portion {
	var out []portion
	var sum int64
	for i, n := range sizes {
		g := held.First + dataflow.KeyGroup(i)
		if n > bytesMax {
			shares := uint64((n + bytesMax - 1) / bytesMax)
			for share := range shares {
				out = append(out, portion{dataflow.KeyGroupRange{First: g, Last: g}, share, shares})
			}
			sum = bytesMax + 1 // the next begins anew
			continue
		}
		if last := len(out) - 1; last >= 0 && sum+n <= bytesMax {
			out[last].groups.Last = g
			sum += n
			continue
		}
		out, sum = append(out, portion{dataflow.KeyGroupRange{First: g, Last: g}, 0, 1}), n
	}
	return out
}

// portion restores a part of the files into memory and exports it.
func (x *exporter) portion(files []*controlv1.StateHandle, p portion) (err error) {
	maxParallelism := int(x.s.manifest.GetMaxParallelism())
	b := memstate.New(p.groups, maxParallelism)
	defer func() { err = errors.Join(err, b.Close()) }()
	var chains statefile.Chains
	begun := false
	for i, want := range chain.Read(files, p.groups) {
		if len(want) == 0 {
			continue
		}
		f := x.s.open(x.ctx, files[i])
		err := chains.Load(f, state.RestorePart{Follows: begun, Groups: want}, p.groups, maxParallelism, &loader{b: b, p: p})
		f.close()
		if err != nil {
			return located(files[i], err)
		}
		begun = true
	}
	return x.scan(b)
}

// scan exports all that a backend holds.
func (x *exporter) scan(b *memstate.Backend) error {
	homes := make(stateform.Homes)
	tables := b.Tables()
	for _, d := range tables {
		if !stateform.IsHomes(d.Schema) {
			continue
		}
		if err := each(b, d, func(_ int64, key, sub, val []byte) error { return homes.Add(d.Schema, key, sub, val) }); err != nil {
			return err
		}
	}
	sh := x.shower(tables, homes)
	for i, d := range tables {
		if t := sh.tables[i]; t.ok {
			if err := each(b, d, t.entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// each calls fn for the entries of a table.
func each(b *memstate.Backend, d state.Descriptor, fn func(ns int64, key, sub, val []byte) error) (err error) {
	t, err := b.Table(d)
	if err != nil {
		return err
	}
	for _, ns := range t.Namespaces() {
		t.Scan(ns, func(key, val []byte) bool {
			if !d.Sub {
				err = fn(ns, key, nil, val)
				return err == nil
			}
			key = bytes.Clone(key) // borrowed until the next call on the table
			t.(state.SubTable).ScanSub(ns, state.KeyOf(key), func(sub, val []byte) bool {
				err = fn(ns, key, sub, val)
				return err == nil
			})
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loader puts the keys of a portion into a backend.
type loader struct {
	b      *memstate.Backend
	p      portion
	tables []state.Table
	group  dataflow.KeyGroup
}

var _ statefile.Loader = (*loader)(nil)

// Table implements statefile.Loader.
func (l *loader) Table(d state.Descriptor) (state.Table, error) {
	t, err := l.b.Table(d)
	l.tables = append(l.tables, t)
	return t, err
}

// Begin implements statefile.Loader.
func (l *loader) Begin(g dataflow.KeyGroup) { l.group = g }

// End implements statefile.Loader.
func (l *loader) End() error { return nil }

// ResetValues implements statefile.Loader: values are not exported.
func (l *loader) ResetValues() error { return nil }

// GroupValue implements statefile.Visitor.
func (l *loader) GroupValue(string, []byte) error { return nil }

// mine reports whether a key is of the portion. The hash decides of the key
// group too, so it is mixed once more.
func (l *loader) mine(k state.Key) bool {
	const mix = 0x9e3779b97f4a7c15
	return l.p.shares <= 1 || (k.Hash*mix)>>32%l.p.shares == l.p.share
}

// Entry implements statefile.Visitor.
func (l *loader) Entry(table int, ns int64, key, val []byte) error {
	k, err := statefile.KeyIn(key, l.group, l.b.MaxParallelism())
	if err == nil && l.mine(k) {
		l.tables[table].Put(ns, k, val)
	}
	return err
}

// SubEntry implements statefile.Visitor.
func (l *loader) SubEntry(table int, ns int64, key, sub, val []byte) error {
	k, err := statefile.KeyIn(key, l.group, l.b.MaxParallelism())
	if err == nil && l.mine(k) {
		l.tables[table].(state.SubTable).PutSub(ns, k, sub, val)
	}
	return err
}
