package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/internal/scalar"
)

// appendJSON appends v as JSON: fields in order, entries of maps in the order
// of their keys' texts, decimals and times as formats write them.
func appendJSON(dst []byte, t *Type, v reflect.Value) []byte {
	switch {
	case t.Kind == KindStruct:
		dst = append(dst, '{')
		for i, f := range t.Fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(append(appendText(dst, f.Name), ':'), f.Type, v.Field(i))
		}
		return append(dst, '}')
	case (t.Kind == KindPointer || t.Kind == KindSlice || t.Kind == KindMap || t.Kind == KindBytes) && v.IsNil():
		return append(dst, "null"...)
	case t.Kind == KindPointer:
		return appendJSON(dst, t.Elem, v.Elem())
	case t.Kind == KindSlice || t.Kind == KindArray:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, t.Elem, v.Index(i))
		}
		return append(dst, ']')
	case t.Kind == KindMap:
		return appendMapJSON(dst, t, v)
	}
	return appendScalarJSON(dst, t, v)
}

func appendMapJSON(dst []byte, t *Type, v reflect.Value) []byte {
	entries := make([]string, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key := appendJSON(nil, t.Key, it.Key())
		if key[0] != '"' {
			key = appendText(nil, string(key))
		}
		entries = append(entries, string(appendJSON(append(key, ':'), t.Elem, it.Value())))
	}
	slices.Sort(entries)
	return append(append(append(dst, '{'), strings.Join(entries, ",")...), '}')
}

func appendScalarJSON(dst []byte, t *Type, v reflect.Value) []byte {
	switch {
	case t.Kind == KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case t.Kind == KindString:
		return appendText(dst, v.String())
	case t.Kind == KindBytes:
		return appendText(dst, base64.StdEncoding.EncodeToString(v.Bytes()))
	case t.Kind == KindTime:
		return appendText(dst, v.Interface().(time.Time).UTC().Format(time.RFC3339Nano))
	case t.Kind == KindDuration:
		return appendText(dst, time.Duration(v.Int()).String())
	case t.Unit == UnitMillis:
		return appendText(dst, time.UnixMilli(v.Int()).UTC().Format(time.RFC3339Nano))
	case t.Unit == UnitDecimal:
		return scalar.AppendDecimal(dst, v.Int(), t.Digits)
	case t.Kind.Signed():
		return strconv.AppendInt(dst, v.Int(), 10)
	case t.Kind.Unsigned():
		return strconv.AppendUint(dst, v.Uint(), 10)
	}
	f := v.Float()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return appendText(dst, strconv.FormatFloat(f, 'g', -1, 64)) // JSON has no such number
	}
	return strconv.AppendFloat(dst, f, 'g', -1, t.Kind.bits())
}

func appendText(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("codec: a text cannot be written: %v", err))
	}
	return append(dst, b...)
}

// setJSON sets v, which is zero, to what src says.
func setJSON(t *Type, v reflect.Value, src []byte) error {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return fmt.Errorf("%q is no JSON value: %w", src, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("%q is more than one JSON value", src)
	}
	return setValue(t, v, x, "")
}

func setValue(t *Type, v reflect.Value, x any, path string) error {
	if x == nil && (t.Kind == KindPointer || t.Kind == KindSlice || t.Kind == KindMap || t.Kind == KindBytes) {
		return nil
	}
	switch t.Kind {
	case KindStruct:
		return setStruct(t, v, x, path)
	case KindPointer:
		v.Set(reflect.New(t.Elem.Go))
		return setValue(t.Elem, v.Elem(), x, path)
	case KindSlice, KindArray:
		return setElems(t, v, x, path)
	case KindMap:
		return setMap(t, v, x, path)
	}
	return setScalar(t, v, x, path)
}

// wrong says that a value does not fit.
func wrong(t *Type, x any, path string) error {
	text, err := json.Marshal(x)
	if err != nil {
		text = fmt.Append(nil, x)
	}
	if path != "" {
		path = " of field " + path
	}
	return fmt.Errorf("the value %s%s is no %s", text, path, schemaOf(t))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func setStruct(t *Type, v reflect.Value, x any, path string) error {
	m, ok := x.(map[string]any)
	if !ok {
		return wrong(t, x, path)
	}
	for i, f := range t.Fields {
		if fx, ok := m[f.Name]; ok {
			delete(m, f.Name)
			if err := setValue(f.Type, v.Field(i), fx, join(path, f.Name)); err != nil {
				return err
			}
		}
	}
	for name := range m {
		return fmt.Errorf("field %q is not one of %s", join(path, name), schemaOf(t))
	}
	return nil
}

func setElems(t *Type, v reflect.Value, x any, path string) error {
	list, ok := x.([]any)
	if !ok || t.Kind == KindArray && len(list) != t.Len {
		return wrong(t, x, path)
	}
	if t.Kind == KindSlice {
		v.Set(reflect.MakeSlice(t.Go, len(list), len(list)))
	}
	for i, ex := range list {
		if err := setValue(t.Elem, v.Index(i), ex, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

func setMap(t *Type, v reflect.Value, x any, path string) error {
	m, ok := x.(map[string]any)
	if !ok {
		return wrong(t, x, path)
	}
	v.Set(reflect.MakeMapWithSize(t.Go, len(m)))
	for name, ex := range m {
		key, val := reflect.New(t.Key.Go).Elem(), reflect.New(t.Elem.Go).Elem()
		var kx any = name
		if t.Key.Kind != KindString {
			if err := json.Unmarshal([]byte(name), &kx); err != nil {
				return wrong(t.Key, name, path)
			}
			if _, number := kx.(float64); number {
				kx = json.Number(name)
			}
		}
		if err := setValue(t.Key, key, kx, path); err != nil {
			return err
		}
		if err := setValue(t.Elem, val, ex, join(path, name)); err != nil {
			return err
		}
		v.SetMapIndex(key, val)
	}
	return nil
}

func setScalar(t *Type, v reflect.Value, x any, path string) (err error) {
	switch x := x.(type) {
	case bool:
		if t.Kind != KindBool {
			return wrong(t, x, path)
		}
		v.SetBool(x)
	case string:
		return setText(t, v, x, path)
	case json.Number:
		return setNumber(t, v, x, path)
	default:
		return wrong(t, x, path)
	}
	return nil
}

func setText(t *Type, v reflect.Value, x, path string) error {
	switch {
	case t.Kind == KindString:
		v.SetString(x)
	case t.Kind == KindBytes:
		b, err := base64.StdEncoding.DecodeString(x)
		if err != nil {
			return wrong(t, x, path)
		}
		v.SetBytes(b)
	case t.Kind == KindDuration:
		d, err := time.ParseDuration(x)
		if err != nil {
			return wrong(t, x, path)
		}
		v.SetInt(int64(d))
	case t.Kind == KindTime || t.Unit == UnitMillis:
		at, err := time.Parse(time.RFC3339Nano, x)
		if err != nil {
			return wrong(t, x, path)
		}
		if t.Kind == KindTime {
			v.Set(reflect.ValueOf(at.UTC()))
		} else {
			v.SetInt(at.UnixMilli())
		}
	default:
		return wrong(t, x, path)
	}
	return nil
}

func setNumber(t *Type, v reflect.Value, x json.Number, path string) error {
	text := x.String()
	switch {
	case t.Unit == UnitDecimal:
		whole, part, _ := strings.Cut(text, ".")
		if len(part) > t.Digits || strings.ContainsAny(text, "eE") {
			return wrong(t, x, path)
		}
		n, err := strconv.ParseInt(whole+part+strings.Repeat("0", t.Digits-len(part)), 10, 64)
		if err != nil {
			return wrong(t, x, path)
		}
		v.SetInt(n)
	case t.Kind.Signed():
		n, err := strconv.ParseInt(text, 10, t.Kind.bits())
		if err != nil {
			return wrong(t, x, path)
		}
		v.SetInt(n)
	case t.Kind.Unsigned():
		n, err := strconv.ParseUint(text, 10, t.Kind.bits())
		if err != nil {
			return wrong(t, x, path)
		}
		v.SetUint(n)
	case t.Kind == KindFloat32 || t.Kind == KindFloat64:
		f, err := strconv.ParseFloat(text, t.Kind.bits())
		if err != nil {
			return wrong(t, x, path)
		}
		v.SetFloat(f)
	default:
		return wrong(t, x, path)
	}
	return nil
}
