package jsonfmt

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"unsafe"
)

// value reads the value at i into q.
func (r *run) value(n *node, q unsafe.Pointer, i int) int {
	if r.at(i) == 'n' && n.act != actJSON && n.act != actSkip {
		return r.null(n, q, i)
	}
	if n.quoted && r.at(i) == '"' {
		return r.quoted(n, q, i)
	}
	switch n.act {
	case actString:
		s, next := r.stringAt(i)
		*(*string)(q) = s
		return next
	case actInt:
		return r.readInt(n, q, i)
	case actUint:
		return r.readUint(n, q, i)
	case actDecimal:
		return r.readDecimal(n, q, i)
	case actMillis:
		return r.readMillis(q, i)
	case actFloat:
		return r.readFloat(n, q, i)
	case actBool:
		return r.readBool(q, i)
	case actTime:
		return r.readTime(q, i)
	case actBytes:
		return r.readBytes(q, i)
	case actStruct:
		return r.object(n, q, i)
	case actArray:
		return r.array(n, q, i)
	case actSlice:
		return r.slice(n, q, i)
	case actMap:
		return r.mapping(n, q, i)
	case actPointer:
		to := reflect.New(n.typ.Elem.Go).UnsafePointer()
		*(*unsafe.Pointer)(q) = to
		return r.value(n.elem, to, i)
	case actJSON, actText:
		return r.readCustom(n, q, i)
	}
	return r.skip(i, 0)
}

// null makes the value nil, and changes nothing when it cannot be nil.
func (r *run) null(n *node, q unsafe.Pointer, i int) int {
	switch n.act {
	case actPointer, actMap:
		*(*unsafe.Pointer)(q) = nil
	case actSlice, actBytes:
		*(*[]byte)(q) = nil
	}
	return r.literal(i, "null")
}

// quoted reads a number or bool that stands in a string.
func (r *run) quoted(n *node, q unsafe.Pointer, i int) int {
	plain := *n
	plain.quoted = false
	if i = r.value(&plain, q, i+1); i < 0 {
		return -1
	}
	if r.at(i) != '"' {
		return r.unexpected(i, "the end of the string")
	}
	return i + 1
}

func (r *run) readBool(q unsafe.Pointer, i int) int {
	if r.at(i) == 't' {
		*(*bool)(q) = true
		return r.literal(i, "true")
	}
	if r.at(i) != 'f' {
		return r.unexpected(i, "true or false")
	}
	*(*bool)(q) = false
	return r.literal(i, "false")
}

// readBytes reads base64 in place.
func (r *run) readBytes(q unsafe.Pointer, i int) int {
	s, next := r.stringAt(i)
	if next < 0 {
		return -1
	}
	b := []byte{}
	if len(s) > 0 {
		b = unsafe.Slice(unsafe.StringData(s), len(s))
	}
	k, err := base64.StdEncoding.Decode(b, b)
	if err != nil {
		return r.fail(i, "the string is not base64: %w", err)
	}
	*(*[]byte)(q) = b[:k:k]
	return next
}

// object reads an object into a struct. Each field is expected where it came
// last time; only another order costs a look-up.
func (r *run) object(n *node, q unsafe.Pointer, i int) int {
	if r.at(i) != '{' {
		return r.unexpected(i, "an object")
	}
	if i = r.space(i + 1); r.at(i) == '}' {
		return i + 1
	}
	next := &n.first
	for {
		k := *next
		if int(k) < len(n.fields) && n.fields[k].matches(r, i) {
			if i += n.fields[k].length; r.at(i) <= ' ' {
				i = r.space(i)
			}
		} else {
			if k, i = r.name(n, i); i < 0 {
				return -1
			}
			if k != skipped {
				*next = k
			}
		}
		if k == skipped {
			i = r.skip(i, 0)
		} else {
			f := &n.fields[k]
			next = &f.next
			end := i
			if f.act == actString && r.at(i) == '"' {
				end = r.plainEnd(i + 1)
			}
			if end > i && r.at(end) == '"' {
				*(*string)(unsafe.Add(q, f.off)) = unsafe.String((*byte)(unsafe.Add(r.base, i+1)), end-i-1)
				i = end + 1
			} else {
				i = r.value(f.node, unsafe.Add(q, f.off), i)
			}
		}
		if i < 0 {
			if k != skipped {
				r.within(n.fields[k].name)
			}
			return -1
		}
		if r.at(i) <= ' ' {
			i = r.space(i)
		}
		switch r.at(i) {
		case ',':
			if i++; r.at(i) <= ' ' {
				i = r.space(i)
			}
		case '}':
			return i + 1
		default:
			return r.unexpected(i, "a comma or }")
		}
	}
}

// skipped stands for a field of which nothing is known.
const skipped = -1

// within adds a step to the path of the failed field.
func (r *run) within(name string) {
	if r.path != "" && r.path[0] != '[' {
		name += "."
	}
	r.path = name + r.path
}

// unknownMax bounds the unknown names that are remembered for a struct.
const unknownMax = 64

// unknownBytesMax bounds the length of such a name.
const unknownBytesMax = 128

// name reads the name at i and the colon, and returns the index of its field,
// skipped when it has none.
func (r *run) name(n *node, i int) (k int32, next int) {
	if r.at(i) != '"' {
		return 0, r.unexpected(i, "a name")
	}
	s, next := r.stringAt(i)
	if next < 0 {
		return 0, -1
	}
	if next = r.colon(next); next < 0 {
		return 0, -1
	}
	if k, ok := n.names[s]; ok && (int(k) < n.known || !r.rejectUnknown) {
		return k, next
	}
	if r.rejectUnknown {
		return 0, r.fail(i, "the name %q is unknown", s)
	}
	if len(n.fields) >= n.known+unknownMax || len(s) > unknownBytesMax {
		return skipped, next
	}
	k = int32(len(n.fields))
	n.addField(field{name: string([]byte(s)), node: &node{act: actSkip}})
	return k, next
}

// array reads an array into a Go array; elements that do not come stay zero.
func (r *run) array(n *node, q unsafe.Pointer, i int) int {
	if r.at(i) != '[' {
		return r.unexpected(i, "an array")
	}
	i = r.space(i + 1)
	if r.at(i) == ']' {
		return i + 1
	}
	for k := 0; ; k++ {
		if k == n.typ.Len {
			return r.fail(i, "more elements than the %d of %s", k, n.typ.Go)
		}
		if i = r.value(n.elem, unsafe.Add(q, uintptr(k)*n.elem.size), i); i < 0 {
			r.within("[]")
			return -1
		}
		var done bool
		if i, done = r.more(i, ']'); done || i < 0 {
			return i
		}
	}
}

// more passes over a comma, or over the end of an array or object.
func (r *run) more(i int, end byte) (next int, done bool) {
	i = r.space(i)
	switch r.at(i) {
	case ',':
		return r.space(i + 1), false
	case end:
		return i + 1, true
	}
	return r.unexpected(i, "a comma or "+string(end)), false
}

// sliceHeader is how a slice lies in memory.
type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

// firstElems is the room made for the first elements of a slice.
const firstElems = 4

func (r *run) slice(n *node, q unsafe.Pointer, i int) int {
	if r.at(i) != '[' {
		return r.unexpected(i, "an array")
	}
	i = r.space(i + 1)
	n.box.Elem().Set(reflect.MakeSlice(n.typ.Go, 0, 0))
	h := (*sliceHeader)(n.box.UnsafePointer())
	if r.at(i) == ']' {
		*(*sliceHeader)(q) = *h
		return i + 1
	}
	for {
		if h.len == h.cap {
			n.box.Elem().Grow(max(firstElems, h.cap))
		}
		h.len++
		at := unsafe.Add(h.data, uintptr(h.len-1)*n.elem.size)
		if i = r.value(n.elem, at, i); i < 0 {
			r.within("[]")
			return -1
		}
		var done bool
		if i, done = r.more(i, ']'); i < 0 {
			return -1
		}
		if done {
			*(*sliceHeader)(q) = *h
			*h = sliceHeader{}
			return i
		}
	}
}

func (r *run) mapping(n *node, q unsafe.Pointer, i int) int {
	if r.at(i) != '{' {
		return r.unexpected(i, "an object")
	}
	i = r.space(i + 1)
	all := reflect.MakeMap(n.typ.Go)
	*(*unsafe.Pointer)(q) = all.UnsafePointer()
	if r.at(i) == '}' {
		return i + 1
	}
	key, val := reflect.New(n.typ.Key.Go), reflect.New(n.typ.Elem.Go)
	for {
		key.Elem().SetZero()
		val.Elem().SetZero()
		if i = r.mapKey(n.key, key.UnsafePointer(), i); i < 0 {
			return -1
		}
		if i = r.value(n.elem, val.UnsafePointer(), i); i < 0 {
			r.within("[]")
			return -1
		}
		all.SetMapIndex(key.Elem(), val.Elem())
		var done bool
		if i, done = r.more(i, '}'); done || i < 0 {
			return i
		}
	}
}

// mapKey reads a name as the key of a map, and the colon.
func (r *run) mapKey(n *node, q unsafe.Pointer, i int) int {
	if r.at(i) != '"' {
		return r.unexpected(i, "a name")
	}
	var next int
	if n.act == actString {
		next = r.value(n, q, i)
	} else if next = r.value(n, q, i+1); next >= 0 {
		if r.at(next) != '"' {
			return r.unexpected(next, "the end of a number as a name")
		}
		next++
	}
	if next < 0 {
		return -1
	}
	return r.colon(next)
}

// readCustom hands the value to the Go type's own method.
func (r *run) readCustom(n *node, q unsafe.Pointer, i int) int {
	v := reflect.NewAt(n.typ.Go, q).Interface()
	if n.act == actJSON {
		next := r.skip(i, 0)
		if next < 0 {
			return -1
		}
		if err := v.(json.Unmarshaler).UnmarshalJSON(append([]byte(nil), r.text(i, next)...)); err != nil {
			return r.fail(i, "%w", err)
		}
		return next
	}
	s, next := r.stringAt(i)
	if next < 0 {
		return -1
	}
	if err := v.(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
		return r.fail(i, "%w", err)
	}
	return next
}
