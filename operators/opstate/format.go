package opstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// formatVersion is the first byte of a snapshot.
const formatVersion = 1

// form is a state as bytes.
type form struct {
	kind    Kind
	schema  string
	entries []entry
}

// entry is an element of a list (key nil), or an entry of a map.
type entry struct{ key, val []byte }

// appendForms writes states in order of name, so that equal states give equal
// bytes.
func appendForms(b []byte, all map[string]form) []byte {
	b = append(b, formatVersion)
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		b = appendText(append(b, byte(f.kind)), []byte(name))
		b = appendText(b, []byte(f.schema))
		b = binary.AppendUvarint(b, uint64(len(f.entries)))
		for _, e := range f.entries {
			if f.kind == KindBroadcast {
				b = appendText(b, e.key)
			}
			b = appendText(b, e.val)
		}
	}
	return b
}

func appendText(b, text []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

var errDamaged = errors.New("operator state is damaged")

// parseForms reads what appendForms wrote. What it returns refers to b.
func parseForms(b []byte) (map[string]form, error) {
	if b[0] != formatVersion {
		return nil, fmt.Errorf("operator state has version %d, this release reads %d", b[0], formatVersion)
	}
	r := reader{rest: b[1:]}
	n := r.uvarint()
	out := make(map[string]form)
	for range n {
		kind := Kind(r.byte())
		if kind < KindList || kind > KindBroadcast {
			return nil, errDamaged
		}
		name := string(r.text())
		f := form{kind: kind, schema: string(r.text())}
		count := r.uvarint()
		for i := uint64(0); i < count && r.err == nil; i++ {
			var e entry
			if kind == KindBroadcast {
				e.key = r.text()
			}
			e.val = r.text()
			f.entries = append(f.entries, e)
		}
		if _, twice := out[name]; twice || r.err != nil {
			return nil, errDamaged
		}
		out[name] = f
	}
	if r.err != nil || len(r.rest) > 0 {
		return nil, errDamaged
	}
	return out, nil
}

// reader takes bytes from the front; after the first fault it returns zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail() { r.rest, r.err = nil, errDamaged }

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) text() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}
