package jsonfmt

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// padBytes is the number of zero bytes after a text. They end every scan
// (no token holds a zero byte), so that scans need no check of the length:
// no step reads more than 32 bytes beyond the first zero.
const padBytes = 48

// depthMax bounds the nesting of arrays and objects in what is skipped.
const depthMax = 1000

// run is the text being read. Methods take the index of the next byte and
// return that after what they read, or -1 after fail.
type run struct {
	base          unsafe.Pointer
	n             int
	err           error
	path          string // the failed field, built on the way up
	rejectUnknown bool
}

func (r *run) at(i int) byte { return *(*byte)(unsafe.Add(r.base, i)) }

func (r *run) word(i int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(r.base, i))[:])
}

func (r *run) text(from, to int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(r.base, from)), to-from)
}

func (r *run) fail(i int, format string, args ...any) int {
	r.err = fmt.Errorf("at byte %d: "+format, append([]any{i}, args...)...)
	r.path = ""
	return -1
}

// unexpected fails at byte i, where something else was wanted.
func (r *run) unexpected(i int, wanted string) int {
	if i >= r.n {
		return r.fail(r.n, "the text ends where %s is expected", wanted)
	}
	c, _ := utf8.DecodeRune(r.text(i, min(r.n, i+utf8.UTFMax)))
	return r.fail(i, "%q where %s is expected", c, wanted)
}

// space skips white space.
func (r *run) space(i int) int {
	for {
		switch r.at(i) {
		case ' ', '\n', '\r', '\t':
			i++
		default:
			return i
		}
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks the bytes of w that end a plain run of string: quotes,
// backslashes, control characters and those beyond ASCII. Only the lowest
// mark is exact.
func special(w uint64) uint64 {
	return ((w - ones*0x20) | (w ^ ones*'"' - ones) | (w ^ ones*'\\' - ones) | w) & highs
}

// plainEnd returns the index of the first special byte from i on.
func (r *run) plainEnd(i int) int {
	for {
		if m := special(r.word(i)); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
}

// stringAt reads the string whose opening quote is at i. It refers to the
// text, which is changed in place where escapes are resolved.
func (r *run) stringAt(i int) (s string, next int) {
	if r.at(i) != '"' {
		return "", r.unexpected(i, "a string")
	}
	i++
	end := r.plainEnd(i)
	if r.at(end) == '"' {
		return unsafe.String((*byte)(unsafe.Add(r.base, i)), end-i), end + 1
	}
	return r.stringSlow(i, end)
}

// stringSlow reads on from at, the first byte that is not plain, of a string
// that begins at from.
func (r *run) stringSlow(from, at int) (s string, next int) {
	end, escaped, next := r.stringEnd(at)
	if next < 0 {
		return "", -1
	}
	b := r.text(from, end)
	if escaped {
		b = resolve(b, at-from)
	}
	if !utf8.Valid(b) {
		return string([]rune(string(b))), next
	}
	return unsafe.String(unsafe.SliceData(b), len(b)), next
}

// stringEnd validates a string from at on and returns the index of its
// closing quote and the one after.
func (r *run) stringEnd(at int) (end int, escaped bool, next int) {
	for {
		at = r.plainEnd(at)
		switch c := r.at(at); {
		case c == '"':
			return at, escaped, at + 1
		case c == '\\':
			escaped = true
			if at = r.escape(at); at < 0 {
				return 0, false, -1
			}
		case c < 0x20:
			if at >= r.n {
				return 0, false, r.fail(r.n, "the text ends inside a string")
			}
			return 0, false, r.fail(at, "control character %#02x in a string: write it as an escape", c)
		default:
			for r.at(at) >= utf8.RuneSelf {
				at++
			}
		}
	}
}

// escape validates the escape at i.
func (r *run) escape(i int) int {
	switch r.at(i + 1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for k := 2; k < 6; k++ {
			if hexDigit(r.at(i+k)) < 0 {
				return r.unexpected(i+k, "a hexadecimal digit")
			}
		}
		return i + 6
	}
	return r.unexpected(i+1, "an escape")
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// resolve replaces the escapes of b, valid ones, in place: none is shorter
// than what it stands for. Nothing before from is escaped.
func resolve(b []byte, from int) []byte {
	out := b[:from]
	for i := from; i < len(b); {
		c := b[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		c = b[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			var char rune
			char, i = unicodeEscape(b, i)
			out = utf8.AppendRune(out, char)
			continue
		}
		out = append(out, c)
	}
	return out
}

// unicodeEscape reads the four digits at i, and those of the second half of a
// surrogate pair. A half alone becomes U+FFFD.
func unicodeEscape(b []byte, i int) (char rune, next int) {
	char = hexRune(b[i:])
	i += 4
	if !utf16.IsSurrogate(char) {
		return char, i
	}
	if i+6 <= len(b) && b[i] == '\\' && b[i+1] == 'u' {
		if both := utf16.DecodeRune(char, hexRune(b[i+2:])); both != utf8.RuneError {
			return both, i + 6
		}
	}
	return utf8.RuneError, i
}

func hexRune(b []byte) rune {
	var v rune
	for _, c := range b[:4] {
		v = v<<4 | rune(hexDigit(c))
	}
	return v
}

// literal reads a word such as true.
func (r *run) literal(i int, word string) int {
	for k := range len(word) {
		if r.at(i+k) != word[k] {
			return r.unexpected(i+k, word)
		}
	}
	return i + len(word)
}

// skip validates the value at i, whose nesting is depth, and passes over it.
func (r *run) skip(i, depth int) int {
	switch c := r.at(i); c {
	case '"':
		_, _, i = r.stringEnd(i + 1)
		return i
	case '{', '[':
		if depth == depthMax {
			return r.fail(i, "arrays and objects are nested deeper than %d", depthMax)
		}
		return r.skipParts(i, depth+1)
	case 't':
		return r.literal(i, "true")
	case 'f':
		return r.literal(i, "false")
	case 'n':
		return r.literal(i, "null")
	default:
		if c != '-' && c-'0' > 9 {
			return r.unexpected(i, "a value")
		}
	}
	var num number
	return r.number(i, &num)
}

// skipParts passes over an array or object.
func (r *run) skipParts(i, depth int) int {
	object := r.at(i) == '{'
	end := byte(']')
	if object {
		end = '}'
	}
	i = r.space(i + 1)
	if r.at(i) == end {
		return i + 1
	}
	for {
		if object {
			if r.at(i) != '"' {
				return r.unexpected(i, "a name")
			}
			if _, _, i = r.stringEnd(i + 1); i < 0 {
				return -1
			}
			if i = r.colon(i); i < 0 {
				return -1
			}
		}
		if i = r.skip(i, depth); i < 0 {
			return -1
		}
		i = r.space(i)
		switch r.at(i) {
		case ',':
			i = r.space(i + 1)
		case end:
			return i + 1
		default:
			return r.unexpected(i, "a comma or "+string(end))
		}
	}
}

// colon passes over the colon after a name, and white space around it.
func (r *run) colon(i int) int {
	i = r.space(i)
	if r.at(i) != ':' {
		return r.unexpected(i, "a colon")
	}
	return r.space(i + 1)
}
