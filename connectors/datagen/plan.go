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

// Defaults of random fields.
const (
	highDefault   = 999
	lengthDefault = 8
	letters       = "abcdefghijklmnopqrstuvwxyz"
)

// plan fills the fields of a row.
type plan struct{ steps []step }

// step fills one field.
type step struct {
	name    string
	index   []int
	pointer bool
	spec    spec
	set     func(v reflect.Value, i int64, rng *rand.Rand)
}

var (
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[[]byte]()
)

// planOf returns how rows of a struct type are filled; fields replace tags.
func planOf(t reflect.Type, fields []Field) (*plan, error) {
	p := &plan{}
	if t.Kind() != reflect.Struct {
		return p, fmt.Errorf("rows of %s have no fields: use New", t)
	}
	byName := make(map[string]spec)
	var errs []error
	for _, f := range fields {
		if _, twice := byName[f.name]; twice {
			errs = append(errs, fmt.Errorf("field %s is described twice", f.name))
		}
		byName[f.name] = f.spec
	}
	errs = append(errs, p.add(t, "", nil, byName))
	for _, f := range fields {
		if _, left := byName[f.name]; left {
			delete(byName, f.name)
			errs = append(errs, fmt.Errorf("%s has no exported field %q that can be made", t, f.name))
		}
	}
	return p, errors.Join(errs...)
}

// add plans the fields of a struct, in order; those described are taken out of
// byName.
func (p *plan) add(t reflect.Type, prefix string, index []int, byName map[string]spec) error {
	var errs []error
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		s := step{name: prefix + f.Name, index: append(append([]int(nil), index...), i)}
		tag, tagged := f.Tag.Lookup("gen")
		given, described := byName[s.name]
		if f.Type.Kind() == reflect.Struct && f.Type != timeType && !tagged && !described {
			errs = append(errs, p.add(f.Type, s.name+".", s.index, byName))
			continue
		}
		err := s.plan(f.Type, tag, given, described)
		switch {
		case err == nil:
			p.steps = append(p.steps, s)
		case errors.Is(err, errKind) && !tagged && !described:
			continue // stays as it is
		default:
			errs = append(errs, fmt.Errorf("field %s: %w", s.name, err))
		}
		delete(byName, s.name)
	}
	return errors.Join(errs...)
}

var errKind = errors.New("fields of this type cannot be made")

func (s *step) plan(t reflect.Type, tag string, given spec, described bool) error {
	s.spec = given
	if !described {
		var err error
		if s.spec, err = parseTag(tag); err != nil {
			return err
		}
	}
	if err := s.spec.check(); err != nil {
		return err
	}
	if s.spec.kind == zero {
		s.set = func(reflect.Value, int64, *rand.Rand) {}
		return nil
	}
	if t.Kind() == reflect.Pointer {
		s.pointer, t = true, t.Elem()
	} else if s.spec.nulls > 0 {
		return fmt.Errorf("a %s cannot be nil: make it a pointer, or take the nulls away", t)
	}
	var err error
	s.set, err = setter(t, s.spec)
	return err
}

// setter returns what sets a field of a type.
func setter(t reflect.Type, s spec) (func(v reflect.Value, i int64, rng *rand.Rand), error) {
	kind := t.Kind()
	isInt := kind >= reflect.Int && kind <= reflect.Int64
	isUint := kind >= reflect.Uint && kind <= reflect.Uint64
	switch {
	case s.kind == oneOf:
		return chooser(t, s.values)
	case s.kind == ticking || t == timeType && s.kind == random:
		return ticker(t, s)
	case isInt, isUint:
		return integers(t, s)
	case s.bounded && kind != reflect.Float64 && kind != reflect.Float32:
		return nil, fmt.Errorf("%w: a %s has no min and max", errKind, t)
	case kind == reflect.Float64 || kind == reflect.Float32:
		low, high := s.low, s.high
		if !s.bounded {
			low, high = 0, 1
		}
		if s.kind == sequence {
			return func(v reflect.Value, i int64, _ *rand.Rand) { v.SetFloat(float64(s.from + i)) }, nil
		}
		return func(v reflect.Value, _ int64, rng *rand.Rand) { v.SetFloat(low + (high-low)*rng.Float64()) }, nil
	case kind == reflect.String && s.kind == sequence:
		return func(v reflect.Value, i int64, _ *rand.Rand) { v.SetString(strconv.FormatInt(s.from+i, 10)) }, nil
	case kind == reflect.String, t == bytesType:
		return texts(t, s)
	case kind == reflect.Bool && s.kind == random:
		return func(v reflect.Value, _ int64, rng *rand.Rand) { v.SetBool(rng.IntN(2) == 1) }, nil
	}
	return nil, fmt.Errorf("%w: %s", errKind, t)
}

func integers(t reflect.Type, s spec) (func(v reflect.Value, i int64, rng *rand.Rand), error) {
	low, high := int64(0), int64(highDefault)
	if s.bounded {
		low, high = int64(math.Ceil(s.low)), int64(math.Floor(s.high))
		if low > high {
			return nil, fmt.Errorf("there is no whole number from %v to %v", s.low, s.high)
		}
		if math.Abs(s.low) > 1<<53 || math.Abs(s.high) > 1<<53 {
			return nil, fmt.Errorf("min %v and max %v: want at most 2^53", s.low, s.high)
		}
	}
	unsigned := t.Kind() >= reflect.Uint
	limits := reflect.New(t).Elem()
	switch {
	case !s.bounded && s.kind == random && limits.Type().Bits() == 8:
		high = math.MaxInt8
	case s.kind == sequence && unsigned && s.from < 0, unsigned && low < 0:
		return nil, fmt.Errorf("a %s is not negative", t)
	case !unsigned && (limits.OverflowInt(low) || limits.OverflowInt(high)), unsigned && limits.OverflowUint(uint64(high)):
		return nil, fmt.Errorf("min %v and max %v do not fit a %s", s.low, s.high, t)
	}
	put := func(v reflect.Value, n int64) { v.SetInt(n) }
	if unsigned {
		put = func(v reflect.Value, n int64) { v.SetUint(uint64(n)) }
	}
	if s.kind == sequence {
		return func(v reflect.Value, i int64, _ *rand.Rand) { put(v, s.from+i) }, nil
	}
	return func(v reflect.Value, _ int64, rng *rand.Rand) { put(v, low+rng.Int64N(high-low+1)) }, nil
}

func texts(t reflect.Type, s spec) (func(v reflect.Value, i int64, rng *rand.Rand), error) {
	if s.kind != random {
		return nil, fmt.Errorf("%w: %s by %s", errKind, t, s.describe())
	}
	n := lengthDefault
	if s.sized {
		n = s.length
	}
	return func(v reflect.Value, _ int64, rng *rand.Rand) {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[rng.IntN(len(letters))]
		}
		if t.Kind() == reflect.String {
			v.SetString(string(b))
			return
		}
		v.SetBytes(b)
	}, nil
}

// ticker sets times, and integers in milliseconds.
func ticker(t reflect.Type, s spec) (func(v reflect.Value, i int64, rng *rand.Rand), error) {
	if s.kind == random {
		s.start, s.step = time.Time{}, time.Second
	}
	if s.start.IsZero() {
		s.start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	// In milliseconds, which rows far ahead do not overflow.
	start, step, jitter := s.start.UnixMilli(), s.step.Milliseconds(), s.jitter.Milliseconds()
	at := func(i int64, rng *rand.Rand) time.Time {
		millis := start + i*step
		if jitter > 0 {
			millis -= rng.Int64N(jitter + 1)
		}
		return time.UnixMilli(millis).UTC()
	}
	switch {
	case t == timeType:
		return func(v reflect.Value, i int64, rng *rand.Rand) { v.Set(reflect.ValueOf(at(i, rng))) }, nil
	case t.Kind() == reflect.Int64:
		return func(v reflect.Value, i int64, rng *rand.Rand) { v.SetInt(at(i, rng).UnixMilli()) }, nil
	}
	return nil, fmt.Errorf("%w: a %s holds no time; want time.Time or int64", errKind, t)
}

// chooser sets one of some values, given as text.
func chooser(t reflect.Type, texts []string) (func(v reflect.Value, i int64, rng *rand.Rand), error) {
	values := make([]reflect.Value, len(texts))
	for i, text := range texts {
		v := reflect.New(t).Elem()
		var err error
		switch kind := t.Kind(); {
		case kind == reflect.String:
			v.SetString(text)
		case kind == reflect.Bool:
			var b bool
			b, err = strconv.ParseBool(text)
			v.SetBool(b)
		case kind >= reflect.Int && kind <= reflect.Int64:
			var n int64
			n, err = strconv.ParseInt(text, 10, t.Bits())
			v.SetInt(n)
		case kind >= reflect.Uint && kind <= reflect.Uint64:
			var n uint64
			n, err = strconv.ParseUint(text, 10, t.Bits())
			v.SetUint(n)
		case kind == reflect.Float32 || kind == reflect.Float64:
			var n float64
			n, err = strconv.ParseFloat(text, t.Bits())
			v.SetFloat(n)
		default:
			return nil, fmt.Errorf("%w: one of some %s", errKind, t)
		}
		if err != nil {
			return nil, fmt.Errorf("value %q is no %s", text, t)
		}
		values[i] = v
	}
	return func(v reflect.Value, _ int64, rng *rand.Rand) { v.Set(values[rng.IntN(len(values))]) }, nil
}

// fill makes row i.
func (p *plan) fill(row reflect.Value, i int64, rng *rand.Rand) {
	for k := range p.steps {
		s := &p.steps[k]
		v := row.FieldByIndex(s.index)
		if s.pointer {
			if s.spec.nulls > 0 && rng.Float64() < s.spec.nulls {
				v.SetZero()
				continue
			}
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		s.set(v, i, rng)
	}
}

func (p *plan) describe() string {
	parts := make([]string, len(p.steps))
	for i, s := range p.steps {
		parts[i] = s.name + " " + s.spec.describe()
		if s.spec.nulls > 0 {
			parts[i] += fmt.Sprintf(" nulls %v", s.spec.nulls)
		}
	}
	return strings.Join(parts, ", ")
}
