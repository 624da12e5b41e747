// Package lookup reads keyed state for people while its job runs: one key, or
// a range of keys. It changes nothing and knows no types: entries are bytes
// that go with the schema of their table.
package lookup

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// EntriesMax bounds the entries of an answer, BytesMax their bytes.
const (
	EntriesMax = 10_000
	BytesMax   = 2 << 20
)

// Query says what to read.
type Query struct {
	// Table is the name of a table; empty: every table.
	Table string
	// Key is the encoded key, for Key; KeyFrom and KeyTo bound the keys of
	// Range, both included, nil for no bound.
	Key, KeyFrom, KeyTo []byte
	// From and To bound the namespaces (starts of windows), both included.
	From, To int64
	// Limit bounds the entries; 0 or more than EntriesMax: EntriesMax.
	Limit int
}

// All is a query of everything.
func All() Query { return Query{From: math.MinInt64, To: math.MaxInt64} }

// Entry is one entry of a table, or of a map in it (then with Sub).
type Entry struct {
	Table     int // place in Answer.Tables
	Namespace int64
	Key       []byte
	Sub       []byte
	Value     []byte
}

// Answer holds what was found, ordered by table, key, namespace and subkey.
type Answer struct {
	Tables  []state.Descriptor
	Entries []Entry
	// Sizes, of Tables alone, are the numbers of entries in the tables, or
	// about so many where to count would take long.
	Sizes []int
	// More says that there are entries beyond the limit.
	More bool
}

// ErrUnlisted says that a backend does not tell its tables.
var ErrUnlisted = errors.New("the state backend does not say which tables it holds")

// Tables lists the tables with their sizes.
func Tables(b state.Backend) (Answer, error) {
	l, ok := b.(state.TableLister)
	if !ok {
		return Answer{}, ErrUnlisted
	}
	a := Answer{Tables: l.Tables()}
	for _, d := range a.Tables {
		t, err := b.Table(d)
		if err != nil {
			return Answer{}, err
		}
		if e, ok := t.(state.Estimator); ok {
			a.Sizes = append(a.Sizes, e.LenAbout())
			continue
		}
		a.Sizes = append(a.Sizes, t.Len())
	}
	return a, nil
}

// Key reads the entries of one key: in each table one for each namespace, or
// as many as a map has. It runs on the task's goroutine, and costs a probe
// for each namespace.
func Key(b state.Backend, q Query) (Answer, error) {
	tables, ok := b.(state.TableLister)
	if !ok {
		return Answer{}, ErrUnlisted
	}
	k := state.KeyOf(q.Key)
	f := found{query: q}
	for _, d := range tables.Tables() {
		if q.Table != "" && q.Table != d.Name {
			continue
		}
		t, err := b.Table(d)
		if err != nil {
			return Answer{}, err
		}
		f.tables = append(f.tables, d)
		for _, ns := range t.Namespaces() {
			if ns < q.From || ns > q.To {
				continue
			}
			if sub, ok := t.(state.SubTable); ok && d.Sub {
				sub.ScanSub(ns, k, func(s, val []byte) bool {
					f.add(len(f.tables)-1, ns, q.Key, s, val)
					return true
				})
			} else if val, ok := t.Get(ns, k); ok {
				f.add(len(f.tables)-1, ns, q.Key, nil, val)
			}
		}
	}
	return f.answer(), nil
}

// Range reads the entries of all keys between two out of a snapshot, which
// stays the caller's. It may run on any goroutine, beside the task, and costs
// as much as to write the snapshot.
func Range(s state.Snapshot, q Query) (Answer, error) {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := s.WriteTo(w)
		written <- errors.Join(err, w.CloseWithError(err))
	}()
	a, err := rangeOf(r, q)
	r.CloseWithError(io.ErrClosedPipe) // the writer does not outlive the call
	werr := <-written
	if err == nil && !errors.Is(werr, io.ErrClosedPipe) {
		err = werr
	}
	return a, err
}

func rangeOf(r io.Reader, q Query) (Answer, error) {
	rd, err := statefile.NewReader(r)
	if err != nil {
		return Answer{}, err
	}
	h := rd.Header()
	v := visitor{found: found{query: q}, place: make([]int, len(h.Tables))}
	for i, d := range h.Tables {
		v.place[i] = -1
		if q.Table == "" || q.Table == d.Name {
			v.place[i] = len(v.tables)
			v.tables = append(v.tables, d)
		}
	}
	for {
		s, err := rd.Next(h.Groups)
		if errors.Is(err, io.EOF) {
			return v.answer(), nil
		}
		if err != nil {
			return Answer{}, err
		}
		if _, err := h.Parse(s, &v); err != nil {
			return Answer{}, err
		}
	}
}

// visitor takes the entries of a state file.
type visitor struct {
	found
	place []int // by table of the file: place in tables, -1 if not wanted
}

// Entry implements statefile.Visitor.
func (v *visitor) Entry(table int, ns int64, key, val []byte) error {
	return v.SubEntry(table, ns, key, nil, val)
}

// SubEntry implements statefile.Visitor.
func (v *visitor) SubEntry(table int, ns int64, key, sub, val []byte) error {
	q := &v.query
	if v.place[table] < 0 || ns < q.From || ns > q.To ||
		q.KeyFrom != nil && bytes.Compare(key, q.KeyFrom) < 0 || q.KeyTo != nil && bytes.Compare(key, q.KeyTo) > 0 {
		return nil
	}
	v.add(v.place[table], ns, key, sub, val)
	return nil
}

// GroupValue implements statefile.Visitor.
func (*visitor) GroupValue(string, []byte) error { return nil }

// found keeps the first entries in order, within the bounds.
type found struct {
	query   Query
	tables  []state.Descriptor
	entries []Entry
	bytes   int
	more    bool
}

func (f *found) limit() int {
	if f.query.Limit <= 0 {
		return EntriesMax
	}
	return min(f.query.Limit, EntriesMax)
}

// add copies an entry. The entries are cut back to the bounds each time they
// are twice as many.
func (f *found) add(table int, ns int64, key, sub, val []byte) {
	e := Entry{Table: table, Namespace: ns, Key: bytes.Clone(key), Sub: bytes.Clone(sub), Value: bytes.Clone(val)}
	f.entries = append(f.entries, e)
	f.bytes += e.size()
	if len(f.entries) >= 2*f.limit() || f.bytes >= 2*BytesMax {
		f.cut()
	}
}

func (e *Entry) size() int { return len(e.Key) + len(e.Sub) + len(e.Value) }

func (f *found) cut() {
	slices.SortFunc(f.entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), bytes.Compare(a.Key, b.Key), cmp.Compare(a.Namespace, b.Namespace), bytes.Compare(a.Sub, b.Sub))
	})
	keep, size := 0, 0
	for keep < len(f.entries) && keep < f.limit() && (keep == 0 || size+f.entries[keep].size() <= BytesMax) {
		size += f.entries[keep].size()
		keep++
	}
	f.more = f.more || keep < len(f.entries)
	clear(f.entries[keep:])
	f.entries, f.bytes = f.entries[:keep], size
}

func (f *found) answer() Answer {
	f.cut()
	return Answer{Tables: f.tables, Entries: f.entries, More: f.more}
}
