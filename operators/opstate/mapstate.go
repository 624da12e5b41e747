package opstate

import (
	"fmt"
	"iter"
	"slices"
	"sort"

	"github.com/leatstream/leat/dataflow/codec"
)

// Writer is a context that may change broadcast state: that of the side whose
// rows every subtask gets.
type Writer interface {
	// MayWriteBroadcast does nothing: only having it matters.
	MayWriteBroadcast()
}

// Map is broadcast state: each subtask holds a copy of its own, and all copies
// are equal as long as they are changed by the broadcast rows alone. A restore
// at another parallelism gives each new subtask one old copy.
type Map[K comparable, V any] struct {
	set    *Set
	name   string
	keys   *codec.Codec[K]
	values *codec.Codec[V]
	cells  map[string]*cell[K, V]
	order  []*cell[K, V] // by encoded key; stale when nil
	buf    []byte
	log    []change[K, V]
}

// cell is an entry; it is never changed.
type cell[K comparable, V any] struct {
	enc   string
	key   K
	val   V
	bytes []byte
}

// change is what undo puts back.
type change[K comparable, V any] struct {
	enc string
	old *cell[K, V] // nil: there was none
}

// NewMap returns a map that is open.
func NewMap[K comparable, V any](s *Set, name string) (*Map[K, V], error) {
	m := new(Map[K, V])
	return m, m.open(s, name)
}

// Open makes m the broadcast map of that name; it is called in the Open of a
// processor, before anything else.
func (m *Map[K, V]) Open(ctx Owner, name string) error { return m.open(ctx.OperatorState(), name) }

func (m *Map[K, V]) open(s *Set, name string) error {
	kc, err := codec.Of[K]()
	if err != nil {
		return fmt.Errorf("keys of state %q: %w", name, err)
	}
	vc, err := codec.Of[V]()
	if err != nil {
		return fmt.Errorf("values of state %q: %w", name, err)
	}
	*m = Map[K, V]{set: s, name: name, keys: kc, values: vc, cells: make(map[string]*cell[K, V])}
	f, err := s.claim(name, KindBroadcast, kc.Schema()+" to ", vc, m)
	if err != nil {
		return err
	}
	for _, e := range f.entries {
		c := &cell[K, V]{enc: string(e.key), bytes: e.val}
		if err := kc.DecodeKey(e.key, &c.key); err != nil {
			return fmt.Errorf("keys of state %q: %w", name, err)
		}
		if _, err := vc.Decode(e.val, &c.val); err != nil {
			return fmt.Errorf("values of state %q: %w", name, err)
		}
		m.cells[c.enc] = c
	}
	return nil
}

func (m *Map[K, V]) mustBeOpen() {
	if m.set == nil {
		notOpen("stream.BroadcastMap", "Open")
	}
}

// Get returns the value under a key, and whether there is one. What the value
// refers to must not be changed.
func (m *Map[K, V]) Get(key K) (v V, ok bool) {
	m.mustBeOpen()
	m.buf = m.keys.AppendKey(m.buf[:0], &key)
	c := m.cells[string(m.buf)]
	if c == nil {
		return v, false
	}
	return c.val, true
}

// All yields the entries in the order of their encoded keys, the same in every
// subtask. What values refer to must not be changed, nor the map meanwhile.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	m.mustBeOpen()
	m.sort()
	return func(yield func(K, V) bool) {
		for _, c := range m.order {
			if !yield(c.key, c.val) {
				return
			}
		}
	}
}

// Len returns the number of entries.
func (m *Map[K, V]) Len() int {
	m.mustBeOpen()
	return len(m.cells)
}

// Put sets the value under a key. What both refer to is copied.
func (m *Map[K, V]) Put(_ Writer, key K, v V) {
	m.mustBeOpen()
	c := &cell[K, V]{bytes: m.values.Append(nil, &v)}
	m.buf = m.keys.AppendKey(m.buf[:0], &key)
	c.enc = string(m.buf)
	if err := m.keys.DecodeKey([]byte(c.enc), &c.key); err != nil {
		panic(fmt.Sprintf("state %q: a key does not come back from its bytes: %v", m.name, err))
	}
	if _, err := m.values.Decode(c.bytes, &c.val); err != nil {
		panic(fmt.Sprintf("state %q: a value does not come back from its bytes: %v", m.name, err))
	}
	m.replace(c.enc, c)
}

// Delete removes the entry under a key, if there is one.
func (m *Map[K, V]) Delete(_ Writer, key K) {
	m.mustBeOpen()
	m.buf = m.keys.AppendKey(m.buf[:0], &key)
	if m.cells[string(m.buf)] != nil {
		m.replace(string(m.buf), nil)
	}
}

// Clear removes all entries.
func (m *Map[K, V]) Clear(Writer) {
	m.mustBeOpen()
	m.sort()
	for _, c := range slices.Clone(m.order) {
		m.replace(c.enc, nil)
	}
}

func (m *Map[K, V]) replace(enc string, c *cell[K, V]) {
	if m.set.undoing {
		m.log = append(m.log, change[K, V]{enc, m.cells[enc]})
	}
	m.order = nil
	if c == nil {
		delete(m.cells, enc)
		return
	}
	m.cells[enc] = c
}

func (m *Map[K, V]) sort() {
	if len(m.order) == len(m.cells) {
		return
	}
	m.order = make([]*cell[K, V], 0, len(m.cells))
	for _, c := range m.cells {
		m.order = append(m.order, c)
	}
	sort.Sort(byKey[K, V](m.order))
}

// byKey is sort.Interface and not an argument of slices.SortFunc, whose body
// would be compiled again for each type of entries.
type byKey[K comparable, V any] []*cell[K, V]

func (s byKey[K, V]) Len() int           { return len(s) }
func (s byKey[K, V]) Less(i, j int) bool { return s[i].enc < s[j].enc }
func (s byKey[K, V]) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

func (m *Map[K, V]) form() form {
	m.sort()
	f := form{kind: KindBroadcast, schema: m.keys.Schema() + " to " + m.values.Schema()}
	for _, c := range m.order {
		f.entries = append(f.entries, entry{[]byte(c.enc), c.bytes})
	}
	return f
}

func (m *Map[K, V]) mark() { clear(m.log); m.log = m.log[:0] }

func (m *Map[K, V]) undo() {
	for i := len(m.log) - 1; i >= 0; i-- {
		ch := m.log[i]
		if ch.old == nil {
			delete(m.cells, ch.enc)
		} else {
			m.cells[ch.enc] = ch.old
		}
	}
	m.order = nil
	m.mark()
}
