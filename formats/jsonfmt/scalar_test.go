package jsonfmt

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
)

type price struct {
	D0  int64  `leat:"decimal=0"`
	D2  int64  `leat:"decimal=2"`
	D18 int64  `leat:"decimal=18"`
	Opt *int64 `leat:"decimal=3"`
}

// bigDecimal is the dumb reference: the text times ten to the digits, if that
// is a whole number in an int64.
func bigDecimal(text string, digits int) (int64, bool) {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, false
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

func randomNumber(r *rand.Rand) string {
	digits := func(most int) string {
		b := make([]byte, r.IntN(most+1))
		for i := range b {
			b[i] = []byte("0000123456789")[r.IntN(13)]
		}
		return string(b)
	}
	whole := strings.TrimLeft(digits(22), "0")
	if whole == "" {
		whole = "0"
	}
	text := []string{"", "-"}[r.IntN(2)] + whole
	if fraction := digits(24); fraction != "" && r.IntN(3) > 0 {
		text += "." + fraction
	}
	if r.IntN(4) == 0 {
		text += []string{"e", "E", "e+", "e-"}[r.IntN(4)] + fmt.Sprint(r.IntN(24))
	}
	return text
}

func TestDecimalsAreExact(t *testing.T) {
	t.Parallel()
	d := newDecoder[price](t)
	r := rand.New(rand.NewPCG(7, 7))
	fixed := []string{"149.50", "149.5", "1e2", "1.005", "-0", "0.00", "92233720368547758.07", "92233720368547758.08", "-92233720368547758.08",
		"9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e-18", "1e-19", "9.223372036854775807", "0e99999999999", "1e99999999999",
		"0.000000000000000000000000", "100000000000000000000000e-22", "0.0000000000000000000000001e25"}
	accepted := 0
	for i := range 5000 {
		text := randomNumber(r)
		if i < len(fixed) {
			text = fixed[i]
		}
		for _, c := range []struct {
			name   string
			digits int
		}{{"D0", 0}, {"D2", 2}, {"D18", 18}, {"Opt", 3}} {
			var want int64
			var ok bool
			if !strings.Contains(text, "99999999999") {
				want, ok = bigDecimal(text, c.digits)
			} else {
				ok = text[0] == '0'
			}
			var p price
			err := d.DecodeBytes([]byte(`{"`+c.name+`":`+text+`}`), &p, nil)
			if (err == nil) != ok {
				t.Fatalf("%s with %d digits: error %v, want %v", text, c.digits, err, ok)
			}
			if err != nil {
				continue
			}
			accepted++
			got := p.D0 + p.D2 + p.D18
			if p.Opt != nil {
				got = *p.Opt
			}
			if got != want {
				t.Fatalf("%s with %d digits: got %d, want %d", text, c.digits, got, want)
			}
		}
	}
	if accepted < 500 {
		t.Fatalf("only %d numbers were accepted", accepted)
	}
}

func TestDecimalsAreWrittenWithAllDigits(t *testing.T) {
	t.Parallel()
	e := newEncoder[price](t)
	three := int64(-5)
	for v, want := range map[price]string{
		{}:                                       `{"D0":0,"D2":0.00,"D18":0.000000000000000000,"Opt":null}`,
		{D0: -7, D2: 14950, D18: 1, Opt: &three}: `{"D0":-7,"D2":149.50,"D18":0.000000000000000001,"Opt":-0.005}`,
		{D2: math.MinInt64, D18: math.MaxInt64}:  `{"D0":0,"D2":-92233720368547758.08,"D18":9.223372036854775807,"Opt":null}`,
	} {
		got, err := e.AppendBytes(nil, &v)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
		var back price
		if err := newDecoder[price](t).DecodeBytes(got, &back, nil); err != nil || back.D2 != v.D2 || back.D18 != v.D18 {
			t.Errorf("%s is read as %+v, %v", got, back, err)
		}
	}
}

type times struct {
	M int64     `json:"m" leat:"time=millis"`
	T time.Time `json:"t"`
}

// Times are those of package time, over all years, and written so that it
// reads them.
func TestTimesAreThoseOfPackageTime(t *testing.T) {
	t.Parallel()
	d := newDecoder[times](t)
	e := newEncoder[times](t)
	r := rand.New(rand.NewPCG(9, 9))
	layouts := []string{time.RFC3339, time.RFC3339Nano, "2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05.000000Z07:00"}
	for range 5000 {
		zone := time.FixedZone("", (r.IntN(2*23*60)-23*60)*60)
		at := time.Unix(-62135596800+r.Int64N(253402214400+62135596800), r.Int64N(1e9)).In(zone)
		text := at.Format(layouts[r.IntN(len(layouts))])
		want, err := time.Parse(time.RFC3339, text)
		if err != nil {
			continue // the year left the range
		}
		var got times
		src := `{"m":"` + text + `","t":"` + text + `"}`
		if err := d.DecodeBytes([]byte(src), &got, nil); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !got.T.Equal(want) || got.M != want.UnixMilli() {
			t.Fatalf("%s is read as %v and %d, want %v", text, got.T, got.M, want)
		}
		out, err := e.AppendBytes(nil, &got)
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"m":"` + time.UnixMilli(got.M).UTC().Format("2006-01-02T15:04:05.000Z07:00") + `"`; !strings.HasPrefix(string(out), want) {
			t.Fatalf("%d is written as %s, want %s", got.M, out, want)
		}
	}
}

func TestTimesThatAreRefused(t *testing.T) {
	t.Parallel()
	d := newDecoder[times](t)
	for _, text := range []string{"", "2026", "2026-1-01T00:00:00Z", "2026-01-01 00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z",
		"2026-04-31T00:00:00Z", "1900-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z",
		"2026-01-01T00:00:00+0100", "2026-01-01T00:00:00+01:60", "2026-01-01T00:00:00Zx", "202x-01-01T00:00:00Z", "2026-01-01T0x:00:00Z", "\u00b2026-01-01T00:00:00Z"} {
		if err := d.DecodeBytes([]byte(`{"m":"`+text+`"}`), new(times), nil); err == nil || !strings.Contains(err.Error(), "is not an RFC 3339 time") {
			t.Errorf("%q: got error %v", text, err)
		}
	}
	var got times
	if err := d.DecodeBytes([]byte(`{"m":"2024-02-29T00:00:00Z","m":-5}`), &got, nil); err != nil || got.M != -5 {
		t.Errorf("got %d, %v", got.M, err)
	}
	out, err := newEncoder[times](t).AppendBytes(nil, &times{M: math.MinInt64})
	if err != nil || !strings.HasPrefix(string(out), `{"m":-9223372036854775808,`) {
		t.Errorf("a time out of range is written as %s, %v", out, err)
	}
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	d := newDecoder[order](t)
	e := newEncoder[order](t)
	src := []byte(`{"order_id":"ORD-00000017","extra":{"a":["b"]},"customer_id":"CUST\n00042","amount":149.50,"region":"ÜS-EAST","ts":"2026-01-01T00:00:00.017Z"}`)
	var arena codec.Arena
	var got order
	var out []byte
	if err := d.DecodeBytes(src, &got, &arena); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		got = order{}
		if err := d.DecodeBytes(src, &got, &arena); err != nil {
			t.Error(err)
		}
		var err error
		if out, err = e.AppendBytes(out[:0], &got); err != nil {
			t.Error(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

// What was read stays as it is when the source's bytes and the arena are used
// again.
func TestStringsOutliveTheSource(t *testing.T) {
	t.Parallel()
	d := newDecoder[order](t)
	var arena codec.Arena
	src := make([]byte, 0, 1024)
	all := make([]order, 2000)
	for i := range all {
		src = fmt.Appendf(src[:0], `{"order_id":"ORD-%d","customer_id":"\u0043-%d","region":"r"}`, i, i)
		if err := d.DecodeBytes(src, &all[i], &arena); err != nil {
			t.Fatal(err)
		}
		clear(src)
	}
	for i, o := range all {
		if o.ID != fmt.Sprintf("ORD-%d", i) || o.Customer != fmt.Sprintf("C-%d", i) || o.Region != "r" {
			t.Fatalf("row %d is %+v", i, o)
		}
	}
}

// Names that are alike in their first 16 bytes are told apart, also where one
// was expected and the other comes.
func TestLongNames(t *testing.T) {
	t.Parallel()
	type long struct {
		A int `json:"a_name_of_many_bytes_1"`
		B int `json:"a_name_of_many_bytes_2"`
		C int `json:"a_name_of_man"`
	}
	d := newDecoder[long](t)
	for range 2 {
		for text, want := range map[string]long{
			`{"a_name_of_many_bytes_1":1,"a_name_of_many_bytes_2":2,"a_name_of_man":3}`: {1, 2, 3},
			`{"a_name_of_many_bytes_2":2,"a_name_of_man":3,"a_name_of_many_bytes_1":1}`: {1, 2, 3},
			`{"a_name_of_many_bytes_3":5,"a_name_of_many":6,"a_name_of_many_bytes_":7}`: {},
			`{"a_name_of_man":4}`: {0, 0, 4},
		} {
			var got long
			if err := d.DecodeBytes([]byte(text), &got, nil); err != nil || got != want {
				t.Errorf("%s: got %+v, %v", text, got, err)
			}
		}
	}
}

// Floats are those of package strconv, bit for bit.
func TestFloatsAreThoseOfStrconv(t *testing.T) {
	t.Parallel()
	type floats struct {
		F float64
		S float32
	}
	d, e := newDecoder[floats](t), newEncoder[floats](t)
	r := rand.New(rand.NewPCG(3, 3))
	for i := range 20000 {
		text := randomNumber(r)
		if i%2 == 0 {
			text = strconv.FormatFloat(math.Float64frombits(r.Uint64()), 'g', 1+r.IntN(18), 64)
		}
		f, err := strconv.ParseFloat(text, 64)
		f32, err32 := strconv.ParseFloat(text, 32)
		if math.IsNaN(f) || math.IsInf(f, 0) || err != nil || err32 != nil {
			continue
		}
		var got floats
		if err := d.DecodeBytes([]byte(`{"F":`+text+`,"S":`+text+`}`), &got, nil); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if math.Float64bits(got.F) != math.Float64bits(f) || math.Float32bits(got.S) != math.Float32bits(float32(f32)) {
			t.Fatalf("%s: got %v and %v, want %v and %v", text, got.F, got.S, f, f32)
		}
		out, err := e.AppendBytes(nil, &got)
		var back floats
		if err != nil || d.DecodeBytes(out, &back, nil) != nil || back != got {
			t.Fatalf("%+v is written as %s, %v, and read as %+v", got, out, err, back)
		}
	}
}
