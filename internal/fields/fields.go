// Package fields reads the fields of a small stored state one after the
// other: numbers and strings of bytes, as encoding/binary appends them. It
// knows no format; versions and counts are the caller's.
package fields

import "encoding/binary"

// Reader takes fields from the front of what it was made of. After the first
// fault all fields are zero and Bad is true, so that a caller need look only
// once, at the end; a loop whose bound was read looks in each round. It is not
// safe for concurrent use.
type Reader struct {
	rest []byte
	bad  bool
}

// Read returns a reader of b, which must not change while it is in use.
func Read(b []byte) Reader { return Reader{rest: b} }

// Bad reports whether a field was not there.
func (r *Reader) Bad() bool { return r.bad }

// Whole reports whether all of the state was read without a fault.
func (r *Reader) Whole() bool { return !r.bad && len(r.rest) == 0 }

// Uvarint reads a number as binary.AppendUvarint writes it.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Varint reads a number as binary.AppendVarint writes it.
func (r *Reader) Varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Below reads an unsigned number that must be less than n; another is a fault.
func (r *Reader) Below(n int) int {
	v := r.Uvarint()
	if v >= uint64(max(n, 0)) {
		r.fail()
		return 0
	}
	return int(v)
}

// Count reads the length of a list whose elements take at least a byte each.
// One beyond what is left is a fault, so that a forged length takes no memory.
func (r *Reader) Count() int {
	n := r.Uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return int(n)
}

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}

// Bytes reads a length and as many bytes: a part of the state, not a copy.
func (r *Reader) Bytes() []byte {
	n := r.Uvarint()
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}

// Fixed64 reads eight bytes, the lowest first.
func (r *Reader) Fixed64() uint64 {
	if len(r.rest) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

func (r *Reader) fail() { r.rest, r.bad = nil, true }
