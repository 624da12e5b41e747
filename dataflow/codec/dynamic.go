package codec

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// Dynamic reads and writes values of a type of which only the schema text is
// known, as JSON: for people who look at state. It is immutable. It is no
// part of the data path: it uses reflection for each value.
type Dynamic struct {
	typ *Type
	row *program
	key keyProgram
}

// DynamicOf compiles a schema text.
func DynamicOf(schema string) (*Dynamic, error) {
	t, err := ParseSchema(schema)
	if err != nil {
		return nil, err
	}
	if err := bind(t); err != nil {
		return nil, fmt.Errorf("codec: schema %q: %w", schema, err)
	}
	return &Dynamic{typ: t, row: hostLayout().build(t, "value"), key: buildKey(nil, t, 0, true, "key")}, nil
}

// Type describes the values.
func (d *Dynamic) Type() *Type { return d.typ }

// AppendKey appends the canonical encoding, as Codec.AppendKey, of the key
// that is given as JSON. A time is a text as of RFC 3339, a duration one as
// "5m" or a number of nanoseconds, bytes are base64; fields that are left out
// are zero, unknown ones an error.
func (d *Dynamic) AppendKey(dst, json []byte) ([]byte, error) {
	v := reflect.New(d.typ.Go)
	if err := setJSON(d.typ, v.Elem(), json); err != nil {
		return nil, err
	}
	return d.key.append(dst, v.UnsafePointer()), nil
}

// AppendRow appends the row form, as Codec.Append, of the value that is given as
// JSON, in the way of AppendKey.
func (d *Dynamic) AppendRow(dst, json []byte) ([]byte, error) {
	v := reflect.New(d.typ.Go)
	if err := setJSON(d.typ, v.Elem(), json); err != nil {
		return nil, err
	}
	return d.row.append(dst, v.UnsafePointer()), nil
}

// AppendKeyJSON appends the JSON form of an encoded key, which must fill src.
func (d *Dynamic) AppendKeyJSON(dst, src []byte) ([]byte, error) {
	v := reflect.New(d.typ.Go)
	rest, err := d.key.decode(src, v.UnsafePointer())
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("codec: %d bytes follow the key: the bytes are damaged or of another type", len(rest))
	}
	return appendJSON(dst, d.typ, v.Elem()), nil
}

// AppendRowJSON appends the JSON form of the value whose row form src begins
// with, and returns what follows it in src.
func (d *Dynamic) AppendRowJSON(dst, src []byte) (json, rest []byte, err error) {
	v := reflect.New(d.typ.Go)
	rest, err = d.row.decode(src, v.UnsafePointer(), false)
	if err != nil {
		return nil, nil, err
	}
	return appendJSON(dst, d.typ, v.Elem()), rest, nil
}

// bind gives a parsed type a Go type to lie in memory by.
func bind(t *Type) error {
	for _, sub := range []*Type{t.Elem, t.Key} {
		if sub != nil {
			if err := bind(sub); err != nil {
				return err
			}
		}
	}
	if err := bindGo(t); err != nil {
		return err
	}
	t.Size = t.Go.Size()
	return nil
}

func bindGo(t *Type) error {
	switch t.Kind {
	case KindStruct:
		return bindStruct(t)
	case KindArray:
		if total := t.Elem.Size * uintptr(t.Len); t.Elem.Size > 0 && (total/t.Elem.Size != uintptr(t.Len) || total > dynamicBytesMax) {
			return fmt.Errorf("an array of %d elements is larger than %d bytes", t.Len, dynamicBytesMax)
		}
		t.Go = reflect.ArrayOf(t.Len, t.Elem.Go)
	case KindSlice:
		t.Go = reflect.SliceOf(t.Elem.Go)
	case KindPointer:
		t.Go = reflect.PointerTo(t.Elem.Go)
	case KindMap:
		if !mapKey(t.Key) {
			return fmt.Errorf("%s is no key of a map", schemaOf(t.Key))
		}
		t.Go = reflect.MapOf(t.Key.Go, t.Elem.Go)
	default:
		t.Go = scalarType(t.Kind)
		if t.Go == nil {
			return fmt.Errorf("kind %s has no Go type", t.Kind)
		}
	}
	return nil
}

// dynamicBytesMax bounds the arrays of a schema that comes from elsewhere.
const dynamicBytesMax = 1 << 20

func bindStruct(t *Type) error {
	fields := make([]reflect.StructField, len(t.Fields))
	total := uintptr(0)
	for i, f := range t.Fields {
		if err := bind(f.Type); err != nil {
			return err
		}
		if total += f.Type.Size; total > dynamicBytesMax {
			return fmt.Errorf("a struct is larger than %d bytes", dynamicBytesMax)
		}
		fields[i] = reflect.StructField{Name: "F" + strconv.Itoa(i), Type: f.Type.Go}
	}
	t.Go = reflect.StructOf(fields)
	for i := range t.Fields {
		t.Fields[i].Offset = t.Go.Field(i).Offset
	}
	return nil
}

func scalarType(k Kind) reflect.Type {
	switch k {
	case KindBool:
		return reflect.TypeFor[bool]()
	case KindInt8:
		return reflect.TypeFor[int8]()
	case KindInt16:
		return reflect.TypeFor[int16]()
	case KindInt32:
		return reflect.TypeFor[int32]()
	case KindInt64:
		return reflect.TypeFor[int64]()
	case KindUint8:
		return reflect.TypeFor[uint8]()
	case KindUint16:
		return reflect.TypeFor[uint16]()
	case KindUint32:
		return reflect.TypeFor[uint32]()
	case KindUint64:
		return reflect.TypeFor[uint64]()
	case KindFloat32:
		return reflect.TypeFor[float32]()
	case KindFloat64:
		return reflect.TypeFor[float64]()
	case KindString:
		return reflect.TypeFor[string]()
	case KindBytes:
		return reflect.TypeFor[[]byte]()
	case KindTime:
		return reflect.TypeFor[time.Time]()
	case KindDuration:
		return reflect.TypeFor[time.Duration]()
	}
	return nil
}
