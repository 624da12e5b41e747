package opstate

import (
	"fmt"
	"iter"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/fields"
)

// List holds elements of a subtask in the order in which they were added.
type List[T any] struct {
	name  string
	kind  Kind
	codec *codec.Codec[T]
	// buf holds the elements, each with its length in front. It only grows,
	// or is made anew: a mark is its header.
	buf    []byte
	n      int
	marked []byte
	markN  int
}

// NewList returns a list that is open.
func NewList[T any](s *Set, name string) (*List[T], error) {
	l := new(List[T])
	return l, l.open(s, name, KindList)
}

// NewUnion returns a union list that is open.
func NewUnion[T any](s *Set, name string) (*List[T], error) {
	l := new(List[T])
	return l, l.open(s, name, KindUnion)
}

// Open makes l the list of that name; it is called in the Open of a processor,
// before anything else. At a restore the elements of all old subtasks are dealt
// out over the new ones, in runs of equal length, when there are more or less
// of them; else each subtask has its own.
func (l *List[T]) Open(ctx Owner, name string) error {
	return l.open(ctx.OperatorState(), name, KindList)
}

// OpenUnion makes l the union list of that name; it is called in place of Open.
// At a restore each subtask gets the elements of all old subtasks, in order of
// subtask; what it keeps of them is for it to decide, else they multiply with
// each restore.
func (l *List[T]) OpenUnion(ctx Owner, name string) error {
	return l.open(ctx.OperatorState(), name, KindUnion)
}

func (l *List[T]) open(s *Set, name string, kind Kind) error {
	c, err := codec.Of[T]()
	if err != nil {
		return fmt.Errorf("state %q: %w", name, err)
	}
	*l = List[T]{name: name, kind: kind, codec: c}
	f, err := s.claim(name, kind, "", c, l)
	if err != nil {
		return err
	}
	for _, e := range f.entries {
		l.buf = appendText(l.buf, e.val)
		l.n++
	}
	return nil
}

func (l *List[T]) mustBeOpen() {
	if l.codec == nil {
		notOpen("stream.ListState", "Open or OpenUnion")
	}
}

// Add appends elements. What they refer to is copied.
func (l *List[T]) Add(vs ...T) {
	l.mustBeOpen()
	for i := range vs {
		l.buf = appendText(l.buf, l.codec.Append(nil, &vs[i]))
		l.n++
	}
}

// All yields the elements. The list must not be changed meanwhile.
func (l *List[T]) All() iter.Seq[T] {
	l.mustBeOpen()
	return func(yield func(T) bool) {
		r := fields.Read(l.buf)
		for range l.n {
			var v T
			if _, err := l.codec.Decode(r.Bytes(), &v); err != nil {
				panic(fmt.Sprintf("state %q holds bytes that do not decode: %v", l.name, err))
			}
			if !yield(v) {
				return
			}
		}
	}
}

// Len returns the number of elements.
func (l *List[T]) Len() int {
	l.mustBeOpen()
	return l.n
}

// Set replaces all elements.
func (l *List[T]) Set(vs []T) {
	l.Clear()
	l.Add(vs...)
}

// Clear removes all elements.
func (l *List[T]) Clear() {
	l.mustBeOpen()
	l.buf, l.n = nil, 0
}

func (l *List[T]) form() form {
	f := form{kind: l.kind, schema: l.codec.Schema(), entries: make([]entry, 0, l.n)}
	r := fields.Read(l.buf)
	for range l.n {
		f.entries = append(f.entries, entry{val: r.Bytes()})
	}
	return f
}

func (l *List[T]) mark() { l.marked, l.markN = l.buf, l.n }
func (l *List[T]) undo() { l.buf, l.n = l.marked, l.markN }
