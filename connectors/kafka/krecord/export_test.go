package krecord

import "encoding/binary"

// PutCRCForTest corrects the checksum of a batch.
func PutCRCForTest(batch []byte) {
	binary.BigEndian.PutUint32(batch[atCRC:], checksum(batch[atAttributes:]))
}
