package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unsafe"
)

// Codec encodes values of T. It is immutable: any number of goroutines may
// use it.
type Codec[T any] struct {
	typ    *Type
	row    *program
	cols   []column
	key    keyProgram
	schema string
	// rowBits is the least number of bits of a row in columns.
	rowBits int
}

// Of compiles T. T and the types in it are bool, integers, floats, string,
// []byte, time.Time, time.Duration, and arrays, slices, maps, pointers and
// structs of them; an int counts as int64. A time is an instant: its zone
// does not travel. A type that cannot be compiled is an error that names the
// field and what to do.
func Of[T any]() (*Codec[T], error) {
	rt := reflect.TypeFor[T]()
	t, err := Describe(rt)
	if err != nil {
		return nil, err
	}
	return compiled[T](t, hostLayout(), typeName(rt)), nil
}

func compiled[T any](t *Type, l layout, name string) *Codec[T] {
	c := &Codec[T]{typ: t, row: l.build(t, name), cols: l.buildColumns(nil, t, 0, name)}
	c.key = buildKey(nil, t, 0, true, name)
	var sb strings.Builder
	appendSchema(&sb, t)
	c.schema = sb.String()
	for i := range c.cols {
		c.rowBits += c.cols[i].bits()
	}
	return c
}

// Type describes T.
func (c *Codec[T]) Type() *Type { return c.typ }

// Schema returns the canonical text of T's fields and kinds. Codecs with
// equal schemas read each other's bytes, in all three forms.
func (c *Codec[T]) Schema() string { return c.schema }

// Fixed returns the size of the row form when it is the same for all values,
// else 0.
func (c *Codec[T]) Fixed() int {
	if !c.row.fixed {
		return 0
	}
	return c.row.min
}

// Append appends the row form of v to dst. Equal values have equal row forms,
// but for the signs of zeros, the payloads of NaNs, and nil against empty.
func (c *Codec[T]) Append(dst []byte, v *T) []byte {
	return c.row.append(dst, unsafe.Pointer(v))
}

// Decode reads the row form into v and returns what follows it. All that v
// keeps is copied. v is overwritten; after an error its content is undefined.
func (c *Codec[T]) Decode(src []byte, v *T) (rest []byte, err error) {
	var zero T
	*v = zero
	return c.row.decode(src, unsafe.Pointer(v), false)
}

// DecodeAlias is Decode, but strings and byte slices of v alias src, which
// must not change as long as v is in use.
func (c *Codec[T]) DecodeAlias(src []byte, v *T) (rest []byte, err error) {
	var zero T
	*v = zero
	return c.row.decode(src, unsafe.Pointer(v), true)
}

// FixedLoad reads a row form of Fixed bytes. It panics when src is shorter or
// was not written by FixedStore or Append: it is for state in memory, not for
// bytes from elsewhere.
func (c *Codec[T]) FixedLoad(src []byte, v *T) {
	src = src[:c.row.min]
	if c.row.plain() {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(v)), len(src)), src)
		return
	}
	if _, err := c.row.decode(src, unsafe.Pointer(v), false); err != nil {
		panic(err.Error())
	}
}

// FixedStore writes the row form of Fixed bytes over the start of dst, and
// panics when that is shorter.
func (c *Codec[T]) FixedStore(dst []byte, v *T) {
	dst = dst[:c.row.min]
	if c.row.plain() {
		copy(dst, unsafe.Slice((*byte)(unsafe.Pointer(v)), len(dst)))
		return
	}
	c.row.append(dst[:0], unsafe.Pointer(v))
}

// InPlace returns the row form at the start of src as a T that may be read and
// changed where it lies. ok is false when the memory of a T is not its row
// form or src is not aligned for it; FixedLoad and FixedStore always work.
func (c *Codec[T]) InPlace(src []byte) (v *T, ok bool) {
	src = src[:c.row.min]
	if !c.row.plain() {
		return nil, false
	}
	p := unsafe.Pointer(unsafe.SliceData(src))
	var zero T
	return (*T)(p), uintptr(p)%unsafe.Alignof(zero) == 0
}

// AppendColumns appends the column form of rows, which may be empty.
func (c *Codec[T]) AppendColumns(dst []byte, rows []T) []byte {
	if uint64(len(rows)) > math.MaxUint32 {
		panic(fmt.Sprintf("codec: a batch of %d rows", len(rows)))
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(rows)))
	if len(rows) == 0 {
		return dst
	}
	x := extentOf(rows)
	for i := range c.cols {
		dst = c.cols[i].append(dst, x)
	}
	return dst
}

// DecodeColumns reads the column form, which must fill src. Strings and byte
// slices of the rows alias src, which must not change afterwards.
func (c *Codec[T]) DecodeColumns(src []byte) ([]T, error) {
	if len(src) < 4 {
		return nil, fmt.Errorf("codec: %s: a batch of %d bytes: the bytes are cut short", typeName(c.typ.Go), len(src))
	}
	n := int(binary.LittleEndian.Uint32(src))
	src = src[4:]
	if uint64(n)*uint64(c.rowBits) > 8*uint64(len(src)) {
		return nil, fmt.Errorf("codec: %s: %d rows in %d bytes: the bytes are damaged or of another type", typeName(c.typ.Go), n, len(src))
	}
	rows := make([]T, n)
	if n > 0 {
		x := extentOf(rows)
		var err error
		for i := range c.cols {
			if src, err = c.cols[i].decode(src, x); err != nil {
				return nil, err
			}
		}
	}
	if len(src) > 0 {
		return nil, fmt.Errorf("codec: %s: %d bytes follow the last column: the bytes are damaged or of another type", typeName(c.typ.Go), len(src))
	}
	return rows, nil
}

// AppendKey appends the canonical encoding of v as a key: equal keys have
// equal bytes, with -0 equal to +0, all NaNs equal, and nil equal to empty.
// The order of the bytes is that of the values, field by field.
func (c *Codec[T]) AppendKey(dst []byte, v *T) []byte {
	return c.key.append(dst, unsafe.Pointer(v))
}

// DecodeKey reads what AppendKey wrote, which must fill src. All that v keeps
// is copied.
func (c *Codec[T]) DecodeKey(src []byte, v *T) error {
	var zero T
	*v = zero
	rest, err := c.key.decode(src, unsafe.Pointer(v))
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("codec: %s: %d bytes follow the key: the bytes are damaged or of another type", typeName(c.typ.Go), len(rest))
	}
	return nil
}

func extentOf[T any](rows []T) extent {
	return extent{base: unsafe.Pointer(unsafe.SliceData(rows)), stride: unsafe.Sizeof(rows[0]), n: len(rows)}
}
