package codec

import "reflect"

// Kind is the logical kind of a value. It does not tell named types from
// their underlying ones.
type Kind uint8

// The kinds. An int or uint of Go is 64 bits wide, whatever the platform.
const (
	KindBool Kind = iota + 1
	KindInt8
	KindInt16
	KindInt32
	KindInt64
	KindUint8
	KindUint16
	KindUint32
	KindUint64
	KindFloat32
	KindFloat64
	KindString
	KindBytes
	KindTime
	KindDuration
	KindStruct
	KindArray
	KindSlice
	KindMap
	KindPointer
)

// kindNames are the words of the schema text; they are part of the format.
var kindNames = [...]string{
	KindBool: "bool", KindInt8: "int8", KindInt16: "int16", KindInt32: "int32", KindInt64: "int64",
	KindUint8: "uint8", KindUint16: "uint16", KindUint32: "uint32", KindUint64: "uint64",
	KindFloat32: "float32", KindFloat64: "float64", KindString: "string", KindBytes: "bytes",
	KindTime: "time", KindDuration: "duration",
	KindStruct: "struct", KindArray: "array", KindSlice: "slice", KindMap: "map", KindPointer: "pointer",
}

// String returns the word for k in schema texts.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "invalid"
}

// bits returns the width of an integer or float kind, 0 for others.
func (k Kind) bits() int {
	switch k {
	case KindInt8, KindUint8:
		return 8
	case KindInt16, KindUint16:
		return 16
	case KindInt32, KindUint32, KindFloat32:
		return 32
	case KindInt64, KindUint64, KindFloat64, KindDuration:
		return 64
	}
	return 0
}

// Signed reports whether k is a signed integer kind.
func (k Kind) Signed() bool { return k >= KindInt8 && k <= KindInt64 || k == KindDuration }

// Unsigned reports whether k is an unsigned integer kind.
func (k Kind) Unsigned() bool { return k >= KindUint8 && k <= KindUint64 }

// Unit is what an int64 means to people, by its leat tag.
type Unit uint8

const (
	// UnitNone is a plain number.
	UnitNone Unit = iota
	// UnitDecimal is a decimal with Type.Digits fraction digits, stored
	// unscaled: 149.50 with two digits is 14950.
	UnitDecimal
	// UnitMillis is a time in milliseconds since the Unix epoch.
	UnitMillis
)

// Type describes how values of a Go type lie in memory. It is immutable.
type Type struct {
	Kind Kind
	// Go is the Go type; nil in a type parsed from a schema text.
	Go reflect.Type
	// Size is the number of bytes in memory.
	Size uintptr
	// Fields of a struct, those of embedded structs included, in order.
	Fields []Field
	// Elem is the element of an array, slice, map or pointer.
	Elem *Type
	// Key is the key of a map.
	Key *Type
	// Len is the length of an array.
	Len int
	// Unit and Digits say what an int64 means.
	Unit   Unit
	Digits int
}

// Field is one field of a struct.
type Field struct {
	// Name is the name in the json tag, else the Go name.
	Name   string
	Offset uintptr
	Type   *Type
	JSON   JSONOptions
	// Was are the names that the field had in older types; they are no part of
	// the schema.
	Was []string
}

// JSONOptions are the options of a field's json tag.
type JSONOptions struct {
	Skip      bool // json:"-": not read or written by formats, but encoded
	OmitEmpty bool
	OmitZero  bool
	Quoted    bool // json:",string"
}

// String is the schema text of the type.
func (t *Type) String() string { return schemaOf(t) }
