package scalar

import "strconv"

const (
	firstMillis = -62167219200000 // of the year 0
	lastMillis  = 253402300799999 // of the year 9999
	dayMillis   = 86400000
)

// Dated says that a time in milliseconds since the epoch is of the years 0 to
// 9999, which its text can name.
func Dated(millis int64) bool { return millis >= firstMillis && millis <= lastMillis }

// AppendMillis appends a time in milliseconds since the epoch in the form of
// RFC 3339, in UTC and with milliseconds; as a number when it is not Dated.
func AppendMillis(dst []byte, millis int64) []byte {
	if !Dated(millis) {
		return strconv.AppendInt(dst, millis, 10)
	}
	days, rest := millis/dayMillis, millis%dayMillis
	if rest < 0 {
		days--
		rest += dayMillis
	}
	year, month, day := civil(int(days))
	text := [24]byte{4: '-', 7: '-', 10: 'T', 13: ':', 16: ':', 19: '.', 23: 'Z'}
	seconds, thousandths := uint32(rest/1000), uint32(rest%1000)
	putPair(text[0:], uint32(year)/100)
	putPair(text[2:], uint32(year)%100)
	putPair(text[5:], uint32(month))
	putPair(text[8:], uint32(day))
	putPair(text[11:], seconds/3600)
	putPair(text[14:], seconds/60%60)
	putPair(text[17:], seconds%60)
	text[20] = byte('0' + thousandths/100)
	putPair(text[21:], thousandths%100)
	return append(dst, text[:]...)
}

// putPair writes two digits.
func putPair(dst []byte, v uint32) {
	dst[1] = byte('0' + v%10)
	dst[0] = byte('0' + v/10)
}

// civil returns the date that is days after the first of 1970 in the proleptic
// Gregorian calendar.
func civil(days int) (year, month, day int) {
	z := days + 719468 + 146097
	era := z / 146097
	doe := z % 146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = doy - (153*mp+2)/5 + 1
	month = mp + 3
	if month > 12 {
		month -= 12
	}
	year = yoe + era*400 - 400
	if month <= 2 {
		year++
	}
	return year, month, day
}
