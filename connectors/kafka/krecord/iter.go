package krecord

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/formats"
)

// Record is one record of a batch. Its slices alias the fetched bytes, or for
// a compressed batch the iterator's memory: they are valid until the iterator
// goes on to the next batch.
type Record struct {
	Offset    int64
	Timestamp int64  // milliseconds since the epoch
	Key       []byte // nil: absent
	Value     []byte // nil: a tombstone
	headers   []byte
	nHeaders  int
}

// Iter walks the records of a run of batches. It leaves out control batches
// and, when told so, the records of aborted transactions. The zero value is
// ready for Reset; one goroutine uses it.
type Iter struct {
	rest     []byte // batches not yet begun
	position int64
	err      error

	h       Header
	body    []byte // records of the current batch not yet read
	left    int    // records of the current batch not yet read
	inBatch bool

	committed bool
	aborted   []kwire.AbortedTxn // ordered by FirstOffset; a suffix not yet begun
	dropping  []int64            // producers within an aborted transaction

	inflater inflater
	names    map[string]string // header keys seen, at most namesMax
}

// namesMax bounds the header keys that are kept to be shared.
const namesMax = 256

// Reset starts on the batches in b at offset from: records before it are left
// out. With committed, records of the aborted transactions are left out, too;
// aborted is what the broker said with these bytes and is kept, and ordered,
// by the iterator.
func (it *Iter) Reset(b []byte, from int64, committed bool, aborted []kwire.AbortedTxn) {
	it.rest, it.position, it.err = b, from, nil
	it.body, it.left, it.inBatch = nil, 0, false
	it.committed, it.aborted, it.dropping = committed, aborted, it.dropping[:0]
	slices.SortStableFunc(it.aborted, func(a, b kwire.AbortedTxn) int {
		switch {
		case a.FirstOffset < b.FirstOffset:
			return -1
		case a.FirstOffset > b.FirstOffset:
			return 1
		}
		return 0
	})
}

// Position returns the offset to go on from: after the last record that Next
// returned, and after all batches once it has returned false. It never falls.
func (it *Iter) Position() int64 { return it.position }

// Err returns the fault that made Next return false, nil at the end.
func (it *Iter) Err() error { return it.err }

// LeaderEpoch returns the leader epoch of the current batch.
func (it *Iter) LeaderEpoch() int32 { return it.h.LeaderEpoch }

// Batch returns the header of the batch of the last record.
func (it *Iter) Batch() *Header { return &it.h }

// Next reads the next record into r. It returns false at the end of the whole
// batches, or on a fault.
func (it *Iter) Next(r *Record) bool {
	for it.err == nil {
		for it.left > 0 {
			it.left--
			if !it.record(r) {
				return false
			}
			if r.Offset >= it.position {
				it.position = r.Offset + 1
				return true
			}
		}
		if it.inBatch {
			it.inBatch = false
			it.position = max(it.position, it.h.LastOffset+1)
		}
		if !it.nextBatch() {
			return false
		}
	}
	return false
}

// nextBatch begins the next batch that has records to return. On false, err
// says whether it was a fault.
func (it *Iter) nextBatch() bool {
	for {
		if len(it.rest) == 0 {
			return false
		}
		h, batch, rest, err := ReadHeader(it.rest)
		if err != nil {
			if !errors.Is(err, ErrCut) {
				it.err = err
			}
			it.rest = nil
			return false
		}
		if err := CheckCRC(batch); err != nil {
			it.err = err
			return false
		}
		it.h, it.rest = h, rest
		drop, err := it.filter(batch)
		if err != nil {
			it.err = err
			return false
		}
		if drop || h.Count == 0 || h.LastOffset < it.position {
			it.position = max(it.position, h.LastOffset+1)
			continue
		}
		return it.open(batch[HeaderBytes:])
	}
}

func (it *Iter) open(body []byte) bool {
	b, err := it.inflater.inflate(it.h.Codec, body)
	if err != nil {
		it.err = fmt.Errorf("decompress batch at offset %d (%v): %w", it.h.BaseOffset, it.h.Codec, err)
		return false
	}
	it.body, it.left, it.inBatch = b, it.h.Count, true
	return true
}

// filter follows the transactions and reports whether to leave the batch out.
// An aborted transaction begins at its first offset and ends at the producer's
// next abort marker; a commit marker before it belongs to an earlier one.
func (it *Iter) filter(batch []byte) (drop bool, err error) {
	if !it.committed {
		return it.h.Control, nil
	}
	for len(it.aborted) > 0 && it.aborted[0].FirstOffset <= it.h.LastOffset {
		if id := it.aborted[0].ProducerID; !slices.Contains(it.dropping, id) {
			it.dropping = append(it.dropping, id)
		}
		it.aborted = it.aborted[1:]
	}
	if it.h.Control {
		m, err := readMarker(batch, &it.h)
		if err != nil {
			return true, err
		}
		if m == MarkerAbort {
			if i := slices.Index(it.dropping, it.h.ProducerID); i >= 0 {
				it.dropping = slices.Delete(it.dropping, i, i+1)
			}
		}
		return true, nil
	}
	return it.h.Transactional && slices.Contains(it.dropping, it.h.ProducerID), nil
}

// Marker is the kind of a control batch.
type Marker int16

// The markers that end a transaction. Others are of no concern to a reader.
const (
	MarkerAbort  Marker = 0
	MarkerCommit Marker = 1
)

// ReadMarker returns the kind of a control batch.
func ReadMarker(batch []byte) (Marker, error) {
	h, whole, _, err := ReadHeader(batch)
	if err != nil {
		return 0, err
	}
	return readMarker(whole, &h)
}

func readMarker(batch []byte, h *Header) (Marker, error) {
	var r Record
	it := Iter{h: *h, body: batch[HeaderBytes:]}
	if h.Count == 0 {
		return -1, nil // compaction may empty an old control batch
	}
	if !it.record(&r) {
		return 0, it.err
	}
	if len(r.Key) < 4 {
		return 0, fmt.Errorf("control batch at offset %d: key of %d bytes", h.BaseOffset, len(r.Key))
	}
	return Marker(binary.BigEndian.Uint16(r.Key[2:])), nil
}

// varint reads a zigzag varint at b[at:]; at < 0 on return says that b ends
// early.
func varint(b []byte, at int) (int64, int) {
	if at < len(b) && b[at] < 0x80 {
		u := b[at]
		return int64(u>>1) ^ -int64(u&1), at + 1
	}
	return longVarint(b, at)
}

func longVarint(b []byte, at int) (int64, int) {
	if at+1 < len(b) && b[at+1] < 0x80 { // two bytes: the size of most records
		u := uint64(b[at]&0x7f) | uint64(b[at+1])<<7
		return int64(u>>1) ^ -int64(u&1), at + 2
	}
	if at > len(b) {
		return 0, -1
	}
	u, n := binary.Uvarint(b[at:])
	if n <= 0 {
		return 0, -1
	}
	return int64(u>>1) ^ -int64(u&1), at + n
}

func (it *Iter) broken(what string) bool {
	it.err = fmt.Errorf("batch at offset %d: %s", it.h.BaseOffset, what)
	it.left = 0
	return false
}

// short reads the varint of at most two bytes at b[at:], as it is stored; at
// < 0 on return says that it is longer. b has two bytes there.
func short(b []byte, at int) (u uint64, next int) {
	if b[at] < 0x80 {
		return uint64(b[at]), at + 1
	}
	if b[at+1] < 0x80 {
		return uint64(b[at]&0x7f) | uint64(b[at+1])<<7, at + 2
	}
	return 0, -1
}

// simpleBytesMin is the size of a record from which its first fields can be
// read without looking at its end.
const simpleBytesMin = 9

// simple reads the record that comes next if it is of the usual form: a value,
// no headers, and all numbers short. Otherwise it reads nothing.
func (it *Iter) simple(r *Record) bool {
	b := it.body
	if len(b) < 2+simpleBytesMin {
		return false
	}
	size, at := short(b, 0)
	if at < 0 || size&1 != 0 || size>>1 < simpleBytesMin || size>>1 > uint64(len(b)-at) {
		return false
	}
	b = b[:at+int(size>>1)]
	timeDelta, at := short(b, at+1) // one byte of attributes, unused
	if at < 0 {
		return false
	}
	offsetDelta, at := short(b, at)
	if at < 0 || offsetDelta&1 != 0 {
		return false
	}
	n, at := short(b, at)
	if at < 0 {
		return false
	}
	var key []byte
	if n != 1 { // a key of -1 bytes is none
		if n&1 != 0 || int(n>>1) > len(b)-at-2 {
			return false
		}
		end := at + int(n>>1)
		key, at = b[at:end:end], end
	}
	n, at = short(b, at)
	// What is left of the record is the value and a zero: no headers.
	if at < 0 || n&1 != 0 || n>>1 != uint64(len(b)-at-1) || b[len(b)-1] != 0 {
		return false
	}
	r.Offset = it.h.BaseOffset + int64(offsetDelta>>1)
	if r.Offset > it.h.LastOffset {
		return false
	}
	r.Timestamp = it.h.FirstTime + (int64(timeDelta>>1) ^ -int64(timeDelta&1))
	if it.h.LogAppendTime {
		r.Timestamp = it.h.MaxTime
	}
	end := len(b) - 1
	r.Key, r.Value = key, b[at:end:end]
	r.nHeaders, r.headers = 0, nil
	it.body = it.body[len(b):]
	return true
}

// record reads one record from the current batch.
func (it *Iter) record(r *Record) bool {
	return it.simple(r) || it.general(r)
}

func (it *Iter) general(r *Record) bool {
	size, at := varint(it.body, 0)
	if at < 0 || size < 0 || size > int64(len(it.body)-at) {
		return it.broken("a record is longer than its batch")
	}
	b := it.body[at : at+int(size)]
	it.body = it.body[at+int(size):]

	timeDelta, at := varint(b, 1) // byte 0: attributes, unused
	if at < 0 {
		return it.broken("a record ends early")
	}
	offsetDelta, at := varint(b, at)
	if at < 0 {
		return it.broken("a record ends early")
	}
	r.Offset = it.h.BaseOffset + offsetDelta
	if it.h.LogAppendTime {
		r.Timestamp = it.h.MaxTime
	} else {
		r.Timestamp = it.h.FirstTime + timeDelta
	}
	if r.Offset > it.h.LastOffset || offsetDelta < 0 {
		return it.broken("a record lies outside its batch")
	}
	if r.Key, at = field(b, at); at < 0 {
		return it.broken("a record ends within its key")
	}
	if r.Value, at = field(b, at); at < 0 {
		return it.broken("a record ends within its value")
	}
	n, at := varint(b, at)
	if at < 0 || n < 0 || n > int64(len(b)) {
		return it.broken("a record's headers are broken")
	}
	r.nHeaders, r.headers = int(n), b[at:]
	return true
}

// field reads a nullable byte string; an empty one is not nil.
func field(b []byte, at int) ([]byte, int) {
	n, at := varint(b, at)
	if at < 0 {
		return nil, -1
	}
	if n < 0 {
		return nil, at
	}
	if n > int64(len(b)-at) {
		return nil, -1
	}
	end := at + int(n)
	return b[at:end:end], end
}

// Headers appends the headers of r to dst. Their values alias the record.
func (it *Iter) Headers(dst []formats.Header, r *Record) ([]formats.Header, error) {
	at := 0
	for range r.nHeaders {
		key, next := field(r.headers, at)
		if next < 0 || key == nil {
			return dst, fmt.Errorf("record at offset %d: its headers are broken", r.Offset)
		}
		val, next := field(r.headers, next)
		if next < 0 {
			return dst, fmt.Errorf("record at offset %d: its headers are broken", r.Offset)
		}
		at = next
		dst = append(dst, formats.Header{Key: it.name(key), Value: val})
	}
	return dst, nil
}

// name returns the header key as a string that outlives the record, shared
// between records as long as there are few.
func (it *Iter) name(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := it.names[unsafe.String(&b[0], len(b))]; ok {
		return s
	}
	s := string(b)
	if it.names == nil {
		it.names = map[string]string{}
	}
	if len(it.names) < namesMax {
		it.names[s] = s
	}
	return s
}

// HasHeaders reports whether r has any.
func (r *Record) HasHeaders() bool { return r.nHeaders > 0 }
