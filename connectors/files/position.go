package files

import (
	"encoding/binary"
	"fmt"
)

// positionVersion is the first byte of a split's position: then one byte (1:
// next is the start of a line), next and end as unsigned varints.
const positionVersion = 1

// position is where to go on in a split. Lines that begin before end belong
// to it. Unless aligned, next lies anywhere in a line that belongs to the
// split before, and the first line is the one after.
type position struct {
	next, end int64
	aligned   bool
}

func (p position) encode() []byte {
	b := []byte{positionVersion, 0}
	if p.aligned {
		b[1] = 1
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(p.next)), uint64(p.end))
}

func parsePosition(b []byte) (position, error) {
	if len(b) < 4 || b[0] != positionVersion || b[1] > 1 {
		return position{}, fmt.Errorf("position %x in a file is not of version %d", b, positionVersion)
	}
	next, n := binary.Uvarint(b[2:])
	if n <= 0 {
		return position{}, fmt.Errorf("position %x in a file is damaged", b)
	}
	end, m := binary.Uvarint(b[2+n:])
	if m <= 0 || 2+n+m != len(b) || int64(next) < 0 || int64(end) < 0 {
		return position{}, fmt.Errorf("position %x in a file is damaged", b)
	}
	return position{next: int64(next), end: int64(end), aligned: b[1] == 1}, nil
}
