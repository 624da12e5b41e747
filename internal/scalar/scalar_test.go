package scalar_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/leatstream/leat/internal/scalar"
)

// Integers of each size come back as they were stored, and touch no neighbour.
func TestIntegersOfEachSize(t *testing.T) {
	t.Parallel()
	for _, size := range []uintptr{1, 2, 4, 8} {
		for _, v := range []int64{0, 1, -1, 100, -128, 127, math.MinInt16, math.MaxInt32, math.MinInt64} {
			mem := [3]uint64{math.MaxUint64, math.MaxUint64, math.MaxUint64}
			q := unsafe.Pointer(&mem[1])
			scalar.Store(q, uint64(v), size)
			shift := 64 - 8*size
			if got, want := scalar.Int(q, size), v<<shift>>shift; got != want {
				t.Errorf("%d in %d bytes is %d, want %d", v, size, got, want)
			}
			if got, want := scalar.Uint(q, size), uint64(v)<<shift>>shift; got != want {
				t.Errorf("%d in %d bytes is %d unsigned, want %d", v, size, got, want)
			}
			if mem[0] != math.MaxUint64 || mem[2] != math.MaxUint64 || size < 8 && mem[1]>>(8*size) != math.MaxUint64>>(8*size) {
				t.Errorf("%d bytes of %d: a neighbour was written: %x", size, v, mem)
			}
		}
	}
}

// Decimals are what exact arithmetic says.
func TestDecimals(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		v, digits := int64(rnd.Uint64())>>rnd.IntN(64), i%19
		if i == 0 {
			v = math.MinInt64
		}
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
		want := new(big.Rat).SetFrac(big.NewInt(v), scale).FloatString(digits)
		if got := string(scalar.AppendDecimal([]byte("x"), v, digits)); got != "x"+want {
			t.Fatalf("%d with %d digits is %s, want %s", v, digits, got, want)
		}
	}
}

// Times are what the time package says, and numbers where it has no text.
func TestMillis(t *testing.T) {
	t.Parallel()
	first := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	last := time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()
	cases := []int64{first, last, 0, -1, 999, 951782400000, first - 1, last + 1, math.MinInt64, math.MaxInt64}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		cases = append(cases, first+rnd.Int64N(last-first))
	}
	for _, ms := range cases {
		want := time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
		if dated := ms >= first && ms <= last; !dated {
			want = strconv.FormatInt(ms, 10)
		} else if !scalar.Dated(ms) {
			t.Errorf("%d has no text", ms)
		}
		if got := string(scalar.AppendMillis(nil, ms)); got != want {
			t.Fatalf("%d is %s, want %s", ms, got, want)
		}
	}
}
