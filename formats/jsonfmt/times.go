package jsonfmt

import (
	"math"
	"strconv"
	"time"
	"unsafe"

	"github.com/leatstream/leat/internal/scalar"
)

// moment is an instant as seconds since the Unix epoch and nanoseconds.
type moment struct {
	sec   int64
	nanos int
}

// readTime reads an RFC 3339 string into a time.Time in UTC.
func (r *run) readTime(q unsafe.Pointer, i int) int {
	m, next := r.rfc3339(i)
	if next < 0 {
		return -1
	}
	*(*time.Time)(q) = time.Unix(m.sec, int64(m.nanos)).UTC()
	return next
}

// readMillis reads an RFC 3339 string, or a number of milliseconds, into an
// int64. Parts of milliseconds in a string are dropped, towards the past.
func (r *run) readMillis(q unsafe.Pointer, i int) int {
	if r.at(i) != '"' {
		mag, neg, next := r.integer(i)
		if next < 0 {
			return -1
		}
		if mag > math.MaxInt64 {
			return r.fail(i, "%s milliseconds are out of range", r.text(i, next))
		}
		if neg {
			mag = -mag
		}
		*(*int64)(q) = int64(mag)
		return next
	}
	m, next := r.rfc3339(i)
	if next < 0 {
		return -1
	}
	*(*int64)(q) = m.sec*1000 + int64(m.nanos/1e6)
	return next
}

// The separators of "YYYY-MM-" and "DDTHH:MM" as little-endian words, and the
// bytes that they stand in.
const (
	dateMarks, dateMask = 0x2D00002D00000000, 0xFF0000FF00000000
	timeMarks, timeMask = 0x00003A0000540000, 0x0000FF0000FF0000
)

// pairs checks the digits of w, in which separators are zero digits, and
// returns a word in which each byte is the two-digit number that begins there.
func pairs(w uint64) (p uint64, ok bool) {
	x := w ^ ones*'0'
	return x*10 + x>>8, (x|(x+ones*0x76))&highs == 0
}

// rfc3339 reads the quoted RFC 3339 time at i.
func (r *run) rfc3339(i int) (m moment, next int) {
	if r.at(i) != '"' {
		return m, r.unexpected(i, "a time as a string")
	}
	date, clock := r.word(i+1), r.word(i+9)
	if date&dateMask != dateMarks || clock&timeMask != timeMarks || r.at(i+17) != ':' {
		return m, r.badTime(i)
	}
	d, ok1 := pairs(date&^dateMask | ones*'0'&dateMask)
	c, ok2 := pairs(clock&^timeMask | ones*'0'&timeMask)
	s1, s2 := r.at(i+18)-'0', r.at(i+19)-'0'
	year, month := int(d&0xFF)*100+int(d>>16&0xFF), int(d>>40&0xFF)
	day, hour, minute := int(c&0xFF), int(c>>24&0xFF), int(c>>48&0xFF)
	second := int(s1)*10 + int(s2)
	if !ok1 || !ok2 || s1 > 5 || s2 > 9 || hour > 23 || minute > 59 || !validDate(year, month, day) {
		return m, r.badTime(i)
	}
	m.sec = int64(daysSince1970(year, month, day))*86400 + int64(hour*3600+minute*60+second)
	at := i + 20
	if r.at(at) == '.' {
		if m.nanos, at = r.fraction(at + 1); at < 0 {
			return m, r.badTime(i)
		}
	}
	if r.at(at) == 'Z' {
		at++
	} else {
		offset, after := r.zone(at)
		if after < 0 {
			return m, r.badTime(i)
		}
		m.sec -= int64(offset)
		at = after
	}
	if r.at(at) != '"' {
		return m, r.badTime(i)
	}
	return m, at + 1
}

// badTime fails for the string at i, which is not a time.
func (r *run) badTime(i int) int {
	s, next := r.stringAt(i)
	if next < 0 {
		return -1
	}
	return r.fail(i, "%q is not an RFC 3339 time such as 2026-01-31T23:59:59.999Z", s)
}

// fraction reads the digits after the point; those beyond nine are dropped.
func (r *run) fraction(i int) (nanos, next int) {
	from := i
	for c := r.at(i) - '0'; c <= 9; c = r.at(i) - '0' {
		if i-from < 9 {
			nanos = nanos*10 + int(c)
		}
		i++
	}
	if i == from {
		return 0, -1
	}
	if i-from < 9 {
		nanos *= int(scalar.PowerOfTen(9 - (i - from)))
	}
	return nanos, i
}

// zone reads an offset such as +01:00, in seconds.
func (r *run) zone(i int) (seconds, next int) {
	sign := r.at(i)
	h1, h2, m1, m2 := r.at(i+1)-'0', r.at(i+2)-'0', r.at(i+4)-'0', r.at(i+5)-'0'
	hour, minute := int(h1)*10+int(h2), int(m1)*10+int(m2)
	if sign != '+' && sign != '-' || r.at(i+3) != ':' || h1 > 9 || h2 > 9 || m1 > 5 || m2 > 9 || hour > 23 {
		return 0, -1
	}
	seconds = hour*3600 + minute*60
	if sign == '-' {
		seconds = -seconds
	}
	return seconds, i + 6
}

func validDate(year, month, day int) bool {
	if month-1 < 0 || month > 12 || day < 1 {
		return false
	}
	if day <= 28 {
		return true
	}
	leap := year%4 == 0 && (year%100 != 0 || year%400 == 0)
	switch month {
	case 2:
		return leap && day == 29
	case 4, 6, 9, 11:
		return day <= 30
	}
	return day <= 31
}

// daysSince1970 counts days in the proleptic Gregorian calendar, with years
// that begin in March so that the leap day is the last. Years are 0 to 9999.
func daysSince1970(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	year += 400 // keeps the divisions below from negative numbers
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468 - 146097
}

// appendMillis writes the time as a quoted string, or as a number outside the
// years 0 to 9999.
func appendMillis(dst []byte, millis int64) []byte {
	if !scalar.Dated(millis) {
		return strconv.AppendInt(dst, millis, 10)
	}
	return append(scalar.AppendMillis(append(dst, '"'), millis), '"')
}
