package csvfmt

import (
	"encoding"
	"fmt"
	"math"
	"reflect"

	"github.com/leatstream/leat/dataflow/codec"
)

// action says how a field is read and written.
type action uint8

const (
	actString action = iota + 1
	actInt
	actUint
	actDecimal
	actMillis
	actFloat
	actBool
	actTime
	actBytes
	actText // the Go type reads and writes itself as text
)

// column is the plan for one field of the struct.
type column struct {
	name string
	off  uintptr
	act  action
	// pointer says that the field is a pointer to what act is about; it is
	// null when nil.
	pointer bool
	// optional says that the zero value is written and read as null.
	optional bool
	digits   int
	size     uintptr
	low      int64
	high     uint64
	goType   reflect.Type // of what act is about
}

func (c *column) nullable() bool { return c.pointer || c.optional }

// plan returns the columns of a struct, in order.
func plan(t *codec.Type) ([]column, error) {
	if t.Kind != codec.KindStruct {
		return nil, fmt.Errorf("csvfmt: %s is no struct: a record has a field for each column", t.Go)
	}
	if a, ok := ownText(t.Go); a || !ok {
		return nil, fmt.Errorf("csvfmt: %s writes itself as text: put it into a struct, as the field of a column", t.Go)
	}
	var out []column
	seen := make(map[string]bool)
	for i := range t.Fields {
		f := &t.Fields[i]
		if f.JSON.Skip {
			continue
		}
		if seen[f.Name] {
			return nil, fmt.Errorf("csvfmt: %s has two fields of the name %q: rename one in its json tag", t.Go, f.Name)
		}
		seen[f.Name] = true
		c := column{name: f.Name, off: f.Offset, optional: f.JSON.OmitEmpty || f.JSON.OmitZero}
		ft := f.Type
		if ft.Kind == codec.KindPointer {
			c.pointer, ft = true, ft.Elem
		}
		if err := c.set(ft); err != nil {
			return nil, fmt.Errorf("csvfmt: %s.%s: %w", t.Go, f.Name, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("csvfmt: %s has no field for a column", t.Go)
	}
	return out, nil
}

// ownText reports whether a type reads and writes itself as text, and ok false
// when it does one of the two only.
func ownText(t reflect.Type) (does, ok bool) {
	p := reflect.PointerTo(t)
	in, out := p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()), p.Implements(reflect.TypeFor[encoding.TextMarshaler]())
	return in && out, in == out
}

func (c *column) set(t *codec.Type) error {
	c.size, c.goType, c.digits = t.Size, t.Go, t.Digits
	if t.Kind == codec.KindTime {
		c.act = actTime
		return nil
	}
	switch text, ok := ownText(t.Go); {
	case !ok:
		return fmt.Errorf("%s has only one of UnmarshalText and MarshalText: add the other", t.Go)
	case text:
		c.act = actText
		return nil
	}
	switch k := t.Kind; {
	case t.Unit == codec.UnitDecimal:
		c.act = actDecimal
	case t.Unit == codec.UnitMillis:
		c.act = actMillis
	case k.Signed():
		c.act = actInt
		c.low, c.high = math.MinInt64>>(64-8*c.size), uint64(math.MaxInt64>>(64-8*c.size))
	case k.Unsigned():
		c.act, c.high = actUint, math.MaxUint64>>(64-8*c.size)
	case k == codec.KindFloat32, k == codec.KindFloat64:
		c.act = actFloat
	case k == codec.KindBool:
		c.act = actBool
	case k == codec.KindString:
		c.act = actString
	case k == codec.KindBytes:
		c.act = actBytes
	default:
		return fmt.Errorf("%s does not fit one column: use a field for each value, a type with MarshalText and UnmarshalText, or the JSON format", t.Go)
	}
	return nil
}
