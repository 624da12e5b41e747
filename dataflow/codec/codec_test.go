package codec

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

type counts struct {
	Count int64
	Sum   float64
	Min   int32
	Max   int32
}

func TestSchema(t *testing.T) {
	t.Parallel()
	type row struct {
		ID     string `json:"order_id,omitempty"`
		Amount int64  `json:"amount" leat:"decimal=2"`
		At     int64  `leat:"time=millis"`
		N      int
		address
		Tags  []string          `json:"tags-of"`
		Attrs map[string]*uint8 `json:"-"`
		Rows  [3]struct{ F float32 }
		Gone  chan int `leat:"-"`
		When  time.Time
		Took  time.Duration
		Raw   []byte
	}
	want := `{order_id:string,amount:int64(decimal=2),At:int64(millis),N:int64,Street:string,Zip:int32,` +
		`"tags-of":[]string,Attrs:map[string]?uint8,Rows:[3]{F:float32},When:time,Took:duration,Raw:bytes}`
	if got := mustOf[row](t).Schema(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

type tree struct {
	Name     string
	Children []tree
}

func TestRefusedTypesNameTheField(t *testing.T) {
	t.Parallel()
	refused[struct{ A []struct{ C chan int } }](t, `.A[].C: chan int cannot be encoded: leave the field out with the tag leat:"-"`)
	refused[struct{ F func() }](t, `.F: func() cannot be encoded`)
	refused[struct{ V any }](t, `.V: interface {} cannot be encoded: use a concrete type`)
	refused[error](t, `error cannot be encoded: use a concrete type`)
	refused[struct{ V complex128 }](t, `use two float64 fields`)
	refused[struct{ v int }](t, `.v: int is an unexported field: export it, or leave it out with the tag leat:"-"`)
	refused[tree](t, `tree.Children[]: codec.tree is recursive`)
	refused[map[float64]int](t, `has keys of a kind that is not offered`)
	refused[[]struct{}](t, `has elements without content`)
	refused[struct {
		A int `json:"B"`
		B int
	}](t, `.B: another field is named "B" too`)
	refused[struct {
		A float64 `leat:"decimal=2"`
	}](t, `are for int64 fields, not float64`)
	refused[struct {
		A int64 `leat:"decimal=19"`
	}](t, `the number of fraction digits must be 0 to 18`)
	refused[struct {
		A int64 `leat:"millis"`
	}](t, `is unknown: use "-", "decimal=N", "time=millis" or "was=OLDNAME"`)
	refused[struct{ *address }](t, `is embedded: embed the struct itself`)
}

func refused[T any](t *testing.T, want string) {
	t.Helper()
	if _, err := Of[T](); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%T: got error %v, want %s", *new(T), err, want)
	}
}

// A fixed row form is the numbers, little-endian, without gaps.
func TestFixed(t *testing.T) {
	t.Parallel()
	c := mustOf[counts](t)
	if c.Fixed() != 24 {
		t.Fatalf("Fixed is %d", c.Fixed())
	}
	buf := make([]byte, 30)
	v := counts{Count: 1, Sum: 1, Min: 2, Max: -1}
	c.FixedStore(buf, &v)
	want := []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 2, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0}
	if !bytes.Equal(buf, want) {
		t.Fatalf("got % x", buf)
	}
	var got counts
	if c.FixedLoad(buf, &got); got != v {
		t.Fatalf("got %+v", got)
	}
	if in, ok := c.InPlace(buf); !ok || *in != v {
		t.Fatalf("in place: %v, %+v", ok, in)
	} else if in.Count++; buf[0] != 2 {
		t.Fatalf("changed in place: % x", buf)
	}
	if _, ok := c.InPlace(buf[1:]); ok {
		t.Fatal("an odd address counts as aligned")
	}
	type mixed struct {
		Seen bool
		At   time.Time
		N    [2]int16
	}
	m := mustOf[mixed](t)
	if m.Fixed() != 17 {
		t.Fatalf("Fixed is %d", m.Fixed())
	}
	if _, ok := m.InPlace(buf); ok {
		t.Fatal("a type with a time is changed in place")
	}
	in, out := mixed{true, time.Unix(5, 6).UTC(), [2]int16{7, -8}}, mixed{N: [2]int16{1, 1}}
	m.FixedStore(buf, &in)
	if m.FixedLoad(buf, &out); in != out {
		t.Fatalf("got %+v", out)
	}
	if n := mustOf[address](t).Fixed(); n != 0 {
		t.Fatalf("a type with a string has Fixed %d", n)
	}
}

// Keys order as their values do, field by field.
func TestKeysKeepOrder(t *testing.T) {
	t.Parallel()
	type key struct {
		S string
		I int16
		F float64
		B bool
		T time.Time
		L string
	}
	order := func(a, b key) int {
		return cmp.Or(cmp.Compare(a.S, b.S), cmp.Compare(a.I, b.I), cmp.Compare(a.F, b.F),
			cmp.Compare(boolByte(a.B), boolByte(b.B)), a.T.Compare(b.T), cmp.Compare(a.L, b.L))
	}
	r := rand.New(rand.NewPCG(1, 9))
	c := mustOf[key](t)
	some := make([]key, 60)
	for i := range some {
		some[i] = random[key](r)
		if i > 0 { // share prefixes
			some[i].S = some[r.IntN(i)].S + some[i].S[:r.IntN(len(some[i].S)+1)]
			if r.IntN(2) == 0 {
				some[i].I, some[i].F = some[i-1].I, some[i-1].F
			}
		}
	}
	for _, a := range some {
		for _, b := range some {
			ka, kb := c.AppendKey(nil, &a), c.AppendKey(nil, &b)
			if got, want := bytes.Compare(ka, kb), order(a, b); got != want {
				t.Fatalf("%+v and %+v order %d, their keys %x and %x order %d", a, b, want, ka, kb, got)
			}
		}
	}
}

// Values that are equal as keys have one encoding.
func TestKeysAreCanonical(t *testing.T) {
	t.Parallel()
	same(t, math.Copysign(0, -1), 0)
	same(t, float32(math.Copysign(0, -1)), 0)
	same(t, math.Float64frombits(0x7FF8000000000001), math.Float64frombits(0xFFF8000000000042))
	same(t, math.Float32frombits(0x7FC00001), math.Float32frombits(0xFFC00042))
	same(t, time.Unix(5, 0).UTC(), time.Unix(5, 0).In(time.FixedZone("x", 3600)))
	same(t, []string(nil), []string{})
	same(t, []byte(nil), []byte{})
	same(t, map[string]int(nil), map[string]int{})
	same(t, map[string]int{"a": 1, "b": 2, "c": 3}, map[string]int{"c": 3, "b": 2, "a": 1})
}

func same[T any](t *testing.T, a, b T) {
	t.Helper()
	c := mustOf[T](t)
	if x, y := c.AppendKey(nil, &a), c.AppendKey(nil, &b); !bytes.Equal(x, y) {
		t.Errorf("%v and %v have keys %x and %x", a, b, x, y)
	}
}

func TestHashKey64IsHashKey(t *testing.T) {
	t.Parallel()
	c := mustOf[uint64](t)
	r := rand.New(rand.NewPCG(4, 4))
	for range 1000 {
		v := r.Uint64()
		if got, want := HashKey64(v), HashKey(c.AppendKey(nil, &v)); got != want {
			t.Fatalf("HashKey64(%d) = %#x, want %#x", v, got, want)
		}
	}
}

// Every low and high part of the hash spreads keys evenly: chi-squared over
// 1,024 cells stays near its expectation.
func TestHashSpreads(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]func(i int) []byte{
		"numbers": func(i int) []byte { return []byte{0, 0, 0, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)} },
		"texts":   func(i int) []byte { return fmt.Appendf(nil, "CUST-%07d", i) },
		"long":    func(i int) []byte { return fmt.Appendf(nil, "%060d", i) },
	} {
		for _, shift := range []int{0, 20, 54} {
			var cells [1024]float64
			const n = 200000
			for i := range n {
				cells[HashKey(key(i))>>shift&1023]++
			}
			chi := 0.0
			for _, c := range cells {
				chi += (c - n/1024.0) * (c - n/1024.0) / (n / 1024.0)
			}
			if chi > 1250 { // 1023 expected, sigma 45
				t.Errorf("%s at bit %d: chi-squared %.0f", name, shift, chi)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	c, k := mustOf[everything](t), mustOf[address](t)
	fixed := mustOf[counts](t)
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		v := counts{Count: 3}
		buf = fixed.Append(buf[:0], &v)
		fixed.FixedLoad(buf, &v)
		v.Count++
		fixed.FixedStore(buf, &v)
	}); n != 0 {
		t.Errorf("a fixed value in place: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		a := address{Street: "a street", Zip: 1}
		buf = k.AppendKey(buf[:0], &a)
		if HashKey(buf) == 0 {
			t.Error("hash is 0")
		}
	}); n != 0 {
		t.Errorf("a key: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		v := everything{S: "x", Work: nil}
		buf = c.Append(buf[:0], &v)
	}); n != 0 {
		t.Errorf("a row: %v allocations", n)
	}
	rows := make([]address, 1024)
	wire := k.AppendColumns(nil, rows)
	if n := testing.AllocsPerRun(100, func() { wire = k.AppendColumns(wire[:0], rows) }); n != 0 {
		t.Errorf("columns: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := k.DecodeColumns(wire); err != nil {
			t.Error(err)
		}
	}); n != 1 {
		t.Errorf("decoding columns: %v allocations, want the rows only", n)
	}
}

// Keys that are texts share one piece of memory; others are read as ever.
func TestKeysInAnArena(t *testing.T) {
	type city string
	type place struct {
		City string
		Zip  int64
	}
	texts, structs := mustOf[city](t), mustOf[place](t)
	var a Arena
	var k city
	enc := texts.AppendKey(nil, new(city("Ulm")))
	if n := testing.AllocsPerRun(100, func() {
		if err := texts.DecodeKeyIn(&a, enc, &k); err != nil {
			t.Fatal(err)
		}
	}); n != 0 || k != "Ulm" {
		t.Errorf("%q with %v allocations", k, n)
	}
	clear(enc)
	if k != "Ulm" {
		t.Errorf("the key became %q with the bytes it was read from", k)
	}
	want := place{"Ulm", 89073}
	var got place
	if err := structs.DecodeKeyIn(&a, structs.AppendKey(nil, &want), &got); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}

// Rows take no more of an arena than their texts when these are fields.
func TestRowsInAnArena(t *testing.T) {
	c := mustOf[texts](t)
	want := texts{Home: address{"Long Lane", 7}, Name: "Ulm", Raw: []byte("raw"), Point: [2]float64{1, 2}}
	row := c.Append(nil, &want)
	var a Arena
	var got texts
	read := func() {
		if err := c.DecodeIn(&a, row, &got); err != nil {
			t.Fatal(err)
		}
	}
	if read(); len(a.chunk) != len("Long LaneUlmraw") {
		t.Errorf("%d bytes for the texts of a row of %d", len(a.chunk), len(row))
	}
	if n := testing.AllocsPerRun(1000, read); n != 0 {
		t.Errorf("%v allocations for each row", n)
	}
}
