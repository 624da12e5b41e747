package codec

import (
	"time"
	"unsafe"
)

// opcode says what one step of a row program does.
type opcode uint8

const (
	opCopy   opcode = iota + 1 // size bytes whose memory image is the row form
	opNumber                   // a number of size bytes, on any byte order
	opInt                      // an int or uint narrower than 64 bits in memory
	opBool
	opString
	opBytes
	opTime
	opArray
	opSlice
	opMap
	opPointer
)

// op is one step: the value at offset off from the row's address.
type op struct {
	code opcode
	off  uintptr
	size uintptr
	n    int      // array: number of elements
	sub  *program // element of an array, slice, map, pointer
	key  *program // key of a map
	typ  *Type
	path string // for errors
}

// program is the row form of a type: steps in order. Structs are flattened,
// and numbers that lie side by side become one copy.
type program struct {
	ops  []op
	size uintptr // bytes in memory
	// min is the least number of bytes of a row, and the only one if fixed.
	min   int
	fixed bool
	// deep: texts may also lie behind slices, maps, pointers or in arrays.
	deep bool
}

// plain reports whether the memory image of a value is its row form.
func (pr *program) plain() bool {
	return len(pr.ops) == 1 && pr.ops[0].code == opCopy && pr.ops[0].off == 0 && pr.ops[0].size == pr.size
}

// layout holds the choices of a build: copying needs a little-endian machine.
type layout struct{ copyNumbers bool }

func hostLayout() layout {
	one := uint16(1)
	return layout{copyNumbers: *(*byte)(unsafe.Pointer(&one)) == 1}
}

func (l layout) build(t *Type, path string) *program {
	pr := &program{size: t.Size, fixed: true}
	l.add(pr, t, 0, path)
	return pr
}

func (l layout) add(pr *program, t *Type, off uintptr, path string) {
	o := op{off: off, size: t.Size, typ: t, path: path}
	switch t.Kind {
	case KindStruct:
		for _, f := range t.Fields {
			l.add(pr, f.Type, off+f.Offset, path+"."+f.Name)
		}
		return
	case KindBool:
		o.code = opBool
		pr.min++
	case KindString, KindBytes:
		o.code = opString
		if t.Kind == KindBytes {
			o.code = opBytes
		}
		pr.min++
		pr.fixed = false
	case KindTime:
		o.code = opTime
		pr.min += timeBytes
	case KindArray:
		l.addArray(pr, t, o)
		return
	case KindSlice, KindMap, KindPointer:
		o.code = map[Kind]opcode{KindSlice: opSlice, KindMap: opMap, KindPointer: opPointer}[t.Kind]
		o.sub = l.build(t.Elem, path+"[]")
		pr.deep = true
		if t.Kind == KindMap {
			o.key = l.build(t.Key, path+"[key]")
		}
		pr.min++
		pr.fixed = false
	default:
		l.addNumber(pr, t, o)
		return
	}
	pr.ops = append(pr.ops, o)
}

func (l layout) addNumber(pr *program, t *Type, o op) {
	width := t.Kind.bits() / 8
	pr.min += width
	o.code = opNumber
	if uintptr(width) != t.Size {
		o.code = opInt
	} else if l.copyNumbers {
		o.code = opCopy
	}
	l.push(pr, o)
}

func (l layout) addArray(pr *program, t *Type, o op) {
	if t.Len == 0 {
		return
	}
	o.sub = l.build(t.Elem, o.path+"[]")
	o.n = t.Len
	o.code = opArray
	pr.min += t.Len * o.sub.min
	pr.fixed = pr.fixed && o.sub.fixed
	if o.sub.plain() || len(o.sub.ops) == 0 {
		o.code = opCopy
		o.size = uintptr(t.Len * o.sub.min)
		if o.size == 0 {
			return
		}
	}
	pr.deep = pr.deep || o.code == opArray && !o.sub.fixed
	l.push(pr, o)
}

// push appends o, merging it into the step before when both are copies that
// touch in memory.
func (l layout) push(pr *program, o op) {
	if n := len(pr.ops); n > 0 && o.code == opCopy {
		last := &pr.ops[n-1]
		if last.code == opCopy && last.off+last.size == o.off {
			last.size += o.size
			return
		}
	}
	pr.ops = append(pr.ops, o)
}

// timeBytes is the size of an instant: seconds (8) and nanoseconds (4).
const timeBytes = 12

// instant splits a time; the zone and the monotonic reading are dropped.
func instant(p unsafe.Pointer) (sec int64, nanos uint32) {
	t := *(*time.Time)(p)
	return t.Unix(), uint32(t.Nanosecond())
}

func setInstant(p unsafe.Pointer, sec int64, nanos uint32) {
	*(*time.Time)(p) = time.Unix(sec, int64(nanos)).UTC()
}
