package join

import (
	"encoding/binary"
	"errors"
)

var errEntry = errors.New("the state of a join is damaged")

// reframe is a state.Reframe of entries: their times and flags stay.
func reframe(dst, old []byte, row func(dst, src []byte) ([]byte, error)) (_ []byte, err error) {
	for len(old) > 0 {
		if len(old) < entryHead {
			return nil, errEntry
		}
		size := uint64(binary.LittleEndian.Uint32(old[entryHead-4:]))
		if uint64(len(old)-entryHead) < size {
			return nil, errEntry
		}
		dst = append(dst, old[:entryHead]...)
		from := len(dst)
		if dst, err = row(dst, old[entryHead:entryHead+int(size)]); err != nil {
			return nil, err
		}
		binary.LittleEndian.PutUint32(dst[from-4:], uint32(len(dst)-from))
		old = old[entryHead+int(size):]
	}
	return dst, nil
}
