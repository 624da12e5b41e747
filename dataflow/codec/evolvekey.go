package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unsafe"
)

// KeysCompatibleWith returns a decoder of the key forms that were written
// under an older schema, in the way of CompatibleWith. Keys that differ stay
// different: no field may be gone.
func (c *Codec[T]) KeysCompatibleWith(oldSchema string) (func(src []byte, v *T) error, error) {
	read, err := c.c.keysCompatible(oldSchema)
	if err != nil {
		return nil, err
	}
	return func(src []byte, v *T) error {
		var zero T
		*v = zero
		return read(src, unsafe.Pointer(v))
	}, nil
}

// keysCompatible returns what reads the key form of an older type into the
// zero value at q.
func (c *core) keysCompatible(oldSchema string) (func(src []byte, q unsafe.Pointer) error, error) {
	if oldSchema == c.schema {
		return c.decodeKey, nil
	}
	old, err := ParseSchema(oldSchema)
	if err != nil {
		return nil, err
	}
	name := typeName(c.typ.Go)
	read, err := evolve(old, c.typ, name)
	if err != nil {
		return nil, err
	}
	if err := keepsKeys(old, c.typ, name); err != nil {
		return nil, err
	}
	return func(src []byte, q unsafe.Pointer) error {
		row, rest, err := keyToRow(nil, src, old, true)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("codec: %s: %d bytes follow the key: the bytes are damaged or of another type", name, len(rest))
		}
		if err != nil {
			return err
		}
		_, err = read(row, q)
		return err
	}, nil
}

// keepsKeys says where keys of an older type could become equal.
func keepsKeys(old, now *Type, path string) error {
	if old.Kind != KindStruct || now.Kind != KindStruct {
		if old.Elem != nil && now.Elem != nil {
			return keepsKeys(old.Elem, now.Elem, path)
		}
		return nil
	}
fields:
	for _, of := range old.Fields {
		for _, nf := range now.Fields {
			if nf.Name == of.Name || slices.Contains(nf.Was, of.Name) {
				if err := keepsKeys(of.Type, nf.Type, path+"."+nf.Name); err != nil {
					return err
				}
				continue fields
			}
		}
		return fmt.Errorf("codec: %s: the field %s is gone from a key, so that keys that differed would be one: keep it, or give the state another name", path, of.Name)
	}
	return nil
}

var errKey = fmt.Errorf("codec: a key is cut short, damaged or of another type")

// keyToRow makes of the key form at the start of src the row form of the same
// value. tail says that nothing can follow the value in the key.
func keyToRow(dst, src []byte, t *Type, tail bool) (row, rest []byte, err error) {
	switch t.Kind {
	case KindStruct:
		for i, f := range t.Fields {
			if dst, src, err = keyToRow(dst, src, f.Type, tail && i == len(t.Fields)-1); err != nil {
				return nil, nil, err
			}
		}
		return dst, src, nil
	case KindString, KindBytes:
		return textToRow(dst, src, t, tail)
	case KindArray:
		for i := 0; i < t.Len && err == nil; i++ {
			dst, src, err = keyToRow(dst, src, t.Elem, false)
		}
		return dst, src, err
	case KindPointer:
		if len(src) == 0 || src[0] > keyNext {
			return nil, nil, errKey
		}
		dst = append(dst, src[0])
		if src[0] == keyEnd {
			return dst, src[1:], nil
		}
		return keyToRow(dst, src[1:], t.Elem, tail)
	case KindSlice, KindMap:
		return partsToRow(dst, src, t)
	}
	return numberToRow(dst, src, t)
}

func textToRow(dst, src []byte, t *Type, tail bool) (row, rest []byte, err error) {
	text, rest := src, []byte(nil)
	if !tail {
		if text, rest, err = unescape(src); err != nil {
			return nil, nil, err
		}
	}
	n := uint64(len(text))
	if t.Kind == KindBytes && n > 0 {
		n++ // nil and empty are one key; it reads as nil
	}
	return append(binary.AppendUvarint(dst, n), text...), rest, nil
}

func unescape(src []byte) (text, rest []byte, err error) {
	for {
		i := bytes.IndexByte(src, 0)
		if i < 0 || i+1 == len(src) {
			return nil, nil, errKey
		}
		text = append(text, src[:i]...)
		mark := src[i+1]
		src = src[i+2:]
		switch mark {
		case textEnd:
			return text, src, nil
		case textZero:
			text = append(text, 0)
		default:
			return nil, nil, errKey
		}
	}
}

func partsToRow(dst, src []byte, t *Type) (row, rest []byte, err error) {
	var parts []byte
	n := uint64(0)
	for ; ; n++ {
		if len(src) == 0 || src[0] > keyNext {
			return nil, nil, errKey
		}
		more := src[0] == keyNext
		if src = src[1:]; !more {
			break
		}
		if t.Kind == KindMap {
			if parts, src, err = keyToRow(parts, src, t.Key, false); err != nil {
				return nil, nil, err
			}
		}
		if parts, src, err = keyToRow(parts, src, t.Elem, false); err != nil {
			return nil, nil, err
		}
	}
	if n > 0 {
		n++
	}
	return append(binary.AppendUvarint(dst, n), parts...), src, nil
}

func numberToRow(dst, src []byte, t *Type) (row, rest []byte, err error) {
	n := leastRow(t)
	if len(src) < n {
		return nil, nil, errKey
	}
	if t.Kind == KindTime {
		dst = binary.LittleEndian.AppendUint64(dst, binary.BigEndian.Uint64(src)^signBit)
		dst = binary.LittleEndian.AppendUint32(dst, binary.BigEndian.Uint32(src[8:]))
		return dst, src[n:], nil
	}
	v, top := loadBig(src, n), uint64(1)<<(8*n-1)
	switch {
	case t.Kind.Signed():
		v ^= top
	case t.Kind == KindFloat32 || t.Kind == KindFloat64:
		if v&top != 0 {
			v &^= top
		} else {
			v = ^v & (math.MaxUint64 >> (64 - 8*n))
		}
	}
	for range n {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst, src[n:], nil
}
