package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/dataflow"
)

const committableVersion = 1

// sealedTxn is a prepared transaction: all that it takes to commit it from any
// process, and to prove later what became of it. docs/formats/kafka-committables.md.
type sealedTxn struct {
	txnID      string
	producer   kwire.Producer
	checkpoint dataflow.CheckpointID
	records    int64
	// A partition of the transaction and the offset of its last record there:
	// the transaction's marker follows it.
	topic     string
	partition int32
	offset    int64
}

func (s *sealedTxn) encode() []byte {
	b := []byte{committableVersion}
	b = appendText(b, s.txnID)
	b = binary.BigEndian.AppendUint64(b, uint64(s.producer.ID))
	b = binary.BigEndian.AppendUint16(b, uint16(s.producer.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(s.checkpoint))
	b = binary.BigEndian.AppendUint64(b, uint64(s.records))
	b = appendText(b, s.topic)
	b = binary.BigEndian.AppendUint32(b, uint32(s.partition))
	return binary.BigEndian.AppendUint64(b, uint64(s.offset))
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

var errCommittable = errors.New("committable of a Kafka sink is broken")

func decodeSealed(b []byte) (s sealedTxn, err error) {
	if len(b) == 0 || b[0] != committableVersion {
		return s, fmt.Errorf("%w: %d bytes, version %v; want version %d", errCommittable, len(b), b[:min(1, len(b))], committableVersion)
	}
	text := func() (out string) {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			b = nil
			return ""
		}
		n := int(binary.BigEndian.Uint16(b))
		out, b = string(b[2:2+n]), b[2+n:]
		return out
	}
	b = b[1:]
	s.txnID = text()
	if len(b) < 26 {
		return s, errCommittable
	}
	s.producer.ID = int64(binary.BigEndian.Uint64(b))
	s.producer.Epoch = int16(binary.BigEndian.Uint16(b[8:]))
	s.checkpoint = dataflow.CheckpointID(binary.BigEndian.Uint64(b[10:]))
	s.records = int64(binary.BigEndian.Uint64(b[18:]))
	b = b[26:]
	s.topic = text()
	if len(b) != 12 {
		return s, errCommittable
	}
	s.partition = int32(binary.BigEndian.Uint32(b))
	s.offset = int64(binary.BigEndian.Uint64(b[4:]))
	return s, nil
}

// String names the transaction for people.
func (s *sealedTxn) String() string {
	return fmt.Sprintf("transaction %q (producer id %d, epoch %d, checkpoint %d, %d records)",
		s.txnID, s.producer.ID, s.producer.Epoch, s.checkpoint, s.records)
}
