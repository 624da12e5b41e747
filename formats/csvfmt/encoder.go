package csvfmt

import (
	"encoding"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/scalar"
)

// Encoder writes a T as a line, columns in the order of the fields. One
// encoder serves one goroutine.
type Encoder[T any] struct {
	cfg     config
	columns []column
}

var (
	_ formats.Encoder[struct{ A int }] = (*Encoder[struct{ A int }])(nil)
	_ formats.FileEncoder              = (*Encoder[struct{ A int }])(nil)
)

// NewEncoder compiles T. A type that cannot be written is an error that names
// the field and what to do.
func NewEncoder[T any](like T, opts ...Option) (*Encoder[T], error) {
	cfg, columns, err := compile[T](opts)
	if err != nil {
		return nil, err
	}
	if err := cfg.checkNames(columns); err != nil {
		return nil, err
	}
	return &Encoder[T]{cfg: cfg, columns: columns}, nil
}

// EncoderOf returns what sinks ask for: a maker of encoders of rows like like,
// of which only the type matters.
func EncoderOf[T any](like T, opts ...Option) func() (formats.Encoder[T], error) {
	return func() (formats.Encoder[T], error) {
		e, err := NewEncoder(like, opts...)
		if err != nil {
			return nil, err
		}
		return e, nil
	}
}

// Extension implements formats.FileEncoder.
func (e *Encoder[T]) Extension() string { return ".csv" }

// AppendHeader implements formats.FileEncoder: the names of the columns.
func (e *Encoder[T]) AppendHeader(dst []byte) []byte {
	if e.cfg.noHeader {
		return dst
	}
	for i := range e.columns {
		if i > 0 {
			dst = append(dst, e.cfg.delimiter)
		}
		from := len(dst)
		dst = append(dst, e.columns[i].name...)
		dst = e.cfg.wrapName(dst, from)
	}
	return dst
}

// Encode implements formats.Encoder: it appends the line to out.Value, without
// a line feed.
func (e *Encoder[T]) Encode(v *T, out *formats.Out) error {
	b, err := e.AppendBytes(out.Value, v)
	if err != nil {
		return err
	}
	out.Value = b
	return nil
}

// AppendBytes appends the line of v to dst. After an error dst is as before.
func (e *Encoder[T]) AppendBytes(dst []byte, v *T) ([]byte, error) {
	b := dst
	for i := range e.columns {
		if i > 0 {
			b = append(b, e.cfg.delimiter)
		}
		c := &e.columns[i]
		var err error
		if b, err = e.cfg.write(b, c, unsafe.Add(unsafe.Pointer(v), c.off)); err != nil {
			return dst, &fieldError{column: c.name, err: err}
		}
	}
	if len(b) > len(dst) {
		return b, nil
	}
	// Empty lines are no records.
	if c := &e.columns[0]; c.act != actString || c.pointer || e.cfg.quote == 0 {
		return dst, &fieldError{column: c.name, err: errors.New("a record of one empty field cannot be told from no record: set a null text (Null), or add a field")}
	}
	return append(b, e.cfg.quote, e.cfg.quote), nil
}

// write appends the cell of the field at q.
func (c *config) write(dst []byte, col *column, q unsafe.Pointer) ([]byte, error) {
	if col.pointer {
		if q = *(*unsafe.Pointer)(q); q == nil {
			return append(dst, c.null...), nil
		}
	} else if col.optional && reflect.NewAt(col.goType, q).Elem().IsZero() {
		return append(dst, c.null...), nil
	}
	from := len(dst)
	dst, text, err := col.format(dst, q)
	if err != nil || !text && c.sparesNumbers && !col.nullable() {
		return dst, err
	}
	quotes, needed, err := c.inspect(dst[from:])
	if err != nil {
		return dst, err
	}
	if needed = needed || col.nullable() && string(dst[from:]) == c.null; !needed {
		return dst, nil
	}
	if c.quote == 0 {
		return dst, fmt.Errorf("the field %.80q holds a delimiter or is the null text, and there are no quotes to tell", dst[from:])
	}
	return c.wrap(dst, from, quotes), nil
}

// inspect counts the quotes of a cell and reports whether it needs some
// around it.
func (c *config) inspect(cell []byte) (quotes int, needed bool, err error) {
	for _, b := range cell {
		switch {
		case b == c.quote && b != 0:
			quotes++
			needed = true
		case b == '\n' || b == '\r':
			if !c.quotedLines {
				return 0, false, errors.New("the field holds a line end: allow it with csvfmt.QuotedLines(), for those who read it too, or replace it before")
			}
			needed = true
		case b == c.delimiter:
			needed = true
		}
	}
	return quotes, needed, nil
}

// checkNames wants names that a header line can hold.
func (c *config) checkNames(columns []column) error {
	if c.noHeader {
		return nil
	}
	for i := range columns {
		_, needed, err := c.inspect([]byte(columns[i].name))
		if err == nil && needed && c.quote == 0 {
			err = errors.New("it holds a delimiter, and there are no quotes")
		}
		if err != nil {
			return fmt.Errorf("csvfmt: name %q of a column: %w", columns[i].name, err)
		}
	}
	return nil
}

// wrapName puts quotes around a column's name that needs them.
func (c *config) wrapName(dst []byte, from int) []byte {
	if quotes, needed, err := c.inspect(dst[from:]); err == nil && needed {
		return c.wrap(dst, from, quotes)
	}
	return dst
}

// wrap puts quotes around the bytes from from on and doubles those within,
// from the end on, so that each byte is moved once.
func (c *config) wrap(dst []byte, from, quotes int) []byte {
	n := len(dst)
	for range quotes + 2 {
		dst = append(dst, c.quote)
	}
	to := len(dst) - 1 // the closing quote stands there
	for i := n - 1; i >= from; i-- {
		to--
		dst[to] = dst[i]
		if dst[i] == c.quote {
			to--
			dst[to] = c.quote
		}
	}
	dst[from] = c.quote
	return dst
}

// format appends the text of the value at q; text says that it may hold any
// character.
func (c *column) format(dst []byte, q unsafe.Pointer) (_ []byte, text bool, _ error) {
	switch c.act {
	case actString:
		return append(dst, *(*string)(q)...), true, nil
	case actInt:
		return strconv.AppendInt(dst, scalar.Int(q, c.size), 10), false, nil
	case actUint:
		return strconv.AppendUint(dst, scalar.Uint(q, c.size), 10), false, nil
	case actDecimal:
		return scalar.AppendDecimal(dst, *(*int64)(q), c.digits), false, nil
	case actMillis:
		return scalar.AppendMillis(dst, *(*int64)(q)), false, nil
	case actFloat:
		b, err := c.appendFloat(dst, q)
		return b, false, err
	case actBool:
		return strconv.AppendBool(dst, *(*bool)(q)), false, nil
	case actTime:
		b, err := (*time.Time)(q).AppendText(dst)
		return b, false, err
	case actBytes:
		return base64.StdEncoding.AppendEncode(dst, *(*[]byte)(q)), false, nil
	}
	v, _ := reflect.NewAt(c.goType, q).Interface().(encoding.TextMarshaler) // the plan has looked
	b, err := v.MarshalText()
	return append(dst, b...), true, err
}

// appendFloat writes the shortest text that reads back as the same number.
func (c *column) appendFloat(dst []byte, q unsafe.Pointer) ([]byte, error) {
	f, size := 0.0, int(c.size*8)
	if size == 32 {
		f = float64(*(*float32)(q))
	} else {
		f = *(*float64)(q)
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return dst, fmt.Errorf("%v is no number that others read: map it to null or a string before", f)
	}
	form := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		form = 'e'
	}
	return strconv.AppendFloat(dst, f, form, -1, size), nil
}
