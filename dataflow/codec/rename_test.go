package codec

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

type keyInnerV1 struct {
	A int8
	S string
}

type keyInnerV2 struct {
	New  uint8
	A    int64
	Text string `leat:"was=S"`
}

type keyV1 struct {
	I  int16
	U  uint8
	F  float32
	B  []byte
	T  time.Time
	R  [3]uint8
	In keyInnerV1
	P  *int32
	L  []string
	M  map[string]int8
	D  time.Duration
	Ok bool
	S  string
}

type keyV2 struct {
	S    string
	I    int32
	U    uint64
	F    float64
	B    []byte
	T    time.Time
	R    [3]uint8
	In   keyInnerV2
	Q    *int64 `leat:"was=P,was=Older"`
	L    []string
	M    map[string]int64
	D    time.Duration
	Ok   bool
	More *string
}

func upgradeKey(o keyV1) keyV2 {
	n := keyV2{
		S: o.S, I: int32(o.I), U: uint64(o.U), F: float64(o.F), T: o.T, R: o.R, D: o.D, Ok: o.Ok,
		In: keyInnerV2{A: int64(o.In.A), Text: o.In.S},
	}
	if o.F != o.F || o.F == 0 {
		n.F = float64(o.F + 0) // keys do not tell zeros apart
	}
	if len(o.B) > 0 {
		n.B = o.B
	}
	if o.P != nil {
		p := int64(*o.P)
		n.Q = &p
	}
	if len(o.L) > 0 {
		n.L = o.L
	}
	for k, v := range o.M {
		if n.M == nil {
			n.M = map[string]int64{}
		}
		n.M[k] = int64(v)
	}
	return n
}

func TestOldKeysAreRead(t *testing.T) {
	t.Parallel()
	old, now := mustOf[keyV1](t), mustOf[keyV2](t)
	read, err := now.KeysCompatibleWith(old.Schema())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 1))
	for range 200 {
		v := random[keyV1](r)
		if v.F != v.F {
			v.F = 1
		}
		v.F += 0
		key := old.AppendKey(nil, &v)
		var got keyV2
		if err := read(key, &got); err != nil {
			t.Fatal(err)
		}
		want := upgradeKey(v)
		if a, b := now.AppendKey(nil, &got), now.AppendKey(nil, &want); !reflect.DeepEqual(a, b) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		for cut := range key[:len(key)-len(v.S)] {
			if err := read(key[:cut], &got); err == nil {
				t.Fatalf("cut at %d of %d it was read", cut, len(key))
			}
		}
	}
	same, err := now.KeysCompatibleWith(now.Schema())
	if err != nil || same == nil {
		t.Errorf("the same schema: %v", err)
	}
}

func TestIncompatibleKeys(t *testing.T) {
	t.Parallel()
	type key struct {
		A int64
		B string
	}
	c := mustOf[key](t)
	for schema, want := range map[string]string{
		`{A:int64,B:string,C:int8}`: "the field C is gone from a key, so that keys that differed would be one",
		`{A:string}`:                "string cannot be read as int64",
		`int64`:                     "cannot be read as",
		`{`:                         "where a name is expected",
	} {
		if _, err := c.KeysCompatibleWith(schema); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %s", schema, err, want)
		}
	}
}

func TestRenamedFields(t *testing.T) {
	t.Parallel()
	type old struct {
		Name  string
		Price int64 `json:"price" leat:"decimal=2"`
	}
	type now struct {
		Cost  int64  `json:"cost" leat:"decimal=2,was=price"`
		Title string `leat:"was=Name,was=name"`
		New   bool
	}
	c := mustOf[now](t)
	if strings.Contains(c.Schema(), "was") || strings.Contains(c.Schema(), "price") {
		t.Errorf("older names are in the schema %s", c.Schema())
	}
	read, err := c.CompatibleWith(mustOf[old](t).Schema())
	if err != nil {
		t.Fatal(err)
	}
	var got now
	if _, err := read(mustOf[old](t).Append(nil, &old{"tin", 14950}), &got); err != nil || got != (now{Cost: 14950, Title: "tin"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.CompatibleWith(`{cost:int64(decimal=2),price:int64(decimal=2)}`); err == nil || !strings.Contains(err.Error(), `has both "cost" and "price"`) {
		t.Errorf("both names: %v", err)
	}
	for want, f := range map[string]func() error{
		`the tag says that it was "A", which is the name of another field`: func() error {
			_, err := Of[struct {
				A int64
				B int64 `leat:"was=A"`
			}]()
			return err
		},
		`both say that they were "X"`: func() error {
			_, err := Of[struct {
				A int64 `leat:"was=X"`
				B int64 `leat:"was=X"`
			}]()
			return err
		},
		`tag leat:"was=" is unknown`: func() error {
			_, err := Of[struct {
				A int64 `leat:"was="`
			}]()
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}
