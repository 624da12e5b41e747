package krecord

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// PutCRCForTest corrects the checksum of a batch.
func PutCRCForTest(batch []byte) {
	binary.BigEndian.PutUint32(batch[atCRC:], checksum(batch[atAttributes:]))
}

// BothWays reads the records in body by the short way and by the general one,
// and returns how many went the short way, and where the two differ.
func BothWays(body []byte, h Header) (short int, err error) {
	a := Iter{h: h, body: body}
	for len(a.body) > 0 {
		b := Iter{h: h, body: a.body}
		var x, y Record
		if !a.simple(&x) {
			if !a.general(&y) {
				return short, nil
			}
			continue
		}
		short++
		if !b.general(&y) {
			return short, fmt.Errorf("the general way refuses record %+v: %w", x, b.err)
		}
		x.headers, y.headers = nil, nil
		if !bytes.Equal(a.body, b.body) || fmt.Sprintf("%#v", x) != fmt.Sprintf("%#v", y) {
			return short, fmt.Errorf("short way %#v, general way %#v", x, y)
		}
	}
	return short, nil
}
