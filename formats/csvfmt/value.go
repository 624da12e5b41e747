package csvfmt

import (
	"encoding"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/leatstream/leat/internal/scalar"
)

// read stores a cell at q.
func (c *config) read(col *column, x *cell, q unsafe.Pointer) error {
	if !x.quoted && col.nullable() && string(x.text) == c.null {
		return nil // dst is zero
	}
	if col.pointer {
		to := reflect.New(col.goType).UnsafePointer()
		*(*unsafe.Pointer)(q) = to
		q = to
	}
	return col.parse(x.text, q)
}

// parse stores the text, which may be referred to and changed, at q.
func (c *column) parse(text []byte, q unsafe.Pointer) error {
	switch c.act {
	case actString:
		*(*string)(q) = validString(text)
		return nil
	case actInt:
		return c.parseInt(text, q)
	case actUint:
		return c.parseUint(text, q)
	case actDecimal:
		v, ok := parseDecimal(text, c.digits)
		if !ok {
			return fmt.Errorf("%q is no decimal of at most %d fraction digits%s", text, c.digits, emptyHint(text))
		}
		*(*int64)(q) = v
		return nil
	case actMillis:
		return parseMillis(text, (*int64)(q))
	case actFloat:
		return c.parseFloat(text, q)
	case actBool:
		switch string(text) {
		case "true":
			*(*bool)(q) = true
		case "false":
			*(*bool)(q) = false
		default:
			return notA(text, "true or false")
		}
		return nil
	case actTime:
		t, err := parseTime(text)
		*(*time.Time)(q) = t
		return err
	case actBytes:
		n, err := base64.StdEncoding.Decode(text, text)
		if err != nil {
			return fmt.Errorf("the field is not base64: %w", err)
		}
		*(*[]byte)(q) = text[:n:n]
		return nil
	}
	v, _ := reflect.NewAt(c.goType, q).Interface().(encoding.TextUnmarshaler) // the plan has looked
	return v.UnmarshalText(text)
}

// validString refers to text; what is not UTF-8 becomes U+FFFD.
func validString(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if !utf8.Valid(text) {
		return string([]rune(string(text)))
	}
	return unsafe.String(&text[0], len(text))
}

// borrowed is text as a string that is not kept.
func borrowed(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }

func notA(text []byte, what string) error {
	return fmt.Errorf("%q is no %s%s", text, what, emptyHint(text))
}

// emptyHint says what to do about a field that may be missing.
func emptyHint(text []byte) string {
	if len(text) > 0 {
		return ""
	}
	return ": make the field a pointer, or give its json tag the option omitzero, if it may be empty"
}

func (c *column) outOfRange(text []byte) error {
	return fmt.Errorf("%s is out of the range of %s", text, c.goType)
}

// verdict is what became of a text that should be a whole number.
type verdict uint8

const (
	noNumber verdict = iota
	tooLarge         // for 64 bits
	fine
)

// whole reads an integer: an optional minus sign and digits.
func whole(text []byte) (mag uint64, neg bool, v verdict) {
	if len(text) > 0 && text[0] == '-' {
		neg, text = true, text[1:]
	}
	if len(text) == 0 {
		return 0, false, noNumber
	}
	v = fine
	for _, b := range text {
		d := uint64(b - '0')
		if d > 9 {
			return 0, false, noNumber
		}
		hi, lo := bits.Mul64(mag, 10)
		sum, carry := bits.Add64(lo, d, 0)
		if hi != 0 || carry != 0 {
			v = tooLarge
		}
		mag = sum
	}
	return mag, neg, v
}

func (c *column) parseInt(text []byte, q unsafe.Pointer) error {
	mag, neg, v := whole(text)
	if v == noNumber {
		return notA(text, "whole number")
	}
	if v == tooLarge || !neg && mag > c.high || neg && mag > c.high+1 {
		return c.outOfRange(text)
	}
	if neg {
		mag = -mag
	}
	scalar.Store(q, mag, c.size)
	return nil
}

func (c *column) parseUint(text []byte, q unsafe.Pointer) error {
	mag, neg, v := whole(text)
	if v == noNumber {
		return notA(text, "whole number")
	}
	if v == tooLarge || mag > c.high || neg && mag > 0 {
		return c.outOfRange(text)
	}
	scalar.Store(q, mag, c.size)
	return nil
}

func (c *column) parseFloat(text []byte, q unsafe.Pointer) error {
	// Forms that are Go's own, no one's data: hexadecimal, infinities, underscores.
	for _, b := range text {
		if b-'0' > 9 && b != '-' && b != '+' && b != '.' && b != 'e' && b != 'E' {
			return notA(text, "number")
		}
	}
	f, err := strconv.ParseFloat(borrowed(text), int(c.size*8))
	if errors.Is(err, strconv.ErrRange) {
		return c.outOfRange(text)
	}
	if err != nil {
		return notA(text, "number")
	}
	if c.size == 4 {
		*(*float32)(q) = float32(f)
	} else {
		*(*float64)(q) = f
	}
	return nil
}

// parseTime reads an RFC 3339 time, in UTC.
func parseTime(text []byte) (time.Time, error) {
	var t time.Time
	if err := t.UnmarshalText(text); err != nil {
		return t, fmt.Errorf("%q is no RFC 3339 time such as 2026-01-31T23:59:59.999Z%s", text, emptyHint(text))
	}
	return t.UTC(), nil
}

// parseMillis reads an RFC 3339 time, or a number of milliseconds. Parts of
// milliseconds are dropped, towards the past.
func parseMillis(text []byte, q *int64) error {
	if mag, neg, v := whole(text); v != noNumber {
		if v == tooLarge || mag > math.MaxInt64 {
			return fmt.Errorf("%s milliseconds are out of range", text)
		}
		*q = int64(mag)
		if neg {
			*q = -*q
		}
		return nil
	}
	t, err := parseTime(text)
	if err != nil {
		return err
	}
	*q = t.UnixMilli()
	return nil
}
