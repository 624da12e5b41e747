package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/leatstream/leat/internal/scalar"
)

// keycode says how one part of a key is written. See docs/formats/keys.md.
type keycode uint8

const (
	keyBool keycode = iota + 1
	keyUint
	keyInt
	keyFloat
	keyText // a string or byte slice
	keyTime
	keyRaw // an array of bytes
	keyArray
	keySlice
	keyMap
	keyPointer
)

const (
	keyEnd   = 0x00 // ends a sequence; marks nil
	keyNext  = 0x01 // comes before each element; marks not nil
	textEnd  = 0x01 // after 0x00: the text ends
	textZero = 0xFF // after 0x00: the text has a byte 0x00 here
	signBit  = 1 << 63
)

// keyop is one part of a key, at offset off from the value's address.
type keyop struct {
	code keycode
	off  uintptr
	size uintptr
	n    int
	tail bool // nothing follows: a text needs no end mark
	sub  keyProgram
	key  keyProgram // of a map
	typ  *Type
	path string
}

type keyProgram []keyop

func buildKey(ops keyProgram, t *Type, off uintptr, tail bool, path string) keyProgram {
	o := keyop{off: off, size: t.Size, tail: tail, typ: t, path: path}
	switch {
	case t.Kind == KindStruct:
		for i, f := range t.Fields {
			ops = buildKey(ops, f.Type, off+f.Offset, tail && i == len(t.Fields)-1, path+"."+f.Name)
		}
		return ops
	case t.Kind == KindBool:
		o.code = keyBool
	case t.Kind.Signed():
		o.code = keyInt
	case t.Kind.Unsigned():
		o.code = keyUint
	case t.Kind == KindFloat32 || t.Kind == KindFloat64:
		o.code = keyFloat
	case t.Kind == KindString || t.Kind == KindBytes:
		o.code = keyText
	case t.Kind == KindTime:
		o.code = keyTime
	case t.Kind == KindArray && t.Elem.Kind == KindUint8:
		o.code = keyRaw
	case t.Kind == KindArray:
		o.code, o.n = keyArray, t.Len
	case t.Kind == KindSlice:
		o.code = keySlice
	case t.Kind == KindMap:
		o.code = keyMap
		o.key = buildKey(nil, t.Key, 0, false, path+"[key]")
	case t.Kind == KindPointer:
		o.code = keyPointer
		o.sub = buildKey(nil, t.Elem, 0, tail, path)
		return append(ops, o)
	}
	if t.Elem != nil && o.code != keyRaw {
		o.sub = buildKey(nil, t.Elem, 0, false, path+"[]")
	}
	return append(ops, o)
}

// append writes the canonical encoding of the key at p.
func (pr keyProgram) append(dst []byte, p unsafe.Pointer) []byte {
	for i := range pr {
		o := &pr[i]
		q := unsafe.Add(p, o.off)
		switch o.code {
		case keyText:
			dst = o.appendText(dst, *(*string)(q)) // a byte slice begins like a string
		case keyInt:
			dst = appendBig(dst, uint64(scalar.Int(q, o.size))^1<<(8*o.wide()-1), o.wide())
		case keyUint:
			dst = appendBig(dst, scalar.Uint(q, o.size), o.wide())
		case keyBool:
			dst = append(dst, boolByte(*(*bool)(q)))
		case keyFloat:
			dst = o.appendFloat(dst, q)
		case keyTime:
			sec, nanos := instant(q)
			dst = binary.BigEndian.AppendUint64(dst, uint64(sec)^signBit)
			dst = binary.BigEndian.AppendUint32(dst, nanos)
		case keyRaw:
			dst = append(dst, unsafe.Slice((*byte)(q), o.size)...)
		case keyArray:
			for j := range o.n {
				dst = o.sub.append(dst, unsafe.Add(q, uintptr(j)*o.typ.Elem.Size))
			}
		case keySlice:
			h := (*sliceHeader)(q)
			for j := range h.len {
				dst = o.sub.append(append(dst, keyNext), unsafe.Add(h.data, uintptr(j)*o.typ.Elem.Size))
			}
			dst = append(dst, keyEnd)
		case keyMap:
			dst = o.appendMap(dst, q)
		case keyPointer:
			to := *(*unsafe.Pointer)(q)
			if to == nil {
				dst = append(dst, keyEnd)
				continue
			}
			dst = o.sub.append(append(dst, keyNext), to)
		}
	}
	return dst
}

// wide is the number of bytes of an integer or float in the encoding.
func (o *keyop) wide() int { return o.typ.Kind.bits() / 8 }

func (o *keyop) appendText(dst []byte, s string) []byte {
	if o.tail {
		return append(dst, s...)
	}
	for {
		i := bytes.IndexByte(unsafe.Slice(unsafe.StringData(s), len(s)), 0)
		if i < 0 {
			break
		}
		dst = append(append(dst, s[:i]...), 0, textZero)
		s = s[i+1:]
	}
	return append(append(dst, s...), 0, textEnd)
}

// appendBig writes the low n bytes of v, the highest first.
func appendBig(dst []byte, v uint64, n int) []byte {
	switch n {
	case 8:
		return binary.BigEndian.AppendUint64(dst, v)
	case 4:
		return binary.BigEndian.AppendUint32(dst, uint32(v))
	case 2:
		return binary.BigEndian.AppendUint16(dst, uint16(v))
	}
	return append(dst, byte(v))
}

func (o *keyop) appendFloat(dst []byte, q unsafe.Pointer) []byte {
	if o.size == 4 {
		f := *(*float32)(q)
		b := math.Float32bits(f)
		switch {
		case f == 0:
			b = 0
		case f != f:
			b = 0x7FC00000
		}
		if b>>31 == 1 {
			b = ^b
		} else {
			b |= 1 << 31
		}
		return binary.BigEndian.AppendUint32(dst, b)
	}
	f := *(*float64)(q)
	b := math.Float64bits(f)
	switch {
	case f == 0:
		b = 0
	case f != f:
		b = 0x7FF8000000000000
	}
	if b>>63 == 1 {
		b = ^b
	} else {
		b |= signBit
	}
	return binary.BigEndian.AppendUint64(dst, b)
}

func (o *keyop) appendMap(dst []byte, q unsafe.Pointer) []byte {
	if *(*unsafe.Pointer)(q) == nil {
		return append(dst, keyEnd)
	}
	var spans []span
	eachEntry(o.typ, q, func(key, val unsafe.Pointer) {
		s := span{from: len(dst)}
		dst = o.key.append(append(dst, keyNext), key)
		s.keyEnd = len(dst)
		dst = o.sub.append(dst, val)
		s.to = len(dst)
		spans = append(spans, s)
	})
	return append(sortSpans(dst, spans), keyEnd)
}

// decode reads a key that append wrote into the zero value at p.
func (pr keyProgram) decode(src []byte, p unsafe.Pointer) ([]byte, error) {
	var err error
	for i := range pr {
		o := &pr[i]
		q := unsafe.Add(p, o.off)
		switch o.code {
		case keyText:
			src, err = o.decodeText(src, q)
		case keyArray:
			for j := 0; j < o.n && err == nil; j++ {
				src, err = o.sub.decode(src, unsafe.Add(q, uintptr(j)*o.typ.Elem.Size))
			}
		case keySlice, keyMap, keyPointer:
			src, err = o.decodeParts(src, q)
		default:
			src, err = o.decodeFixed(src, q)
		}
		if err != nil {
			return nil, err
		}
	}
	return src, nil
}

func (o *keyop) decodeFixed(src []byte, q unsafe.Pointer) ([]byte, error) {
	n := o.fixedBytes()
	if len(src) < n {
		return nil, o.damaged("is cut short")
	}
	switch o.code {
	case keyBool:
		if src[0] > 1 {
			return nil, o.damaged("has a bool that is neither 0 nor 1")
		}
		*(*bool)(q) = src[0] == 1
	case keyRaw:
		copy(unsafe.Slice((*byte)(q), n), src)
	case keyTime:
		nanos := binary.BigEndian.Uint32(src[8:])
		if nanos >= 1e9 {
			return nil, o.damaged("has a time with too many nanoseconds")
		}
		setInstant(q, int64(binary.BigEndian.Uint64(src)^signBit), nanos)
	default:
		return src[n:], o.decodeNumber(loadBig(src, n), n, q)
	}
	return src[n:], nil
}

func (o *keyop) fixedBytes() int {
	switch o.code {
	case keyBool:
		return 1
	case keyRaw:
		return int(o.size)
	case keyTime:
		return timeBytes
	}
	return o.wide()
}

func loadBig(src []byte, n int) uint64 {
	var v uint64
	for _, b := range src[:n] {
		v = v<<8 | uint64(b)
	}
	return v
}

// decodeNumber stores a number whose n encoded bytes are v.
func (o *keyop) decodeNumber(v uint64, n int, q unsafe.Pointer) error {
	top := uint64(1) << (8*n - 1)
	switch o.code {
	case keyInt:
		v ^= top
	case keyFloat:
		if v&top != 0 {
			v &^= top
		} else {
			v = ^v
		}
	}
	if int(o.size) == n {
		scalar.Store(q, v, uintptr(n))
		return nil
	}
	w := op{typ: o.typ, path: o.path}
	return w.storeWord(q, v)
}

func (o *keyop) decodeText(src []byte, q unsafe.Pointer) ([]byte, error) {
	if o.tail {
		o.setText(q, src)
		return nil, nil
	}
	var text []byte
	for {
		i := bytes.IndexByte(src, 0)
		if i < 0 || i+1 == len(src) {
			return nil, o.damaged("has a text without an end")
		}
		text = append(text, src[:i]...)
		mark := src[i+1]
		src = src[i+2:]
		if mark == textEnd {
			o.setText(q, text)
			return src, nil
		}
		if mark != textZero {
			return nil, o.damaged("has a text with an unknown mark")
		}
		text = append(text, 0)
	}
}

func (o *keyop) setText(q unsafe.Pointer, b []byte) {
	if o.typ.Kind == KindString {
		*(*string)(q) = string(b)
	} else if len(b) > 0 {
		*(*[]byte)(q) = bytes.Clone(b)
	}
}

// next reads the mark before an element.
func (o *keyop) next(src []byte) (more bool, rest []byte, err error) {
	if len(src) == 0 || src[0] > keyNext {
		return false, nil, o.damaged("has a sequence without an end")
	}
	return src[0] == keyNext, src[1:], nil
}

func (o *keyop) decodeParts(src []byte, q unsafe.Pointer) ([]byte, error) {
	more, src, err := o.next(src)
	if err != nil || !more {
		return src, err
	}
	if o.code == keyPointer {
		to := reflect.New(o.typ.Elem.Go).UnsafePointer()
		*(*unsafe.Pointer)(q) = to
		return o.sub.decode(src, to)
	}
	box := reflect.New(o.typ.Go)
	all := box.Elem()
	if o.code == keyMap {
		all.Set(reflect.MakeMap(o.typ.Go))
	}
	for more && err == nil {
		elem := reflect.New(o.typ.Elem.Go)
		if o.code == keyMap {
			key := reflect.New(o.typ.Key.Go)
			if src, err = o.key.decode(src, key.UnsafePointer()); err != nil {
				return nil, err
			}
			if src, err = o.sub.decode(src, elem.UnsafePointer()); err != nil {
				return nil, err
			}
			all.SetMapIndex(key.Elem(), elem.Elem())
		} else {
			if src, err = o.sub.decode(src, elem.UnsafePointer()); err != nil {
				return nil, err
			}
			all.Set(reflect.Append(all, elem.Elem()))
		}
		more, src, err = o.next(src)
	}
	if err != nil {
		return nil, err
	}
	if o.code == keyMap {
		*(*unsafe.Pointer)(q) = *(*unsafe.Pointer)(box.UnsafePointer())
	} else {
		*(*sliceHeader)(q) = *(*sliceHeader)(box.UnsafePointer())
	}
	return src, nil
}

func (o *keyop) damaged(what string) error {
	return fmt.Errorf("codec: %s: the key %s: the bytes are damaged or of another type", o.path, what)
}
