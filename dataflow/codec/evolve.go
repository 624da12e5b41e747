package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/leatstream/leat/internal/scalar"
)

// rowReader reads the row form of an older type into the zero value at q.
type rowReader func(src []byte, q unsafe.Pointer) ([]byte, error)

// CompatibleWith returns a decoder of the row forms that were written under
// an older schema. Fields that are new stay zero, fields that are gone are
// passed over, numbers may have become wider (an unsigned one also signed),
// and a value may have become optional. Fields are the same if their names
// are, or if the tag leat:"was=NAME" says so. Anything else is an error that
// names the field.
func (c *Codec[T]) CompatibleWith(oldSchema string) (func(src []byte, v *T) (rest []byte, err error), error) {
	read, err := c.c.compatible(oldSchema)
	if err != nil {
		return nil, err
	}
	return func(src []byte, v *T) ([]byte, error) {
		var zero T
		*v = zero
		return read(src, unsafe.Pointer(v))
	}, nil
}

func (c *core) compatible(oldSchema string) (rowReader, error) {
	old, err := ParseSchema(oldSchema)
	if err != nil {
		return nil, err
	}
	return evolve(old, c.typ, typeName(c.typ.Go))
}

// RowsFrom returns a function that turns row forms of an older schema into
// those of T, under the rules of CompatibleWith: it appends what the first row
// of src is now, and returns what follows. It is not safe for concurrent use.
func (c *Codec[T]) RowsFrom(oldSchema string) (func(dst, src []byte) (out, rest []byte, err error), error) {
	return c.c.rowsFrom(oldSchema)
}

func (c *core) rowsFrom(oldSchema string) (func(dst, src []byte) (out, rest []byte, err error), error) {
	read, err := c.compatible(oldSchema)
	if err != nil {
		return nil, err
	}
	v := reflect.New(c.typ.Go)
	return func(dst, src []byte) ([]byte, []byte, error) {
		v.Elem().SetZero()
		rest, err := read(src, v.UnsafePointer())
		if err != nil {
			return dst, nil, err
		}
		return c.row.append(dst, v.UnsafePointer()), rest, nil
	}, nil
}

// KeysFrom is RowsFrom for key forms, each of which fills src, under the rules
// of KeysCompatibleWith.
func (c *Codec[T]) KeysFrom(oldSchema string) (func(dst, src []byte) ([]byte, error), error) {
	return c.c.keysFrom(oldSchema)
}

func (c *core) keysFrom(oldSchema string) (func(dst, src []byte) ([]byte, error), error) {
	read, err := c.keysCompatible(oldSchema)
	if err != nil {
		return nil, err
	}
	v := reflect.New(c.typ.Go)
	return func(dst, src []byte) ([]byte, error) {
		v.Elem().SetZero()
		if err := read(src, v.UnsafePointer()); err != nil {
			return nil, err
		}
		return c.key.append(dst, v.UnsafePointer()), nil
	}, nil
}

func evolve(old, now *Type, path string) (rowReader, error) {
	switch {
	case schemaOf(old) == schemaOf(now):
		pr := hostLayout().build(now, path)
		return func(src []byte, q unsafe.Pointer) ([]byte, error) { return pr.decode(src, q, false) }, nil
	case old.Kind == KindStruct && now.Kind == KindStruct:
		return evolveStruct(old, now, path)
	case now.Kind == KindPointer && old.Kind != KindPointer:
		return evolveOptional(old, now, path)
	case old.Kind != now.Kind || old.Len != now.Len:
		return evolveNumber(old, now, path)
	}
	switch now.Kind {
	case KindPointer, KindSlice, KindArray:
		return evolveElems(old, now, path)
	case KindMap:
		return evolveMap(old, now, path)
	}
	return evolveNumber(old, now, path)
}

func schemaOf(t *Type) string {
	var sb strings.Builder
	appendSchema(&sb, t)
	return sb.String()
}

func incompatible(old, now *Type, path string) error {
	return fmt.Errorf("codec: %s: %s cannot be read as %s: keep the old field and add one of another name, or drop the state", path, schemaOf(old), schemaOf(now))
}

func evolveStruct(old, now *Type, path string) (rowReader, error) {
	type step struct {
		read rowReader
		off  uintptr
		skip *Type
	}
	var steps []step
	found := 0
	for _, of := range old.Fields {
		s := step{skip: of.Type}
		for _, nf := range now.Fields {
			if nf.Name != of.Name && !slices.Contains(nf.Was, of.Name) {
				continue
			}
			read, err := evolve(of.Type, nf.Type, path+"."+nf.Name)
			if err != nil {
				return nil, err
			}
			s = step{read: read, off: nf.Offset}
			found++
		}
		steps = append(steps, s)
	}
	if found == 0 && len(old.Fields) > 0 && len(now.Fields) > 0 {
		return nil, fmt.Errorf("codec: %s: %s and %s have no field in common: say leat:\"was=OLDNAME\" where a field was renamed, give the state another name, or drop it", path, schemaOf(old), schemaOf(now))
	}
	if err := foundOnce(old, now, path); err != nil {
		return nil, err
	}
	return func(src []byte, q unsafe.Pointer) (_ []byte, err error) {
		for i := range steps {
			if s := &steps[i]; s.read != nil {
				src, err = s.read(src, unsafe.Add(q, s.off))
			} else {
				src, err = skipRow(src, s.skip, path)
			}
			if err != nil {
				return nil, err
			}
		}
		return src, nil
	}, nil
}

// foundOnce wants each field to be of one old field at most.
func foundOnce(old, now *Type, path string) error {
	for _, nf := range now.Fields {
		var from []string
		for _, of := range old.Fields {
			if nf.Name == of.Name || slices.Contains(nf.Was, of.Name) {
				from = append(from, of.Name)
			}
		}
		if len(from) > 1 {
			return fmt.Errorf("codec: %s.%s: the old type has both %q and %q, which are this field by its name and tag: take the tag away, or keep both fields", path, nf.Name, from[0], from[1])
		}
	}
	return nil
}

// evolveOptional reads a value that was always there into a pointer.
func evolveOptional(old, now *Type, path string) (rowReader, error) {
	read, err := evolve(old, now.Elem, path)
	if err != nil {
		return nil, err
	}
	o := op{typ: now, path: path}
	return func(src []byte, q unsafe.Pointer) ([]byte, error) {
		to := o.newElem()
		*(*unsafe.Pointer)(q) = to
		return read(src, to)
	}, nil
}

// evolveNumber widens a number.
func evolveNumber(old, now *Type, path string) (rowReader, error) {
	from, to := old.Kind, now.Kind
	sameUnit := old.Unit == now.Unit && old.Digits == now.Digits ||
		old.Unit != UnitDecimal && now.Unit != UnitDecimal
	wider := from.Signed() && to.Signed() && from.bits() <= to.bits() ||
		from.Unsigned() && to.Unsigned() && from.bits() <= to.bits() ||
		from.Unsigned() && to.Signed() && from.bits() < to.bits() ||
		from == KindFloat32 && to == KindFloat64
	if !wider || !sameUnit || from == KindDuration || to == KindDuration {
		return nil, incompatible(old, now, path)
	}
	width := from.bits() / 8
	o := op{code: opInt, typ: now, path: path}
	return func(src []byte, q unsafe.Pointer) ([]byte, error) {
		if len(src) < width {
			return nil, o.short(src, width)
		}
		v := loadLittle(src[:width], from.Signed())
		if from == KindFloat32 {
			*(*float64)(q) = float64(math.Float32frombits(uint32(v)))
			return src[width:], nil
		}
		if int(now.Size)*8 != to.bits() {
			return src[width:], o.storeWord(q, v)
		}
		scalar.Store(q, v, now.Size)
		return src[width:], nil
	}, nil
}

func loadLittle(b []byte, signed bool) uint64 {
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	if unused := 64 - 8*len(b); signed {
		v = uint64(int64(v<<unused) >> unused)
	}
	return v
}

// evolveElems reads arrays, slices and pointers of changed elements.
func evolveElems(old, now *Type, path string) (rowReader, error) {
	read, err := evolve(old.Elem, now.Elem, path+"[]")
	if err != nil {
		return nil, err
	}
	o := op{typ: now, path: path}
	least := leastRow(old.Elem)
	each := func(src []byte, data unsafe.Pointer, n int) (_ []byte, err error) {
		for i := 0; i < n && err == nil; i++ {
			src, err = read(src, unsafe.Add(data, uintptr(i)*now.Elem.Size))
		}
		return src, err
	}
	if now.Kind == KindArray {
		return func(src []byte, q unsafe.Pointer) ([]byte, error) { return each(src, q, now.Len) }, nil
	}
	return func(src []byte, q unsafe.Pointer) ([]byte, error) {
		n, null, src, err := o.count(src, least)
		if err != nil || null {
			return src, err
		}
		if now.Kind == KindPointer {
			if n != 0 {
				return nil, fmt.Errorf("codec: %s: a presence byte of %d: the bytes are damaged or of another type", path, n+1)
			}
			to := o.newElem()
			*(*unsafe.Pointer)(q) = to
			return each(src, to, 1)
		}
		*(*sliceHeader)(q) = sliceHeader{data: o.newSlice(n), len: n, cap: n}
		return each(src, (*sliceHeader)(q).data, n)
	}, nil
}

func evolveMap(old, now *Type, path string) (rowReader, error) {
	readKey, err := evolve(old.Key, now.Key, path+"[key]")
	if err != nil {
		return nil, err
	}
	readVal, err := evolve(old.Elem, now.Elem, path+"[]")
	if err != nil {
		return nil, err
	}
	o := op{typ: now, path: path}
	least := leastRow(old.Key) + leastRow(old.Elem)
	return func(src []byte, q unsafe.Pointer) ([]byte, error) {
		n, null, src, err := o.count(src, least)
		if err != nil || null {
			return src, err
		}
		m := reflect.MakeMap(now.Go)
		for range n {
			key, val := reflect.New(now.Key.Go), reflect.New(now.Elem.Go)
			if src, err = readKey(src, key.UnsafePointer()); err != nil {
				return nil, err
			}
			if src, err = readVal(src, val.UnsafePointer()); err != nil {
				return nil, err
			}
			m.SetMapIndex(key.Elem(), val.Elem())
		}
		*(*unsafe.Pointer)(q) = m.UnsafePointer()
		return src, nil
	}, nil
}

// leastRow returns the least number of bytes of a row of t.
func leastRow(t *Type) int {
	switch t.Kind {
	case KindStruct:
		n := 0
		for _, f := range t.Fields {
			n += leastRow(f.Type)
		}
		return n
	case KindArray:
		return t.Len * leastRow(t.Elem)
	case KindTime:
		return timeBytes
	}
	return max(1, t.Kind.bits()/8)
}

// skipRow passes over a row of a type that is gone.
func skipRow(src []byte, t *Type, path string) (_ []byte, err error) {
	o := op{path: path}
	switch t.Kind {
	case KindStruct:
		for i := 0; i < len(t.Fields) && err == nil; i++ {
			src, err = skipRow(src, t.Fields[i].Type, path)
		}
		return src, err
	case KindArray:
		return skipRows(src, t, t.Len, path)
	case KindString:
		_, src, err = o.take(src, 0)
		return src, err
	case KindBytes, KindSlice, KindMap, KindPointer:
		return skipCounted(src, t, path)
	}
	n := leastRow(t)
	if len(src) < n {
		return nil, o.short(src, n)
	}
	return src[n:], nil
}

// skipCounted passes over what begins with a count plus one.
func skipCounted(src []byte, t *Type, path string) ([]byte, error) {
	o := op{path: path}
	if t.Kind == KindBytes {
		if v, w := binary.Uvarint(src); w > 0 && v == 0 {
			return src[w:], nil
		}
		_, src, err := o.take(src, 1)
		return src, err
	}
	least := leastRow(t.Elem)
	if t.Kind == KindMap {
		least += leastRow(t.Key)
	}
	n, null, src, err := o.count(src, least)
	if err != nil || null {
		return src, err
	}
	if t.Kind == KindPointer {
		n = 1
	}
	return skipRows(src, t, n, path)
}

// skipRows passes over n elements, or entries of a map.
func skipRows(src []byte, t *Type, n int, path string) (_ []byte, err error) {
	if leastRow(t.Elem) == 0 && t.Kind != KindMap {
		return src, nil
	}
	for range n {
		if t.Kind == KindMap {
			if src, err = skipRow(src, t.Key, path); err != nil {
				return nil, err
			}
		}
		if src, err = skipRow(src, t.Elem, path); err != nil {
			return nil, err
		}
	}
	return src, nil
}
