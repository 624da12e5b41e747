package cepop

import (
	"encoding/binary"
)

// reframePartials is a state.Reframe of the partial matches of a key: its
// events are made anew, what refers to them by their number stays.
func reframePartials(dst, old []byte, row func(dst, src []byte) ([]byte, error)) (_ []byte, err error) {
	rest := old
	uvarint := func() (v uint64) {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			err, n = errState, len(rest)
		}
		rest = rest[n:]
		return v
	}
	if v := uvarint(); err != nil || v != stateVersion {
		return nil, errState
	}
	uvarint() // armed, a signed number of the same length
	events := uvarint()
	dst = append(dst, old[:len(old)-len(rest)]...)
	var one []byte
	for ; events > 0 && err == nil; events-- {
		head := rest
		uvarint() // time
		dst = append(dst, head[:len(head)-len(rest)]...)
		size := uvarint()
		if err != nil || size > uint64(len(rest)) {
			return nil, errState
		}
		if one, err = row(one[:0], rest[:size]); err != nil {
			return nil, err
		}
		dst = append(binary.AppendUvarint(dst, uint64(len(one))), one...)
		rest = rest[size:]
	}
	if err != nil {
		return nil, err
	}
	return append(dst, rest...), nil
}

// reframeWaiting is a state.Reframe of rows that wait for the watermark.
func reframeWaiting(dst, old []byte, row func(dst, src []byte) ([]byte, error)) (_ []byte, err error) {
	var one []byte
	for len(old) > 0 {
		if len(old) < 8 {
			return nil, errState
		}
		size, n := binary.Uvarint(old[8:])
		if n <= 0 || size > uint64(len(old)-8-n) {
			return nil, errState
		}
		if one, err = row(one[:0], old[8+n:8+n+int(size)]); err != nil {
			return nil, err
		}
		dst = append(dst, old[:8]...)
		dst = append(binary.AppendUvarint(dst, uint64(len(one))), one...)
		old = old[8+n+int(size):]
	}
	return dst, nil
}
