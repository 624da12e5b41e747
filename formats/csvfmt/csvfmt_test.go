package csvfmt_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/csvfmt"
)

type variety struct {
	S    string    `json:"s"`
	I8   int8      `json:"i8"`
	I    int64     `json:"i"`
	U8   uint8     `json:"u8"`
	U    uint64    `json:"u"`
	F32  float32   `json:"f32"`
	F    float64   `json:"f"`
	B    bool      `json:"b"`
	Cost int64     `json:"cost" leat:"decimal=2"`
	At   int64     `json:"at" leat:"time=millis"`
	T    time.Time `json:"t"`
	Raw  []byte    `json:"raw"`
	IP   level     `json:"ip"`
	P    *string   `json:"p"`
	N    *int32    `json:"n"`
	Z    int       `json:"z,omitzero"`
	Skip string    `json:"-"`
}

// level writes itself as that many stars.
type level struct{ Stars int }

func (l level) MarshalText() ([]byte, error) { return []byte(strings.Repeat("*", l.Stars)), nil }

func (l *level) UnmarshalText(b []byte) error {
	l.Stars = len(b)
	return nil
}

func some() variety {
	text, n := "", int32(-5)
	return variety{
		S: `a "quoted", name`, I8: -128, I: math.MinInt64, U8: 255, U: math.MaxUint64, F32: 0.1, F: -1e300, B: true,
		Cost: -1250, At: 1_767_225_600_123, T: time.Date(2026, 1, 31, 23, 59, 59, 1, time.UTC), Raw: []byte{0, 255},
		IP: level{3}, P: &text, N: &n,
	}
}

const (
	header = "s,i8,i,u8,u,f32,f,b,cost,at,t,raw,ip,p,n,z"
	line   = `"a ""quoted"", name",-128,-9223372036854775808,255,18446744073709551615,0.1,-1e+300,true,-12.50,` +
		`2026-01-01T00:00:00.123Z,2026-01-31T23:59:59.000000001Z,AP8=,***,"",-5,`
)

func encode[T any](t *testing.T, v T, opts ...csvfmt.Option) (string, error) {
	t.Helper()
	e, err := csvfmt.NewEncoder(*new(T), opts...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.AppendBytes(nil, &v)
	return string(b), err
}

func decode[T any](t *testing.T, header, line string, opts ...csvfmt.Option) (T, error) {
	t.Helper()
	var v T
	d, err := csvfmt.NewDecoder(*new(T), opts...)
	if err != nil {
		t.Fatal(err)
	}
	if d.HasHeader() {
		if err := d.ReadHeader([]byte(header)); err != nil {
			return v, err
		}
	}
	return v, d.DecodeBytes([]byte(line), &v, nil)
}

func TestAllKindsOfFields(t *testing.T) {
	t.Parallel()
	got, err := encode(t, some())
	if err != nil || got != line {
		t.Fatalf("wrote %s, error %v\nwant  %s", got, err, line)
	}
	e, err := csvfmt.NewEncoder(variety{})
	if err != nil {
		t.Fatal(err)
	}
	if h := string(e.AppendHeader(nil)); h != header {
		t.Fatalf("header %s, want %s", h, header)
	}
	back, err := decode[variety](t, header, line)
	if err != nil || !reflect.DeepEqual(back, some()) {
		t.Fatalf("read %+v, error %v", back, err)
	}
}

func TestColumnsAreFoundByName(t *testing.T) {
	t.Parallel()
	type row struct {
		A int    `json:"a"`
		B string `json:"b"`
		C *int   `json:"c"`
	}
	got, err := decode[row](t, `b,other,"a"`, "x,ignored,7")
	if err != nil || got.A != 7 || got.B != "x" || got.C != nil {
		t.Fatalf("read %+v, error %v", got, err)
	}
	for header, want := range map[string]string{
		"b,c":     `there is no column "a": make the field a pointer, or give its json tag the option omitzero`,
		"a,b,a":   `column "a" occurs twice`,
		"a,b,new": `column "new" is unknown`,
		`a,"b`:    "a quote (\") is not closed",
	} {
		if _, err := decode[row](t, header, "", csvfmt.RejectUnknown()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("header %s: error %v, want %q", header, err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	type row struct {
		A string  `json:"a"`
		N *int    `json:"n"`
		F float64 `json:"f"`
	}
	zero := 0
	for name, c := range map[string]struct {
		row  row
		line string
		opts []csvfmt.Option
	}{
		"semicolons":             {row{"a,b;c", nil, 1.5}, `"a,b;c";;1.5`, []csvfmt.Option{csvfmt.Delimiter(';')}},
		"single quotes":          {row{`it's, "so"`, nil, 0}, `'it''s, "so"',,0`, []csvfmt.Option{csvfmt.Quote('\'')}},
		"no quotes":              {row{`"so"`, nil, 0}, "\"so\"\t\t0", []csvfmt.Option{csvfmt.Quote(0), csvfmt.Delimiter('\t')}},
		"a null text":            {row{"NULL", nil, 0}, `NULL,NULL,0`, []csvfmt.Option{csvfmt.Null("NULL")}},
		"a number as null":       {row{"", &zero, 0}, `,"0",0`, []csvfmt.Option{csvfmt.Null("0")}},
		"a digit as delimiter":   {row{"x", nil, 151}, `x55"151"`, []csvfmt.Option{csvfmt.Delimiter('5')}},
		"line feeds":             {row{"a\r\nb", nil, 0}, "\"a\r\nb\",,0", []csvfmt.Option{csvfmt.QuotedLines()}},
		"spaces are significant": {row{" a ", nil, 0}, " a ,,0", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := encode(t, c.row, c.opts...)
			if err != nil || got != c.line {
				t.Fatalf("wrote %s, error %v, want %s", got, err, c.line)
			}
			back, err := decode[row](t, "", c.line, append(c.opts, csvfmt.NoHeader())...)
			if err != nil || !reflect.DeepEqual(back, c.row) {
				t.Fatalf("read %+v, error %v", back, err)
			}
		})
	}
}

func TestWrongFieldsAreNamed(t *testing.T) {
	t.Parallel()
	type row struct {
		I8   int8      `json:"i8,omitzero"`
		U    uint64    `json:"u,omitzero"`
		F    float32   `json:"f,omitzero"`
		B    bool      `json:"b,omitzero"`
		Cost int64     `json:"cost,omitzero" leat:"decimal=2"`
		At   int64     `json:"at,omitzero" leat:"time=millis"`
		T    time.Time `json:"t,omitzero"`
		Raw  []byte    `json:"raw,omitempty"`
		Must int       `json:"must"`
	}
	for _, c := range []struct{ line, want string }{
		{"128,,,,,,,,0", "column i8: 128 is out of the range of int8"},
		{"-129,,,,,,,,0", "column i8: -129 is out of the range of int8"},
		{"1.0,,,,,,,,0", `column i8: "1.0" is no whole number`},
		{"+1,,,,,,,,0", `column i8: "+1" is no whole number`},
		{",18446744073709551616,,,,,,,0", "column u: 18446744073709551616 is out of the range of uint64"},
		{",-1,,,,,,,0", "column u: -1 is out of the range"},
		{",,1e39,,,,,,0", "column f: 1e39 is out of the range of float32"},
		{",,0x1p4,,,,,,0", `column f: "0x1p4" is no number`},
		{",,Inf,,,,,,0", `column f: "Inf" is no number`},
		{",,,TRUE,,,,,0", `column b: "TRUE" is no true or false`},
		{",,,,1.005,,,,0", `column cost: "1.005" is no decimal of at most 2 fraction digits`},
		{",,,,1 000,,,,0", `column cost: "1 000" is no decimal`},
		{",,,,,2026-01-01,,,0", `column at: "2026-01-01" is no RFC 3339 time`},
		{",,,,,,2026-02-30T00:00:00Z,,0", `column t: "2026-02-30T00:00:00Z" is no RFC 3339 time`},
		{",,,,,,,*,0", "column raw: the field is not base64"},
		{",,,,,,,,", `column must: "" is no whole number: make the field a pointer`},
		{`"",,,,,,,,0`, `column i8: "" is no whole number`},
		{",,,,,,,0", "the record has 8 fields, and 9 columns are expected"},
		{`,,a"b,,,,,,0`, "at byte 3: a quote (\") within a field"},
		{`,,"a"b,,,,,,0`, "at byte 5: 'b' after a closing quote"},
	} {
		if _, err := decode[row](t, "", c.line, csvfmt.NoHeader()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.line, err, c.want)
		}
	}
}

// An unclosed quote is no fault of one line: nobody knows what the next
// lines are.
func TestUnclosedQuotes(t *testing.T) {
	t.Parallel()
	type row struct{ A, B string }
	_, err := decode[row](t, "", `a,"b`, csvfmt.NoHeader())
	var framing *formats.FramingError
	if !errors.As(err, &framing) || !strings.Contains(framing.What, "at byte 2") || !strings.Contains(framing.Fix, "QuotedLines") {
		t.Errorf("error %v", err)
	}
	if _, err = decode[row](t, "", `a,"b`, csvfmt.NoHeader(), csvfmt.QuotedLines()); err == nil || errors.As(err, &framing) {
		t.Errorf("with quoted lines: error %v", err)
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	type text struct{ A, B string }
	type single struct{ A *int }
	check := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	_, err := encode(t, text{"a\nb", ""})
	check(err, "column A: the field holds a line end: allow it with csvfmt.QuotedLines()")
	_, err = encode(t, text{"a,b", ""}, csvfmt.Quote(0))
	check(err, `column A: the field "a,b" holds a delimiter`)
	_, err = encode(t, struct{ F float64 }{math.NaN()})
	check(err, "column F: NaN is no number")
	_, err = encode(t, single{})
	check(err, "column A: a record of one empty field")
	if got, err := encode(t, struct{ A string }{}); err != nil || got != `""` {
		t.Errorf("one empty text is %q, error %v", got, err)
	}
	d, err := csvfmt.NewDecoder(text{})
	if err != nil {
		t.Fatal(err)
	}
	check(d.Decode(&formats.Record{Value: []byte("a,b")}, new(text), nil), "there was no header line: use NoHeader")
	check(d.Decode(&formats.Record{}, new(text), nil), "tombstone")
}

func TestFaultsOfTypesAndOptions(t *testing.T) {
	t.Parallel()
	type inner struct{ X int }
	check := func(err error, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	}
	_, err := csvfmt.NewDecoder(0)
	check(err, "int is no struct")
	_, err = csvfmt.NewDecoder(struct{ In inner }{})
	check(err, ".In: csvfmt_test.inner does not fit one column")
	_, err = csvfmt.NewEncoder(struct{ L []string }{})
	check(err, "[]string does not fit one column")
	_, err = csvfmt.NewEncoder(struct {
		A int `json:"-"`
	}{})
	check(err, "has no field for a column")
	_, err = csvfmt.NewEncoder(struct {
		A int `json:"a;b"`
	}{}, csvfmt.Quote(0), csvfmt.Delimiter(';'))
	check(err, `name "a;b" of a column`)
	_, err = csvfmt.NewEncoder(inner{}, csvfmt.Delimiter('\n'), csvfmt.Quote(200), csvfmt.Null("a\nb"))
	check(err, `delimiter '\n'`, `quote 'È'`, `null text "a\nb"`)
	_, err = csvfmt.NewEncoder(inner{}, csvfmt.Delimiter('|'), csvfmt.Quote('|'))
	check(err, "quote and delimiter are both '|'")
	_, err = csvfmt.NewDecoder(inner{}, csvfmt.Quote(0), csvfmt.QuotedLines())
	check(err, "quoted line feeds without quotes")
}

func TestNoAllocationsPerRow(t *testing.T) {
	type row struct {
		ID   string    `json:"id"`
		N    int64     `json:"n"`
		F    float64   `json:"f"`
		Cost int64     `json:"cost" leat:"decimal=2"`
		At   int64     `json:"at" leat:"time=millis"`
		T    time.Time `json:"t"`
	}
	d, err := csvfmt.NewDecoder(row{}, csvfmt.NoHeader())
	if err != nil {
		t.Fatal(err)
	}
	e, err := csvfmt.NewEncoder(row{})
	if err != nil {
		t.Fatal(err)
	}
	in := []byte(`"an ""id""",-12,2.5,149.50,2026-01-01T00:00:00.123Z,2026-01-01T00:00:00Z`)
	arena, out := new(codec.Arena), make([]byte, 0, 1024)
	var v row
	n := testing.AllocsPerRun(20_000, func() {
		v = row{}
		if err := d.DecodeBytes(in, &v, arena); err != nil {
			t.Fatal(err)
		}
		if out, err = e.AppendBytes(out[:0], &v); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0.01 {
		t.Errorf("%v allocations per row", n)
	}
	if string(out) != string(in) {
		t.Errorf("wrote %s, want %s", out, in)
	}
}
