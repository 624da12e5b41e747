package csvfmt_test

import (
	"fmt"

	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/csvfmt"
)

type payment struct {
	ID    string  `json:"id"`
	Cents int64   `json:"amount" leat:"decimal=2"`
	Note  *string `json:"note"`
}

// A decoder is told the header of the file, then reads its records. Sources of
// files do both.
func ExampleDecoderOf() {
	make := csvfmt.DecoderOf(payment{}, csvfmt.Delimiter(';'), csvfmt.Null("-"))
	dec, err := make()
	if err != nil {
		fmt.Println(err)
		return
	}
	file, _ := dec.(formats.HeaderDecoder)
	if err := file.ReadHeader([]byte("note;amount;id;unused")); err != nil {
		fmt.Println(err)
	}
	for _, line := range []string{`-;12.5;P-1;x`, `"paid; twice";-3;P-2;x`, `-;much;P-3;x`} {
		var p payment
		if err := dec.Decode(&formats.Record{Value: []byte(line)}, &p, nil); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(p.ID, p.Cents, p.Note != nil)
	}
	// Output:
	// P-1 1250 false
	// P-2 -300 true
	// csvfmt: column amount: "much" is no decimal of at most 2 fraction digits
}

func ExampleEncoderOf() {
	make := csvfmt.EncoderOf(payment{})
	enc, err := make()
	if err != nil {
		fmt.Println(err)
		return
	}
	file, _ := enc.(formats.FileEncoder)
	fmt.Println(string(file.AppendHeader(nil)))
	note := `paid, "twice"`
	var out formats.Out
	if err := enc.Encode(&payment{"P-1", 1250, &note}, &out); err != nil {
		fmt.Println(err)
	}
	fmt.Println(string(out.Value))
	// Output:
	// id,amount,note
	// P-1,12.50,"paid, ""twice"""
}

// What files of others look like is said by options: no header, other quotes,
// lines within quotes.
func ExampleNewDecoder() {
	dec, err := csvfmt.NewDecoder(payment{}, csvfmt.NoHeader(), csvfmt.Quote('\''), csvfmt.QuotedLines())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range []string{"P-1,12.50,", "P-2,3,'two\nlines'"} {
		var p payment
		err := dec.DecodeBytes([]byte(text), &p, nil)
		fmt.Println(p.ID, p.Cents, p.Note != nil, err)
	}
	// Output:
	// P-1 1250 false <nil>
	// P-2 300 true <nil>
}

func ExampleNewEncoder() {
	enc, err := csvfmt.NewEncoder(payment{}, csvfmt.Quote('\''))
	if err != nil {
		fmt.Println(err)
		return
	}
	note := "it's, twice"
	line, err := enc.AppendBytes(nil, &payment{"P-1", 1250, &note})
	fmt.Println(string(line), err)
	// Output:
	// P-1,12.50,'it''s, twice' <nil>
}

// A column that no field is for is an error that says so.
func ExampleRejectUnknown() {
	dec, err := csvfmt.NewDecoder(payment{}, csvfmt.RejectUnknown())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(dec.ReadHeader([]byte("id,amount,note,ammount")))
	// Output:
	// csvfmt: header "id,amount,note,ammount": column "ammount" is unknown
}
