package jsonfmt

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/leatstream/leat/formats"
)

// token writes itself as text, flag as JSON.
type token [4]byte

func (k token) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

func (k *token) UnmarshalText(b []byte) error {
	if len(b) != 8 {
		return errors.New("a token has 8 digits")
	}
	_, err := hex.Decode(k[:], b)
	return err
}

type flag bool

func (f flag) MarshalJSON() ([]byte, error) {
	return []byte(map[flag]string{true: `"yes"`, false: `"no"`}[f]), nil
}

func (f *flag) UnmarshalJSON(b []byte) error {
	*f = string(b) == `"yes"`
	return nil
}

type onlyWrites int

func (o onlyWrites) MarshalText() ([]byte, error) { return []byte("x"), nil }

type customs struct {
	Token  token           `json:"token"`
	Tokens []token         `json:"tokens"`
	Flag   flag            `json:"flag"`
	Ptr    *token          `json:"ptr,omitempty"`
	Zero   int             `json:"zero,omitzero"`
	Quoted int64           `json:"quoted,string"`
	Any    map[string]flag `json:"any"`
}

func TestTypesThatReadAndWriteThemselves(t *testing.T) {
	t.Parallel()
	const text = `{"token":"01020304","tokens":["00000000","ffffffff"],"flag":"yes","quoted":"-7","any":{"a":"no","b":"yes"}}`
	var got customs
	d, e := newDecoder[customs](t), newEncoder[customs](t)
	if err := d.DecodeBytes([]byte(text), &got, nil); err != nil {
		t.Fatal(err)
	}
	if got.Token != (token{1, 2, 3, 4}) || got.Tokens[1] != (token{255, 255, 255, 255}) || !got.Flag || got.Quoted != -7 || !got.Any["b"] || got.Any["a"] {
		t.Errorf("got %+v", got)
	}
	var out formats.Out
	if err := e.Encode(&got, &out); err != nil || string(out.Value) != text {
		t.Errorf("written as %s, %v", out.Value, err)
	}
	if err := d.DecodeBytes([]byte(`{"token":"01"}`), &got, nil); err == nil || !strings.Contains(err.Error(), "field token: at byte 9: a token has 8 digits") {
		t.Errorf("got error %v", err)
	}
}

func TestTypesThatAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := NewDecoder(struct{ V onlyWrites }{}); err == nil || !strings.Contains(err.Error(), "V: jsonfmt.onlyWrites has a method of encoding.TextMarshaler but none of encoding.TextUnmarshaler") {
		t.Errorf("got error %v", err)
	}
	if _, err := NewEncoder(struct{ V onlyWrites }{}); err != nil {
		t.Error(err)
	}
	if _, err := NewDecoder(map[bool]int{}); err == nil || !strings.Contains(err.Error(), "keys of bool cannot be names in JSON") {
		t.Errorf("got error %v", err)
	}
	if _, err := NewEncoder(struct {
		S string `json:",string"`
	}{}); err == nil || !strings.Contains(err.Error(), `the json tag option "string" on a string is not offered`) {
		t.Errorf("got error %v", err)
	}
	if _, err := NewDecoder(struct{ F func() }{}); err == nil {
		t.Error("a func was accepted")
	}
}
