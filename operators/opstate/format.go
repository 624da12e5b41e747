package opstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/leatstream/leat/internal/fields"
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
	r := fields.Read(b)
	if v := r.Byte(); v != formatVersion {
		return nil, fmt.Errorf("operator state has version %d, this release reads %d", v, formatVersion)
	}
	out := make(map[string]form)
	for range r.Count() {
		f := form{kind: Kind(r.Byte())}
		if f.kind < KindList || f.kind > KindBroadcast {
			return nil, errDamaged
		}
		name := string(r.Bytes())
		f.schema = string(r.Bytes())
		for range r.Count() {
			var e entry
			if f.kind == KindBroadcast {
				e.key = r.Bytes()
			}
			e.val = r.Bytes()
			f.entries = append(f.entries, e)
		}
		if _, twice := out[name]; twice || r.Bad() {
			return nil, errDamaged
		}
		out[name] = f
	}
	if !r.Whole() {
		return nil, errDamaged
	}
	return out, nil
}
