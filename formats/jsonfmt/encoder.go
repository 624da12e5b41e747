package jsonfmt

import (
	"cmp"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/scalar"
)

// Encoder writes a T as the JSON text of a record's value, fields in order.
// One encoder serves one goroutine.
type Encoder[T any] struct {
	root *node
}

var (
	_ formats.Encoder[int] = (*Encoder[int])(nil)
	_ formats.FileEncoder  = (*Encoder[int])(nil)
)

// NewEncoder compiles T. A type that cannot be written is an error that names
// the field and what to do.
func NewEncoder[T any](like T) (*Encoder[T], error) {
	c, err := codec.Of[T]()
	if err != nil {
		return nil, err
	}
	root, err := plan(c.Type(), writing)
	if err != nil {
		return nil, err
	}
	return &Encoder[T]{root: root}, nil
}

// EncoderOf returns what sinks ask for: a maker of encoders of rows like like,
// of which only the type matters.
func EncoderOf[T any](like T) func() (formats.Encoder[T], error) {
	return func() (formats.Encoder[T], error) { return NewEncoder(like) }
}

// Extension implements formats.FileEncoder: a file of texts has one on each
// line.
func (e *Encoder[T]) Extension() string { return ".jsonl" }

// AppendHeader implements formats.FileEncoder: there is none.
func (e *Encoder[T]) AppendHeader(dst []byte) []byte { return dst }

// Encode implements formats.Encoder: it appends the text to out.Value.
func (e *Encoder[T]) Encode(v *T, out *formats.Out) error {
	b, err := e.AppendBytes(out.Value, v)
	if err != nil {
		return err
	}
	out.Value = b
	return nil
}

// AppendBytes appends the text of v to dst. After an error dst is as before.
func (e *Encoder[T]) AppendBytes(dst []byte, v *T) ([]byte, error) {
	b, err := e.root.write(dst, unsafe.Pointer(v))
	if err != nil {
		return dst, fmt.Errorf("jsonfmt: %w", err)
	}
	return b, nil
}

// write appends the value at q.
func (n *node) write(dst []byte, q unsafe.Pointer) ([]byte, error) {
	switch n.act {
	case actString:
		return appendString(dst, *(*string)(q)), nil
	case actStruct:
		return n.writeObject(dst, q)
	case actArray:
		return n.writeElems(dst, q, n.typ.Len)
	case actSlice:
		h := (*sliceHeader)(q)
		if h.data == nil {
			return append(dst, "null"...), nil
		}
		return n.writeElems(dst, h.data, h.len)
	case actMap:
		return n.writeMap(dst, q)
	case actPointer:
		to := *(*unsafe.Pointer)(q)
		if to == nil {
			return append(dst, "null"...), nil
		}
		return n.elem.write(dst, to)
	case actJSON, actText:
		return n.writeCustom(dst, q)
	}
	if n.quoted {
		dst, err := n.writeScalar(append(dst, '"'), q)
		return append(dst, '"'), err
	}
	return n.writeScalar(dst, q)
}

func (n *node) writeScalar(dst []byte, q unsafe.Pointer) ([]byte, error) {
	switch n.act {
	case actInt:
		return strconv.AppendInt(dst, scalar.Int(q, n.size), 10), nil
	case actUint:
		return strconv.AppendUint(dst, scalar.Uint(q, n.size), 10), nil
	case actDecimal:
		return scalar.AppendDecimal(dst, *(*int64)(q), int(n.digits)), nil
	case actMillis:
		return appendMillis(dst, *(*int64)(q)), nil
	case actBool:
		return strconv.AppendBool(dst, *(*bool)(q)), nil
	case actFloat:
		return n.writeFloat(dst, q)
	case actTime:
		b, err := (*(*time.Time)(q)).MarshalJSON()
		return append(dst, b...), err
	}
	b := *(*[]byte)(q)
	if b == nil {
		return append(dst, "null"...), nil
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), b)
	return append(dst, '"'), nil
}

func (n *node) writeObject(dst []byte, q unsafe.Pointer) (_ []byte, err error) {
	dst = append(dst, '{')
	start := len(dst)
	for i := range n.fields[:n.known] {
		f := &n.fields[i]
		at := unsafe.Add(q, f.off)
		if f.opts.OmitEmpty && f.node.empty(at) || f.opts.OmitZero && f.node.zero(at) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, f.text...)
		if dst, err = f.node.write(dst, at); err != nil {
			return dst, fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	return append(dst, '}'), nil
}

// empty is the rule of omitempty: false, zero, nil, or no elements.
func (n *node) empty(q unsafe.Pointer) bool {
	v := reflect.NewAt(n.typ.Go, q).Elem()
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// zero is the rule of omitzero: an IsZero method, else the zero value.
func (n *node) zero(q unsafe.Pointer) bool {
	p := reflect.NewAt(n.typ.Go, q)
	if z, ok := p.Interface().(interface{ IsZero() bool }); ok && n.act != actPointer {
		return z.IsZero()
	}
	return p.Elem().IsZero()
}

func (n *node) writeElems(dst []byte, q unsafe.Pointer, count int) (_ []byte, err error) {
	dst = append(dst, '[')
	for i := range count {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = n.elem.write(dst, unsafe.Add(q, uintptr(i)*n.elem.size)); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// writeMap writes the entries in the order of their names.
func (n *node) writeMap(dst []byte, q unsafe.Pointer) ([]byte, error) {
	m := reflect.NewAt(n.typ.Go, q).Elem()
	if m.IsNil() {
		return append(dst, "null"...), nil
	}
	type entry struct {
		name string
		val  unsafe.Pointer
	}
	var all []entry
	key := reflect.New(n.typ.Key.Go)
	for it := m.MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		val := reflect.New(n.typ.Elem.Go)
		val.Elem().SetIterValue(it)
		name := key.Elem().String()
		switch n.key.act {
		case actInt:
			name = strconv.FormatInt(key.Elem().Int(), 10)
		case actUint:
			name = strconv.FormatUint(key.Elem().Uint(), 10)
		}
		all = append(all, entry{name, val.UnsafePointer()})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	dst = append(dst, '{')
	for i, e := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, e.name), ':')
		var err error
		if dst, err = n.elem.write(dst, e.val); err != nil {
			return dst, fmt.Errorf("key %q: %w", e.name, err)
		}
	}
	return append(dst, '}'), nil
}

func (n *node) writeCustom(dst []byte, q unsafe.Pointer) ([]byte, error) {
	v := reflect.NewAt(n.typ.Go, q).Interface()
	if n.act == actJSON {
		b, err := json.Marshal(v)
		return append(dst, b...), err
	}
	b, err := v.(encoding.TextMarshaler).MarshalText()
	return appendString(dst, string(b)), err
}

// writeFloat writes the shortest text that reads back as the same number, in
// the form of encoding/json.
func (n *node) writeFloat(dst []byte, q unsafe.Pointer) ([]byte, error) {
	f := 0.0
	if n.size == 4 {
		f = float64(*(*float32)(q))
	} else {
		f = *(*float64)(q)
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return dst, fmt.Errorf("%v cannot be written as JSON: map it to null or a string before", f)
	}
	abs, bits := math.Abs(f), int(n.size*8)
	if abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
		if k := len(dst); k >= 4 && dst[k-4] == 'e' && dst[k-3] == '-' && dst[k-2] == '0' {
			dst[k-2] = dst[k-1]
			dst = dst[:k-1]
		}
		return dst, nil
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits), nil
}
