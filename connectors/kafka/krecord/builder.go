package krecord

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/formats"
)

// Builder collects records into one batch. The zero value is not ready: see
// Reset. One goroutine uses it at a time.
type Builder struct {
	buf       []byte // header, then records, not compressed
	count     int
	firstTime int64
	maxTime   int64
	sealed    []byte // buf, or its compressed form
	packed    []byte // memory of the compressed form
}

// Reset empties b and keeps its memory.
func (b *Builder) Reset() {
	if cap(b.buf) < HeaderBytes {
		b.buf = make([]byte, HeaderBytes, 16<<10)
	}
	b.buf = b.buf[:HeaderBytes]
	b.count, b.sealed = 0, nil
}

// Len returns the number of records.
func (b *Builder) Len() int { return b.count }

// Bytes returns the size of the batch before compression.
func (b *Builder) Bytes() int { return len(b.buf) }

// RecordBytes bounds the size of a record in a batch.
func RecordBytes(key, value []byte, headers []formats.Header) int {
	n := len(key) + len(value) + 36
	for _, h := range headers {
		n += len(h.Key) + len(h.Value) + 10
	}
	return n
}

// Append adds a record. A nil key or value is null.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []formats.Header) {
	if b.count == 0 {
		b.firstTime, b.maxTime = timestamp, timestamp
	}
	b.maxTime = max(b.maxTime, timestamp)
	delta := timestamp - b.firstTime
	size := 1 + sizeVarint(delta) + sizeVarint(int64(b.count)) + sizeField(key) + sizeField(value) + sizeVarint(int64(len(headers)))
	for i := range headers {
		size += sizeVarint(int64(len(headers[i].Key))) + len(headers[i].Key) + sizeField(headers[i].Value)
	}
	p := binary.AppendVarint(b.buf, int64(size))
	p = append(p, 0)
	p = binary.AppendVarint(p, delta)
	p = binary.AppendVarint(p, int64(b.count))
	p = appendField(p, key)
	p = appendField(p, value)
	p = binary.AppendVarint(p, int64(len(headers)))
	for i := range headers {
		p = binary.AppendVarint(p, int64(len(headers[i].Key)))
		p = append(p, headers[i].Key...)
		p = appendField(p, headers[i].Value)
	}
	b.buf = p
	b.count++
}

func appendField(p, v []byte) []byte {
	if v == nil {
		return append(p, 1) // -1
	}
	p = binary.AppendVarint(p, int64(len(v)))
	return append(p, v...)
}

func sizeField(v []byte) int {
	if v == nil {
		return 1
	}
	return sizeVarint(int64(len(v))) + len(v)
}

func sizeVarint(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}

// Seal compresses the batch with d; after it nothing is appended until Reset.
func (b *Builder) Seal(c Codec, d *Deflater) error {
	if b.count == 0 || b.count > math.MaxInt32 {
		return fmt.Errorf("a batch of %d records cannot be sealed", b.count)
	}
	b.sealed = b.buf
	used := NoCompression
	if c != NoCompression {
		p, err := d.deflate(append(b.packed[:0], b.buf[:HeaderBytes]...), c, b.buf[HeaderBytes:])
		if err != nil {
			return fmt.Errorf("compress batch (%v): %w", c, err)
		}
		b.packed = p
		if len(p) < len(b.buf) {
			b.sealed, used = p, c
		}
	}
	s := b.sealed
	binary.BigEndian.PutUint64(s, 0)
	binary.BigEndian.PutUint32(s[atLength:], uint32(len(s)-12))
	binary.BigEndian.PutUint32(s[atLeaderEpoch:], math.MaxUint32)
	s[atMagic] = 2
	binary.BigEndian.PutUint16(s[atAttributes:], uint16(used))
	binary.BigEndian.PutUint32(s[atLastDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(s[atFirstTime:], uint64(b.firstTime))
	binary.BigEndian.PutUint64(s[atMaxTime:], uint64(b.maxTime))
	binary.BigEndian.PutUint32(s[atCount:], uint32(b.count))
	return nil
}

// Stamp writes the producer into a sealed batch, with its checksum, and
// returns the batch; it may be stamped again.
func (b *Builder) Stamp(p kwire.Producer, sequence int32, transactional bool) []byte {
	s := b.sealed
	attrs := binary.BigEndian.Uint16(s[atAttributes:]) &^ attrTransactional
	if transactional {
		attrs |= attrTransactional
	}
	binary.BigEndian.PutUint16(s[atAttributes:], attrs)
	binary.BigEndian.PutUint64(s[atProducer:], uint64(p.ID))
	binary.BigEndian.PutUint16(s[atEpoch:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(s[atSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(s[atCRC:], checksum(s[atAttributes:]))
	return s
}

// NextSequence returns the sequence number after n more records: it wraps
// from the largest int32 to 0.
func NextSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) % (math.MaxInt32 + 1))
}
