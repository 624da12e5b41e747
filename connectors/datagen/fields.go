package datagen

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Field says how one field of generated rows is made: the same as a tag
// `gen:"…"` on it, which it replaces. The zero kind is random.
type Field struct {
	name string
	spec spec
}

// Named begins the description of a field; fields of nested structs are
// "Address.City". Without more it is random.
func Named(name string) Field { return Field{name: name} }

// Sequence numbers the rows: the field is from in the first one, from+1 in the
// next. Numbers and strings (of decimal digits). Tag: sequence, from=1.
func (f Field) Sequence(from int64) Field {
	f.spec.kind, f.spec.from = sequence, from
	return f
}

// Between bounds random integers and floats, min and max included. Tag: min=1,
// max=9.
func (f Field) Between(low, high float64) Field {
	f.spec.low, f.spec.high, f.spec.bounded = low, high, true
	return f
}

// Length is that of random strings and bytes; default 8. Tag: length=12.
func (f Field) Length(n int) Field {
	f.spec.length, f.spec.sized = n, true
	return f
}

// OneOf takes one of the values, each as likely: strings, numbers and truth
// values by their text. Tag: values=red|green|blue.
func (f Field) OneOf(values ...string) Field {
	f.spec.kind, f.spec.values = oneOf, values
	return f
}

// Every gives row i the time start plus i steps: time.Time, or integers as
// milliseconds. Tag: start=2026-01-01T00:00:00Z, step=1s.
func (f Field) Every(start time.Time, step time.Duration) Field {
	f.spec.kind, f.spec.start, f.spec.step = ticking, start, step
	return f
}

// Jitter takes up to d off the times of Every, so that rows are out of order.
// Tag: jitter=5s.
func (f Field) Jitter(d time.Duration) Field {
	f.spec.jitter = d
	return f
}

// Nulls is the share of rows, 0 to 1, in which a pointer is nil. Tag:
// nulls=0.1.
func (f Field) Nulls(share float64) Field {
	f.spec.nulls = share
	return f
}

// Zero leaves the field alone. Tag: -.
func (f Field) Zero() Field {
	f.spec.kind = zero
	return f
}

// Of returns a source of rows like like, a struct, whose fields are made one
// by one as their tags and fields say:
//
//	type reading struct {
//		ID      int64   `gen:"sequence,from=1"`
//		Sensor  string  `gen:"values=north|south"`
//		Degrees float64 `gen:"min=-20,max=40"`
//		Note    *string `gen:"length=12,nulls=0.95"`
//		At      int64   `gen:"start=2026-01-01T00:00:00Z,step=1s,jitter=5s"`
//	}
//
// A field without a tag is random: integers from 0 to 999, floats from 0 to 1,
// strings of 8 letters, times one second after the other from 2026 on. Maps,
// slices other than bytes, and other types stay as they are in like. Row i
// depends on i, the seed and the fields in their order, so that a restored job
// goes on with the same ones.
func Of[T any](cfg Config, like T, fields ...Field) *Source[T] {
	plan, err := planOf(reflect.TypeFor[T](), fields)
	s := New(cfg, func(i int64, rng *rand.Rand) T {
		row := like
		plan.fill(reflect.ValueOf(&row).Elem(), i, rng)
		return row
	})
	s.fault, s.schema = err, plan.describe()
	s.err = errors.Join(s.err, err)
	return s
}

// kind is what a field's values come from.
type kind uint8

const (
	random kind = iota
	sequence
	oneOf
	ticking
	zero
)

// spec is how a field is made.
type spec struct {
	kind      kind
	from      int64
	low, high float64
	bounded   bool
	length    int
	sized     bool
	values    []string
	start     time.Time
	step      time.Duration
	jitter    time.Duration
	nulls     float64
}

// parseTag reads `gen:"…"`: words and key=value, separated by commas.
func parseTag(tag string) (s spec, err error) {
	var errs []error
	for _, part := range strings.Split(tag, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		errs = append(errs, s.set(key, value))
	}
	return s, errors.Join(errs...)
}

func (s *spec) set(key, value string) (err error) {
	switch key {
	case "", "random":
	case "-":
		s.kind = zero
	case "sequence":
		s.kind = sequence
	case "from":
		s.from, err = strconv.ParseInt(value, 10, 64)
	case "min":
		s.low, err = strconv.ParseFloat(value, 64)
		if !s.bounded {
			s.bounded, s.high = true, math.Inf(1)
		}
	case "max":
		s.high, err = strconv.ParseFloat(value, 64)
		s.bounded = true
	case "length":
		s.length, err = strconv.Atoi(value)
		s.sized = true
	case "values":
		s.kind, s.values = oneOf, strings.Split(value, "|")
	case "start":
		s.kind = ticking
		s.start, err = time.Parse(time.RFC3339, value)
	case "step":
		s.kind = ticking
		s.step, err = time.ParseDuration(value)
	case "jitter":
		s.jitter, err = time.ParseDuration(value)
	case "nulls":
		s.nulls, err = strconv.ParseFloat(value, 64)
	default:
		return fmt.Errorf("%q is none of sequence, from, min, max, length, values, start, step, jitter, nulls and -", key)
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w", key, value, err)
	}
	return nil
}

// check returns what is wrong with a spec by itself.
func (s *spec) check() error {
	switch {
	case s.bounded && s.low > s.high:
		return fmt.Errorf("min %v is greater than max %v", s.low, s.high)
	case s.bounded && (math.IsNaN(s.low) || math.IsInf(s.low, 0) || math.IsNaN(s.high) || math.IsInf(s.high, 0)):
		return errors.New("want both min and max, as finite numbers")
	case s.sized && (s.length < 0 || s.length > lengthMax):
		return fmt.Errorf("length %d: want 0 to %d", s.length, lengthMax)
	case !(s.nulls >= 0 && s.nulls <= 1):
		return fmt.Errorf("the share of nulls is %v: want 0 to 1", s.nulls)
	case s.jitter < 0 || s.jitter > 0 && s.kind != ticking:
		return fmt.Errorf("jitter %v: want a positive one, and a step", s.jitter)
	case s.kind == ticking && (s.step <= 0 || s.step%time.Millisecond != 0):
		return fmt.Errorf("step %v: want whole milliseconds, at least one", s.step)
	case s.kind == oneOf && len(s.values) == 0:
		return errors.New("there are no values to take one of")
	}
	return nil
}

// lengthMax bounds strings.
const lengthMax = 1 << 20

// describe is part of the graph's fingerprint.
func (s *spec) describe() string {
	switch s.kind {
	case sequence:
		return fmt.Sprintf("from %d", s.from)
	case oneOf:
		return "one of " + strings.Join(s.values, "|")
	case ticking:
		return fmt.Sprintf("from %s by %s jitter %s", s.start.UTC().Format(time.RFC3339Nano), s.step, s.jitter)
	case zero:
		return "zero"
	}
	return fmt.Sprintf("random %v to %v length %d", s.low, s.high, s.length)
}
