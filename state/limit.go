package state

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// LimitError says that state has outgrown what it may take. A restart from the
// last checkpoint does not help by itself: it comes back nearly as large.
type LimitError struct {
	// Entry is the size of a single key or value that no entry can hold, and
	// Limit the bound of one, when that was the failure. All other fields are
	// empty then.
	Entry int64
	// Window is the state of which a single window or other namespace needs
	// more than Limit, when that was the failure.
	Window string
	// Limit is what the states of the worker may take together, Total what
	// they take, and Own what the one that found it takes, in bytes.
	Limit, Total, Own int64
	// Tables are those of the one that found it, the largest first.
	Tables []TableSize
	// Key is the largest single key of the largest table, encoded, and
	// KeyBytes what is stored under it.
	Key      []byte
	KeyBytes int64
}

// TableSize is how much a table holds.
type TableSize struct {
	Name string // of the state, as in its Open
	// Keys are the entries in all namespaces, those of maps and lists of rows
	// counted singly.
	Keys       int
	Namespaces int   // one for each open window, or 1
	Bytes      int64 // what pages and indexes take, more than what is stored
}

// tablesNamed bounds the tables that an error names.
const tablesNamed = 3

// Error implements error.
func (e *LimitError) Error() string {
	if e.Entry > 0 {
		return fmt.Sprintf("a single key or value takes %s, and may take less than %s", sizeText(e.Entry), sizeText(e.Limit))
	}
	if e.Window != "" {
		return fmt.Sprintf("one window of state %q needs more than %s", e.Window, sizeText(e.Limit))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the states of this worker take %s and may take %s; this operator's part is %s", sizeText(e.Total), sizeText(e.Limit), sizeText(e.Own))
	for i, t := range e.Tables {
		if i == tablesNamed {
			fmt.Fprintf(&b, ", and %d more", len(e.Tables)-i)
			break
		}
		fmt.Fprintf(&b, ", table %q: %d keys", t.Name, t.Keys)
		if t.Namespaces != 1 {
			fmt.Fprintf(&b, " in %d windows or spans of time", t.Namespaces)
		}
		fmt.Fprintf(&b, ", %s", sizeText(t.Bytes))
	}
	if e.KeyBytes > 0 {
		fmt.Fprintf(&b, "; the largest key, %s, has %s", keyText(e.Key), sizeText(e.KeyBytes))
	}
	return b.String()
}

// sizeText writes bytes in the unit that keeps three digits.
func sizeText(n int64) string {
	v, units := float64(n), []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1<<10 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	i := -1
	for ; v >= 1<<10 && i < len(units)-1; i++ {
		v /= 1 << 10
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i]
}

// keyText shows an encoded key: those that are text can be read.
func keyText(k []byte) string {
	const most = 64
	cut := ""
	if len(k) > most {
		k, cut = k[:most], "…"
	}
	if utf8.Valid(k) && !bytes.ContainsFunc(k, unicode.IsControl) {
		return strconv.Quote(string(k)) + cut
	}
	return hex.EncodeToString(k) + cut
}
