package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// digitsMax is the largest number of fraction digits of a decimal in an int64.
const digitsMax = 18

// Describe compiles a Go type. A type that cannot be encoded is an error that
// names the field and what to do about it.
func Describe(rt reflect.Type) (*Type, error) {
	if rt == nil {
		return nil, fmt.Errorf("codec: an interface type cannot be encoded: use a concrete type")
	}
	c := compiler{busy: map[reflect.Type]bool{}}
	return c.compile(rt, typeName(rt), meaning{})
}

// meaning is what a leat tag says of a field: the unit of an int64, and the
// field's older names.
type meaning struct {
	unit   Unit
	digits int
	was    []string
}

type compiler struct {
	busy map[reflect.Type]bool // named types on the way down, to find recursion
}

func (c *compiler) compile(rt reflect.Type, path string, m meaning) (*Type, error) {
	if rt.Name() != "" && rt.Kind() >= reflect.Array {
		if c.busy[rt] {
			return nil, refuse(path, rt, "is recursive", "keep the inner values in a stream of their own, or as []byte")
		}
		c.busy[rt] = true
		defer delete(c.busy, rt)
	}
	t := &Type{Go: rt, Size: rt.Size()}
	if kind := scalarKind(rt); kind != 0 {
		t.Kind = kind
		return t, t.give(m, path)
	}
	switch rt.Kind() {
	case reflect.Struct:
		t.Kind = KindStruct
		if m.unit != UnitNone {
			return nil, t.give(m, path)
		}
		return t, c.structFields(t, rt, 0, path)
	case reflect.Array:
		t.Kind, t.Len = KindArray, rt.Len()
		return t, c.elem(t, rt, path+"[]", m)
	case reflect.Slice:
		t.Kind = KindSlice
		if rt.Elem().Size() == 0 {
			return nil, refuse(path, rt, "has elements without content", "use an integer that counts them")
		}
		return t, c.elem(t, rt, path+"[]", m)
	case reflect.Pointer:
		t.Kind = KindPointer
		return t, c.elem(t, rt, path, m)
	case reflect.Map:
		t.Kind = KindMap
		return t, c.mapType(t, rt, path, m)
	}
	return nil, refuse(path, rt, "cannot be encoded", remedy(rt.Kind()))
}

func (c *compiler) elem(t *Type, rt reflect.Type, path string, m meaning) (err error) {
	t.Elem, err = c.compile(rt.Elem(), path, m)
	return err
}

func (c *compiler) mapType(t *Type, rt reflect.Type, path string, m meaning) (err error) {
	if t.Key, err = c.compile(rt.Key(), path+"[key]", meaning{}); err != nil {
		return err
	}
	if !mapKey(t.Key) {
		return refuse(path, rt, "has keys of a kind that is not offered", "use strings, integers, bools, or arrays and structs of them")
	}
	t.Elem, err = c.compile(rt.Elem(), path+"[]", m)
	return err
}

// mapKey reports whether equal values of t have equal row forms, and whether
// the row form has at least one byte, so that a count can be checked.
func mapKey(t *Type) bool {
	switch {
	case t.Kind == KindBool, t.Kind == KindString, t.Kind.Signed(), t.Kind.Unsigned():
		return true
	case t.Kind == KindArray:
		return t.Len > 0 && mapKey(t.Elem)
	case t.Kind == KindStruct:
		for _, f := range t.Fields {
			if !mapKey(f.Type) {
				return false
			}
		}
		return len(t.Fields) > 0
	}
	return false
}

// structFields adds the fields of rt, which begins at base in t.
func (c *compiler) structFields(t *Type, rt reflect.Type, base uintptr, path string) error {
	for sf := range rt.Fields() {
		at := path + "." + sf.Name
		m, skip, err := parseTag(sf.Tag.Get("leat"))
		if err != nil {
			return fmt.Errorf("codec: %s: %w", at, err)
		}
		if skip || sf.Name == "_" {
			continue
		}
		name, opts := jsonTag(sf)
		if sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Struct && scalarKind(sf.Type) == 0 {
			if err := c.structFields(t, sf.Type, base+sf.Offset, at); err != nil {
				return err
			}
			continue
		}
		if sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Pointer {
			return refuse(at, sf.Type, "is embedded", "embed the struct itself, or give the field a name")
		}
		if !sf.IsExported() {
			return refuse(at, sf.Type, "is an unexported field", `export it, or leave it out with the tag leat:"-"`)
		}
		if name == "" {
			name = sf.Name
		}
		ft, err := c.compile(sf.Type, at, m)
		if err != nil {
			return err
		}
		for _, f := range t.Fields {
			if f.Name == name {
				return fmt.Errorf("codec: %s: another field is named %q too: give one of them a json tag with another name", at, name)
			}
		}
		t.Fields = append(t.Fields, Field{Name: name, Offset: base + sf.Offset, Type: ft, JSON: opts, Was: m.was})
	}
	return checkNames(t, path)
}

// give attaches what a tag says to a scalar type.
func (t *Type) give(m meaning, path string) error {
	if m.unit == UnitNone {
		return nil
	}
	if t.Kind != KindInt64 || t.Size != 8 {
		return fmt.Errorf("codec: %s: the tags leat:\"decimal=N\" and leat:\"time=millis\" are for int64 fields, not %s", path, t.Go)
	}
	t.Unit, t.Digits = m.unit, m.digits
	return nil
}

// scalarKind returns the kind of a type without parts, 0 for others.
func scalarKind(rt reflect.Type) Kind {
	switch rt {
	case reflect.TypeFor[time.Time]():
		return KindTime
	case reflect.TypeFor[time.Duration]():
		return KindDuration
	}
	switch rt.Kind() {
	case reflect.Bool:
		return KindBool
	case reflect.Int8:
		return KindInt8
	case reflect.Int16:
		return KindInt16
	case reflect.Int32:
		return KindInt32
	case reflect.Int64, reflect.Int:
		return KindInt64
	case reflect.Uint8:
		return KindUint8
	case reflect.Uint16:
		return KindUint16
	case reflect.Uint32:
		return KindUint32
	case reflect.Uint64, reflect.Uint:
		return KindUint64
	case reflect.Float32:
		return KindFloat32
	case reflect.Float64:
		return KindFloat64
	case reflect.String:
		return KindString
	case reflect.Slice:
		if rt.Elem().Kind() == reflect.Uint8 {
			return KindBytes
		}
	}
	return 0
}

// parseTag reads a leat tag: parts separated by commas.
func parseTag(tag string) (m meaning, skip bool, err error) {
	if tag == "" {
		return m, false, nil
	}
	for part := range strings.SplitSeq(tag, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch {
		case part == "-" && tag == "-":
			return m, true, nil
		case part == "time=millis" && m.unit == UnitNone:
			m.unit = UnitMillis
		case name == "decimal" && m.unit == UnitNone:
			m.unit = UnitDecimal
			if m.digits, err = strconv.Atoi(value); err != nil || m.digits < 0 || m.digits > digitsMax {
				return m, false, fmt.Errorf("tag leat:%q: the number of fraction digits must be 0 to %d", tag, digitsMax)
			}
		case name == "was" && value != "":
			m.was = append(m.was, value)
		default:
			return m, false, fmt.Errorf(`tag leat:%q is unknown: use "-", "decimal=N", "time=millis" or "was=OLDNAME", the last ones also together, with commas between`, tag)
		}
	}
	return m, false, nil
}

// checkNames wants names, old and new, to be unique in a struct: which field
// a row's bytes belong to must never be a guess.
func checkNames(t *Type, path string) error {
	for i, f := range t.Fields {
		for j, g := range t.Fields {
			if i != j && slices.Contains(f.Was, g.Name) {
				return fmt.Errorf("codec: %s.%s: the tag says that it was %q, which is the name of another field: give that one another name in a json tag, or take the tag away", path, f.Name, g.Name)
			}
			for _, was := range f.Was {
				if i < j && slices.Contains(g.Was, was) {
					return fmt.Errorf("codec: %s.%s: the tags of this field and of %s both say that they were %q: take one away", path, f.Name, g.Name, was)
				}
			}
		}
	}
	return nil
}

func jsonTag(sf reflect.StructField) (name string, opts JSONOptions) {
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return "", JSONOptions{Skip: true}
	}
	name, rest, _ := strings.Cut(tag, ",")
	for opt := range strings.SplitSeq(rest, ",") {
		switch opt {
		case "omitempty":
			opts.OmitEmpty = true
		case "omitzero":
			opts.OmitZero = true
		case "string":
			opts.Quoted = true
		}
	}
	return name, opts
}

func refuse(path string, rt reflect.Type, what, remedy string) error {
	return fmt.Errorf("codec: %s: %s %s: %s", path, rt, what, remedy)
}

func remedy(k reflect.Kind) string {
	switch k {
	case reflect.Interface:
		return "use a concrete type; one struct with a pointer field for each variant does for a union"
	case reflect.Complex64, reflect.Complex128:
		return "use two float64 fields"
	case reflect.Uintptr:
		return "use uint64"
	}
	return `leave the field out with the tag leat:"-", or keep a name or an id in its place`
}

func typeName(rt reflect.Type) string {
	if rt.Name() != "" {
		return rt.Name()
	}
	return rt.String()
}
