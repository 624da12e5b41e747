package formats_test

import (
	"fmt"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
)

func ExampleWithKey() {
	type count struct {
		User string `json:"user"`
		N    int64  `json:"n"`
	}
	byUser := formats.WithKey(jsonfmt.EncoderOf(count{}), func(dst []byte, c *count) []byte {
		return append(dst, c.User...)
	})
	enc, err := byUser()
	if err != nil {
		fmt.Println(err)
		return
	}
	var out formats.Out
	if err := enc.Encode(&count{"ann", 3}, &out); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s %s\n", out.Key, out.Value)
	// Output: ann {"user":"ann","n":3}
}

// A compacted topic holds what is known under each key; a record without a
// value is a delete.
func ExampleEntryOf() {
	dec, err := formats.EntryOf(jsonfmt.DecoderOf(""))()
	if err != nil {
		fmt.Println(err)
		return
	}
	enc, err := formats.EntryTo(jsonfmt.EncoderOf(""))()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, rec := range []formats.Record{{Key: []byte("ann"), Value: []byte(`"Oslo"`)}, {Key: []byte("bob")}, {Value: []byte(`"Rome"`)}} {
		var e formats.Entry[string]
		if err := dec.Decode(&rec, &e, new(codec.Arena)); err != nil {
			fmt.Println(err)
			continue
		}
		var out formats.Out
		err := enc.Encode(&e, &out)
		fmt.Printf("%s %q deleted: %v, written %s=%s %v\n", e.Key, e.Value, e.Deleted, out.Key, out.Value, err)
	}
	// Output:
	// ann "Oslo" deleted: false, written ann="Oslo" <nil>
	// bob "" deleted: true, written bob= <nil>
	// the record has no key: it is no entry of a table
}
