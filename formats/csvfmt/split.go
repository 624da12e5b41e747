package csvfmt

import (
	"bytes"
	"fmt"

	"github.com/leatstream/leat/formats"
)

// cell is one field of a line. A quoted one is never null.
type cell struct {
	text   []byte
	quoted bool
}

// fieldError is a fault at a byte of the record.
type fieldError struct {
	at     int
	column string
	err    error
}

// Error implements error.
func (e *fieldError) Error() string {
	if e.column == "" {
		return fmt.Sprintf("csvfmt: at byte %d: %v", e.at, e.err)
	}
	return fmt.Sprintf("csvfmt: column %s: %v", e.column, e.err)
}

// Unwrap returns the cause.
func (e *fieldError) Unwrap() error { return e.err }

// split cuts a record into cells, which refer to it. Doubled quotes are made
// single in place.
func (c *config) split(line []byte, cells []cell) ([]cell, error) {
	for at := 0; ; {
		if at < len(line) && c.quote != 0 && line[at] == c.quote {
			text, next, err := c.quotedCell(line, at)
			if err != nil {
				return cells, err
			}
			cells = append(cells, cell{text: text, quoted: true})
			if next == len(line) {
				return cells, nil
			}
			at = next + 1
			continue
		}
		end := c.plainEnd(line, at)
		if end < len(line) && line[end] != c.delimiter {
			return cells, &fieldError{at: end, err: fmt.Errorf("a quote (%c) within a field that has none around it: put quotes around the field and double this one", c.quote)}
		}
		cells = append(cells, cell{text: line[at:end]})
		if end == len(line) {
			return cells, nil
		}
		at = end + 1
	}
}

// plainEnd is the index of the first delimiter or quote from at on.
func (c *config) plainEnd(line []byte, at int) int {
	d, q := c.delimiter, c.quote
	for ; at < len(line); at++ {
		if b := line[at]; b == d || b == q && q != 0 {
			return at
		}
	}
	return at
}

// quotedCell reads the cell whose opening quote is at at; next is the index of
// the delimiter after it, or the end.
func (c *config) quotedCell(line []byte, at int) (text []byte, next int, err error) {
	from := at + 1
	to, i := from, from // to: end of what was moved together
	for {
		k := bytes.IndexByte(line[i:], c.quote)
		if k < 0 {
			return nil, 0, c.unclosed(at)
		}
		if to != i {
			copy(line[to:], line[i:i+k])
		}
		to, i = to+k, i+k+1
		switch {
		case i == len(line) || line[i] == c.delimiter:
			return line[from:to:to], i, nil
		case line[i] != c.quote:
			return nil, 0, &fieldError{at: i, err: fmt.Errorf("%q after a closing quote: a quote within a field is doubled", line[i])}
		}
		line[to] = c.quote
		to, i = to+1, i+1
	}
}

func (c *config) unclosed(at int) error {
	if c.quotedLines {
		return &fieldError{at: at, err: fmt.Errorf("a quote (%c) is not closed", c.quote)}
	}
	return &formats.FramingError{
		What: fmt.Sprintf("csvfmt: at byte %d of the line: a quote (%c) is not closed, perhaps since a field holds a line feed", at, c.quote),
		Fix:  "read such files with csvfmt.QuotedLines(), one subtask each; or csvfmt.Quote(0), if quotes mean nothing",
	}
}

// goesOn reports whether a record goes on after line, given whether it does so
// within quotes already.
func (c *config) goesOn(line []byte, inside bool) bool {
	for at := 0; ; {
		if !inside {
			if at < len(line) && line[at] == c.quote {
				inside = true
				at++
				continue
			}
			end := c.plainEnd(line, at)
			if end == len(line) || line[end] != c.delimiter {
				return false // a quote here is a fault of this record alone
			}
			at = end + 1
			continue
		}
		k := bytes.IndexByte(line[at:], c.quote)
		if k < 0 {
			return true
		}
		at += k + 1
		switch {
		case at == len(line):
			return false
		case line[at] == c.quote:
			at++
		case line[at] == c.delimiter:
			inside = false
			at++
		default:
			return false
		}
	}
}
