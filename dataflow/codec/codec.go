package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"unsafe"
)

// Codec encodes values of T. It is immutable: any number of goroutines may
// use it.
type Codec[T any] struct {
	// c does all the work, at pointers to T: what is generic is compiled anew,
	// in the user's program, for each type.
	c *core
}

// core is a codec of values at pointers to its type.
type core struct {
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
	c, err := coreOf(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	return &Codec[T]{c}, nil
}

func coreOf(rt reflect.Type) (*core, error) {
	t, err := Describe(rt)
	if err != nil {
		return nil, err
	}
	return compiled(t, hostLayout(), typeName(rt)), nil
}

func compiled(t *Type, l layout, name string) *core {
	c := &core{typ: t, row: l.build(t, name), cols: l.buildColumns(nil, t, 0, name)}
	c.key = buildKey(nil, t, 0, true, name)
	c.schema = schemaOf(t)
	for i := range c.cols {
		c.rowBits += c.cols[i].bits()
	}
	return c
}

// Type describes T.
func (c *Codec[T]) Type() *Type { return c.c.typ }

// Schema returns the canonical text of T's fields and kinds. Codecs with
// equal schemas read each other's bytes, in all three forms.
func (c *Codec[T]) Schema() string { return c.c.schema }

// Fixed returns the size of the row form when it is the same for all values,
// else 0.
func (c *Codec[T]) Fixed() int { return c.c.fixed() }

func (c *core) fixed() int {
	if !c.row.fixed {
		return 0
	}
	return c.row.min
}

// Append appends the row form of v to dst. Equal values have equal row forms,
// but for the signs of zeros, the payloads of NaNs, and nil against empty.
func (c *Codec[T]) Append(dst []byte, v *T) []byte {
	return c.c.row.append(dst, unsafe.Pointer(v))
}

// Decode reads the row form into v and returns what follows it. All that v
// keeps is copied. v is overwritten; after an error its content is undefined.
func (c *Codec[T]) Decode(src []byte, v *T) (rest []byte, err error) {
	var zero T
	*v = zero
	return c.c.row.decode(src, unsafe.Pointer(v), false)
}

// DecodeAlias is Decode, but strings and byte slices of v alias src, which
// must not change as long as v is in use.
func (c *Codec[T]) DecodeAlias(src []byte, v *T) (rest []byte, err error) {
	var zero T
	*v = zero
	return c.c.row.decode(src, unsafe.Pointer(v), true)
}

// DecodeIn reads the row form, which must fill src, into v. Strings and byte
// slices of v lie in the arena, many of them in one piece of memory. v is
// overwritten; after an error its content is undefined, and may alias src.
func (c *Codec[T]) DecodeIn(a *Arena, src []byte, v *T) error {
	var zero T
	*v = zero
	return c.c.row.decodeIn(a, src, unsafe.Pointer(v))
}

// FixedLoad reads a row form of Fixed bytes. It panics when src is shorter or
// was not written by FixedStore or Append: it is for state in memory, not for
// bytes from elsewhere.
func (c *Codec[T]) FixedLoad(src []byte, v *T) { c.c.fixedLoad(src, unsafe.Pointer(v)) }

func (c *core) fixedLoad(src []byte, v unsafe.Pointer) {
	src = src[:c.row.min]
	if c.row.plain() {
		copy(unsafe.Slice((*byte)(v), len(src)), src)
		return
	}
	if _, err := c.row.decode(src, v, false); err != nil {
		panic(err.Error())
	}
}

// FixedStore writes the row form of Fixed bytes over the start of dst, and
// panics when that is shorter.
func (c *Codec[T]) FixedStore(dst []byte, v *T) { c.c.fixedStore(dst, unsafe.Pointer(v)) }

func (c *core) fixedStore(dst []byte, v unsafe.Pointer) {
	dst = dst[:c.row.min]
	if c.row.plain() {
		copy(dst, unsafe.Slice((*byte)(v), len(dst)))
		return
	}
	c.row.append(dst[:0], v)
}

// InPlace returns the row form at the start of src as a T that may be read and
// changed where it lies. ok is false when the memory of a T is not its row
// form or src is not aligned for it; FixedLoad and FixedStore always work.
func (c *Codec[T]) InPlace(src []byte) (v *T, ok bool) {
	src = src[:c.c.row.min]
	if !c.c.row.plain() {
		return nil, false
	}
	p := unsafe.Pointer(unsafe.SliceData(src))
	var zero T
	return (*T)(p), uintptr(p)%unsafe.Alignof(zero) == 0
}

// AppendColumns appends the column form of rows, which may be empty.
func (c *Codec[T]) AppendColumns(dst []byte, rows []T) []byte {
	return c.c.appendColumns(dst, extentOf(rows))
}

func (c *core) appendColumns(dst []byte, x extent) []byte {
	if uint64(x.n) > math.MaxUint32 {
		panic(fmt.Sprintf("codec: a batch of %d rows", x.n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(x.n))
	if x.n == 0 {
		return dst
	}
	for i := range c.cols {
		dst = c.cols[i].append(dst, x)
	}
	return dst
}

// DecodeColumns reads the column form, which must fill src. Strings and byte
// slices of the rows alias src, which must not change afterwards.
func (c *Codec[T]) DecodeColumns(src []byte) ([]T, error) {
	n, src, err := c.c.columns(src)
	if err != nil {
		return nil, err
	}
	rows := make([]T, n)
	if err := c.c.decodeColumns(src, extentOf(rows)); err != nil {
		return nil, err
	}
	return rows, nil
}

// Rows returns the number of rows of a column form, as far as its size allows
// as many: it may be damaged elsewhere.
func (c *Codec[T]) Rows(src []byte) (int, error) {
	n, _, err := c.c.columns(src)
	return n, err
}

// DecodeColumnsTo is DecodeColumns into rows, of the number that Rows returned.
// What they held is lost, also after an error.
func (c *Codec[T]) DecodeColumnsTo(rows []T, src []byte) error {
	_, src, err := c.c.columns(src)
	if err != nil {
		return err
	}
	clear(rows) // what is empty or no part of the form is not written
	return c.c.decodeColumns(src, extentOf(rows))
}

// columns takes the number of rows off the start of a column form.
func (c *core) columns(src []byte) (n int, rest []byte, err error) {
	if len(src) < 4 {
		return 0, nil, fmt.Errorf("codec: %s: a batch of %d bytes: the bytes are cut short", typeName(c.typ.Go), len(src))
	}
	n = int(binary.LittleEndian.Uint32(src))
	src = src[4:]
	if uint64(n)*uint64(c.rowBits) > 8*uint64(len(src)) {
		return 0, nil, fmt.Errorf("codec: %s: %d rows in %d bytes: the bytes are damaged or of another type", typeName(c.typ.Go), n, len(src))
	}
	return n, src, nil
}

func (c *core) decodeColumns(src []byte, x extent) (err error) {
	for i := 0; i < len(c.cols) && x.n > 0; i++ {
		if src, err = c.cols[i].decode(src, x); err != nil {
			return err
		}
	}
	if len(src) > 0 {
		return fmt.Errorf("codec: %s: %d bytes follow the last column: the bytes are damaged or of another type", typeName(c.typ.Go), len(src))
	}
	return nil
}

// AppendKey appends the canonical encoding of v as a key: equal keys have
// equal bytes, with -0 equal to +0, all NaNs equal, and nil equal to empty.
// The order of the bytes is that of the values, field by field.
func (c *Codec[T]) AppendKey(dst []byte, v *T) []byte {
	return c.c.key.append(dst, unsafe.Pointer(v))
}

// DecodeKeyIn is DecodeKey, but a key that is a text lies in the arena: many
// of them are one piece of memory.
func (c *Codec[T]) DecodeKeyIn(a *Arena, src []byte, v *T) error {
	if c.c.typ.Kind == KindString {
		*(*string)(unsafe.Pointer(v)) = a.String(src)
		return nil
	}
	return c.DecodeKey(src, v)
}

// DecodeKey reads what AppendKey wrote, which must fill src. All that v keeps
// is copied.
func (c *Codec[T]) DecodeKey(src []byte, v *T) error {
	var zero T
	*v = zero
	return c.c.decodeKey(src, unsafe.Pointer(v))
}

func (c *core) decodeKey(src []byte, v unsafe.Pointer) error {
	rest, err := c.key.decode(src, v)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("codec: %s: %d bytes follow the key: the bytes are damaged or of another type", typeName(c.typ.Go), len(rest))
	}
	return nil
}

func extentOf[T any](rows []T) extent {
	var zero T
	return extent{base: unsafe.Pointer(unsafe.SliceData(rows)), stride: unsafe.Sizeof(zero), n: len(rows)}
}
