package statetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// plain is what tables should hold, in Go maps that know of no backend.
type plain struct {
	vals   map[place]string
	maps   map[place][]pair // in order of insertion
	groups map[dataflow.KeyGroup]string
}

type place struct {
	table string
	ns    int64
	key   string
}

type pair struct{ sub, val string }

func newPlain() *plain {
	return &plain{vals: map[place]string{}, maps: map[place][]pair{}, groups: map[dataflow.KeyGroup]string{}}
}

func (m *plain) clone() *plain {
	c := &plain{vals: maps.Clone(m.vals), maps: map[place][]pair{}, groups: maps.Clone(m.groups)}
	for k, v := range m.maps {
		c.maps[k] = slices.Clone(v)
	}
	return c
}

func (m *plain) putSub(at place, sub, val string) {
	l := m.maps[at]
	if i := slices.IndexFunc(l, func(p pair) bool { return p.sub == sub }); i >= 0 {
		l[i].val = val
		return
	}
	m.maps[at] = append(l, pair{sub, val})
}

func (m *plain) deleteSub(at place, sub string) {
	l := slices.DeleteFunc(m.maps[at], func(p pair) bool { return p.sub == sub })
	if m.maps[at] = l; len(l) == 0 {
		delete(m.maps, at)
	}
}

// drop removes a namespace of a table as far as it is of some key groups.
func (m *plain) drop(table string, ns int64, groups dataflow.KeyGroupRange) {
	in := func(p place) bool {
		return p.table == table && p.ns == ns && groups.Contains(state.KeyOf([]byte(p.key)).Group(suiteGroups))
	}
	maps.DeleteFunc(m.vals, func(p place, _ string) bool { return in(p) })
	maps.DeleteFunc(m.maps, func(p place, _ []pair) bool { return in(p) })
}

// dump is what dumpBackends returns of backends that hold the same.
func (m *plain) dump(ordered bool) (out []string) {
	for p, v := range m.vals {
		out = append(out, fmt.Sprintf("%s %d %q: %x", p.table, p.ns, p.key, v))
	}
	for p, l := range m.maps {
		out = append(out, fmt.Sprintf("%s %d %q: %s", p.table, p.ns, p.key, pairs(l, ordered)))
	}
	for g, v := range m.groups {
		out = append(out, fmt.Sprintf("group %d: %x", g, v))
	}
	slices.Sort(out)
	return out
}

func pairs(l []pair, ordered bool) string {
	if !ordered {
		l = slices.Clone(l)
		slices.SortFunc(l, func(a, b pair) int { return strings.Compare(a.sub, b.sub) })
	}
	return fmt.Sprintf("%q", l)
}

// dumpBackends returns all that backends hold, with maps in their order, or by
// subkey.
func dumpBackends(bs []state.Backend, tables [][]state.Table, ds []state.Descriptor, ordered bool) (out []string) {
	for i, b := range bs {
		for j, d := range ds[:len(tables[i])] {
			out = append(out, dumpTable(tables[i][j], d, ordered)...)
		}
		for g := int(b.KeyGroups().First); g <= int(b.KeyGroups().Last); g++ {
			if v := b.GroupValue("bound", dataflow.KeyGroup(g)); v != nil {
				out = append(out, fmt.Sprintf("group %d: %x", g, v))
			}
		}
	}
	slices.Sort(out)
	return out
}

func dumpTable(t state.Table, d state.Descriptor, ordered bool) (out []string) {
	n := 0
	for _, ns := range t.Namespaces() {
		var keys []string
		t.Scan(ns, func(key, val []byte) bool {
			if d.Sub {
				keys = append(keys, string(key))
			} else {
				out = append(out, fmt.Sprintf("%s %d %q: %x", d.Name, ns, key, val))
				n++
			}
			return true
		})
		for _, key := range keys {
			var l []pair
			t.(state.SubTable).ScanSub(ns, state.KeyOf([]byte(key)), func(sub, val []byte) bool {
				l = append(l, pair{string(sub), string(val)})
				return true
			})
			n += len(l)
			out = append(out, fmt.Sprintf("%s %d %q: %s", d.Name, ns, key, pairs(l, ordered)))
		}
	}
	if n != t.Len() {
		out = append(out, fmt.Sprintf("table %s says it holds %d entries, not %d", d.Name, t.Len(), n))
	}
	return out
}
