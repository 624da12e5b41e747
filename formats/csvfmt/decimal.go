package csvfmt

import (
	"math/bits"
	"strconv"

	"github.com/leatstream/leat/internal/scalar"
)

// exponentMax bounds exponents: those beyond are out of every range as well.
const exponentMax = 1 << 20

// parseDecimal reads a number with at most digits fraction digits, zeros at
// its end not counted, and returns it multiplied by ten to that power.
func parseDecimal(text []byte, digits int) (int64, bool) {
	neg := len(text) > 0 && text[0] == '-'
	if neg {
		text = text[1:]
	}
	mant, shift, ok := decimalParts(text)
	if !ok {
		return 0, false
	}
	if mant == 0 {
		return 0, true
	}
	shift += digits
	for ; shift < 0 && mant%10 == 0; shift++ {
		mant /= 10
	}
	if shift < 0 || shift >= scalar.PowersOfTen {
		return 0, false
	}
	hi, mag := bits.Mul64(mant, scalar.PowerOfTen(shift))
	switch {
	case hi != 0:
		return 0, false
	case neg && mag <= 1<<63:
		return -int64(mag), true
	case !neg && mag < 1<<63:
		return int64(mag), true
	}
	return 0, false
}

// decimalParts reads digits, a point and digits, an exponent: the value is
// mant times ten to the power of shift. Zeros at the end are left to shift, so
// that they never overflow mant.
func decimalParts(text []byte) (mant uint64, shift int, ok bool) {
	zeros, count, i, point := 0, 0, 0, -1
	for ; i < len(text); i++ {
		b := text[i]
		if b == '.' && point < 0 && count > 0 {
			point = count
			continue
		}
		d := b - '0'
		if d > 9 {
			break
		}
		count++
		if d == 0 {
			zeros++
			continue
		}
		if mant > 0 && zeros+1 >= scalar.PowersOfTen {
			return 0, 0, false
		}
		if mant > 0 {
			hi, lo := bits.Mul64(mant, scalar.PowerOfTen(zeros+1))
			if hi != 0 || lo > 1<<63 {
				return 0, 0, false
			}
			mant = lo
		}
		mant, zeros = mant+uint64(d), 0
	}
	if count == 0 || point == count || count > 1 && text[0] == '0' && point != 1 {
		return 0, 0, false
	}
	if point >= 0 {
		shift = point - count
	}
	if i < len(text) {
		e, ok := exponent(text[i:])
		if !ok {
			return 0, 0, false
		}
		shift += e
	}
	return mant, shift + zeros, true
}

// exponent reads e, a sign and digits.
func exponent(text []byte) (int, bool) {
	if text[0]|0x20 != 'e' || len(text) < 2 {
		return 0, false
	}
	e, err := strconv.Atoi(borrowed(text[1:]))
	if err != nil {
		return 0, false
	}
	return max(-exponentMax, min(e, exponentMax)), true
}
