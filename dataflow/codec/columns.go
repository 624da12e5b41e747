package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// colcode says how one column is written.
type colcode uint8

const (
	colNumber colcode = iota + 1 // numbers of a width of 1, 2, 4 or 8 bytes
	colWord                      // ints narrower than 64 bits in memory, as 8 bytes
	colBool                      // a bitmap
	colString                    // end offsets, then the bytes of all
	colTime                      // seconds of all, then nanoseconds of all
	colFixed                     // fixed-size row forms (arrays)
	colPacked                    // a length, then row forms of any size
)

// column is one field of the flattened type, at offset off from a row.
type column struct {
	code  colcode
	off   uintptr
	width uintptr  // number: bytes
	rows  *program // fixed, packed: the row form
	op    *op      // for errors and words
}

// buildColumns flattens structs into columns, in field order.
func (l layout) buildColumns(cols []column, t *Type, off uintptr, path string) []column {
	if t.Kind == KindStruct {
		for _, f := range t.Fields {
			cols = l.buildColumns(cols, f.Type, off+f.Offset, path+"."+f.Name)
		}
		return cols
	}
	if t.Kind == KindArray && t.Len == 0 {
		return cols
	}
	pr := l.build(t, path)
	if pr.fixed && pr.min == 0 {
		return cols
	}
	c := column{off: off, op: &pr.ops[0], rows: pr}
	switch t.Kind {
	case KindBool:
		c.code = colBool
	case KindString:
		c.code = colString
	case KindTime:
		c.code = colTime
	case KindArray:
		c.code = colPacked
		if pr.fixed {
			c.code = colFixed
		}
	case KindBytes, KindSlice, KindMap, KindPointer:
		c.code = colPacked
	default:
		c.code, c.width = colNumber, t.Size
		if pr.ops[0].code == opInt {
			c.code = colWord
		}
	}
	return append(cols, c)
}

// bits is the least number of bits that a row takes in the column.
func (c *column) bits() int {
	switch c.code {
	case colBool:
		return 1
	case colString:
		return 32
	}
	return 8 * c.rows.min
}

// extent is a run of rows in memory.
type extent struct {
	base   unsafe.Pointer
	stride uintptr
	n      int
}

// grow adds n bytes to dst and returns it with the added part.
func grow(dst []byte, n int) (all, added []byte) {
	if cap(dst)-len(dst) < n {
		dst = append(make([]byte, 0, max(2*cap(dst), len(dst)+n)), dst...)
	}
	all = dst[:len(dst)+n]
	return all, all[len(dst):]
}

// append writes the column of the rows of x.
func (c *column) append(dst []byte, x extent) []byte {
	p := unsafe.Add(x.base, c.off)
	switch c.code {
	case colNumber:
		dst, out := grow(dst, x.n*int(c.width))
		gatherNumbers(out, p, x, c.width)
		return dst
	case colWord:
		for i := range x.n {
			dst = binary.LittleEndian.AppendUint64(dst, loadWord(unsafe.Add(p, uintptr(i)*x.stride), c.op.typ))
		}
		return dst
	case colBool:
		dst, out := grow(dst, (x.n+7)/8)
		clear(out)
		for i := range x.n {
			out[i/8] |= boolByte(*(*bool)(unsafe.Add(p, uintptr(i)*x.stride))) << (i % 8)
		}
		return dst
	case colString:
		return appendStrings(dst, p, x)
	case colTime:
		dst, out := grow(dst, x.n*timeBytes)
		secs, nanos := out[:8*x.n], out[8*x.n:]
		for i := range x.n {
			s, ns := instant(unsafe.Add(p, uintptr(i)*x.stride))
			binary.LittleEndian.PutUint64(secs[8*i:], uint64(s))
			binary.LittleEndian.PutUint32(nanos[4*i:], ns)
		}
		return dst
	case colFixed:
		for i := range x.n {
			dst = c.rows.append(dst, unsafe.Add(p, uintptr(i)*x.stride))
		}
		return dst
	}
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for i := range x.n {
		dst = c.rows.append(dst, unsafe.Add(p, uintptr(i)*x.stride))
	}
	binary.LittleEndian.PutUint32(dst[at:], checkedLength(len(dst)-at-4))
	return dst
}

// checkedLength panics when a column of one batch exceeds 4 GiB: batches are
// bounded in rows, and records far below that size by every source.
func checkedLength(n int) uint32 {
	if uint64(n) > math.MaxUint32 {
		panic(fmt.Sprintf("codec: a column of %d bytes in one batch: the limit is %d", n, uint32(math.MaxUint32)))
	}
	return uint32(n)
}

func gatherNumbers(out []byte, p unsafe.Pointer, x extent, width uintptr) {
	switch width {
	case 1:
		for i := range x.n {
			out[i] = *(*byte)(unsafe.Add(p, uintptr(i)*x.stride))
		}
	case 2:
		for i := range x.n {
			binary.LittleEndian.PutUint16(out[2*i:], *(*uint16)(unsafe.Add(p, uintptr(i)*x.stride)))
		}
	case 4:
		for i := range x.n {
			binary.LittleEndian.PutUint32(out[4*i:], *(*uint32)(unsafe.Add(p, uintptr(i)*x.stride)))
		}
	case 8:
		for i := range x.n {
			binary.LittleEndian.PutUint64(out[8*i:], *(*uint64)(unsafe.Add(p, uintptr(i)*x.stride)))
		}
	}
}

func appendStrings(dst []byte, p unsafe.Pointer, x extent) []byte {
	total := 0
	dst, ends := grow(dst, 4*x.n)
	for i := range x.n {
		total += len(*(*string)(unsafe.Add(p, uintptr(i)*x.stride)))
		binary.LittleEndian.PutUint32(ends[4*i:], uint32(total))
	}
	checkedLength(total)
	dst, text := grow(dst, total)
	at := 0
	for i := range x.n {
		at += copy(text[at:], *(*string)(unsafe.Add(p, uintptr(i)*x.stride)))
	}
	return dst
}

// decode fills the column of the zero rows of x from src, to which strings
// and byte slices then refer, and returns what follows.
func (c *column) decode(src []byte, x extent) ([]byte, error) {
	p := unsafe.Add(x.base, c.off)
	switch c.code {
	case colNumber:
		return c.decodeNumbers(src, p, x)
	case colWord:
		return c.eachRow(src, p, x)
	case colBool:
		return c.decodeBools(src, p, x)
	case colString:
		return c.decodeStrings(src, p, x)
	case colTime:
		return c.decodeTimes(src, p, x)
	case colFixed:
		return c.eachRow(src, p, x)
	}
	if len(src) < 4 {
		return nil, c.op.short(src, 4)
	}
	size := binary.LittleEndian.Uint32(src)
	src = src[4:]
	if uint64(size) > uint64(len(src)) {
		return nil, c.op.short(src, int(size))
	}
	left, err := c.eachRow(src[:size:size], p, x)
	if err != nil {
		return nil, err
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("codec: %s: %d bytes follow the last row of the column: the bytes are damaged or of another type", c.op.path, len(left))
	}
	return src[size:], nil
}

func (c *column) eachRow(src []byte, p unsafe.Pointer, x extent) (rest []byte, err error) {
	for i := range x.n {
		if src, err = c.rows.decode(src, unsafe.Add(p, uintptr(i)*x.stride), true); err != nil {
			return nil, err
		}
	}
	return src, nil
}

func (c *column) decodeNumbers(src []byte, p unsafe.Pointer, x extent) ([]byte, error) {
	size := x.n * int(c.width)
	if len(src) < size {
		return nil, c.op.short(src, size)
	}
	in := src[:size]
	switch c.width {
	case 1:
		for i := range x.n {
			*(*byte)(unsafe.Add(p, uintptr(i)*x.stride)) = in[i]
		}
	case 2:
		for i := range x.n {
			*(*uint16)(unsafe.Add(p, uintptr(i)*x.stride)) = binary.LittleEndian.Uint16(in[2*i:])
		}
	case 4:
		for i := range x.n {
			*(*uint32)(unsafe.Add(p, uintptr(i)*x.stride)) = binary.LittleEndian.Uint32(in[4*i:])
		}
	case 8:
		for i := range x.n {
			*(*uint64)(unsafe.Add(p, uintptr(i)*x.stride)) = binary.LittleEndian.Uint64(in[8*i:])
		}
	}
	return src[size:], nil
}

func (c *column) decodeBools(src []byte, p unsafe.Pointer, x extent) ([]byte, error) {
	size := (x.n + 7) / 8
	if len(src) < size {
		return nil, c.op.short(src, size)
	}
	if x.n%8 != 0 && src[size-1]>>(x.n%8) != 0 {
		return nil, fmt.Errorf("codec: %s: bits beyond the last row are set: the bytes are damaged or of another type", c.op.path)
	}
	for i := range x.n {
		*(*bool)(unsafe.Add(p, uintptr(i)*x.stride)) = src[i/8]>>(i%8)&1 == 1
	}
	return src[size:], nil
}

func (c *column) decodeStrings(src []byte, p unsafe.Pointer, x extent) ([]byte, error) {
	if len(src) < 4*x.n {
		return nil, c.op.short(src, 4*x.n)
	}
	ends, text := src[:4*x.n], src[4*x.n:]
	from := uint32(0)
	for i := range x.n {
		end := binary.LittleEndian.Uint32(ends[4*i:])
		if end < from || uint64(end) > uint64(len(text)) {
			return nil, fmt.Errorf("codec: %s: row %d ends at %d, the row before at %d, with %d bytes left: the bytes are damaged or of another type", c.op.path, i, end, from, len(text))
		}
		if end > from {
			*(*string)(unsafe.Add(p, uintptr(i)*x.stride)) = unsafe.String(&text[from], int(end-from))
		}
		from = end
	}
	return text[from:], nil
}

func (c *column) decodeTimes(src []byte, p unsafe.Pointer, x extent) ([]byte, error) {
	if len(src) < timeBytes*x.n {
		return nil, c.op.short(src, timeBytes*x.n)
	}
	secs, nanos := src[:8*x.n], src[8*x.n:]
	for i := range x.n {
		ns := binary.LittleEndian.Uint32(nanos[4*i:])
		if ns >= 1e9 {
			return nil, fmt.Errorf("codec: %s: row %d has a time with %d nanoseconds: the bytes are damaged or of another type", c.op.path, i, ns)
		}
		setInstant(unsafe.Add(p, uintptr(i)*x.stride), int64(binary.LittleEndian.Uint64(secs[8*i:])), ns)
	}
	return src[timeBytes*x.n:], nil
}
