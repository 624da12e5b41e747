package memstate

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// Backends implements state.Backends: the backends of one worker share a
// limit. It is safe for concurrent use.
type Backends struct {
	limit int64 // 0: none
	used  atomic.Int64
}

var (
	_ state.Backends = (*Backends)(nil)
	_ state.Failer   = (*Backend)(nil)
)

// Open returns backends whose pages and indexes, with what snapshots hold of
// them, may take limitBytes together; 0 is no limit. A backend that grows
// beyond it fails with a *state.LimitError at its next Err; until then it
// goes on, so that what one batch adds comes on top.
func Open(limitBytes int64) *Backends { return &Backends{limit: max(0, limitBytes)} }

// New implements state.Backends.
func (s *Backends) New(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error) {
	b := New(groups, maxParallelism)
	b.among = s
	return b, nil
}

// Close implements state.Backends.
func (*Backends) Close() error { return nil }

// Err implements state.Failer. It looks whether the worker's states have
// outgrown their limit, and whether this one has grown since it last looked:
// one that stands still is not blamed for the others. What is noted of deletions
// is given up before.
func (b *Backend) Err() error {
	if b.among == nil || b.among.limit == 0 || b.over != nil {
		return b.over
	}
	grown, own, total := b.recount()
	if grown > 0 && total > b.among.limit && b.past.bytes > 0 {
		b.startAnew()
		_, own, total = b.recount()
	}
	if grown > 0 && total > b.among.limit {
		b.over = b.overLimit(own, total)
	}
	return b.over
}

// recount brings the sum of all backends up to date, with what this one takes
// now: what is spare is bounded by itself and does not count. It is safe for
// concurrent use.
func (b *Backend) recount() (grown, own, total int64) {
	if b.among == nil {
		return 0, 0, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	own = b.bytes.Load() + b.mu.held
	grown = own - b.mu.counted
	b.mu.counted = own
	return grown, own, b.among.used.Add(grown)
}

func (b *Backend) overLimit(own, total int64) *state.LimitError {
	e := &state.LimitError{Limit: b.among.limit, Total: total, Own: own}
	tables := slices.Clone(b.tables)
	slices.SortStableFunc(tables, func(x, y *table) int { return cmp.Compare(y.bytes(), x.bytes()) })
	for _, t := range tables {
		if t.count == 0 {
			continue
		}
		e.Tables = append(e.Tables, state.TableSize{Name: t.d.Name, Keys: t.count, Namespaces: len(t.spaces), Bytes: t.bytes()})
	}
	if len(tables) > 0 {
		e.Key, e.KeyBytes = tables[0].largestKey()
	}
	return e
}

// bytes is what a table's live pages and indexes take.
func (t *table) bytes() int64 {
	var n int64
	for _, s := range t.owners {
		n += s.idx.own + spaceBytes
		for _, p := range s.pages.bufs {
			n += int64(len(p))
		}
	}
	return n
}

// largestKey looks at all entries for the key, in one namespace, with the most
// bytes. It is for an error that ends the attempt, and takes its time.
func (t *table) largestKey() (key []byte, most int64) {
	for _, s := range t.owners {
		s.each(s.pages.bufs, func(_ reference, e []byte) bool {
			n, k := int64(s.size(e)), s.key(e)
			if s.sub {
				if word(e, 0)&flagHead == 0 {
					return true
				}
				k, _ = s.parts(e)
				n = s.underHead(e)
			}
			if n > most {
				key, most = slices.Clone(k), n
			}
			return true
		})
	}
	return key, most
}

// underHead is the size of all entries of a key in a sub table.
func (s *space) underHead(head []byte) int64 {
	n := int64(s.size(head))
	for at := loadHead(s.value(head)).first; at != 0; {
		e := s.at(reference(at - 1))
		n += int64(s.size(e))
		at = word(e, 5)
	}
	return n
}
