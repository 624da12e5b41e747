// Package undolog wraps a state backend so that what a row wrote can be taken
// back. It notes the old value before each write between Begin and Commit, and
// nothing at other times. It keeps no state of its own.
package undolog

import (
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// Backend is a state.Backend whose writes can be taken back. It is used on the
// task's goroutine, like the backend that it wraps and owns nothing of.
type Backend struct {
	state.Backend
	on    bool
	log   []record
	arena []byte // old values and keys of the log
}

var (
	_ state.Backend  = (*Backend)(nil)
	_ state.Migrator = (*Backend)(nil)
)

// record undoes one write.
type record struct {
	undo  func(r *record, b *Backend)
	table state.Table
	sub   state.SubTable
	ns    int64
	hash  uint64
	group dataflow.KeyGroup
	// Offsets into the arena: key, subkey, old value. There was none when
	// exists is false.
	key, subKey, val span
	exists           bool
	length           int // of the value before an append
}

type span struct{ from, to int }

// New wraps b.
func New(b state.Backend) *Backend { return &Backend{Backend: b} }

// Begin forgets what was noted: from now on writes can be taken back.
func (b *Backend) Begin() {
	b.on = true
	b.log, b.arena = b.log[:0], b.arena[:0]
}

// Commit ends what Begin began: the writes stay.
func (b *Backend) Commit() { b.on = false }

// Rollback takes back all writes since Begin and ends it. The order of the
// entries of a map may differ from what it was.
func (b *Backend) Rollback() {
	b.on = false
	for i := len(b.log) - 1; i >= 0; i-- {
		b.log[i].undo(&b.log[i], b)
	}
	clear(b.log)
	b.log, b.arena = b.log[:0], b.arena[:0]
}

func (b *Backend) keep(v []byte) span {
	from := len(b.arena)
	b.arena = append(b.arena, v...)
	return span{from, len(b.arena)}
}

func (b *Backend) bytes(s span) []byte { return b.arena[s.from:s.to:s.to] }

func (r *record) keyOf(b *Backend) state.Key { return state.Key{Bytes: b.bytes(r.key), Hash: r.hash} }

// Table implements state.Backend.
func (b *Backend) Table(d state.Descriptor) (state.Table, error) {
	t, err := b.Backend.Table(d)
	if err != nil {
		return nil, err
	}
	if st, ok := t.(state.SubTable); ok && d.Sub {
		u := &subTable{table{Table: t, b: b}, st}
		if s, ok := t.(state.Sweeper); ok {
			return struct {
				*subTable
				state.Sweeper
			}{u, s}, nil
		}
		return u, nil
	}
	u := &table{Table: t, b: b}
	app, canAppend := t.(state.Appender)
	sweep, canSweep := t.(state.Sweeper)
	switch {
	case canAppend && canSweep:
		return struct {
			*appender
			state.Sweeper
		}{&appender{u, app}, sweep}, nil
	case canAppend:
		return &appender{u, app}, nil
	case canSweep:
		return struct {
			*table
			state.Sweeper
		}{u, sweep}, nil
	}
	return u, nil
}

// Restored implements state.Migrator.
func (b *Backend) Restored(name string) (state.Descriptor, bool) {
	if m, ok := b.Backend.(state.Migrator); ok {
		return m.Restored(name)
	}
	return state.Descriptor{}, false
}

// Migrate implements state.Migrator. It is called for what Restored knows.
func (b *Backend) Migrate(d state.Descriptor, rewrite state.Rewrite) error {
	return b.Backend.(state.Migrator).Migrate(d, rewrite)
}

// SetGroupValue implements state.Backend.
func (b *Backend) SetGroupValue(name string, g dataflow.KeyGroup, v []byte) {
	if b.on {
		old := b.GroupValue(name, g)
		b.log = append(b.log, record{
			undo: undoGroup, group: g, key: b.keep([]byte(name)), val: b.keep(old), exists: old != nil,
		})
	}
	b.Backend.SetGroupValue(name, g, v)
}

func undoGroup(r *record, b *Backend) {
	var old []byte
	if r.exists {
		old = b.bytes(r.val)
	}
	b.Backend.SetGroupValue(string(b.bytes(r.key)), r.group, old)
}
