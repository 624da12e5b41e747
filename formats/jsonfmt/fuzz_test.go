package jsonfmt

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leatstream/leat/dataflow/codec"
)

// variety has a field of each kind that reads like encoding/json.
type variety struct {
	S   string             `json:"s"`
	S2  string             `json:"a name with \u00e9 and more bytes"`
	B   bool               `json:"b"`
	I8  int8               `json:"i8"`
	I16 int16              `json:"i16"`
	I32 int32              `json:"i32"`
	I   int                `json:"i"`
	U8  uint8              `json:"u8"`
	U16 uint16             `json:"u16"`
	U32 uint32             `json:"u32"`
	U   uint64             `json:"u"`
	F32 float32            `json:"f32"`
	F64 float64            `json:"f64"`
	T   time.Time          `json:"t"`
	D   time.Duration      `json:"d"`
	By  []byte             `json:"by"`
	P   *int64             `json:"p"`
	L   []string           `json:"l"`
	LL  [][]float64        `json:"ll"`
	M   map[string]int     `json:"m"`
	MI  map[int16]string   `json:"mi"`
	A   [2]int             `json:"a"`
	N   nested             `json:"n"`
	PN  *nested            `json:"pn"`
	LN  []nested           `json:"ln"`
	MN  map[string]*nested `json:"mn"`
	Raw json.RawMessage    `json:"raw"`
	Q   int64              `json:"q,string"`
	nested2
	Skipped int `json:"-"`
}

type nested struct {
	X string `json:"x"`
	Y []int  `json:"y"`
}

type nested2 struct {
	Z uint16 `json:"z,omitempty"`
}

// sameRules reports whether the rules of encoding/json and of this package
// agree on the text: no name that differs from a field's by case alone, no
// name twice in an object, no long array, no deep nesting, and for quoted
// fields no use.
func sameRules(src []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	return sameRulesValue(dec, 0)
}

func sameRulesValue(dec *json.Decoder, depth int) bool {
	tok, err := dec.Token()
	if err != nil || depth > 100 {
		return false
	}
	switch tok {
	case json.Delim('['):
		for n := 0; dec.More(); n++ {
			if n >= 2 || !sameRulesValue(dec, depth+1) {
				return false
			}
		}
	case json.Delim('{'):
		seen := map[string]bool{}
		for dec.More() {
			name, err := dec.Token()
			s, ok := name.(string)
			low := strings.ToLower(strings.ToUpper(s))
			if err != nil || !ok || seen[low] || low != s || low == "q" || !utf8.ValidString(s) {
				return false
			}
			seen[low] = true
			if !sameRulesValue(dec, depth+1) {
				return false
			}
		}
	default:
		return true
	}
	_, err = dec.Token()
	return err == nil
}

func varietySeeds() []string {
	return []string{
		`{}`,
		`{"s":"plain","b":true,"i8":-128,"i16":32767,"i32":-2147483648,"i":9223372036854775807,"u8":255,"u16":65535,"u32":4294967295,"u":18446744073709551615}`,
		`{"s":"\u00e9\ud83d\ude00\ud83d \"\\\/\b\f\n\r\t","a name with é and more bytes":"ünï","l":["a","é",null],"ll":[[1.5,-0],[],null]}`,
		`{"f32":3.4028235e38,"f64":1.7976931348623157e308,"d":1500000000}`,
		`{"f32":1e-46,"f64":4.9e-324,"i":-9223372036854775808,"u":18446744073709551616}`,
		`{"f64":0.1234567890123456789012345,"f32":16777217,"i":12345678901234567890123}`,
		`{"t":"2026-02-28T23:59:59.123456789+05:30","by":"aGVsbG8=","p":7,"raw":{"a": [1, 2]}}`,
		`{"t":"0000-01-01T00:00:00Z","m":{"a":1,"b":2},"mi":{"-5":"x","7":"y"},"a":[1],"n":{"x":"q","y":[1,2]}}`,
		`{"pn":{"x":"p"},"ln":[{"x":"1"},{"y":[3]}],"mn":{"k":{"x":"v"},"n":null},"z":9,"-":3}`,
		`{"pn":null,"ln":null,"unknown":{"deep":[[[{"a":1e5}]]]},"z":null}`,
		" {\t\"s\" :\n\"x\" , \"b\":\rfalse } ",
		"{\"s\":\"bad \xff\xfe utf\"}",
		`{"i":1e2}`, `{"i":01}`, `{"i":-}`, `{"f64":1.}`, `{"f64":.5}`, `{"s":"`, `{"s":1}`, `[1,2]`, `nul`, `{"b":tru}`, `{"s":"a"}}`, `{"s":"a",}`, `{,}`,
		`{"by":"====", "t":"2026-13-01T00:00:00Z"}`, `{"t":"2026-01-01T24:00:00Z"}`, `{"t":"2026-01-01t00:00:00z"}`, `{"t":"2026-01-01T00:00:00,5Z"}`,
		`{"t":"2026-01-01T00:00:60Z"}`, `{"t":"2026-01-01T00:00:00+24:00"}`, `{"u8":-1}`, `{"u8":-0}`, `{"i8":-0}`, `{"by":"aGVsbG8"}`, `{"by":"aGVs\nbG8="}`,
	}
}

// What encoding/json accepts is read to equal values, and what it refuses is
// refused.
func FuzzDecodeLikeEncodingJSON(f *testing.F) {
	for _, s := range varietySeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		d := newDecoder[variety](t)
		var arena codec.Arena
		var got, want variety
		err := d.DecodeBytes(src, &got, &arena)
		wantErr := json.Unmarshal(src, &want)
		if !json.Valid(src) {
			if err == nil {
				t.Fatalf("%q is not JSON, and was accepted", src)
			}
			return
		}
		if !sameRules(src) || bytes.Equal(bytes.TrimSpace(src), []byte("null")) {
			return
		}
		if err != nil && wantErr == nil && strings.Contains(err.Error(), "is not an RFC 3339 time") {
			return // package time takes commas, one-digit hours and offsets of days
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: got error %v, encoding/json has %v", src, err, wantErr)
		}
		if err == nil && !equalVariety(&got, &want) {
			t.Fatalf("%q:\n got %+v\nwant %+v", src, got, want)
		}
		// Once more with the order of fields learned.
		var again variety
		if err2 := d.DecodeBytes(src, &again, &arena); (err2 == nil) != (err == nil) || err == nil && !equalVariety(&again, &got) {
			t.Fatalf("%q: the second time %v, %+v; the first %v, %+v", src, err2, again, err, got)
		}
	})
}

// equalVariety compares instants rather than zones, and the signs of zeros.
func equalVariety(a, b *variety) bool {
	x, y := *a, *b
	if !x.T.Equal(y.T) || math.Signbit(x.F64) != math.Signbit(y.F64) || math.Signbit(float64(x.F32)) != math.Signbit(float64(y.F32)) {
		return false
	}
	x.T, y.T = time.Time{}, time.Time{}
	return reflect.DeepEqual(x, y)
}

// encoding/json reads what the encoder writes, and sees what it would see in
// its own text.
func FuzzEncodeLikeEncodingJSON(f *testing.F) {
	f.Add("text", 1.5, int64(-7), uint16(3), []byte("bytes"), true, int64(1767225600))
	f.Add("\x00\x1f\"\\<>&\u2028\xff é 😀 0123456789", math.MaxFloat64, int64(math.MinInt64), uint16(0), []byte(nil), false, int64(-62135596800))
	f.Add("", 1e-7, int64(math.MaxInt64), uint16(65535), []byte{}, false, int64(253402300799))
	f.Add("12345678\n", 1e21, int64(0), uint16(1), []byte{0xFF}, false, int64(0))
	f.Fuzz(func(t *testing.T, s string, f64 float64, i int64, u uint16, by []byte, b bool, sec int64) {
		v := variety{
			S: s, S2: s + s, B: b, I8: int8(i), I16: int16(i), I32: int32(i), I: int(i), U8: uint8(u), U16: u, U32: uint32(i), U: uint64(i),
			F32: float32(f64), F64: f64, T: time.Unix(sec, int64(u)*1000).UTC(), D: time.Duration(i), By: by, L: []string{s, ""}, LL: [][]float64{{f64}, nil, {}},
			M: map[string]int{s: 1, "k": 2}, MI: map[int16]string{int16(i): s, 7: ""}, A: [2]int{1, int(u)}, N: nested{X: s, Y: []int{}},
			PN: &nested{X: s}, LN: []nested{{}, {X: s}}, MN: map[string]*nested{"a": nil, s: {Y: []int{int(i)}}}, Raw: json.RawMessage(`[1, 2]`), Q: i, nested2: nested2{Z: u}, Skipped: 9,
		}
		if b {
			v.P = &i
		}
		e, err := NewEncoder(variety{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.AppendBytes([]byte("prefix"), &v)
		want, wantErr := json.Marshal(&v)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got error %v, encoding/json has %v", err, wantErr)
		}
		if err != nil {
			if string(got) != "prefix" {
				t.Fatalf("after an error the bytes are %q", got)
			}
			return
		}
		got = got[len("prefix"):]
		var a, c variety
		if err := json.Unmarshal(got, &a); err != nil {
			t.Fatalf("%q cannot be read: %v", got, err)
		}
		if err := json.Unmarshal(want, &c); err != nil {
			t.Fatal(err)
		}
		if !equalVariety(&a, &c) {
			t.Fatalf("%s\nreads as %+v\n%s\nas %+v", got, a, want, c)
		}
		d := newDecoder[variety](t)
		var back variety
		if err := d.DecodeBytes(got, &back, nil); err != nil || !equalVariety(&back, &a) {
			t.Fatalf("%s: read back %v, %+v", got, err, back)
		}
	})
}
