// Package collection makes sources of Go slices and sinks that collect rows
// in memory, for tests and examples. It is no connector for production: rows
// are part of the program and results live in its process.
package collection

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
)

// positionVersion is the first byte of a split's position, which goes on
// with the index of the next row as an unsigned varint.
const positionVersion = 1

// Source reads slices: each of them is a split.
type Source[T any] struct {
	connectors.Typed[T]
	parts   [][]T
	rows    int  // in a batch
	endless bool // does not end after the last row
	typ     columnar.RowType
	err     error
}

var (
	_ connectors.SourceOf[int] = (*Source[int])(nil)
	_ connectors.SplitOwner    = (*Source[int])(nil)
)

// Slice returns a source of the rows, in order.
func Slice[T any](rows ...T) *Source[T] { return Partitions(rows) }

// Partitions returns a source with one split for each slice.
func Partitions[T any](parts ...[]T) *Source[T] {
	s := &Source[T]{parts: parts, rows: columnar.BatchRowsMax}
	s.typ, s.err = columnar.TypeOf[T]()
	return s
}

// BatchRows sets the number of rows in a batch.
func (s *Source[T]) BatchRows(n int) *Source[T] {
	s.rows = max(1, n)
	return s
}

// Endless makes the source wait for ever after its last row, as an unbounded
// source that nothing is written to.
func (s *Source[T]) Endless() *Source[T] {
	s.endless = true
	return s
}

// Name implements connectors.Source.
func (s *Source[T]) Name() string { return "collection" }

// Detail implements connectors.Source.
func (s *Source[T]) Detail() string {
	sizes := make([]string, len(s.parts))
	for i, p := range s.parts {
		sizes[i] = strconv.Itoa(len(p))
	}
	return "rows " + strings.Join(sizes, ",")
}

// Timeless implements connectors.Timeless.
func (s *Source[T]) Timeless() bool { return true }

// Bounded implements connectors.Source.
func (s *Source[T]) Bounded() bool { return !s.endless }

// RowType implements connectors.Source.
func (s *Source[T]) RowType() columnar.RowType { return s.typ }

// Owner implements connectors.SplitOwner: split i belongs to subtask i modulo
// parallelism.
func (s *Source[T]) Owner(splitID string, parallelism int) int {
	i, err := s.index(splitID)
	if err != nil {
		return 0
	}
	return i % parallelism
}

func (s *Source[T]) index(splitID string) (int, error) {
	i, err := strconv.Atoi(strings.TrimPrefix(splitID, "part-"))
	if err != nil || i < 0 || i >= len(s.parts) {
		return 0, fmt.Errorf("collection has no split %q, only part-0 to part-%d", splitID, len(s.parts)-1)
	}
	return i, nil
}

// NewEnumerator implements connectors.Source.
func (s *Source[T]) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	if s.err != nil {
		return nil, s.err
	}
	if r := ctx.Restored; r != nil && (len(r) != 1 || r[0] != positionVersion) {
		return nil, fmt.Errorf("state %.40x of a collection is not of version %d", r, positionVersion)
	}
	return enumerator{parts: len(s.parts)}, nil
}

type enumerator struct{ parts int }

// Discover implements connectors.Enumerator.
func (e enumerator) Discover(context.Context) ([]connectors.Split, error) {
	splits := make([]connectors.Split, e.parts)
	for i := range splits {
		splits[i] = connectors.Split{ID: "part-" + strconv.Itoa(i), Position: position(0)}
	}
	return splits, nil
}

// Interval implements connectors.Enumerator.
func (enumerator) Interval() time.Duration { return 0 }

// Snapshot implements connectors.Enumerator: all follows from the program.
func (enumerator) Snapshot() ([]byte, error) { return []byte{positionVersion}, nil }

// Close implements connectors.Enumerator.
func (enumerator) Close() error { return nil }

func position(next int) []byte {
	return binary.AppendUvarint([]byte{positionVersion}, uint64(next))
}

func parsePosition(b []byte) (int, error) {
	if len(b) < 2 || b[0] != positionVersion {
		return 0, fmt.Errorf("position %x of a collection is not of version %d", b, positionVersion)
	}
	n, used := binary.Uvarint(b[1:])
	if used != len(b)-1 {
		return 0, fmt.Errorf("position %x of a collection is damaged", b)
	}
	return int(n), nil
}

// NewReader implements connectors.Source.
func (s *Source[T]) NewReader(*connectors.ReaderContext) (connectors.Reader, error) {
	return &reader[T]{src: s}, s.err
}

type reader[T any] struct {
	src    *Source[T]
	splits []*cursor[T]
	turn   int
}

type cursor[T any] struct {
	id    string
	rows  []T
	next  int
	ended bool // SplitEnd was told
}

// AddSplits implements connectors.Reader.
func (r *reader[T]) AddSplits(splits []connectors.Split) error {
	for _, s := range splits {
		i, err := r.src.index(s.ID)
		if err != nil {
			return err
		}
		next, err := parsePosition(s.Position)
		if err != nil {
			return err
		}
		if next > len(r.src.parts[i]) {
			return fmt.Errorf("collection split %q has %d rows, but its position is %d: the program's rows are not those of the checkpoint", s.ID, len(r.src.parts[i]), next)
		}
		r.splits = append(r.splits, &cursor[T]{id: s.ID, rows: r.src.parts[i], next: next})
	}
	return nil
}

// Next implements connectors.Reader: splits take turns.
func (r *reader[T]) Next() (connectors.Fetched, bool, error) {
	for range r.splits {
		c := r.splits[r.turn%len(r.splits)]
		r.turn++
		if !c.ended {
			return r.take(c), true, nil
		}
	}
	return connectors.Fetched{}, false, nil
}

func (r *reader[T]) take(c *cursor[T]) connectors.Fetched {
	f := connectors.Fetched{Split: c.id}
	if n := min(r.src.rows, len(c.rows)-c.next); n > 0 {
		// The batch is handed over and may be changed: it gets a copy.
		f.Batch = &columnar.Batch{
			Rows:   append(make([]T, 0, n), c.rows[c.next:c.next+n]...),
			Origin: &columnar.Origin{Split: c.id, First: int64(c.next)},
		}
		c.next += n
	}
	if c.next == len(c.rows) {
		c.ended = true
		f.CaughtUp = true
		f.SplitEnd = !r.src.endless
	}
	return f
}

// Snapshot implements connectors.Reader.
func (r *reader[T]) Snapshot() []connectors.Split {
	out := make([]connectors.Split, len(r.splits))
	for i, c := range r.splits {
		out[i] = connectors.Split{ID: c.id, Position: position(c.next)}
	}
	return out
}

// Committed implements connectors.Reader.
func (r *reader[T]) Committed([]connectors.Split) {}

// Close implements connectors.Reader.
func (r *reader[T]) Close() error { return nil }
