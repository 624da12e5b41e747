package dispatcher

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/leatstream/leat/dataflow/codec"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

// stateForm says how the values of a table are written, by its schema text:
// the kind of state and the schema of its type, or that schema alone for the
// contents of windows.
type stateForm struct {
	kind    string
	stamped bool           // with a TTL: the time of the last update lies before each value
	key     *codec.Dynamic // of a map
	row     *codec.Dynamic
}

// kindSession is the kind of a table of sessions.
const kindSession = "session"

// sessionSchema begins the schema of session windows, which are not told apart
// by their namespace: their bounds are in the value.
const sessionSchema = "{Start:int64,End:int64,Timer:int64,More:int64,Acc:"

// recordSchema begins the schema of what a window operator keeps of a window
// beside its contents, which lie under the bounds that it had at first.
const recordSchema = "{HomeStart:int64,HomeEnd:int64,Next:"

// countsTable holds the numbers of the records of windows: what it says is seen
// by the records.
const countsTable = "window-counts"

// tableForm is formOf without the tables that only the operator needs.
func tableForm(name, schema string) (f stateForm, ok bool) {
	if name == countsTable && schema == "uint64" {
		return f, false
	}
	return formOf(schema)
}

// Sizes of the subkeys of windows that are kept one by one: of a window, and of
// a row's number in it. The row's time lies before it.
const (
	windowBytes   = 16
	windowedBytes = windowBytes + 8
	rowTimeBytes  = 8
)

// formOf reads a table's schema; ok is false for tables that are none of the
// user's (timers).
func formOf(schema string) (f stateForm, ok bool) {
	kind, rest, found := strings.Cut(schema, " ")
	if strings.HasPrefix(schema, recordSchema) {
		return f, false
	}
	if !found {
		kind, rest = "window", schema
		if strings.HasPrefix(schema, sessionSchema) {
			kind = kindSession
		}
	}
	var err error
	f.kind = kind
	if after, ok := strings.CutPrefix(rest, "stamped("); ok && found {
		_, rest, f.stamped = strings.Cut(after, ") ")
	}
	switch kind {
	case "value", "list", "reducing", "aggregating", "window", kindSession:
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

// texts returns the JSON of an entry: of a map's key, nil for other kinds, and
// of the value.
func (f stateForm) texts(sub, val []byte) (mapKey, value []byte, err error) {
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
	case f.kind == "window" && len(sub) == 8: // a record's number in its window
		mapKey = strconv.AppendUint(nil, binary.BigEndian.Uint64(sub), 10)
	case f.kind == "window" && len(sub) == windowedBytes:
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

// showSession takes a session's window out of its row, of which the rest but
// the accumulator is the operator's. One that has closed, and is kept for what
// the operator still counts, is not shown.
func showSession(e *jobview.StateEntry) (open bool, err error) {
	var s struct {
		Start, End *int64
		Acc        json.RawMessage
	}
	if err := json.Unmarshal(e.Value, &s); err != nil {
		return false, fmt.Errorf("a session is not as it should be: %w", err)
	}
	if s.Start == nil || s.End == nil || s.Acc == nil {
		return false, fmt.Errorf("%s is no session", e.Value)
	}
	e.Namespace, e.WindowEnd, e.Value = *s.Start, s.End, s.Acc
	return *s.End > *s.Start, nil
}

// homes tells which window has its contents where, for windows that have
// merged: by key and the bounds that it had at first.
type homes map[string][]byte

// add takes an entry of a table, if it is one of windows.
func (h homes) add(schema string, f *controlv1.StateEntry) error {
	if !strings.HasPrefix(schema, recordSchema) {
		return nil
	}
	rows, err := codec.DynamicOf(schema)
	if err != nil || len(f.GetSub()) != windowBytes {
		return err
	}
	text, _, err := rows.AppendRowJSON(nil, f.GetValue())
	if err != nil {
		return err
	}
	var r struct{ HomeStart, HomeEnd int64 }
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	at := binary.BigEndian.AppendUint64(bytes.Clone(f.GetKey()), uint64(r.HomeStart)^1<<63)
	h[string(binary.BigEndian.AppendUint64(at, uint64(r.HomeEnd)^1<<63))] = f.GetSub()
	return nil
}

// show gives an entry the window that its subkey begins with.
func (h homes) show(e *jobview.StateEntry, f *controlv1.StateEntry) {
	sub := f.GetSub()
	if len(sub) != windowBytes && len(sub) != windowedBytes {
		return
	}
	sub = sub[:windowBytes]
	if w, ok := h[string(f.GetKey())+string(sub)]; ok {
		sub = w
	}
	end := int64(binary.BigEndian.Uint64(sub[8:]) ^ 1<<63)
	e.Namespace, e.WindowEnd = int64(binary.BigEndian.Uint64(sub)^1<<63), &end
}

// shown is the schema of what is shown of a table with that schema.
func (f stateForm) shown(schema string) string {
	if f.kind != kindSession {
		return schema
	}
	return strings.TrimSuffix(strings.TrimPrefix(schema, sessionSchema), "}")
}

// stampBytes is the size of the stamp before a value with a TTL.
const stampBytes = 8

// list reads the elements of a list: each has a mark before it, or a stamp
// and its size.
func (f stateForm) list(val []byte) (json []byte, err error) {
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

func quoteJSON(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return []byte(`""`)
	}
	return bytes.TrimSpace(b.Bytes())
}
