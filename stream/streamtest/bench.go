package streamtest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/stream"
)

// Bench is where a Case builds its topology: between scripted inputs (From)
// and outputs whose rows are compared (Expect and its kin). It is used on one
// goroutine, while Build runs.
type Bench struct {
	// Env is the job's.
	Env     *stream.Env
	inputs  []*feed
	outputs []expected
}

// From begins a stream whose rows and watermarks are scripted. Without splits
// it ends at once.
func From[T any](b *Bench, uid string, splits ...*Split[T]) *stream.DataStream[T] {
	f := newFeed(uid, len(splits), false)
	f.script = splitScript[T](splits)
	b.inputs = append(b.inputs, f)
	return stream.From(b.Env, newStandIn[T]("test input"), stream.UID(uid), explicitWatermarks())
}

// explicitWatermarks tells package stream that the source has event time; the
// generators are never made, since a feed stands in for the source. Nor does time
// alone make it idle.
func explicitWatermarks() stream.SourceOption {
	return stream.Watermarks(stream.CustomWatermarks("of the test", func() stream.WatermarkGenerator { return nil }).WithIdleness(-1))
}

// Expect compares the rows of a stream with want, in any order.
func Expect[R any](b *Bench, uid string, d *stream.DataStream[R], want []R) {
	expect(b, uid, d, func(got, _ []R) error { return sameRows(got, want) })
}

// ExpectSame compares the rows of a stream, in any order, with those of the
// first way, of which there must be some: for results that have no reference
// but must not depend on how the job runs.
func ExpectSame[R any](b *Bench, uid string, d *stream.DataStream[R]) {
	expect(b, uid, d, func(got, first []R) error {
		if len(first) == 0 {
			return errors.New("the first way gave no rows: nothing is compared")
		}
		return sameRows(got, first)
	})
}

// ExpectInOrder compares the rows of a stream with want: those of each key in
// order, those of different keys in any.
func ExpectInOrder[R any, K comparable](b *Bench, uid string, d *stream.DataStream[R], key func(R) K, want []R) {
	expect(b, uid, d, func(got, _ []R) error {
		if err := sameRows(got, want); err != nil {
			return err
		}
		byKey := func(rows []R) map[K][]R {
			m := make(map[K][]R)
			for _, r := range rows {
				m[key(r)] = append(m[key(r)], r)
			}
			return m
		}
		g := byKey(got)
		for k, w := range byKey(want) {
			if !slices.Equal(canonical(g[k]), canonical(w)) {
				return fmt.Errorf("key %v: the order is wrong\n got %+v\nwant %+v", k, g[k], w)
			}
		}
		return nil
	})
}

// ExpectTable reads a stream as changes of a table: a row takes the place of
// the one of its key, or removes it when deleted (nil: never) says so. The
// rows that are left at the end are compared with want.
func ExpectTable[R any, K comparable](b *Bench, uid string, d *stream.DataStream[R], key func(R) K, deleted func(R) bool, want []R) {
	expect(b, uid, d, func(got, _ []R) error { return sameRows(table(got, key, deleted), want) })
}

// table returns the rows that are left of changes, in order of their keys'
// first row.
func table[R any, K comparable](changes []R, key func(R) K, deleted func(R) bool) []R {
	rows := make(map[K]R)
	var order []K
	seen := make(map[K]bool)
	for _, r := range changes {
		k := key(r)
		if !seen[k] {
			seen[k] = true
			order = append(order, k)
		}
		if deleted != nil && deleted(r) {
			delete(rows, k)
			continue
		}
		rows[k] = r
	}
	var left []R
	for _, k := range order {
		if r, ok := rows[k]; ok {
			left = append(left, r)
		}
	}
	return left
}

// expected is an output of a bench.
type expected struct {
	uid string
	to  capture
	// compare looks at what was captured. first is the capture of the same
	// output in the first way.
	compare func(first capture) error
}

func expect[R any](b *Bench, uid string, d *stream.DataStream[R], compare func(got, first []R) error) {
	c := &captured[R]{}
	d.To(newStandIn[R]("test output"), stream.UID(uid))
	b.outputs = append(b.outputs, expected{uid: uid, to: c, compare: func(first capture) error {
		f, ok := first.(*captured[R])
		if !ok {
			return fmt.Errorf("output %q is of another type in the first way: Build must do the same each time", uid)
		}
		return compare(c.rows, f.rows)
	}})
}

// shownMax bounds the rows that an error shows of each kind.
const shownMax = 20

// sameRows compares rows in any order.
func sameRows[R any](got, want []R) error {
	left := make(map[string]int)
	for _, c := range canonical(want) {
		left[c]++
	}
	var extra, missing []R
	for i, c := range canonical(got) {
		if left[c] == 0 {
			extra = append(extra, got[i])
			continue
		}
		left[c]--
	}
	for i, c := range canonical(want) {
		if left[c] > 0 {
			left[c]--
			missing = append(missing, want[i])
		}
	}
	if len(extra) == 0 && len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("got %d rows, want %d%s%s", len(got), len(want), list("not wanted", extra), list("missing", missing))
}

func list[R any](what string, rows []R) string {
	if len(rows) == 0 {
		return ""
	}
	var sb strings.Builder
	fmt.Fprintf(&sb, "\n%d %s:", len(rows), what)
	for _, r := range rows[:min(len(rows), shownMax)] {
		fmt.Fprintf(&sb, "\n  %+v", r)
	}
	if len(rows) > shownMax {
		sb.WriteString("\n  …")
	}
	return sb.String()
}

// canonical returns a text for each row that is equal for equal rows: their
// encoding, in which times have no zone and NaN equals itself.
func canonical[R any](rows []R) []string {
	t, err := columnar.TypeOf[R]()
	out := make([]string, len(rows))
	for i := range rows {
		if err != nil { // a row that no stream can carry
			out[i] = fmt.Sprintf("%+v", rows[i])
			continue
		}
		out[i] = string(t.AppendBatch(nil, columnar.NewBatch(rows[i:i+1], nil)))
	}
	return out
}

// standIn is a source or sink that is never run: the kit's operators stand in
// for it.
type standIn[T any] struct {
	connectors.Typed[T]
	typ  columnar.RowType
	name string
	err  error
}

var (
	_ connectors.SourceOf[int] = standIn[int]{}
	_ connectors.SinkOf[int]   = standIn[int]{}
)

func newStandIn[T any](name string) standIn[T] {
	s := standIn[T]{name: name}
	s.typ, s.err = columnar.TypeOf[T]()
	return s
}

// Name implements connectors.Source and Sink.
func (s standIn[T]) Name() string { return s.name }

// Detail implements connectors.Source and Sink.
func (s standIn[T]) Detail() string { return reflect.TypeFor[T]().String() }

// Bounded implements connectors.Source.
func (s standIn[T]) Bounded() bool { return true }

// Transactional implements connectors.Sink.
func (s standIn[T]) Transactional() bool { return false }

// RowType implements connectors.Source and Sink.
func (s standIn[T]) RowType() columnar.RowType { return s.typ }

// NewEnumerator implements connectors.Source.
func (s standIn[T]) NewEnumerator(*connectors.EnumeratorContext) (connectors.Enumerator, error) {
	return nil, s.misplaced()
}

// NewReader implements connectors.Source.
func (s standIn[T]) NewReader(*connectors.ReaderContext) (connectors.Reader, error) {
	return nil, s.misplaced()
}

// NewWriter implements connectors.Sink.
func (s standIn[T]) NewWriter(*connectors.WriterContext) (connectors.Writer, error) {
	return nil, s.misplaced()
}

func (s standIn[T]) misplaced() error {
	return errors.Join(s.err, fmt.Errorf("a %s of package streamtest runs only in its Check and Driver", s.name))
}
