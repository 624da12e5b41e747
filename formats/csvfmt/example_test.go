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
	make := csvfmt.DecoderOf[payment](csvfmt.Delimiter(';'), csvfmt.Null("-"))
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
	make := csvfmt.EncoderOf[payment]()
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
