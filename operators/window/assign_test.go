package window_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/leatstream/leat/operators/window"
)

// FuzzAssign compares assignment with arithmetic that cannot overflow: for
// any time, size and offset start <= t < end, and windows tile.
func FuzzAssign(f *testing.F) {
	f.Add(int64(0), int64(1000), int64(0))
	f.Add(int64(-1), int64(1000), int64(0))
	f.Add(int64(-1001), int64(1000), int64(-7))
	f.Add(int64(math.MinInt64)+1, int64(math.MaxInt64), int64(math.MinInt64))
	f.Add(int64(math.MaxInt64), int64(3), int64(math.MaxInt64))
	f.Add(int64(5), int64(1), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, at, size, offset int64) {
		if size <= 0 {
			return
		}
		w := window.Tumbling{Size: size, Offset: offset}.Assign(at)
		b := big.NewInt
		// Euclidean modulus: never negative.
		rem := new(big.Int).Mod(new(big.Int).Sub(b(at), b(offset)), b(size))
		start := new(big.Int).Sub(b(at), rem)
		end := new(big.Int).Add(start, b(size))
		if want := clip(start); w.StartMillis() != want {
			t.Errorf("start %d, want %d", w.StartMillis(), want)
		}
		if want := clip(end); w.EndMillis() != want {
			t.Errorf("end %d, want %d", w.EndMillis(), want)
		}
		// The window of its own start is the same window.
		if again := (window.Tumbling{Size: size, Offset: offset}).Assign(w.StartMillis()); again != w {
			t.Errorf("the window of %d is %v, but that of its start is %v", at, w, again)
		}
	})
}

func clip(x *big.Int) int64 {
	switch {
	case x.Cmp(big.NewInt(math.MinInt64)) < 0:
		return math.MinInt64
	case x.Cmp(big.NewInt(math.MaxInt64)) > 0:
		return math.MaxInt64
	}
	return x.Int64()
}
