package statefile

import (
	"encoding/binary"
	"errors"

	"github.com/leatstream/leat/state"
)

// Visitor is told what a section holds, in the order written. Slices are
// borrowed until the call returns; an error ends the parse.
type Visitor interface {
	Entry(table int, ns int64, key, val []byte) error
	SubEntry(table int, ns int64, key, sub, val []byte) error
	GroupValue(name string, val []byte) error
}

// Changes is told what a section of a file with a base says beside entries.
// All is in the order written: a key may be deleted and come again.
type Changes interface {
	// Delete removes a key, in a table with subkeys with all under it.
	Delete(table int, ns int64, key []byte) error
	DeleteSub(table int, ns int64, key, sub []byte) error
	// ResetValues removes the values of the key group.
	ResetValues() error
}

// errAlone says that a visitor does not know what a file with a base holds.
var errAlone = errors.New("the state file adds to others, and cannot be read without them")

// Parse calls v for all that a section holds, and returns the number of
// entries, those that were deleted included. For sections of files with a base
// v must implement Changes too.
func (h Header) Parse(s Section, v Visitor) (entries int64, err error) {
	c := cursor{b: s.Body}
	for len(c.b) > 0 && err == nil && !c.bad {
		kind := c.bytes(1)[0]
		switch kind {
		case recordEntries, recordSubEntries:
			var n int64
			n, err = h.parseRun(&c, kind, v)
			entries += n
		case recordGroupValue:
			name, val := c.blob(), c.blob()
			if !c.bad {
				err = v.GroupValue(string(name), val)
			}
		default:
			if h.Base == 0 || kind > recordResetValues || kind == 0 {
				return entries, corrupt("key group %d holds a record of unknown kind %d", s.Group, kind)
			}
			var n int64
			n, err = h.parseChange(&c, kind, v)
			entries += n
		}
	}
	if err == nil && c.bad {
		err = corrupt("records of key group %d do not parse, %d bytes before their end", s.Group, len(c.b))
	}
	return entries, err
}

// run reads what a run of entries or deleted keys begins with; sub says that
// it is one of subkeys, which begins with their key.
func (h Header) run(c *cursor, sub bool) (table int, ns int64, count int64, key []byte) {
	table = int(c.uvarint(tableCountMax))
	ns = int64(c.uint64())
	count = int64(c.uvarint(1 << 40))
	if c.bad || table >= len(h.Tables) || sub && !h.Tables[table].Sub {
		c.bad = true
		return 0, 0, 0, nil
	}
	if sub {
		key = c.blob()
	}
	return table, ns, count, key
}

func (h Header) parseRun(c *cursor, kind byte, v Visitor) (entries int64, err error) {
	table, ns, count, key := h.run(c, kind == recordSubEntries)
	if c.bad || h.Tables[table].Sub != (kind == recordSubEntries) {
		c.bad = true
		return 0, nil
	}
	fixed := h.Tables[table].Fixed
	for ; entries < count; entries++ {
		first := c.blob()
		var val []byte
		if kind == recordEntries && fixed > 0 {
			val = c.bytes(fixed)
		} else {
			val = c.blob()
		}
		if c.bad {
			return entries, nil
		}
		if kind == recordEntries {
			err = v.Entry(table, ns, first, val)
		} else {
			err = v.SubEntry(table, ns, key, first, val)
		}
		if err != nil {
			return entries, err
		}
	}
	return entries, nil
}

func (h Header) parseChange(c *cursor, kind byte, v Visitor) (entries int64, err error) {
	to, ok := v.(Changes)
	if !ok {
		return 0, errAlone
	}
	if kind == recordResetValues {
		return 0, to.ResetValues()
	}
	table, ns, count, key := h.run(c, kind == recordDeletedSubs)
	for ; entries < count && !c.bad && err == nil; entries++ {
		one := c.blob()
		switch {
		case c.bad:
			return entries, nil
		case kind == recordDeleted:
			err = to.Delete(table, ns, one)
		default:
			err = to.DeleteSub(table, ns, key, one)
		}
	}
	return entries, err
}

// cursor reads from bytes in memory; after a read that does not fit it is bad
// and returns zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) bytes(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(c.b)
	if c.bad || n <= 0 || v > limit {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) blob() []byte { return c.bytes(int(c.uvarint(state.EntryBytesMax - 1))) }

func (c *cursor) uint64() uint64 {
	if b := c.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}
