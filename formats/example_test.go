package formats_test

import (
	"fmt"

	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
)

func ExampleWithKey() {
	type count struct {
		User string `json:"user"`
		N    int64  `json:"n"`
	}
	byUser := formats.WithKey(jsonfmt.EncoderOf[count](), func(dst []byte, c *count) []byte {
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
