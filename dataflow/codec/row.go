package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// append writes the row form of the value at p.
func (pr *program) append(dst []byte, p unsafe.Pointer) []byte {
	for i := range pr.ops {
		o := &pr.ops[i]
		q := unsafe.Add(p, o.off)
		switch o.code {
		case opCopy:
			dst = append(dst, unsafe.Slice((*byte)(q), o.size)...)
		case opString:
			s := *(*string)(q)
			dst = appendCount(dst, len(s))
			dst = append(dst, s...)
		case opBool:
			dst = append(dst, boolByte(*(*bool)(q)))
		case opNumber:
			dst = appendNumber(dst, q, o.size)
		case opInt:
			dst = binary.LittleEndian.AppendUint64(dst, loadWord(q, o.typ))
		case opBytes:
			b := *(*[]byte)(q)
			if b == nil {
				dst = append(dst, 0)
				continue
			}
			dst = appendCount(dst, len(b)+1)
			dst = append(dst, b...)
		case opTime:
			sec, nanos := instant(q)
			dst = binary.LittleEndian.AppendUint64(dst, uint64(sec))
			dst = binary.LittleEndian.AppendUint32(dst, nanos)
		case opArray:
			for j := range o.n {
				dst = o.sub.append(dst, unsafe.Add(q, uintptr(j)*o.sub.size))
			}
		case opSlice:
			dst = o.appendSlice(dst, (*sliceHeader)(q))
		case opMap:
			dst = o.appendMap(dst, q)
		case opPointer:
			to := *(*unsafe.Pointer)(q)
			if to == nil {
				dst = append(dst, 0)
				continue
			}
			dst = o.sub.append(append(dst, 1), to)
		}
	}
	return dst
}

// sliceHeader is how a slice lies in memory.
type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

func (o *op) appendSlice(dst []byte, h *sliceHeader) []byte {
	if h.data == nil {
		return append(dst, 0)
	}
	dst = appendCount(dst, h.len+1)
	if o.sub.plain() {
		return append(dst, unsafe.Slice((*byte)(h.data), uintptr(h.len)*o.sub.size)...)
	}
	for j := range h.len {
		dst = o.sub.append(dst, unsafe.Add(h.data, uintptr(j)*o.sub.size))
	}
	return dst
}

// appendCount writes a length as an unsigned varint.
func appendCount(dst []byte, n int) []byte {
	if n < 0x80 {
		return append(dst, byte(n))
	}
	return binary.AppendUvarint(dst, uint64(n))
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendNumber(dst []byte, q unsafe.Pointer, size uintptr) []byte {
	switch size {
	case 1:
		return append(dst, *(*byte)(q))
	case 2:
		return binary.LittleEndian.AppendUint16(dst, *(*uint16)(q))
	case 4:
		return binary.LittleEndian.AppendUint32(dst, *(*uint32)(q))
	}
	return binary.LittleEndian.AppendUint64(dst, *(*uint64)(q))
}

// loadWord reads an int or uint that is narrower than 64 bits in memory.
func loadWord(q unsafe.Pointer, t *Type) uint64 {
	if t.Kind.Signed() {
		return uint64(int64(*(*int32)(q)))
	}
	return uint64(*(*uint32)(q))
}

func (o *op) storeWord(q unsafe.Pointer, v uint64) error {
	if o.typ.Kind.Signed() {
		if int64(v) != int64(int32(v)) {
			return fmt.Errorf("codec: %s: %d does not fit the int of this platform: use int64", o.path, int64(v))
		}
	} else if v > math.MaxUint32 {
		return fmt.Errorf("codec: %s: %d does not fit the uint of this platform: use uint64", o.path, v)
	}
	*(*uint32)(q) = uint32(v)
	return nil
}

// decode reads the row form into the zero value at p and returns what
// follows. With alias set, strings and byte slices refer to src.
func (pr *program) decode(src []byte, p unsafe.Pointer, alias bool) ([]byte, error) {
	var err error
	for i := range pr.ops {
		o := &pr.ops[i]
		q := unsafe.Add(p, o.off)
		switch o.code {
		case opCopy:
			if uintptr(len(src)) < o.size {
				return nil, o.short(src, int(o.size))
			}
			copy(unsafe.Slice((*byte)(q), o.size), src)
			src = src[o.size:]
		case opString:
			var b []byte
			if b, src, err = o.take(src, 0); err != nil {
				return nil, err
			}
			*(*string)(q) = makeString(b, alias)
		case opBytes:
			src, err = o.decodeBytes(src, (*[]byte)(q), alias)
		case opArray:
			for j := 0; j < o.n && err == nil; j++ {
				src, err = o.sub.decode(src, unsafe.Add(q, uintptr(j)*o.sub.size), alias)
			}
		case opSlice:
			src, err = o.decodeSlice(src, (*sliceHeader)(q), alias)
		case opMap:
			src, err = o.decodeMap(src, q, alias)
		case opPointer:
			src, err = o.decodePointer(src, (*unsafe.Pointer)(q), alias)
		default:
			src, err = o.decodeScalar(src, q)
		}
		if err != nil {
			return nil, err
		}
	}
	return src, nil
}

// decodeIn reads a row form that fills src. Of a row whose texts are all fields
// only these are copied, of another the whole form.
func (pr *program) decodeIn(a *Arena, src []byte, p unsafe.Pointer) error {
	if pr.deep {
		src = a.Bytes(src)
	}
	rest, err := pr.decode(src, p, true)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("codec: %d bytes follow the row: the bytes are damaged or of another type", len(rest))
	}
	if !pr.deep {
		pr.keepTexts(a, p)
	}
	return nil
}

// keepTexts moves the texts of a row that was decoded into the arena.
func (pr *program) keepTexts(a *Arena, p unsafe.Pointer) {
	for i := range pr.ops {
		q := unsafe.Add(p, pr.ops[i].off)
		switch pr.ops[i].code {
		case opString:
			s := (*string)(q)
			*s = a.String(unsafe.Slice(unsafe.StringData(*s), len(*s)))
		case opBytes:
			switch b := (*[]byte)(q); {
			case len(*b) > 0:
				*b = a.Bytes(*b)
			case *b != nil:
				*b = []byte{} // an empty one must not hold on to src
			}
		}
	}
}

func (o *op) decodeScalar(src []byte, q unsafe.Pointer) ([]byte, error) {
	need := o.scalarBytes()
	if len(src) < need {
		return nil, o.short(src, need)
	}
	switch o.code {
	case opBool:
		if src[0] > 1 {
			return nil, fmt.Errorf("codec: %s: a bool of value %d: the bytes are damaged or of another type", o.path, src[0])
		}
		*(*bool)(q) = src[0] == 1
	case opNumber:
		storeNumber(q, src, o.size)
	case opInt:
		if err := o.storeWord(q, binary.LittleEndian.Uint64(src)); err != nil {
			return nil, err
		}
	case opTime:
		nanos := binary.LittleEndian.Uint32(src[8:])
		if nanos >= 1e9 {
			return nil, fmt.Errorf("codec: %s: a time with %d nanoseconds: the bytes are damaged or of another type", o.path, nanos)
		}
		setInstant(q, int64(binary.LittleEndian.Uint64(src)), nanos)
	}
	return src[need:], nil
}

func (o *op) scalarBytes() int {
	switch o.code {
	case opBool:
		return 1
	case opInt:
		return 8
	case opTime:
		return timeBytes
	}
	return int(o.size)
}

func storeNumber(q unsafe.Pointer, src []byte, size uintptr) {
	switch size {
	case 1:
		*(*byte)(q) = src[0]
	case 2:
		*(*uint16)(q) = binary.LittleEndian.Uint16(src)
	case 4:
		*(*uint32)(q) = binary.LittleEndian.Uint32(src)
	default:
		*(*uint64)(q) = binary.LittleEndian.Uint64(src)
	}
}

// take reads a length, subtracts bias, and returns so many bytes and the rest.
func (o *op) take(src []byte, bias uint64) (b, rest []byte, err error) {
	if len(src) > 0 && src[0] < 0x80 {
		n := int(src[0]) - int(bias)
		if n >= 0 && n < len(src) {
			return src[1 : 1+n : 1+n], src[1+n:], nil
		}
	}
	v, w := binary.Uvarint(src)
	if w <= 0 || v < bias {
		return nil, nil, o.short(src, 1)
	}
	v -= bias
	src = src[w:]
	if v > uint64(len(src)) {
		return nil, nil, fmt.Errorf("codec: %s: a length of %d with %d bytes left: the bytes are damaged or of another type", o.path, v, len(src))
	}
	return src[:v:v], src[v:], nil
}

func (o *op) decodeBytes(src []byte, to *[]byte, alias bool) ([]byte, error) {
	if len(src) > 0 && src[0] == 0 {
		*to = nil
		return src[1:], nil
	}
	b, rest, err := o.take(src, 1)
	if err != nil {
		return nil, err
	}
	if !alias {
		b = append(make([]byte, 0, len(b)), b...)
	}
	*to = b
	return rest, nil
}

func (o *op) decodePointer(src []byte, to *unsafe.Pointer, alias bool) ([]byte, error) {
	if len(src) < 1 {
		return nil, o.short(src, 1)
	}
	switch src[0] {
	case 0:
		*to = nil
		return src[1:], nil
	case 1:
		*to = o.newElem()
		return o.sub.decode(src[1:], *to, alias)
	}
	return nil, fmt.Errorf("codec: %s: a presence byte of %d: the bytes are damaged or of another type", o.path, src[0])
}

// count reads the number of elements plus one, and bounds it by the bytes
// left, so that damaged bytes cannot ask for more memory than a small
// multiple of their own length.
func (o *op) count(src []byte, least int) (n int, null bool, rest []byte, err error) {
	v, w := binary.Uvarint(src)
	if w <= 0 {
		return 0, false, nil, o.short(src, 1)
	}
	src = src[w:]
	if v == 0 {
		return 0, true, src, nil
	}
	v--
	if v > uint64(len(src)/max(1, least)) {
		return 0, false, nil, fmt.Errorf("codec: %s: %d elements with %d bytes left: the bytes are damaged or of another type", o.path, v, len(src))
	}
	return int(v), false, src, nil
}

func (o *op) decodeSlice(src []byte, h *sliceHeader, alias bool) ([]byte, error) {
	n, null, src, err := o.count(src, o.sub.min)
	if err != nil {
		return nil, err
	}
	if null {
		*h = sliceHeader{}
		return src, nil
	}
	*h = sliceHeader{data: o.newSlice(n), len: n, cap: n}
	if o.sub.plain() {
		size := n * int(o.sub.size)
		copy(unsafe.Slice((*byte)(h.data), size), src)
		return src[size:], nil
	}
	for j := 0; j < n && err == nil; j++ {
		src, err = o.sub.decode(src, unsafe.Add(h.data, uintptr(j)*o.sub.size), alias)
	}
	return src, err
}

func (o *op) short(src []byte, need int) error {
	return fmt.Errorf("codec: %s: needs %d bytes, %d are left: the bytes are cut short, damaged or of another type", o.path, need, len(src))
}

// makeString makes a string of b, which it copies unless alias is set.
func makeString(b []byte, alias bool) string {
	if !alias || len(b) == 0 {
		return string(b)
	}
	return unsafe.String(&b[0], len(b))
}
