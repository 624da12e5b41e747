package sourceop

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/connectors"
)

// snapshotVersion is the first byte of a source subtask's state
// (docs/formats/operator-state.md).
const snapshotVersion = 1

// savedSplit is a split with its watermark.
type savedSplit struct {
	connectors.Split
	Watermark int64
}

func encodeSplits(splits []savedSplit) []byte {
	b := []byte{snapshotVersion}
	b = binary.AppendUvarint(b, uint64(len(splits)))
	for _, s := range splits {
		b = binary.AppendUvarint(b, uint64(len(s.ID)))
		b = append(b, s.ID...)
		b = binary.AppendUvarint(b, uint64(len(s.Position)))
		b = append(b, s.Position...)
		b = binary.LittleEndian.AppendUint64(b, uint64(s.Watermark))
	}
	return b
}

func decodeSplits(b []byte) ([]savedSplit, error) {
	if len(b) == 0 || b[0] != snapshotVersion {
		return nil, fmt.Errorf("source state: version %.1x, want %d: restore with the release that wrote it", b, snapshotVersion)
	}
	d := decoder{rest: b[1:]}
	n := d.uvarint()
	var out []savedSplit
	for i := uint64(0); i < n && !d.bad; i++ {
		var s savedSplit
		s.ID = string(d.bytes())
		s.Position = append([]byte(nil), d.bytes()...)
		s.Watermark = int64(d.fixed64())
		out = append(out, s)
	}
	if d.bad || len(d.rest) != 0 {
		return nil, fmt.Errorf("source state: %d bytes do not hold the %d splits they claim", len(b), n)
	}
	return out, nil
}

// decoder reads the fields of a state; after the first fault all are zero.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	v := d.rest[:n]
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) fixed64() uint64 {
	if len(d.rest) < 8 {
		d.bad, d.rest = true, nil
		return 0
	}
	v := binary.LittleEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return v
}
