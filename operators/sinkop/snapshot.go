package sinkop

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/fields"
)

// snapshotVersion is the first byte of a sink subtask's state
// (docs/formats/operator-state.md).
const snapshotVersion = 1

// sealed are the effects that one checkpoint prepared.
type sealed struct {
	id     dataflow.CheckpointID
	items  []connectors.Committable
	queued bool
}

func encodeSealed(all []sealed) []byte {
	b := []byte{snapshotVersion}
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, s := range all {
		b = binary.AppendUvarint(b, uint64(s.id))
		b = binary.AppendUvarint(b, uint64(len(s.items)))
		for _, c := range s.items {
			b = binary.AppendUvarint(b, uint64(c.Owner))
			b = binary.AppendUvarint(b, uint64(len(c.Data)))
			b = append(b, c.Data...)
		}
	}
	return b
}

func decodeSealed(b []byte) ([]sealed, error) {
	if len(b) == 0 || b[0] != snapshotVersion {
		return nil, fmt.Errorf("sink state: version %.1x, want %d: restore with the release that wrote it", b, snapshotVersion)
	}
	d := fields.Read(b[1:])
	n := d.Uvarint()
	var out []sealed
	for i := uint64(0); i < n && !d.Bad(); i++ {
		s := sealed{id: dataflow.CheckpointID(d.Uvarint())}
		m := d.Uvarint()
		for j := uint64(0); j < m && !d.Bad(); j++ {
			c := connectors.Committable{Owner: int(d.Uvarint())}
			c.Data = append([]byte(nil), d.Bytes()...)
			s.items = append(s.items, c)
		}
		out = append(out, s)
	}
	if !d.Whole() {
		return nil, fmt.Errorf("sink state: %d bytes do not hold the %d checkpoints they claim", len(b), n)
	}
	return out, nil
}
