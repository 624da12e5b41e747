package formats_test

import (
	"testing"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
)

type city struct{ Name string }

// TestEntries writes entries and reads them again.
func TestEntries(t *testing.T) {
	t.Parallel()
	enc, err := formats.EntryTo(jsonfmt.EncoderOf(city{}))()
	if err != nil {
		t.Fatal(err)
	}
	dec, err := formats.EntryOf(jsonfmt.DecoderOf(city{}))()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []formats.Entry[city]{{Key: "a", Value: city{"Oslo"}}, {Key: "b", Deleted: true}, {Value: city{}}} {
		var out formats.Out
		if err := enc.Encode(&want, &out); err != nil {
			t.Fatal(err)
		}
		rec := formats.Record{Key: out.Key, Value: out.Value}
		if rec.Key == nil {
			rec.Key = []byte{}
		}
		if out.Tombstone != want.Deleted || out.Tombstone && len(out.Value) > 0 {
			t.Errorf("%+v: written as %+v", want, out)
		}
		if out.Tombstone {
			rec.Value = nil
		}
		var got formats.Entry[city]
		if err := dec.Decode(&rec, &got, new(codec.Arena)); err != nil || got != want {
			t.Errorf("read %+v, %v; want %+v", got, err, want)
		}
	}
	var got formats.Entry[city]
	if err := dec.Decode(&formats.Record{Value: []byte("{}")}, &got, new(codec.Arena)); err == nil {
		t.Error("a record without a key was decoded")
	}
	if err := dec.Decode(&formats.Record{Key: []byte("k"), Value: []byte("x")}, &got, new(codec.Arena)); err == nil {
		t.Error("a value that is no JSON was decoded")
	}
}
