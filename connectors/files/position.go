package files

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/connectors/files/internal/depot"
)

// positionVersion is the first byte of a split's position. Version 1 lacks
// what follows end.
const positionVersion = 2

// Flags of a position.
const (
	flagAligned = 1 << iota
	flagPacked
	flagIdentified
	flagsAll = 1<<iota - 1
)

// position is where to go on in a split. Lines that begin before end belong
// to it. Unless aligned, next lies anywhere in a line that belongs to the
// split before, and the first line is the one after. In a packed file bytes
// are counted after unpacking, and end is beyond them all.
type position struct {
	next, end       int64
	aligned, packed bool
	// identified says that size and tag are known: of the file as it was found.
	identified bool
	size       int64
	tag        string
}

func (p position) encode() []byte {
	flags := byte(0)
	for _, f := range []struct {
		on  bool
		bit byte
	}{{p.aligned, flagAligned}, {p.packed, flagPacked}, {p.identified, flagIdentified}} {
		if f.on {
			flags |= f.bit
		}
	}
	b := []byte{positionVersion, flags}
	for _, n := range []int64{p.next, p.end, p.size, int64(len(p.tag))} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return append(b, p.tag...)
}

func parsePosition(b []byte) (position, error) {
	if len(b) < 4 || b[0] < 1 || b[0] > positionVersion || b[1] > flagsAll || b[0] == 1 && b[1] > flagAligned {
		return position{}, fmt.Errorf("position %x in a file is not of version %d", b, positionVersion)
	}
	p := position{aligned: b[1]&flagAligned != 0, packed: b[1]&flagPacked != 0, identified: b[1]&flagIdentified != 0}
	tagBytes := int64(0)
	fields := []*int64{&p.next, &p.end}
	if b[0] > 1 {
		fields = append(fields, &p.size, &tagBytes)
	}
	rest := b[2:]
	for _, to := range fields {
		v, n := binary.Uvarint(rest)
		if n <= 0 || int64(v) < 0 {
			return position{}, fmt.Errorf("position %x in a file is damaged", b)
		}
		*to, rest = int64(v), rest[n:]
	}
	if int64(len(rest)) != tagBytes {
		return position{}, fmt.Errorf("position %x in a file is damaged", b)
	}
	p.tag = string(rest)
	return p, nil
}

// file returns what the split's file was when it was found, without a size
// where that is not known.
func (p position) file(path string) depot.Info {
	if !p.identified {
		return depot.Info{Path: path, Bytes: -1}
	}
	return depot.Info{Path: path, Bytes: p.size, Tag: p.tag}
}
