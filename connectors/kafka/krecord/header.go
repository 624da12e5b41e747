package krecord

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// HeaderBytes is the size of a batch's header; its records follow.
const HeaderBytes = 61

// Places in the header.
const (
	atLength      = 8
	atLeaderEpoch = 12
	atMagic       = 16
	atCRC         = 17
	atAttributes  = 21
	atLastDelta   = 23
	atFirstTime   = 27
	atMaxTime     = 35
	atProducer    = 43
	atEpoch       = 51
	atSequence    = 53
	atCount       = 57
)

const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// ErrCut says that the last batch is not complete: brokers cut answers off at
// a size, and the next fetch brings it whole.
var ErrCut = errors.New("batch is cut off")

// Header is the header of a batch.
type Header struct {
	BaseOffset    int64
	LastOffset    int64
	LeaderEpoch   int32
	Codec         Codec
	LogAppendTime bool
	Transactional bool
	Control       bool
	FirstTime     int64
	MaxTime       int64
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Count         int
	bytes         int // of the whole batch
}

// ReadHeader reads the header of the first batch in b and returns the batch's
// bytes and what follows it. It does not check the checksum.
func ReadHeader(b []byte) (h Header, batch, rest []byte, err error) {
	if len(b) < HeaderBytes {
		// Formats 0 and 1 have shorter headers, their magic is at the same place.
		if len(b) > atMagic && b[atMagic] < 2 {
			return h, nil, nil, oldFormat(b)
		}
		return h, nil, nil, ErrCut
	}
	if b[atMagic] != 2 {
		return h, nil, nil, oldFormat(b)
	}
	n := int(int32(binary.BigEndian.Uint32(b[atLength:])))
	if n < HeaderBytes-12 {
		return h, nil, nil, fmt.Errorf("batch at offset %d claims a length of %d bytes", int64(binary.BigEndian.Uint64(b)), n)
	}
	n += 12
	if n > len(b) {
		return h, nil, nil, ErrCut
	}
	attrs := binary.BigEndian.Uint16(b[atAttributes:])
	h = Header{
		BaseOffset:    int64(binary.BigEndian.Uint64(b)),
		LeaderEpoch:   int32(binary.BigEndian.Uint32(b[atLeaderEpoch:])),
		Codec:         Codec(attrs & attrCodec),
		LogAppendTime: attrs&attrLogAppendTime != 0,
		Transactional: attrs&attrTransactional != 0,
		Control:       attrs&attrControl != 0,
		FirstTime:     int64(binary.BigEndian.Uint64(b[atFirstTime:])),
		MaxTime:       int64(binary.BigEndian.Uint64(b[atMaxTime:])),
		ProducerID:    int64(binary.BigEndian.Uint64(b[atProducer:])),
		ProducerEpoch: int16(binary.BigEndian.Uint16(b[atEpoch:])),
		BaseSequence:  int32(binary.BigEndian.Uint32(b[atSequence:])),
		Count:         int(int32(binary.BigEndian.Uint32(b[atCount:]))),
		bytes:         n,
	}
	delta := int32(binary.BigEndian.Uint32(b[atLastDelta:]))
	if delta < 0 || h.Count < 0 {
		return h, nil, nil, fmt.Errorf("batch at offset %d claims %d records and a last offset delta of %d", h.BaseOffset, h.Count, delta)
	}
	h.LastOffset = h.BaseOffset + int64(delta)
	return h, b[:n:n], b[n:], nil
}

func oldFormat(b []byte) error {
	return fmt.Errorf("batch at offset %d has message format %d; only format 2 (Kafka 0.11 and later) can be read",
		int64(binary.BigEndian.Uint64(b)), b[atMagic])
}

// checksum is CRC-32C; MakeTable returns the library's own table.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// CheckCRC compares a whole batch with its checksum.
func CheckCRC(batch []byte) error {
	want := binary.BigEndian.Uint32(batch[atCRC:])
	if got := checksum(batch[atAttributes:]); got != want {
		return fmt.Errorf("batch at offset %d: checksum is %08x, the batch says %08x",
			int64(binary.BigEndian.Uint64(batch)), got, want)
	}
	return nil
}

// EndOf walks the batches in b, without reading their records, and returns the
// offset after the last whole batch, that batch's leader epoch, and the length
// of the whole batches. from is returned when there is none.
func EndOf(b []byte, from int64) (next int64, epoch int32, whole int, err error) {
	next, epoch = from, -1
	total := len(b)
	for len(b) > 0 {
		h, _, rest, err := ReadHeader(b)
		if errors.Is(err, ErrCut) {
			break
		}
		if err != nil {
			return next, epoch, total - len(b), err
		}
		b = rest
		if h.LastOffset+1 > next {
			next = h.LastOffset + 1
		}
		epoch = h.LeaderEpoch
	}
	return next, epoch, total - len(b), nil
}

// CountOf returns the number of records in the whole batches in b, as their
// headers say: control records and aborted ones count, too.
func CountOf(b []byte) int {
	n := 0
	for len(b) > 0 {
		h, _, rest, err := ReadHeader(b)
		if err != nil {
			break
		}
		b = rest
		n += h.Count
	}
	return n
}
