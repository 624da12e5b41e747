package sourceop

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/internal/fields"
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
	d := fields.Read(b[1:])
	n := d.Uvarint()
	var out []savedSplit
	for i := uint64(0); i < n && !d.Bad(); i++ {
		var s savedSplit
		s.ID = string(d.Bytes())
		s.Position = append([]byte(nil), d.Bytes()...)
		s.Watermark = int64(d.Fixed64())
		out = append(out, s)
	}
	if !d.Whole() {
		return nil, fmt.Errorf("source state: %d bytes do not hold the %d splits they claim", len(b), n)
	}
	return out, nil
}
