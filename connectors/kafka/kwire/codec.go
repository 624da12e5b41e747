package kwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

var errShort = errors.New("message ends early")

// cursor reads the primitive types of the protocol from b. The first fault
// sticks in err and later reads return zero values. Slices alias b.
type cursor struct {
	b        []byte
	flexible bool
	err      error
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.b = nil
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail(errShort)
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) i8() int8 {
	if b := c.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (c *cursor) i16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) i32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (c *cursor) i64() int64 {
	if b := c.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (c *cursor) uuid() (id [16]byte) {
	copy(id[:], c.take(16))
	return id
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail(errShort)
		return 0
	}
	c.b = c.b[n:]
	return v
}

// length reads the length of a string, -1 for null.
func (c *cursor) length() int {
	if !c.flexible {
		return int(c.i16())
	}
	return c.compactLength()
}

func (c *cursor) compactLength() int {
	n := c.uvarint()
	if n > math.MaxInt32 {
		c.fail(fmt.Errorf("length %d is out of range", n))
		return -1
	}
	return int(n) - 1
}

func (c *cursor) string() string {
	n := c.length()
	if n < 0 {
		return ""
	}
	return string(c.take(n))
}

// count reads the length of an array of elements of at least elemBytes each;
// null counts as empty. It bounds the count by what is left of the message,
// so that a broken message cannot ask for a large allocation.
func (c *cursor) count(elemBytes int) int {
	var n int
	if c.flexible {
		n = c.compactLength()
	} else {
		n = int(c.i32())
	}
	if n <= 0 {
		return 0
	}
	if n > len(c.b)/elemBytes {
		c.fail(fmt.Errorf("an array claims %d elements, only %d bytes are left", n, len(c.b)))
		return 0
	}
	return n
}

func (c *cursor) i32s() []int32 {
	n := c.count(4)
	out := make([]int32, 0, n)
	for range n {
		out = append(out, c.i32())
	}
	return out
}

// tags skips the tagged fields that end each structure of a flexible message.
func (c *cursor) tags() {
	if !c.flexible {
		return
	}
	n := c.uvarint()
	for i := uint64(0); i < n && c.err == nil; i++ {
		c.uvarint()
		c.take(int(min(c.uvarint(), math.MaxInt32)))
	}
}

// end reports the first fault. Bytes left over are none: newer brokers may
// append fields.
func (c *cursor) end(what string) error {
	if c.err != nil {
		return fmt.Errorf("decode %s: %w", what, c.err)
	}
	return nil
}

func putI16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func putI32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func putI64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func putString(b []byte, s string) []byte {
	b = putI16(b, int16(len(s)))
	return append(b, s...)
}

func putNullString(b []byte, s string) []byte {
	if s == "" {
		return putI16(b, -1)
	}
	return putString(b, s)
}

func putCompactString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s))+1)
	return append(b, s...)
}

func putCompactCount(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)+1) }

// appendHeader appends the request header (version 1, or 2 when flexible).
// The four bytes of the size come first and are filled in by the connection.
func appendHeader(b []byte, key, version int16, corr int32, clientID string, flexible bool) []byte {
	b = append(b, 0, 0, 0, 0)
	b = putI16(b, key)
	b = putI16(b, version)
	b = putI32(b, corr)
	b = putString(b, clientID)
	if flexible {
		b = append(b, 0)
	}
	return b
}
