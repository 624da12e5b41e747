package codec_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
)

type everything struct {
	B    bool              `json:"b"`
	I    int8              `json:"i"`
	U    uint16            `json:"u"`
	F    float64           `json:"f"`
	S    string            `json:"s"`
	Raw  []byte            `json:"raw"`
	At   time.Time         `json:"at"`
	For  time.Duration     `json:"for"`
	Cash int64             `json:"cash" leat:"decimal=2"`
	Ms   int64             `json:"ms" leat:"time=millis"`
	L    []int32           `json:"l"`
	A    [2]string         `json:"a"`
	M    map[string]uint32 `json:"m"`
	N    map[int64]bool    `json:"n"`
	P    *int64            `json:"p"`
	In   struct{ X, Y int64 }
}

func sampleEverything() everything {
	seven := int64(7)
	return everything{
		B: true, I: -3, U: 65535, F: 1.5, S: "a\"b\x00é", Raw: []byte{1, 2}, At: time.Date(2026, 1, 1, 0, 0, 0, 17e6, time.UTC),
		For: 90 * time.Second, Cash: -14905, Ms: 1767225600017, L: []int32{1, -2}, A: [2]string{"x", ""},
		M: map[string]uint32{"b": 2, "a": 1}, N: map[int64]bool{-1: true}, P: &seven, In: struct{ X, Y int64 }{1, 2},
	}
}

const everythingJSON = `{"b":true,"i":-3,"u":65535,"f":1.5,"s":"a\"b\u0000é","raw":"AQI=","at":"2026-01-01T00:00:00.017Z",` +
	`"for":"1m30s","cash":-149.05,"ms":"2026-01-01T00:00:00.017Z","l":[1,-2],"a":["x",""],"m":{"a":1,"b":2},"n":{"-1":true},"p":7,"In":{"X":1,"Y":2}}`

func TestDynamicShowsWhatACodecWrote(t *testing.T) {
	t.Parallel()
	c, err := codec.Of[everything]()
	if err != nil {
		t.Fatal(err)
	}
	d, err := codec.DynamicOf(c.Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []everything{sampleEverything(), {}} {
		got, rest, err := d.AppendRowJSON(nil, append(c.Append(nil, &v), "rest"...))
		if err != nil || string(rest) != "rest" || !json.Valid(got) {
			t.Fatalf("%s, rest %q, error %v", got, rest, err)
		}
		if v.B && string(got) != everythingJSON {
			t.Errorf("got  %s\nwant %s", got, everythingJSON)
		}
		key := c.AppendKey(nil, &v)
		text, err := d.AppendKeyJSON(nil, key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := d.AppendKey(nil, text)
		if !v.B && err == nil {
			again, err = d.AppendKey(nil, []byte(`{"at":"0001-01-01T00:00:00Z"}`)) // what is left out is zero
		}
		if err != nil || !bytes.Equal(again, key) {
			t.Errorf("%s is read as another key, error %v", text, err)
		}
	}
}

func TestDynamicRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, json, want string }{
		{"int8", "300", "300 is no int8"},
		{"int64", `"x"`, `"x" is no int64`},
		{"string", "5", "5 is no string"},
		{"{a:{b:bool}}", `{"a":{"b":1}}`, "1 of field a.b is no bool"},
		{"{a:bool}", `{"c":1}`, `field "c" is not one of {a:bool}`},
		{"[2]int64", "[1]", "[1] is no [2]int64"},
		{"int64(decimal=2)", "1.005", "1.005 is no int64(decimal=2)"},
		{"time", `"yesterday"`, `"yesterday" is no time`},
		{"int64", "1 2", "more than one JSON value"},
		{"int64", "nope", "no JSON value"},
	} {
		d, err := codec.DynamicOf(c.schema)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := d.AppendKey(nil, []byte(c.json)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %s: key %x, error %v, want %q", c.json, c.schema, k, err, c.want)
		}
	}
	for _, schema := range []string{"nope", "[9999999999]int64", "map[float64]bool", "[1000000][1000000]int64"} {
		if _, err := codec.DynamicOf(schema); err == nil {
			t.Errorf("schema %q was accepted", schema)
		}
	}
	d, err := codec.DynamicOf("float64")
	if err != nil {
		t.Fatal(err)
	}
	c, err := codec.Of[float64]()
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	if got, _, err := d.AppendRowJSON(nil, c.Append(nil, &nan)); err != nil || string(got) != `"NaN"` {
		t.Errorf("not a number is %s, error %v", got, err)
	}
	if _, err := d.AppendKeyJSON(nil, []byte{1}); err == nil {
		t.Error("a key that is cut short was read")
	}
}
