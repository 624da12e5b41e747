package stateprobe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/stateform"
)

// depthMax bounds how deep types are compared.
const depthMax = 16

// changes says for people how one table differs from the other. Which field was
// renamed is no part of a schema; the rewriting of a made-up value tells it.
func changes(old, now state.Descriptor, rewrite state.Rewrite) []string {
	was, ok1 := parts(old.Schema)
	is, ok2 := parts(now.Schema)
	if !ok1 || !ok2 {
		return nil
	}
	var out []string
	if was.ttl != is.ttl {
		out = append(out, fmt.Sprintf("time to live: %s, now %s", was.ttl, is.ttl))
	}
	d := differ{tell: func(text string) { out = append(out, text) }, renamed: func([]string, codec.Field, []codec.Field) string { return "" }}
	if was.key != "" {
		d.compare(parse(was.key), parse(is.key), []string{"key"}, 0)
	}
	d.renamed = (&tracer{old: old, now: now, was: was, rewrite: rewrite}).renamed
	d.compare(parse(was.row), parse(is.row), nil, 0)
	return out
}

// schemaParts is a table's schema text, taken apart.
type schemaParts struct{ kind, ttl, key, row string }

func parts(schema string) (p schemaParts, ok bool) {
	f, ok := stateform.Of("", schema)
	if !ok {
		return p, false
	}
	p.kind, p.key, p.row = f.Kind(), f.KeySchema(), f.RowSchema()
	p.ttl = "none"
	if t := f.TTL(); t != "" {
		p.ttl = "in " + t + " time"
	}
	return p, true
}

func parse(schema string) *codec.Type {
	t, err := codec.ParseSchema(schema)
	if err != nil {
		return &codec.Type{}
	}
	return t
}

// differ compares two types.
type differ struct {
	tell    func(text string)
	renamed func(path []string, gone codec.Field, among []codec.Field) (name string)
}

func (d *differ) compare(old, now *codec.Type, path []string, depth int) {
	switch {
	case old == nil || now == nil || depth > depthMax || old.String() == now.String():
	case old.Kind == codec.KindStruct && now.Kind == codec.KindStruct:
		d.fields(old, now, path, depth)
	case now.Kind == codec.KindPointer && old.Kind != codec.KindPointer:
		d.tell(fmt.Sprintf("%s: %s is now optional", place(path), old))
		d.compare(old, now.Elem, path, depth+1)
	case old.Kind == now.Kind && (old.Elem != nil || old.Key != nil):
		d.compare(old.Key, now.Key, append(path, "[key]"), depth+1)
		d.compare(old.Elem, now.Elem, append(path, "[]"), depth+1)
	default:
		d.tell(fmt.Sprintf("%s: %s is now %s", place(path), old, now))
	}
}

func (d *differ) fields(old, now *codec.Type, path []string, depth int) {
	named := func(t *codec.Type, name string) int {
		return slices.IndexFunc(t.Fields, func(f codec.Field) bool { return f.Name == name })
	}
	var added []codec.Field
	for _, f := range now.Fields {
		if named(old, f.Name) < 0 {
			added = append(added, f)
		}
	}
	for _, f := range old.Fields {
		here := append(slices.Clone(path), f.Name)
		if i := named(now, f.Name); i >= 0 {
			d.compare(f.Type, now.Fields[i].Type, here, depth+1)
			continue
		}
		to := d.renamed(path, f, added)
		i := slices.IndexFunc(added, func(a codec.Field) bool { return a.Name == to })
		if i < 0 {
			d.tell(fmt.Sprintf("%s: dropped, it was %s", place(here), f.Type))
			continue
		}
		d.tell(fmt.Sprintf("%s: renamed %s", place(here), to))
		d.compare(f.Type, added[i].Type, append(slices.Clone(path), to), depth+1)
		added = slices.Delete(added, i, i+1)
	}
	for _, f := range added {
		d.tell(fmt.Sprintf("%s: new, %s", place(append(slices.Clone(path), f.Name)), f.Type))
	}
}

func place(path []string) string {
	if len(path) == 0 {
		return "the value"
	}
	return strings.ReplaceAll(strings.Join(path, "."), ".[", "[")
}

// tracer follows a value of an old field through the rewriting.
type tracer struct {
	old, now state.Descriptor
	was      schemaParts
	rewrite  state.Rewrite
}

// renamed returns the field that holds what was in the field gone, or "".
func (t *tracer) renamed(path []string, gone codec.Field, among []codec.Field) string {
	mark, ok := marker(gone.Type, 0)
	if !ok || slices.ContainsFunc(path, func(p string) bool { return strings.HasPrefix(p, "[") }) {
		return ""
	}
	value, _ := json.Marshal(gone.Name) // a text always marshals
	text := []byte(fmt.Sprintf("{%s:%s}", value, mark))
	for _, p := range slices.Backward(path) {
		name, _ := json.Marshal(p)
		text = []byte(fmt.Sprintf("{%s:%s}", name, text))
	}
	marked, ok1 := t.field(path, string(text))
	plain, ok2 := t.field(path, "{}")
	if !ok1 || !ok2 {
		return ""
	}
	for _, f := range among {
		if !bytes.Equal(marked[f.Name], plain[f.Name]) {
			return f.Name
		}
	}
	return ""
}

// field rewrites an entry with that value and returns the fields of the struct
// that is then at path.
func (t *tracer) field(path []string, text string) (map[string]json.RawMessage, bool) {
	sub, val, ok := t.entry(text)
	if !ok {
		return nil, false
	}
	sub, val, err := t.rewrite(sub, val)
	if err != nil {
		return nil, false
	}
	form, ok := stateform.Of(t.now.Name, t.now.Schema)
	if !ok {
		return nil, false
	}
	_, now, err := form.Texts(bytes.Clone(sub), bytes.Clone(val))
	if err != nil {
		return nil, false
	}
	if t.was.kind == "list" {
		now = bytes.TrimSuffix(bytes.TrimPrefix(now, []byte{'['}), []byte{']'})
	}
	fields := map[string]json.RawMessage{}
	for _, p := range append(slices.Clone(path), "") {
		fields = map[string]json.RawMessage{}
		if json.Unmarshal(now, &fields) != nil {
			return nil, false
		}
		now = fields[p]
	}
	return fields, true
}

// entry is one of the old table, as bytes. Values with a time to live are not
// made up.
func (t *tracer) entry(text string) (sub, val []byte, ok bool) {
	row, err := codec.DynamicOf(t.was.row)
	if err != nil || t.was.ttl != "none" {
		return nil, nil, false
	}
	if t.was.kind == "list" {
		val = []byte{1}
	}
	if val, err = row.AppendRow(val, []byte(text)); err != nil {
		return nil, nil, false
	}
	if t.was.kind == "map" {
		key, err := codec.DynamicOf(t.was.key)
		if err != nil {
			return nil, nil, false
		}
		for _, zero := range []string{`""`, "0", "false", "{}"} {
			if sub, err = key.AppendKey(nil, []byte(zero)); err == nil {
				return sub, val, true
			}
		}
		return nil, nil, false
	}
	return nil, val, true
}

// marker is a value of a type that differs from zero, as JSON.
func marker(t *codec.Type, depth int) (string, bool) {
	switch {
	case depth > depthMax:
	case t.Kind == codec.KindBool:
		return "true", true
	case t.Kind == codec.KindString:
		return `"x"`, true
	case t.Kind == codec.KindBytes:
		return `"eA=="`, true
	case t.Kind == codec.KindTime || t.Unit == codec.UnitMillis:
		return `"2001-01-01T00:00:00Z"`, true
	case t.Kind.Signed() || t.Kind.Unsigned() || t.Kind == codec.KindFloat32 || t.Kind == codec.KindFloat64:
		return "1", true
	case t.Kind == codec.KindPointer:
		return marker(t.Elem, depth+1)
	case t.Kind == codec.KindSlice:
		m, ok := marker(t.Elem, depth+1)
		return "[" + m + "]", ok
	case t.Kind == codec.KindStruct && len(t.Fields) > 0:
		m, ok := marker(t.Fields[0].Type, depth+1)
		name, _ := json.Marshal(t.Fields[0].Name) // a text always marshals
		return fmt.Sprintf("{%s:%s}", name, m), ok
	}
	return "", false
}
