package codec

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

type itemV1 struct {
	Gone string
	N    int8
}

type itemV2 struct {
	N   int64
	New []string
}

// rowV1 and rowV2 are one state type before and after an edit.
type rowV1 struct {
	Dropped1 map[string][]everything
	Keep     string
	Small    int16
	USmall   uint8
	Float    float32
	Dropped2 *time.Time
	Item     itemV1
	Items    []itemV1
	ByName   map[int16]itemV1
	Pair     [2]itemV1
	Opt      *itemV1
	Plain    int64
	Millis   int64
	Last     bool
	Dropped3 [3]bool
	Dropped4 []byte
	Tail     uint32
}

type rowV2 struct {
	Tail   uint64
	New    time.Time
	Last   bool
	Keep   string
	Small  int32
	USmall int16
	Float  float64
	Item   itemV2
	Items  []itemV2
	ByName map[int32]itemV2
	Pair   [2]itemV2
	Opt    *itemV2
	Plain  *int64
	Millis int64 `leat:"time=millis"`
}

func upgradeItem(i itemV1) itemV2 { return itemV2{N: int64(i.N)} }

// upgrade is what reading an old row must give.
func upgrade(o rowV1) rowV2 {
	n := rowV2{
		Tail: uint64(o.Tail), Last: o.Last, Keep: o.Keep, Small: int32(o.Small), USmall: int16(o.USmall), Float: float64(o.Float),
		Item: upgradeItem(o.Item), Pair: [2]itemV2{upgradeItem(o.Pair[0]), upgradeItem(o.Pair[1])}, Plain: &o.Plain, Millis: o.Millis,
	}
	if o.Items != nil {
		n.Items = []itemV2{}
	}
	for _, i := range o.Items {
		n.Items = append(n.Items, upgradeItem(i))
	}
	if o.ByName != nil {
		n.ByName = map[int32]itemV2{}
	}
	for k, i := range o.ByName {
		n.ByName[int32(k)] = upgradeItem(i)
	}
	if o.Opt != nil {
		up := upgradeItem(*o.Opt)
		n.Opt = &up
	}
	return n
}

func TestOldRowsAreRead(t *testing.T) {
	t.Parallel()
	old, now := mustOf[rowV1](t), mustOf[rowV2](t)
	read, err := now.CompatibleWith(old.Schema())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(6, 1))
	for range 60 {
		v := random[rowV1](r)
		row := old.Append(nil, &v)
		got := rowV2{New: time.Unix(1, 1)}
		rest, err := read(append(row, "tail"...), &got)
		if err != nil || string(rest) != "tail" {
			t.Fatalf("error %v, rest %q", err, rest)
		}
		got.New = got.New.UTC()
		if want := upgrade(v); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		for cut := 0; cut < len(row); cut += 1 + len(row)/50 {
			if _, err := read(row[:cut], &got); err == nil {
				t.Fatalf("cut at %d of %d it was read", cut, len(row))
			}
		}
	}
}

func TestIncompatibleSchemas(t *testing.T) {
	t.Parallel()
	type row struct {
		A int16
		B string
		C int64 `leat:"decimal=2"`
		D [2]string
		E *int64
	}
	c := mustOf[row](t)
	for _, ok := range []string{c.Schema(), `{A:int8}`, `{A:uint8,X:{Y:?map[string][]time}}`, `{E:int64,"odd name":bytes}`, `{E:?int32}`} {
		if _, err := c.CompatibleWith(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for schema, want := range map[string]string{
		`{A:int32}`:             `row.A: int32 cannot be read as int16: keep the old field and add one of another name`,
		`{A:uint16}`:            `uint16 cannot be read as int16`,
		`{B:bytes}`:             `bytes cannot be read as string`,
		`{C:int64}`:             `int64 cannot be read as int64(decimal=2)`,
		`{C:int64(decimal=3)}`:  `int64(decimal=3) cannot be read as int64(decimal=2)`,
		`{D:[3]string}`:         `[3]string cannot be read as [2]string`,
		`{E:?string}`:           `row.E[]: string cannot be read as int64`,
		`{Z:int64}`:             `have no field in common`,
		`int64`:                 `int64 cannot be read as {`,
		`{A:int16`:              `"" where a comma or } is expected`,
		`{A:int17}`:             `"int17}" where a type is expected`,
		`{A int16}`:             `" int16}" where a colon is expected`,
		`{}x`:                   `"x" where the end is expected`,
		`[x]int8`:               `"x]int8" where the length of an array is expected`,
		`int64(decimal=99)`:     `where a number of fraction digits is expected`,
		strings.Repeat("?", 99): `nested deeper than 64`,
	} {
		if _, err := c.CompatibleWith(schema); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %s", schema, err, want)
		}
	}
}

// Schema texts are read to what writes them again.
func FuzzParseSchema(f *testing.F) {
	f.Add(mustOf[everything](f).Schema())
	f.Add(mustOf[rowV1](f).Schema())
	f.Add(`{"a\"b":int64(millis),c:?[3]map[string]int64(decimal=2)}`)
	f.Fuzz(func(t *testing.T, text string) {
		old, err := ParseSchema(text)
		if err != nil {
			return
		}
		canonical := schemaOf(old)
		again, err := ParseSchema(canonical)
		if err != nil || schemaOf(again) != canonical {
			t.Fatalf("%q is read as %q, that as %v, %v", text, canonical, again, err)
		}
	})
}
