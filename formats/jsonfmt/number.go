package jsonfmt

import (
	"math"
	"math/bits"
	"strconv"
	"unsafe"

	"github.com/leatstream/leat/internal/scalar"
)

// number is a JSON number: the value is mant times ten to the power of exp.
type number struct {
	neg bool
	// whole says that it has neither a fraction nor an exponent.
	whole bool
	// cut says that digits other than zero were left out of mant.
	cut  bool
	mant uint64
	exp  int
	from int // index of its first byte
}

// mantDigits is the number of digits that always fit a uint64.
const mantDigits = 19

// expMax bounds exponents: those beyond are out of every range as well.
const expMax = 1 << 20

// number reads the number at i.
func (r *run) number(i int, v *number) int {
	*v = number{from: i, whole: true}
	if r.at(i) == '-' {
		v.neg = true
		i++
	}
	first := i
	if r.at(i)-'0' > 9 {
		return r.unexpected(i, "a number")
	}
	i = r.digits(i, v)
	if i > first+1 && r.at(first) == '0' {
		return r.fail(first, "a number with a leading zero")
	}
	count := i - first
	if r.at(i) == '.' {
		v.whole = false
		i++
		from := i
		if i = r.digits(i, v); i == from {
			return r.unexpected(i, "a digit")
		}
		v.exp = from - i
		count += i - from
	}
	if count > mantDigits {
		r.longNumber(first, v)
	}
	if c := r.at(i); c == 'e' || c == 'E' {
		v.whole = false
		return r.exponent(i+1, v)
	}
	return i
}

func (r *run) digits(i int, v *number) int {
	mant := v.mant
	for {
		c := r.at(i) - '0'
		if c > 9 {
			v.mant = mant
			return i
		}
		mant = mant*10 + uint64(c)
		i++
	}
}

// longNumber sets mant and exp of a number with many digits from i on.
func (r *run) longNumber(i int, v *number) {
	v.mant, v.exp = 0, 0
	taken, fraction := 0, false
	for ; ; i++ {
		c := r.at(i)
		switch {
		case c == '.':
			fraction = true
			continue
		case c-'0' > 9:
			return
		case taken < mantDigits:
			v.mant = v.mant*10 + uint64(c-'0')
			if v.mant > 0 {
				taken++
			}
			if fraction {
				v.exp--
			}
			continue
		}
		v.cut = v.cut || c != '0'
		if !fraction {
			v.exp++
		}
	}
}

func (r *run) exponent(i int, v *number) int {
	neg := r.at(i) == '-'
	if neg || r.at(i) == '+' {
		i++
	}
	from, exp := i, 0
	for ; r.at(i)-'0' <= 9; i++ {
		exp = min(exp*10+int(r.at(i)-'0'), expMax)
	}
	if i == from {
		return r.unexpected(i, "a digit")
	}
	if neg {
		exp = -exp
	}
	v.exp += exp
	return i
}

// short reads up to 18 digits at i without a sign. When more, none, a leading
// zero, a fraction or an exponent is found, ok is false.
func (r *run) short(i int) (v uint64, next int, ok bool) {
	from := i
	for {
		c := r.at(i) - '0'
		if c > 9 {
			break
		}
		v = v*10 + uint64(c)
		i++
	}
	count := i - from
	c := r.at(i)
	ok = count > 0 && count <= 18 && (count == 1 || r.at(from) != '0') && c != '.' && c|0x20 != 'e'
	return v, i, ok
}

// integer reads the whole number at i, of which mag is the absolute value.
func (r *run) integer(i int) (mag uint64, neg bool, next int) {
	from := i
	if r.at(i) == '-' {
		neg = true
		i++
	}
	if v, next, ok := r.short(i); ok {
		return v, neg, next
	}
	var v number
	next = r.number(from, &v)
	switch {
	case next < 0:
		return 0, false, -1
	case !v.whole:
		return 0, false, r.fail(from, "%s is not a whole number", r.text(from, next))
	case v.exp == 0 && !v.cut:
		return v.mant, v.neg, next
	case v.exp == 1 && !v.cut:
		if hi, lo := bits.Mul64(v.mant, 10); hi == 0 {
			return lo, v.neg, next
		}
	case v.exp == 1:
		// Twenty digits: the last one was left out.
		hi, lo := bits.Mul64(v.mant, 10)
		sum, carry := bits.Add64(lo, uint64(r.at(next-1)-'0'), 0)
		if hi == 0 && carry == 0 {
			return sum, v.neg, next
		}
	}
	return 0, false, r.fail(from, "%s is out of range", r.text(from, next))
}

func (r *run) readInt(n *node, q unsafe.Pointer, i int) int {
	mag, neg, next := r.integer(i)
	if next < 0 {
		return -1
	}
	if !neg && mag > n.high || neg && mag > n.high+1 {
		return r.fail(i, "%s is out of the range of %s", r.text(i, next), n.typ.Go)
	}
	if neg {
		mag = -mag
	}
	scalar.Store(q, mag, n.size)
	return next
}

func (r *run) readUint(n *node, q unsafe.Pointer, i int) int {
	mag, neg, next := r.integer(i)
	if next < 0 {
		return -1
	}
	if mag > n.high || neg {
		return r.fail(i, "%s is out of the range of %s", r.text(i, next), n.typ.Go)
	}
	scalar.Store(q, mag, n.size)
	return next
}

// readDecimal reads a decimal, a number or one in a string, into the unscaled
// integer.
func (r *run) readDecimal(n *node, q unsafe.Pointer, i int) int {
	quoted := r.at(i) == '"'
	if quoted {
		i++
	}
	v, next := r.decimal(i, int(n.digits))
	if next < 0 {
		return -1
	}
	*(*int64)(q) = v
	if quoted {
		if r.at(next) != '"' {
			return r.unexpected(next, "the end of a decimal")
		}
		next++
	}
	return next
}

// decimal reads a number with at most digits fraction digits and returns it
// multiplied by ten to that power. The usual forms take the fast way: a few
// digits, a point, as many fraction digits as wanted or fewer.
func (r *run) decimal(i, digits int) (v int64, next int) {
	from := i
	neg := r.at(i) == '-'
	if neg {
		i++
	}
	first := i
	var mant uint64
	for c := r.at(i) - '0'; c <= 9; c = r.at(i) - '0' {
		mant = mant*10 + uint64(c)
		i++
	}
	count, scale := i-first, digits
	if count == 0 || count > 1 && r.at(first) == '0' {
		return r.slowDecimal(from, digits)
	}
	if r.at(i) == '.' {
		i++
		point := i
		for c := r.at(i) - '0'; c <= 9; c = r.at(i) - '0' {
			mant = mant*10 + uint64(c)
			i++
		}
		scale -= i - point
		count += i - point
		if i == point {
			return r.slowDecimal(from, digits)
		}
	}
	if scale < 0 || count+scale > 18 || r.at(i)|0x20 == 'e' {
		return r.slowDecimal(from, digits)
	}
	v = int64(mant * scalar.PowerOfTen(scale))
	if neg {
		v = -v
	}
	return v, i
}

func (r *run) slowDecimal(from, digits int) (v int64, next int) {
	var num number
	next = r.number(from, &num)
	if next < 0 {
		return 0, -1
	}
	mag, ok := scaled(&num, digits)
	if !ok {
		return 0, r.fail(from, "%s does not fit a decimal of %d fraction digits", r.text(from, next), digits)
	}
	return mag, next
}

// scaled returns the number times ten to the power of digits, if that is
// exactly an int64.
func scaled(v *number, digits int) (int64, bool) {
	mant, shift := v.mant, v.exp+digits
	switch {
	case mant == 0 && !v.cut:
		return 0, true
	case v.cut, shift >= scalar.PowersOfTen, shift <= -scalar.PowersOfTen:
		return 0, false
	case shift < 0:
		if mant%scalar.PowerOfTen(-shift) != 0 {
			return 0, false
		}
		mant /= scalar.PowerOfTen(-shift)
	default:
		hi, lo := bits.Mul64(mant, scalar.PowerOfTen(shift))
		if hi != 0 {
			return 0, false
		}
		mant = lo
	}
	switch {
	case v.neg && mant <= 1<<63:
		return -int64(mant), true
	case !v.neg && mant < 1<<63:
		return int64(mant), true
	}
	return 0, false
}

// exactTens are the powers of ten that a float64 holds exactly.
var exactTens = [...]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

func (r *run) readFloat(n *node, q unsafe.Pointer, i int) int {
	var v number
	next := r.number(i, &v)
	if next < 0 {
		return -1
	}
	if n.size == 8 && !v.cut && v.mant < 1<<53 && v.exp >= -22 && v.exp <= 22 {
		// Both operands are exact, so the one rounding is the right one.
		f := float64(v.mant)
		if v.exp < 0 {
			f /= exactTens[-v.exp]
		} else {
			f *= exactTens[v.exp]
		}
		if v.neg {
			f = math.Copysign(f, -1)
		}
		*(*float64)(q) = f
		return next
	}
	text := r.text(i, next)
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), int(n.size*8))
	if err != nil {
		return r.fail(i, "%s is out of the range of %s", text, n.typ.Go)
	}
	if n.size == 4 {
		*(*float32)(q) = float32(f)
	} else {
		*(*float64)(q) = f
	}
	return next
}
