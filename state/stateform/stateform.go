// Package stateform turns the entries of keyed state into JSON for people, by
// the schema texts of their tables alone: those of a running job and those of a
// savepoint alike. It reads no state itself, and is no part of the data path.
package stateform

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// Form says how the values of a table are written, by its schema text: the
// kind of state and the schema of its type, or that schema alone for the
// contents of windows. It is immutable.
type Form struct {
	kind    string
	stamped bool           // with a TTL: the time of the last update lies before each value
	ttl     string         // the time that it goes by
	key     *codec.Dynamic // of a map
	row     *codec.Dynamic
}

// Kinds of tables that are not named after a type of state.
const (
	KindWindow  = "window"
	KindSession = "session"
)

// Kind is value, list, map, reducing, aggregating, window or session.
func (f Form) Kind() string { return f.kind }

// sessionSchema begins the schema of session windows, which are not told apart
// by their namespace: their bounds are in the value.
const sessionSchema = "{Start:int64,End:int64,Timer:int64,More:int64,Acc:"

// recordSchema begins the schema of what a window operator keeps of a window
// beside its contents, which lie under the bounds that it had at first.
const recordSchema = "{HomeStart:int64,HomeEnd:int64,Next:"

// countsTable holds the numbers of the records of windows: what it says is seen
// by the records.
const countsTable = "window-counts"

// TTL is "processing" or "event" for state that expires, by that time.
func (f Form) TTL() string { return f.ttl }

// KeySchema is that of a map's keys, "" for other kinds.
func (f Form) KeySchema() string {
	if f.key == nil {
		return ""
	}
	return f.key.Type().String()
}

// RowSchema is that of a value, or of an element of a list.
func (f Form) RowSchema() string { return f.row.Type().String() }

// Of reads a table's name and schema; ok is false for tables that are none of
// the user's: timers, and what only an operator needs.
func Of(name, schema string) (f Form, ok bool) {
	if name == countsTable && schema == "uint64" {
		return f, false
	}
	return formOf(schema)
}

// IsTimers reports whether a table with that schema holds timers, see Timers.
func IsTimers(schema string) bool { return strings.HasPrefix(schema, timersSchema) }

// Timers calls fn for each timer of a key, in order of time.
func Timers(val []byte, fn func(time, ns int64) error) error {
	if len(val)%timerBytes != 0 {
		return fmt.Errorf("%d bytes of timers, %d each", len(val), timerBytes)
	}
	for ; len(val) > 0; val = val[timerBytes:] {
		if err := fn(int64(binary.LittleEndian.Uint64(val)), int64(binary.LittleEndian.Uint64(val[8:]))); err != nil {
			return err
		}
	}
	return nil
}

// KeySchema returns the schema of the keys of an operator's state, out of the
// table that tells it; ok is false for other tables.
func KeySchema(name, schema string) (key string, ok bool) {
	if name != state.KeyTable {
		return "", false
	}
	return strings.CutPrefix(schema, "key ")
}

// Timers as operators/timer keeps them, docs/formats/state.md.
const (
	timersSchema = "timers 1:" // what follows is for people
	timerBytes   = 16
)

// Sizes of the subkeys of windows that are kept one by one: of a window, and of
// a row's number in it. The row's time lies before it.
const (
	windowBytes   = 16
	windowedBytes = windowBytes + 8
	rowTimeBytes  = 8
)

func formOf(schema string) (f Form, ok bool) {
	kind, rest, found := strings.Cut(schema, " ")
	if strings.HasPrefix(schema, recordSchema) {
		return f, false
	}
	if !found {
		kind, rest = KindWindow, schema
		if strings.HasPrefix(schema, sessionSchema) {
			kind = KindSession
		}
	}
	var err error
	f.kind = kind
	if after, ok := strings.CutPrefix(rest, "stamped("); ok && found {
		f.ttl, rest, f.stamped = strings.Cut(after, ") ")
	}
	switch kind {
	case "value", "list", "reducing", "aggregating", KindWindow, KindSession:
		f.row, err = codec.DynamicOf(rest)
		return f, err == nil
	case "map":
		for from := 0; ; {
			i := strings.Index(rest[from:], " to ")
			if i < 0 {
				return f, false
			}
			i += from
			if f.key, err = codec.DynamicOf(rest[:i]); err == nil {
				f.row, err = codec.DynamicOf(rest[i+len(" to "):])
				return f, err == nil
			}
			from = i + 1
		}
	}
	return f, false
}

// Texts returns the JSON of an entry: of a map's key, nil for other kinds, and
// of the value.
func (f Form) Texts(sub, val []byte) (mapKey, value []byte, err error) {
	if f.stamped && f.kind != "list" {
		if len(val) < stampBytes {
			return nil, nil, fmt.Errorf("a value of %d bytes has no stamp", len(val))
		}
		val = val[stampBytes:]
	}
	switch {
	case f.kind == "map":
		if mapKey, err = f.key.AppendKeyJSON(nil, sub); err != nil {
			return nil, nil, err
		}
	case f.kind == KindWindow && len(sub) == 8: // a record's number in its window
		mapKey = strconv.AppendUint(nil, binary.BigEndian.Uint64(sub), 10)
	case f.kind == KindWindow && len(sub) == windowedBytes:
		if len(val) < rowTimeBytes {
			return nil, nil, fmt.Errorf("a row of %d bytes has no time", len(val))
		}
		mapKey, val = strconv.AppendUint(nil, binary.BigEndian.Uint64(sub[windowBytes:]), 10), val[rowTimeBytes:]
	case f.kind == "list":
		value, err = f.list(val)
		return nil, value, err
	}
	value, rest, err := f.row.AppendRowJSON(nil, val)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow a value", len(rest))
	}
	return mapKey, value, err
}

// Session takes a session's window out of the JSON of its row, of which the
// rest but the accumulator is the operator's. One that has closed, and is kept
// for what the operator still counts, is not open.
func Session(row []byte) (start, end int64, acc []byte, open bool, err error) {
	var s struct {
		Start, End *int64
		Acc        json.RawMessage
	}
	if err := json.Unmarshal(row, &s); err != nil {
		return 0, 0, nil, false, fmt.Errorf("a session is not as it should be: %w", err)
	}
	if s.Start == nil || s.End == nil || s.Acc == nil {
		return 0, 0, nil, false, fmt.Errorf("%s is no session", row)
	}
	return *s.Start, *s.End, s.Acc, *s.End > *s.Start, nil
}

// IsHomes reports whether a table with that schema tells of Homes.
func IsHomes(schema string) bool { return strings.HasPrefix(schema, recordSchema) }

// Homes tells which window has its contents where, for windows that have
// merged: by key and the bounds that it had at first.
type Homes map[string][]byte

// Add takes an entry of a table, if it is one that tells of windows. The bytes
// are copied.
func (h Homes) Add(schema string, key, sub, val []byte) error {
	if !IsHomes(schema) {
		return nil
	}
	rows, err := codec.DynamicOf(schema)
	if err != nil || len(sub) != windowBytes {
		return err
	}
	text, _, err := rows.AppendRowJSON(nil, val)
	if err != nil {
		return err
	}
	var r struct{ HomeStart, HomeEnd int64 }
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	at := binary.BigEndian.AppendUint64(bytes.Clone(key), uint64(r.HomeStart)^1<<63)
	h[string(binary.BigEndian.AppendUint64(at, uint64(r.HomeEnd)^1<<63))] = bytes.Clone(sub)
	return nil
}

// Window returns the window that the subkey of an entry of KindWindow begins
// with; ok is false when it has none, and is of the namespace's window.
func (h Homes) Window(key, sub []byte) (start, end int64, ok bool) {
	if len(sub) != windowBytes && len(sub) != windowedBytes {
		return 0, 0, false
	}
	sub = sub[:windowBytes]
	if w, ok := h[string(key)+string(sub)]; ok {
		sub = w
	}
	return int64(binary.BigEndian.Uint64(sub) ^ 1<<63), int64(binary.BigEndian.Uint64(sub[8:]) ^ 1<<63), true
}

// Shown is the schema of what is shown of a table with that schema.
func (f Form) Shown(schema string) string {
	if f.kind != KindSession {
		return schema
	}
	return strings.TrimSuffix(strings.TrimPrefix(schema, sessionSchema), "}")
}

// stampBytes is the size of the stamp before a value with a TTL.
const stampBytes = 8

// list reads the elements of a list: each has a mark before it, or a stamp
// and its size.
func (f Form) list(val []byte) (json []byte, err error) {
	json = []byte{'['}
	for len(val) > 0 {
		if len(json) > 1 {
			json = append(json, ',')
		}
		before := 1
		if f.stamped {
			n := 0
			if len(val) > stampBytes {
				_, n = binary.Uvarint(val[stampBytes:])
			}
			if n <= 0 {
				return nil, fmt.Errorf("an element of %d bytes has no stamp and size", len(val))
			}
			before = stampBytes + n
		}
		if json, val, err = f.row.AppendRowJSON(json, val[before:]); err != nil {
			return nil, err
		}
	}
	return append(json, ']'), nil
}
