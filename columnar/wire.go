package columnar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// wireVersion is the first byte of a batch's wire form, which is described in
// docs/formats/codec.md.
const wireVersion = 1

// timeForm is the second byte: how the event times are written.
type timeForm byte

const (
	timesNone  timeForm = iota // no row has a time
	timesSame                  // one time for all rows
	timesOff16                 // the least time, then 2 bytes of offset for each row
	timesOff32                 // the same with 4 bytes
	timesWhole                 // 8 bytes for each row
)

// timeForms gives the bytes of a form: once, and for each row.
var timeForms = [...]struct{ once, each int }{
	timesNone: {0, 0}, timesSame: {8, 0}, timesOff16: {8, 2}, timesOff32: {8, 4}, timesWhole: {0, 8},
}

// headerBytes is the size of the fixed part: version, time form, two reserved
// zero bytes, and the number of rows.
const headerBytes = 8

var errShortBatch = errors.New("the bytes are cut short")

func appendHeader(dst []byte, n int, times []int64) []byte {
	form, least := chooseForm(times)
	dst = append(dst, wireVersion, byte(form), 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	if timeForms[form].once > 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(least))
	}
	at := len(dst)
	dst = append(dst, make([]byte, timeForms[form].each*len(times))...)
	out := dst[at:]
	switch form {
	case timesOff16:
		for i, t := range times {
			binary.LittleEndian.PutUint16(out[2*i:], uint16(t-least))
		}
	case timesOff32:
		for i, t := range times {
			binary.LittleEndian.PutUint32(out[4*i:], uint32(t-least))
		}
	case timesWhole:
		for i, t := range times {
			binary.LittleEndian.PutUint64(out[8*i:], uint64(t))
		}
	}
	return dst
}

// chooseForm returns the smallest form that holds the times.
func chooseForm(times []int64) (form timeForm, least int64) {
	if len(times) == 0 {
		return timesNone, 0
	}
	least, most := times[0], times[0]
	for _, t := range times[1:] {
		least, most = min(least, t), max(most, t)
	}
	switch width := uint64(most) - uint64(least); {
	case width == 0:
		return timesSame, least
	case width <= math.MaxUint16:
		return timesOff16, least
	case width <= math.MaxUint32:
		return timesOff32, least
	}
	return timesWhole, 0
}

// header is the part of a batch's wire form before its rows.
type header struct {
	rows  int
	form  timeForm
	least int64
	times []byte // 0, 2, 4 or 8 bytes for each row
}

func decodeHeader(src []byte) (h header, rest []byte, err error) {
	if len(src) < headerBytes {
		return h, nil, errShortBatch
	}
	if src[0] != wireVersion {
		return h, nil, fmt.Errorf("wire version %d, this program reads version %d: both ends must run the same release", src[0], wireVersion)
	}
	h.form = timeForm(src[1])
	if h.form > timesWhole || src[2] != 0 || src[3] != 0 {
		return h, nil, fmt.Errorf("header % x is unknown: the bytes are damaged", src[:4])
	}
	h.rows = int(binary.LittleEndian.Uint32(src[4:]))
	src = src[headerBytes:]
	size := timeForms[h.form]
	if uint64(len(src)) < uint64(size.once)+uint64(h.rows)*uint64(size.each) {
		return h, nil, errShortBatch
	}
	if size.once > 0 {
		h.least = int64(binary.LittleEndian.Uint64(src))
		src = src[size.once:]
	}
	// The rows have at least one byte each but for types without content, so
	// this bounds what damaged bytes can ask for.
	if h.form == timesSame && h.rows > timesSameMax {
		return h, nil, fmt.Errorf("%d rows: a batch has at most %d", h.rows, timesSameMax)
	}
	h.times = src[:h.rows*size.each]
	return h, src[h.rows*size.each:], nil
}

// timesSameMax bounds the rows of a batch whose times take no bytes each.
const timesSameMax = 1 << 20

func fillTimes(times []int64, src []byte, form timeForm, least int64) {
	switch form {
	case timesSame:
		for i := range times {
			times[i] = least
		}
	case timesOff16:
		for i := range times {
			times[i] = least + int64(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case timesOff32:
		for i := range times {
			times[i] = least + int64(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case timesWhole:
		for i := range times {
			times[i] = int64(binary.LittleEndian.Uint64(src[8*i:]))
		}
	}
}
