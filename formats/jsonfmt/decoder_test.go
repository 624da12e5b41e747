package jsonfmt

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
)

type order struct {
	ID       string `json:"order_id"`
	Customer string `json:"customer_id"`
	Amount   int64  `json:"amount" leat:"decimal=2"`
	Region   string `json:"region"`
	Time     int64  `json:"ts" leat:"time=millis"`
}

const orderText = `{"order_id":"ORD-00000017","customer_id":"CUST-00042","amount":149.50,"region":"US-EAST","ts":"2026-01-01T00:00:00.017Z"}`

func orderWant() order {
	return order{ID: "ORD-00000017", Customer: "CUST-00042", Amount: 14950, Region: "US-EAST", Time: 1767225600017}
}

func newDecoder[T any](t testing.TB, opts ...DecoderOption) *Decoder[T] {
	t.Helper()
	d, err := NewDecoder(*new(T), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newEncoder[T any](t testing.TB) *Encoder[T] {
	t.Helper()
	e, err := NewEncoder(*new(T))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestDecodeOrder(t *testing.T) {
	t.Parallel()
	d := newDecoder[order](t)
	var arena codec.Arena
	for _, text := range []string{
		orderText,
		`{"ts":1767225600017,"region":"US-EAST","amount":149.5,"customer_id":"CUST-00042","order_id":"ORD-00000017"}`,
		` { "order_id" : "ORD-000000\u00317" , "note":{"a":[1,2,{"b":null}]},"customer_id":"CUST-00042","amount":"149.50","region":"US-EAST","ts":"2026-01-01T01:00:00.0179+01:00"} `,
		"{\"amount\":1.495e2,\n\"x\":-0.5E+3,\"customer_id\":\"CUST-00042\",\"region\":\"US-EAST\",\"order_id\":\"\",\"order_id\":\"ORD-00000017\",\"region\":null,\"ts\":1767225600017}",
	} {
		for range 2 { // the second time in the learned order
			var got order
			if err := d.Decode(&formats.Record{Value: []byte(text)}, &got, &arena); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if got != orderWant() {
				t.Errorf("%s: got %+v", text, got)
			}
		}
	}
}

func TestDecodeErrorsNamePlaceAndField(t *testing.T) {
	t.Parallel()
	type inner struct {
		Price int64 `json:"price" leat:"decimal=2"`
	}
	type outer struct {
		Items []inner        `json:"items"`
		Count int8           `json:"count"`
		Attrs map[string]int `json:"attrs"`
		At    time.Time      `json:"at"`
		Pair  [2]bool        `json:"pair"`
	}
	d := newDecoder[outer](t)
	for _, c := range []struct{ text, want string }{
		{`{"items":[{"price":1},{"price":1.005}]}`, `field items[].price: at byte 31: 1.005 does not fit a decimal of 2 fraction digits`},
		{`{"items":[{"price":92233720368547758.08}]}`, `does not fit a decimal`},
		{`{"count":128}`, `field count: at byte 9: 128 is out of the range of int8`},
		{`{"count":1.0}`, `field count: at byte 9: 1.0 is not a whole number`},
		{`{"attrs":{"a":"b"}}`, `field attrs[]: at byte 14: '"' where a number is expected`},
		{`{"count":"x"}`, `field count: at byte 9: '"' where a number is expected`},
		{`{"count":-x}`, `field count: at byte 10: 'x' where a number is expected`},
		{`{"x":y}`, `at byte 5: 'y' where a value is expected`},
		{`not json`, `at byte 0: 'n' where a value is expected`},
		{`n`, `at byte 0: 'n' where a value is expected`},
		{`{"at":"2026-02-29T00:00:00Z"}`, `field at: at byte 6: "2026-02-29T00:00:00Z" is not an RFC 3339 time`},
		{`{"pair":[true,false,true]}`, `field pair: at byte 20: more elements than the 2 of [2]bool`},
		{`{"count":1}x`, `at byte 11: 'x' where the end of the text is expected`},
		{`{"count":1`, `at byte 10: the text ends where a comma or } is expected`},
		{`{"count":01}`, `field count: at byte 9: a number with a leading zero`},
		{`{"x":"a` + "\n" + `"}`, `at byte 7: control character 0x0a in a string`},
		{`{"x":"\q"}`, `at byte 7: 'q' where an escape is expected`},
		{`{"x":` + strings.Repeat("[", 2000), `nested deeper than 1000`},
		{`{"count":1` + "\x00", `at byte 10: '\x00' where a comma or } is expected`},
		{`null`, `at byte 0: null where a value is expected`},
		{``, `at byte 0: the text ends where an object is expected`},
		{`[]`, `at byte 0: '[' where an object is expected`},
	} {
		var got outer
		err := d.DecodeBytes([]byte(c.text), &got, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40s: got error %v, want %s", c.text, err, c.want)
		}
	}
	if err := d.Decode(&formats.Record{}, new(outer), nil); err == nil || !strings.Contains(err.Error(), "tombstone") {
		t.Errorf("a tombstone gives %v", err)
	}
	if err := newDecoder[outer](t, RejectUnknown()).DecodeBytes([]byte(`{"x":1}`), new(outer), nil); err == nil || !strings.Contains(err.Error(), `the name "x" is unknown`) {
		t.Errorf("an unknown name gives %v", err)
	}
}

func BenchmarkDecodeOrder(b *testing.B) {
	d := newDecoder[order](b)
	src := []byte(orderText)
	var arena codec.Arena
	var got order
	b.ReportAllocs()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		got = order{}
		if err := d.DecodeBytes(src, &got, &arena); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeOrder(b *testing.B) {
	e := newEncoder[order](b)
	v := orderWant()
	var buf []byte
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = e.AppendBytes(buf[:0], &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeOrderEncodingJSON(b *testing.B) {
	src := []byte(`{"ID":"ORD-00000017","Customer":"CUST-00042","Amount":14950,"Region":"US-EAST","Time":1767225600017}`)
	for b.Loop() {
		var got struct {
			ID, Customer, Region string
			Amount, Time         int64
		}
		if err := json.Unmarshal(src, &got); err != nil {
			b.Fatal(err)
		}
	}
}

// The order of the fields, unknown ones too, is learned from one text.
func TestOrderIsLearned(t *testing.T) {
	t.Parallel()
	d := newDecoder[order](t)
	text := []byte(`{"ts":1,"note":[],"region":"r","amount":1,"x":{},"order_id":"o"}`)
	for range 2 {
		if err := d.DecodeBytes(text, new(order), nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for k, n := d.root.first, 0; n < 6; n++ {
		got = append(got, d.root.fields[k].name)
		k = d.root.fields[k].next
	}
	if want := "ts note region amount x order_id"; strings.Join(got, " ") != want {
		t.Errorf("expected next time: %v, want %s", got, want)
	}
	// Names without number are skipped, and remembered up to a limit.
	for i := range 1000 {
		if err := d.DecodeBytes(fmt.Appendf(nil, `{"new%d":1,"ts":2}`, i), new(order), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.root.fields); n != 5+unknownMax {
		t.Errorf("%d names are remembered", n)
	}
}
