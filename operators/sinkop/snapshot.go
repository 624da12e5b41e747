package sinkop

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
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
	d := decoder{rest: b[1:]}
	n := d.uvarint()
	var out []sealed
	for i := uint64(0); i < n && !d.bad; i++ {
		s := sealed{id: dataflow.CheckpointID(d.uvarint())}
		m := d.uvarint()
		for j := uint64(0); j < m && !d.bad; j++ {
			c := connectors.Committable{Owner: int(d.uvarint())}
			c.Data = append([]byte(nil), d.bytes()...)
			s.items = append(s.items, c)
		}
		out = append(out, s)
	}
	if d.bad || len(d.rest) != 0 {
		return nil, fmt.Errorf("sink state: %d bytes do not hold the %d checkpoints they claim", len(b), n)
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
