package codec

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

type (
	name    string
	cents   int64
	address struct {
		Street string
		Zip    int32
	}
	// texts has them as fields only.
	texts struct {
		Home  address
		Name  name
		Raw   []byte
		Point [2]float64
	}
	// everything has a field of each kind and of most combinations.
	everything struct {
		B    bool
		I8   int8
		U8   uint8
		I16  int16
		U16  uint16
		I32  int32
		U32  uint32
		I64  int64
		U64  uint64
		I    int
		U    uint
		F32  float32
		F64  float64
		S    string
		Name name
		By   []byte
		T    time.Time
		D    time.Duration
		Cash cents `leat:"decimal=2"`
		At   int64 `leat:"time=millis"`
		address
		Home   address
		Work   *address
		Old    []address
		Raw    [5]byte
		Point  [3]float64
		Flags  [2]bool
		Names  [2]string
		Grid   [][]int16
		Sums   map[string]int64
		ByCode map[int32][]string
		ByPair map[[2]int8]*float32
		Opt    *int64
		Deep   **string
		Times  []time.Time
		Bools  []bool
		None   struct{}
		Set    map[name]struct{}
	}
)

// fill sets v to a random value: with nils, empties, and special numbers.
func fill(r *rand.Rand, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		sec := []int64{r.Int64N(4e9), -r.Int64N(7e10), -62135596800}[r.IntN(3)]
		v.Set(reflect.ValueOf(time.Unix(sec, r.Int64N(1e9)).UTC()))
		return
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() || v.Type().Field(i).Anonymous {
				fill(r, f)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> r.IntN(64))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{r.NormFloat64(), math.Copysign(0, -1), math.Inf(1), math.MaxFloat32, 0}[r.IntN(5)])
	case reflect.String:
		v.SetString(randomText(r))
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		if n := r.IntN(5) - 1; n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(r, v.Index(i))
			}
		}
	case reflect.Map:
		if n := r.IntN(5) - 1; n >= 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				fill(r, key)
				fill(r, val)
				v.SetMapIndex(key, val)
			}
		}
	}
}

func randomText(r *rand.Rand) string {
	b := make([]byte, []int{0, 1, 3, 7, 8, 11, 16, 40, 200}[r.IntN(9)])
	for i := range b {
		b[i] = []byte("\x00\x01\xFFabcdé")[r.IntN(9)]
	}
	return string(b)
}

func random[T any](r *rand.Rand) T {
	var v T
	fill(r, reflect.ValueOf(&v).Elem())
	return v
}

func mustOf[T any](t testing.TB) *Codec[T] {
	t.Helper()
	c, err := Of[T]()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// roundTrips checks all forms of random values of T: each comes back equal,
// columns decode to what rows decode to, and a build that copies no memory
// images writes the same bytes.
func roundTrips[T any](t *testing.T) {
	t.Run(reflect.TypeFor[T]().String(), func(t *testing.T) {
		t.Parallel()
		r := rand.New(rand.NewPCG(11, 12))
		c := mustOf[T](t)
		slow := &Codec[T]{compiled(c.Type(), layout{}, "T")}
		if slow.Fixed() != c.Fixed() || slow.Schema() != c.Schema() || slow.c.rowBits != c.c.rowBits {
			t.Fatalf("the builds differ: %d and %d bytes", slow.Fixed(), c.Fixed())
		}
		for _, n := range []int{0, 1, 7, 8, 9, 40} {
			rows := make([]T, n)
			for i := range rows {
				rows[i] = random[T](r)
				checkRow(t, c, slow, &rows[i])
			}
			columns := c.AppendColumns([]byte("head"), rows)[4:]
			if other := slow.AppendColumns(nil, rows); string(other) != string(columns) {
				t.Fatalf("columns %x, without copies %x", columns, other)
			}
			for _, by := range []*Codec[T]{c, slow} {
				got, err := by.DecodeColumns(columns)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, rows) {
					t.Fatalf("columns: got %+v, want %+v", got, rows)
				}
			}
		}
	})
}

func checkRow[T any](t *testing.T, c, slow *Codec[T], v *T) {
	t.Helper()
	row := c.Append([]byte("head"), v)[4:]
	if other := slow.Append(nil, v); string(other) != string(row) {
		t.Fatalf("row %x, without copies %x", row, other)
	}
	if c.Fixed() > 0 && len(row) != c.Fixed() {
		t.Fatalf("row of %d bytes, Fixed is %d", len(row), c.Fixed())
	}
	src := append(append([]byte(nil), row...), "tail"...)
	for _, by := range []*Codec[T]{c, slow} {
		var got T
		rest, err := by.Decode(src, &got)
		if err != nil || string(rest) != "tail" {
			t.Fatalf("row: error %v, rest %q", err, rest)
		}
		clear(src[:len(row)])
		if !reflect.DeepEqual(&got, v) {
			t.Fatalf("row: got %+v, want %+v", got, *v)
		}
		copy(src, row)
	}
	checkRowInArena(t, c, src[:len(row)], v)
	copy(src, row)
	for cut := 0; cut < len(row); cut += 1 + len(row)/16 {
		var got T
		if _, err := c.Decode(row[:cut], &got); err == nil {
			t.Fatalf("%x cut at %d was accepted", row, cut)
		}
	}
	key := c.AppendKey(nil, v)
	var back T
	if err := c.DecodeKey(key, &back); err != nil {
		t.Fatalf("key %x: %v", key, err)
	}
	if again := c.AppendKey(nil, &back); string(again) != string(key) {
		t.Fatalf("key %x, of what it decodes to %x", key, again)
	}
}

// checkRowInArena checks that a row read into an arena needs its bytes no more,
// neither do the rows read before it the arena's next ones.
func checkRowInArena[T any](t *testing.T, c *Codec[T], src []byte, v *T) {
	t.Helper()
	var a Arena
	var got, next T
	if err := c.DecodeIn(&a, append(src[:len(src):len(src)], 0), &got); err == nil {
		t.Fatalf("row %x in an arena: a byte behind it was accepted", src)
	}
	for _, to := range []*T{&got, &next} {
		if err := c.DecodeIn(&a, src, to); err != nil {
			t.Fatalf("row %x in an arena: %v", src, err)
		}
	}
	clear(src)
	if !reflect.DeepEqual(&got, v) || !reflect.DeepEqual(&next, v) {
		t.Fatalf("row in an arena: got %+v, then %+v, want %+v", got, next, *v)
	}
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	roundTrips[bool](t)
	roundTrips[int8](t)
	roundTrips[uint16](t)
	roundTrips[int](t)
	roundTrips[float32](t)
	roundTrips[string](t)
	roundTrips[name](t)
	roundTrips[texts](t)
	roundTrips[[]byte](t)
	roundTrips[time.Time](t)
	roundTrips[time.Duration](t)
	roundTrips[struct{}](t)
	roundTrips[[4]int64](t)
	roundTrips[[2]time.Time](t)
	roundTrips[[0]string](t)
	roundTrips[[]string](t)
	roundTrips[map[string]int](t)
	roundTrips[*int32](t)
	roundTrips[address](t)
	roundTrips[struct{ A, B int64 }](t)
	roundTrips[struct {
		A int8
		B int64
		C int16
	}](t)
	roundTrips[struct {
		S string
		N int64
		T string
	}](t)
	roundTrips[everything](t)
}
