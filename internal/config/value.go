package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Size is a number of bytes, written as 512MiB or 2GB.
type Size int64

// String implements fmt.Stringer; ParseSize reads it.
func (s Size) String() string {
	for _, u := range units() {
		if s != 0 && int64(s)%u.bytes == 0 && u.binary {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

type unit struct {
	name   string
	bytes  int64
	binary bool
}

// units are in the order in which they are tried.
func units() []unit {
	return []unit{
		{"TiB", 1 << 40, true}, {"GiB", 1 << 30, true}, {"MiB", 1 << 20, true}, {"KiB", 1 << 10, true},
		{"TB", 1e12, false}, {"GB", 1e9, false}, {"MB", 1e6, false}, {"kB", 1e3, false}, {"B", 1, false},
	}
}

// ParseSize reads a number of bytes with or without a unit.
func ParseSize(text string) (Size, error) {
	number, factor := strings.TrimSpace(text), int64(1)
	for _, u := range units() {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !(f >= 0 && f*float64(factor) < math.MaxInt64) { // so that NaN fails
		return 0, fmt.Errorf("%q is not a size: write it as 512MiB or 2GiB", text)
	}
	return Size(f * float64(factor)), nil
}

// Kinds of options.
const (
	kindText     = "text"
	kindBool     = "bool"
	kindInt      = "number"
	kindFloat    = "decimal"
	kindDuration = "duration"
	kindSize     = "size"
	kindList     = "list"
	kindSecret   = "secret"
)

func kindOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return kindDuration
	case reflect.TypeFor[Size]():
		return kindSize
	case reflect.TypeFor[Secret]():
		return kindSecret
	case reflect.TypeFor[[]string]():
		return kindList
	}
	switch t.Kind() {
	case reflect.String:
		return kindText
	case reflect.Bool:
		return kindBool
	case reflect.Int, reflect.Int32, reflect.Int64:
		return kindInt
	case reflect.Float64:
		return kindFloat
	default:
		return ""
	}
}

// set reads text into the field; on a fault the field keeps its value.
func (o *option) set(text, source string) error {
	if text == "" && source == fromDefault {
		o.source = source
		return nil
	}
	v, err := o.parse(text)
	if err == nil {
		err = o.check(text, v)
	}
	if err != nil {
		return err
	}
	o.value.Set(v.Convert(o.value.Type()))
	o.source = source
	return nil
}

func (o *option) parse(text string) (reflect.Value, error) {
	switch o.kind {
	case kindText, kindSecret:
		return reflect.ValueOf(text), nil
	case kindList:
		return reflect.ValueOf(splitList(text)), nil
	case kindBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return reflect.Value{}, fmt.Errorf("%q is not true or false", text)
		}
		return reflect.ValueOf(b), nil
	case kindSize:
		s, err := ParseSize(text)
		return reflect.ValueOf(s), err
	case kindDuration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return reflect.Value{}, fmt.Errorf("%q is not a duration: write it as 500ms, 10s or 5m", text)
		}
		return reflect.ValueOf(d), nil
	case kindFloat:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return reflect.Value{}, fmt.Errorf("%q is not a number", text)
		}
		return reflect.ValueOf(f), nil
	default:
		n, err := strconv.ParseInt(text, 10, o.value.Type().Bits())
		if err != nil {
			return reflect.Value{}, fmt.Errorf("%q is not a whole number", text)
		}
		return reflect.ValueOf(n), nil
	}
}

func splitList(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// check compares with the limits of the tags.
func (o *option) check(text string, v reflect.Value) error {
	if len(o.enum) > 0 && !slices.Contains(o.enum, text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(o.enum, ", "))
	}
	if o.min == "" {
		return nil
	}
	least, err := o.parse(o.min)
	if err != nil {
		return fmt.Errorf("its minimum: %w", err)
	}
	below := false
	if v.CanInt() {
		below = v.Int() < least.Int()
	} else if v.CanFloat() {
		below = v.Float() < least.Float()
	}
	if below {
		return fmt.Errorf("%s is less than %s", text, o.min)
	}
	return nil
}

// yamlText is the value as Load would read it again; secrets are hidden.
func (o *option) yamlText() string {
	var v any
	switch x := o.value.Interface().(type) {
	case Secret:
		v = x.String()
	case time.Duration:
		v = durationText(x)
	case Size:
		v = x.String()
	default:
		v = x
	}
	if list, ok := v.([]string); ok {
		quoted := make([]string, len(list))
		for i, e := range list {
			quoted[i] = plainYAML(e)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return plainYAML(v)
}

func plainYAML(v any) string {
	if text, ok := v.(string); ok {
		v = hideUserInfo(text)
		if strings.ContainsAny(text, "\n\r") {
			return strconv.Quote(hideUserInfo(text))
		}
	}
	b, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%q", fmt.Sprint(v))
	}
	return strings.TrimSpace(string(b))
}

// hideUserInfo removes the password from a URL.
func hideUserInfo(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	authority, path, slash := strings.Cut(rest, "/")
	i := strings.LastIndexByte(authority, '@')
	if i < 0 {
		return text
	}
	out := scheme + "://(hidden)@" + authority[i+1:]
	if slash {
		out += "/" + path
	}
	return out
}

// nearest suggests an option for a misspelt one.
func (s *Set) nearest(path string) string {
	best, least := "", 4
	for _, o := range s.options {
		if d := distance(path, o.path); d < least {
			best, least = o.path, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s?", best)
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
