package files

import (
	"encoding/hex"
	"math"
	"reflect"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
)

// What is in checkpoints, byte by byte: docs/formats/files.md.
func TestFormatsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	for text, p := range map[string]position{
		"01000a14":                     {next: 10, end: 20},
		"01010a14":                     {next: 10, end: 20, aligned: true},
		"02010a140000":                 {next: 10, end: 20, aligned: true},
		"02050a14ac0203616263":         {next: 10, end: 20, aligned: true, identified: true, size: 300, tag: "abc"},
		"020700ffffffffffffffff7f0500": {end: math.MaxInt64, aligned: true, packed: true, identified: true, size: 5},
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsePosition(b)
		if err != nil || got != p {
			t.Errorf("%s is %+v, error %v, want %+v", text, got, err, p)
		}
		if again := hex.EncodeToString(p.encode()); b[0] == positionVersion && again != text {
			t.Errorf("%+v is %s, want %s", p, again, text)
		}
	}
	for text, want := range map[string][]depot.Sealed{
		`{"version":1,"hidden":".part-h","final":"part-f"}`: {{Name: "part-f", Handle: ".part-h"}},
		`{"version":2,"files":[{"name":"a/part-f","bytes":7,"handle":"id","parts":["x","y"]},{"name":"part-g","bytes":1,"handle":".part-g"}]}`: {
			{Name: "a/part-f", Bytes: 7, Handle: "id", Parts: []string{"x", "y"}}, {Name: "part-g", Bytes: 1, Handle: ".part-g"},
		},
	} {
		got, err := parse(connectors.Committable{Data: []byte(text)})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, error %v", text, got, err)
		}
		if again, err := encodeCommittable(want); text[11] == '2' && (err != nil || string(again) != text) {
			t.Errorf("%+v is %s, error %v", want, again, err)
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte{1, 1, 10, 20})
	f.Add(position{next: 1 << 40, end: math.MaxInt64, packed: true, identified: true, size: 9, tag: "tag"}.encode())
	f.Add([]byte{2, 8, 0, 0, 0, 0})
	f.Add([]byte{2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePosition(b)
		if err != nil {
			return
		}
		again, err := parsePosition(p.encode())
		if err != nil || again != p {
			t.Fatalf("%+v comes back as %+v, error %v", p, again, err)
		}
	})
}

func FuzzCommittable(f *testing.F) {
	f.Add([]byte(`{"version":1,"hidden":".part-h","final":"part-f"}`))
	f.Add([]byte(`{"version":2,"files":[{"name":"a/part-f","bytes":7,"handle":"id","parts":["x","y"]}]}`))
	f.Add([]byte(`{"version":2,"files":[{"name":"../x","handle":"id"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := parse(connectors.Committable{Data: b})
		if err != nil {
			return
		}
		data, err := encodeCommittable(files)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parse(connectors.Committable{Data: data}); err != nil || len(again) != len(files) {
			t.Fatalf("%+v comes back as %+v, error %v", files, again, err)
		}
	})
}
