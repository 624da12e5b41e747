// Package scalar is what the codecs and formats share for single values:
// integers of any size behind a pointer, decimals, and times in milliseconds
// as text. It knows no schema and checks nothing.
package scalar

import (
	"strconv"
	"unsafe"
)

// Int returns the signed integer of size bytes, 1, 2, 4 or 8, at q.
func Int(q unsafe.Pointer, size uintptr) int64 {
	switch size {
	case 1:
		return int64(*(*int8)(q))
	case 2:
		return int64(*(*int16)(q))
	case 4:
		return int64(*(*int32)(q))
	}
	return *(*int64)(q)
}

// Uint returns the unsigned integer of size bytes, 1, 2, 4 or 8, at q.
func Uint(q unsafe.Pointer, size uintptr) uint64 {
	switch size {
	case 1:
		return uint64(*(*uint8)(q))
	case 2:
		return uint64(*(*uint16)(q))
	case 4:
		return uint64(*(*uint32)(q))
	}
	return *(*uint64)(q)
}

// Store writes the low size bytes, 1, 2, 4 or 8, of v as an integer to q.
func Store(q unsafe.Pointer, v uint64, size uintptr) {
	switch size {
	case 1:
		*(*uint8)(q) = uint8(v)
	case 2:
		*(*uint16)(q) = uint16(v)
	case 4:
		*(*uint32)(q) = uint32(v)
	default:
		*(*uint64)(q) = v
	}
}

// PowersOfTen is how many powers of ten fit a uint64, the zeroth included.
const PowersOfTen = len(powersOfTen)

var powersOfTen = [...]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// PowerOfTen returns ten to the power of n, which is at least 0 and below
// PowersOfTen; it panics for another.
func PowerOfTen(n int) uint64 { return powersOfTen[n] }

// AppendDecimal appends the unscaled v with all its fraction digits, at most
// 18.
func AppendDecimal(dst []byte, v int64, digits int) []byte {
	mag := uint64(v)
	if v < 0 {
		dst = append(dst, '-')
		mag = -mag
	}
	scale := powersOfTen[digits]
	dst = strconv.AppendUint(dst, mag/scale, 10)
	if digits == 0 {
		return dst
	}
	return appendDigits(append(dst, '.'), int(mag%scale), digits)
}

// appendDigits writes v with leading zeros to n digits.
func appendDigits(dst []byte, v, n int) []byte {
	for p := int(powersOfTen[n-1]); p > 0; p /= 10 {
		dst = append(dst, byte('0'+v/p%10))
	}
	return dst
}
