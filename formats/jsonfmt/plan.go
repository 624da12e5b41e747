package jsonfmt

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"unsafe"

	"github.com/leatstream/leat/dataflow/codec"
)

// action says how a value is read and written.
type action uint8

const (
	actString action = iota + 1
	actInt
	actUint
	actDecimal
	actMillis
	actFloat
	actBool
	actTime
	actBytes
	actStruct
	actArray
	actSlice
	actMap
	actPointer
	actJSON // the Go type reads and writes itself as JSON
	actText // the Go type reads and writes itself as text
	actSkip // an unknown field
)

// node is the plan for one type. Decoders change what they learn of the order
// of fields, so that a plan serves one goroutine.
type node struct {
	act    action
	digits uint8
	quoted bool // a number or bool that stands in a string
	size   uintptr
	// low and high bound an integer.
	low  int64
	high uint64

	typ    *codec.Type
	elem   *node
	key    *node
	fields []field
	known  int // fields of the type; those after it are unknown ones
	first  int32
	names  map[string]int32
	// box holds the slice being read, so that its memory is on the heap.
	box reflect.Value
}

// field is one field of a struct, with what is needed to recognise it.
type field struct {
	// The text `"name":`, of which the first 16 bytes are words under masks.
	word0, mask0, word1, mask1 uint64
	length                     int
	next                       int32 // the field that followed it last time
	act                        action
	off                        uintptr
	node                       *node
	text                       string
	name                       string
	opts                       codec.JSONOptions
}

// direction is what a plan is for.
type direction uint8

const (
	reading direction = iota
	writing
)

// planner makes nodes.
type planner struct {
	path string
	dir  direction
}

func plan(t *codec.Type, dir direction) (*node, error) {
	p := planner{path: t.Go.String(), dir: dir}
	return p.node(t, codec.JSONOptions{})
}

func (p planner) node(t *codec.Type, opts codec.JSONOptions) (*node, error) {
	n := &node{typ: t, size: t.Size, digits: uint8(t.Digits)}
	act, err := p.custom(t)
	if act != 0 || err != nil {
		n.act = act
		return n, err
	}
	switch t.Kind {
	case codec.KindStruct:
		n.act = actStruct
		return n, p.structNode(n)
	case codec.KindMap:
		n.act = actMap
		if n.key, err = p.node(t.Key, codec.JSONOptions{}); err != nil {
			return nil, err
		}
		if n.key.act != actString && n.key.act != actInt && n.key.act != actUint {
			return nil, fmt.Errorf("jsonfmt: %s: keys of %s cannot be names in JSON: use strings or integers", p.path, t.Key.Go)
		}
		n.elem, err = p.node(t.Elem, codec.JSONOptions{})
		return n, err
	case codec.KindArray, codec.KindSlice, codec.KindPointer:
		n.act = map[codec.Kind]action{codec.KindArray: actArray, codec.KindSlice: actSlice, codec.KindPointer: actPointer}[t.Kind]
		n.box = reflect.New(t.Go)
		if t.Kind != codec.KindPointer {
			opts = codec.JSONOptions{}
		}
		n.elem, err = p.node(t.Elem, opts)
		return n, err
	}
	return n, p.scalar(n, opts)
}

// custom returns how a type reads or writes itself, 0 if it does not. One
// that does the other of the two only is an error: its own form is not known.
func (p planner) custom(t *codec.Type) (action, error) {
	if t.Kind == codec.KindTime || t.Kind == codec.KindPointer {
		return 0, nil
	}
	ptr := reflect.PointerTo(t.Go)
	for _, c := range []struct {
		act  action
		does [2]reflect.Type // by direction
	}{
		{actJSON, [2]reflect.Type{reading: reflect.TypeFor[json.Unmarshaler](), writing: reflect.TypeFor[json.Marshaler]()}},
		{actText, [2]reflect.Type{reading: reflect.TypeFor[encoding.TextUnmarshaler](), writing: reflect.TypeFor[encoding.TextMarshaler]()}},
	} {
		if ptr.Implements(c.does[p.dir]) {
			return c.act, nil
		}
		if ptr.Implements(c.does[1-p.dir]) {
			return 0, fmt.Errorf("jsonfmt: %s: %s has a method of %s but none of %s: add it", p.path, t.Go, c.does[1-p.dir], c.does[p.dir])
		}
	}
	return 0, nil
}

func (p planner) scalar(n *node, opts codec.JSONOptions) error {
	k := n.typ.Kind
	switch {
	case n.typ.Unit == codec.UnitDecimal:
		n.act = actDecimal
	case n.typ.Unit == codec.UnitMillis:
		n.act = actMillis
	case k.Signed():
		n.act = actInt
		n.low, n.high = math.MinInt64>>(64-8*n.size), uint64(math.MaxInt64>>(64-8*n.size))
	case k.Unsigned():
		n.act = actUint
		n.high = math.MaxUint64 >> (64 - 8*n.size)
	case k == codec.KindFloat32, k == codec.KindFloat64:
		n.act = actFloat
	case k == codec.KindBool:
		n.act = actBool
	case k == codec.KindString:
		n.act = actString
	case k == codec.KindBytes:
		n.act = actBytes
	case k == codec.KindTime:
		n.act = actTime
	}
	if opts.Quoted && n.act == actString {
		return fmt.Errorf(`jsonfmt: %s: the json tag option "string" on a string is not offered: remove it`, p.path)
	}
	n.quoted = opts.Quoted && (n.act == actInt || n.act == actUint || n.act == actFloat || n.act == actBool || n.act == actDecimal)
	return nil
}

func (p planner) structNode(n *node) error {
	n.names = map[string]int32{}
	for _, tf := range n.typ.Fields {
		if tf.JSON.Skip {
			continue
		}
		below := planner{path: p.path + "." + tf.Name, dir: p.dir}
		fn, err := below.node(tf.Type, tf.JSON)
		if err != nil {
			return err
		}
		n.addField(field{name: tf.Name, off: tf.Offset, node: fn, opts: tf.JSON})
	}
	n.known = len(n.fields)
	return nil
}

// addField adds f, which is expected to be followed by the first field until
// another order is seen.
func (n *node) addField(f field) {
	at := int32(len(n.fields))
	n.names[f.name] = at
	f.text = string(append(appendString(nil, f.name), ':'))
	f.length = len(f.text)
	f.act = f.node.act
	f.word0, f.mask0 = wordOf(f.text)
	f.word1, f.mask1 = wordOf(f.text[min(8, len(f.text)):])
	if at > 0 {
		n.fields[at-1].next = at
	}
	n.fields = append(n.fields, f)
}

// wordOf returns the first 8 bytes of s as a little-endian word, and a mask of
// those that s has.
func wordOf(s string) (word, mask uint64) {
	for i := range min(8, len(s)) {
		word |= uint64(s[i]) << (8 * i)
		mask |= 0xFF << (8 * i)
	}
	return word, mask
}

// matches reports whether the text at i is the field's name and a colon.
func (f *field) matches(r *run, i int) bool {
	if r.word(i)&f.mask0 != f.word0 || r.word(i+8)&f.mask1 != f.word1 {
		return false
	}
	return f.length <= 16 || i+f.length <= r.n && unsafe.String((*byte)(unsafe.Add(r.base, i)), f.length) == f.text
}
