package state

import (
	"fmt"
	"strings"

	"github.com/leatstream/leat/dataflow/codec"
)

// A table's schema text is a word for the kind of state, "stamped(processing)"
// or "stamped(event)" when values carry the time of their last update, and the
// schema of the type; those of a map's keys and values have " to " between.
type tableSchema struct {
	kind  string
	stamp string // "", "processing" or "event"
	row   string
}

func (s tableSchema) String() string {
	if s.stamp != "" {
		return s.kind + " stamped(" + s.stamp + ") " + s.row
	}
	return s.kind + " " + s.row
}

func schemaOf(kind string, ttl *TTL, row string) tableSchema {
	s := tableSchema{kind: kind, row: row}
	if ttl != nil {
		s.stamp = ttl.Time.word()
	}
	return s
}

func parseTableSchema(text string) tableSchema {
	var s tableSchema
	s.kind, s.row, _ = strings.Cut(text, " ")
	if rest, ok := strings.CutPrefix(s.row, "stamped("); ok {
		s.stamp, s.row, _ = strings.Cut(rest, ") ")
	}
	return s
}

// maker makes the Rewrite of a table's entries. stamps changes the stamps of
// all of them.
type maker func(old tableSchema, stamps restamp) (Rewrite, error)

// openTable returns the table of d. A restored one of an older type is
// rewritten first.
func openTable(b Backend, d Descriptor, make maker, now int64) (Table, error) {
	m, ok := b.(Migrator)
	if !ok {
		return b.Table(d)
	}
	have, ok := m.Restored(d.Name)
	if !ok || have.Schema == d.Schema {
		return b.Table(d)
	}
	old, want := parseTableSchema(have.Schema), parseTableSchema(d.Schema)
	if have.Sub != d.Sub || old.kind != want.kind {
		return b.Table(d) // which names both
	}
	rewrite, err := make(old, newRestamp(old.stamp, want.stamp, now))
	if err != nil {
		return nil, &MismatchError{Table: d.Name, Why: fmt.Sprintf("holds %q, the operator wants %q: %v", have.Schema, d.Schema, err)}
	}
	if err := m.Migrate(d, rewrite); err != nil {
		return nil, fmt.Errorf("rewriting state %q of %q as %q: %w", d.Name, have.Schema, d.Schema, err)
	}
	return b.Table(d)
}

// RowCodec is what tables of rows need to know of a codec.Codec, whatever its
// type.
type RowCodec interface {
	// Schema describes the type, for comparison and for people.
	Schema() string
	// Fixed is the size of each row in bytes, 0 when they vary.
	Fixed() int
	// RowsFrom returns how rows of an older schema are rewritten.
	RowsFrom(oldSchema string) (func(dst, src []byte) (out, rest []byte, err error), error)
}

// KeyCodec is a RowCodec of a type that is also a key of maps.
type KeyCodec interface {
	RowCodec
	// KeysFrom returns how keys of an older schema are rewritten.
	KeysFrom(oldSchema string) (func(dst, src []byte) ([]byte, error), error)
}

// RowTable returns the table whose values are the row forms of c, for
// operators that keep tables of their own. Its schema text is that of c. A
// restored table of an older type is rewritten, as far as c can read it.
func RowTable(b Backend, name string, c RowCodec, sub bool) (Table, error) {
	d := Descriptor{Name: name, Schema: c.Schema(), Sub: sub}
	if !sub {
		d.Fixed = c.Fixed()
	}
	m, ok := b.(Migrator)
	if !ok {
		return b.Table(d)
	}
	have, ok := m.Restored(name)
	if !ok || have.Schema == d.Schema || have.Sub != sub {
		return b.Table(d)
	}
	rows, err := rowsOf(c, have.Schema)
	if err != nil {
		return nil, &MismatchError{Table: name, Why: fmt.Sprintf("holds values of schema %q, the operator wants %q: %v", have.Schema, d.Schema, err)}
	}
	var buf []byte
	rewrite := func(sub, val []byte) ([]byte, []byte, error) {
		var err error
		buf, err = rows.whole(buf[:0], val)
		return sub, buf, err
	}
	if err := m.Migrate(d, rewrite); err != nil {
		return nil, fmt.Errorf("rewriting state %q of %q as %q: %w", name, have.Schema, d.Schema, err)
	}
	return b.Table(d)
}

// rows turns row forms of an older type into those of the new.
type rows struct {
	// next appends what the first row of src is now, and returns what follows.
	next func(dst, src []byte) (out, rest []byte, err error)
}

func rowsOf(c RowCodec, oldSchema string) (rows, error) {
	next, err := c.RowsFrom(oldSchema)
	return rows{next}, err
}

// whole is next of a row that fills src.
func (r rows) whole(dst, src []byte) ([]byte, error) {
	dst, rest, err := r.next(dst, src)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow a value of %d", len(rest), len(src)-len(rest))
	}
	return dst, err
}

// restamp changes the stamps of migrated values.
type restamp struct {
	had, has bool
	keep     bool  // the old ones are of the same time
	now      int64 // what takes the place of others
}

func newRestamp(old, now string, at int64) restamp {
	r := restamp{had: old != "", has: now != "", keep: old == now, now: unstamped}
	if now == ProcessingTime.word() {
		r.now = at
	}
	return r
}

// split takes the stamp off the start of an old value.
func (r restamp) split(val []byte) (stamp int64, rest []byte, err error) {
	if !r.had {
		return r.now, val, nil
	}
	if len(val) < stampBytes {
		return 0, nil, fmt.Errorf("a value of %d bytes has no stamp", len(val))
	}
	stamp = r.now
	if r.keep {
		stamp = stampOf(val)
	}
	return stamp, val[stampBytes:], nil
}

// put starts a new value with its stamp.
func (r restamp) put(dst []byte, stamp int64) []byte {
	if r.has {
		return appendStamp(dst, stamp)
	}
	return dst
}

// migrateRows is the maker of values with one row each.
func migrateRows(c RowCodec) maker {
	return func(old tableSchema, stamps restamp) (Rewrite, error) {
		rows, err := rowsOf(c, old.row)
		if err != nil {
			return nil, err
		}
		return oneRow(rows, stamps), nil
	}
}

func oneRow(rows rows, stamps restamp) Rewrite {
	var buf []byte
	return func(sub, val []byte) ([]byte, []byte, error) {
		stamp, row, err := stamps.split(val)
		if err != nil {
			return nil, nil, err
		}
		buf, err = rows.whole(stamps.put(buf[:0], stamp), row)
		return sub, buf, err
	}
}

// migrateElements is the maker of lists.
func migrateElements(c RowCodec) maker {
	return func(old tableSchema, stamps restamp) (Rewrite, error) {
		rows, err := rowsOf(c, old.row)
		if err != nil {
			return nil, err
		}
		var buf, row []byte
		return func(_, val []byte) ([]byte, []byte, error) {
			buf = buf[:0]
			for len(val) > 0 {
				stamp, one := stamps.now, []byte(nil)
				if stamps.had {
					var size int
					stamp, one, size = element(val)
					val = val[size:]
					if !stamps.keep {
						stamp = stamps.now
					}
					row, err = rows.whole(row[:0], one)
				} else {
					row, val, err = rows.next(row[:0], val[1:])
				}
				if err != nil {
					return nil, nil, err
				}
				if stamps.has {
					buf = appendElement(buf, stamp, row)
				} else {
					buf = append(append(buf, 1), row...)
				}
			}
			return nil, buf, nil
		}, nil
	}
}

// migrateEntries is the maker of maps.
func migrateEntries(keys KeyCodec, values RowCodec) maker {
	return func(old tableSchema, stamps restamp) (Rewrite, error) {
		oldKey, oldValue, err := splitMapSchema(old.row)
		if err != nil {
			return nil, err
		}
		key, err := keys.KeysFrom(oldKey)
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		rows, err := rowsOf(values, oldValue)
		if err != nil {
			return nil, fmt.Errorf("values: %w", err)
		}
		value := oneRow(rows, stamps)
		var newSub []byte
		return func(sub, val []byte) ([]byte, []byte, error) {
			if newSub, err = key(newSub[:0], sub); err != nil {
				return nil, nil, err
			}
			_, val, err := value(nil, val)
			return newSub, val, err
		}, nil
	}
}

// splitMapSchema finds the " to " that is between two schemas, not in a name.
func splitMapSchema(text string) (key, value string, err error) {
	for i := 0; ; i++ {
		at := strings.Index(text[i:], " to ")
		if at < 0 {
			return "", "", fmt.Errorf("schema %q is not that of a map", text)
		}
		i += at
		if _, err := codec.ParseSchema(text[:i]); err != nil {
			continue
		}
		if _, err := codec.ParseSchema(text[i+4:]); err == nil {
			return text[:i], text[i+4:], nil
		}
	}
}

// KeyTable names a table without entries, whose schema is that of the keys.
const KeyTable = "leat:key"

// BindKey wants the keys of the backend's state to be of the type with that
// schema, and makes later snapshots say so. A state without keys of another
// type cannot be told from a new one: the bytes of its keys mean something else.
func BindKey(b Backend, schema string) error {
	want := Descriptor{Name: KeyTable, Schema: "key " + schema}
	if m, ok := b.(Migrator); ok {
		if have, ok := m.Restored(KeyTable); ok && have.Schema != want.Schema {
			return &MismatchError{Table: KeyTable, Why: fmt.Sprintf("says that the state is by keys of type %q, but the operator's keys are of type %q: keep the type of the key, or give the operator another UID and state of its own",
				strings.TrimPrefix(have.Schema, "key "), schema)}
		}
	}
	_, err := b.Table(want)
	return err
}
