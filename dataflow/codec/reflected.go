package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"unsafe"
)

// This file holds the steps that need the Go type at run time: making
// elements, and maps. Addresses of a caller's values never reach package
// reflect, so that those values need not move to the heap.

func (o *op) newElem() unsafe.Pointer { return reflect.New(o.typ.Elem.Go).UnsafePointer() }

func (o *op) newSlice(n int) unsafe.Pointer {
	return reflect.MakeSlice(o.typ.Go, n, n).UnsafePointer()
}

// mapHintMax bounds the room made for a map before its entries are read: a
// damaged count must not ask for much memory.
const mapHintMax = 4096

// span marks the bytes of one map entry, and where its key ends.
type span struct{ from, keyEnd, to int }

// mapOf returns the map whose reference lies at q.
func mapOf(t *Type, q unsafe.Pointer) reflect.Value {
	box := reflect.New(t.Go)
	*(*unsafe.Pointer)(box.UnsafePointer()) = *(*unsafe.Pointer)(q)
	return box.Elem()
}

// eachEntry calls fn with the addresses of a copy of each key and value, in
// no order.
func eachEntry(t *Type, q unsafe.Pointer, fn func(key, val unsafe.Pointer)) {
	key, val := reflect.New(t.Key.Go), reflect.New(t.Elem.Go)
	for it := mapOf(t, q).MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		val.Elem().SetIterValue(it)
		fn(key.UnsafePointer(), val.UnsafePointer())
	}
}

// appendMap writes the entries in the order of their keys' row forms, so that
// equal maps have equal bytes.
func (o *op) appendMap(dst []byte, q unsafe.Pointer) []byte {
	if *(*unsafe.Pointer)(q) == nil {
		return append(dst, 0)
	}
	n := mapOf(o.typ, q).Len()
	dst = appendCount(dst, n+1)
	spans := make([]span, 0, n)
	eachEntry(o.typ, q, func(key, val unsafe.Pointer) {
		s := span{from: len(dst)}
		dst = o.key.append(dst, key)
		s.keyEnd = len(dst)
		dst = o.sub.append(dst, val)
		s.to = len(dst)
		spans = append(spans, s)
	})
	return sortSpans(dst, spans)
}

// sortSpans puts the entries, which end dst, in the order of their keys.
func sortSpans(dst []byte, spans []span) []byte {
	if len(spans) < 2 {
		return dst
	}
	from := spans[0].from
	old := bytes.Clone(dst[from:])
	slices.SortFunc(spans, func(a, b span) int {
		return bytes.Compare(old[a.from-from:a.keyEnd-from], old[b.from-from:b.keyEnd-from])
	})
	dst = dst[:from]
	for _, s := range spans {
		dst = append(dst, old[s.from-from:s.to-from]...)
	}
	return dst
}

func (o *op) decodeMap(src []byte, q unsafe.Pointer, alias bool) ([]byte, error) {
	n, null, src, err := o.count(src, o.key.min+o.sub.min)
	if err != nil {
		return nil, err
	}
	if null {
		*(*unsafe.Pointer)(q) = nil
		return src, nil
	}
	m := reflect.MakeMapWithSize(o.typ.Go, min(n, mapHintMax))
	key, val := reflect.New(o.typ.Key.Go), reflect.New(o.typ.Elem.Go)
	for range n {
		key.Elem().SetZero()
		val.Elem().SetZero()
		if src, err = o.key.decode(src, key.UnsafePointer(), alias); err != nil {
			return nil, err
		}
		if src, err = o.sub.decode(src, val.UnsafePointer(), alias); err != nil {
			return nil, err
		}
		m.SetMapIndex(key.Elem(), val.Elem())
	}
	if m.Len() != n {
		return nil, fmt.Errorf("codec: %s: a map with a key that occurs twice: the bytes are damaged", o.path)
	}
	*(*unsafe.Pointer)(q) = m.UnsafePointer()
	return src, nil
}
