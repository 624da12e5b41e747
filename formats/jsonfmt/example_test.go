package jsonfmt_test

import (
	"fmt"

	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
)

type payment struct {
	ID    string `json:"id"`
	Cents int64  `json:"amount" leat:"decimal=2"`
}

// Sources and sinks are given makers: each of their subtasks has a decoder or
// an encoder of its own. Of the value that is given only the type matters.
func Example() {
	newDecoder, newEncoder := jsonfmt.DecoderOf(payment{}), jsonfmt.EncoderOf(payment{})
	dec, err := newDecoder()
	if err != nil {
		fmt.Println(err)
		return
	}
	var p payment
	if err := dec.Decode(&formats.Record{Value: []byte(`{"amount": 12.5, "id": "P-1"}`)}, &p, nil); err != nil {
		fmt.Println(err)
	}
	fmt.Println(p.ID, p.Cents)
	enc, err := newEncoder()
	if err != nil {
		fmt.Println(err)
		return
	}
	var out formats.Out
	fmt.Println(enc.Encode(&p, &out), string(out.Value))
	// Output:
	// P-1 1250
	// <nil> {"id":"P-1","amount":12.50}
}

// Bytes that are no record of a source are read and written as they are.
func ExampleNewDecoder() {
	dec, err := jsonfmt.NewDecoder(payment{}, jsonfmt.RejectUnknown())
	if err != nil {
		fmt.Println(err)
		return
	}
	var p payment
	fmt.Println(dec.DecodeBytes([]byte(`{"id": "P-1", "amount": 3}`), &p, nil), p)
	p = payment{}
	fmt.Println(dec.DecodeBytes([]byte(`{"id": "P-1", "ammount": 3}`), &p, nil))
	// Output:
	// <nil> {P-1 300}
	// jsonfmt: at byte 14: the name "ammount" is unknown
}

func ExampleNewEncoder() {
	enc, err := jsonfmt.NewEncoder(payment{})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := enc.AppendBytes(nil, &payment{"P-1", 1250})
	fmt.Println(string(text), err)
	_, err = jsonfmt.NewEncoder(struct{ Done chan int }{})
	fmt.Println(err)
	// Output:
	// {"id":"P-1","amount":12.50} <nil>
	// codec: struct { Done chan int }.Done: chan int cannot be encoded: leave the field out with the tag leat:"-", or keep a name or an id in its place
}
