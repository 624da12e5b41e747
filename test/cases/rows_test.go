package cases_test

import (
	"bytes"
	"encoding/json"
	"testing"
)

// objects reads a section of JSON objects, one a line. A field that T does
// not have is a failure.
func objects[T any](t *testing.T, c *file, section string) []T {
	t.Helper()
	var out []T
	for i, line := range c.lines(t, section) {
		var v T
		dec := json.NewDecoder(bytes.NewReader([]byte(line)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%s, line %d: %v", section, i+1, err)
		}
		out = append(out, v)
	}
	return out
}

// arrays reads a section of JSON arrays, one row a line, whose first element
// is "+I": the row is inserted. fields returns where the others go.
func arrays[T any](t *testing.T, c *file, section string, fields func(*T) []any) []T {
	t.Helper()
	var out []T
	for i, line := range c.lines(t, section) {
		var raw []json.RawMessage
		if err := json.Unmarshal([]byte(line), &raw); err != nil {
			t.Fatalf("%s, line %d: %v", section, i+1, err)
		}
		var v T
		var kind string
		to := append([]any{&kind}, fields(&v)...)
		if len(raw) != len(to) {
			t.Fatalf("%s, line %d has %d columns, not %d", section, i+1, len(raw), len(to))
		}
		for j := range raw {
			if err := json.Unmarshal(raw[j], to[j]); err != nil {
				t.Fatalf("%s, line %d, column %d: %v", section, i+1, j, err)
			}
		}
		if kind != "+I" {
			t.Fatalf("%s, line %d is a change of kind %q", section, i+1, kind)
		}
		out = append(out, v)
	}
	return out
}
