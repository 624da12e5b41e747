// Package hybrid makes one source of several that are read one after the
// other: bounded history first (files), then what goes on (a topic of Kafka).
// It reads nothing itself and knows no concrete connector.
package hybrid

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"reflect"
	"strings"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
)

// Source reads sources in turn: the next one begins when all splits of the one
// before have ended, in every subtask, and a checkpoint that holds this
// decision is committed (if the job has checkpoints). All but the last source
// are bounded; the last one decides whether the whole is. Each row is read
// once, also across a switch that a failure interrupts. Watermarks do not jump
// at the switch: the least of what each subtask has read holds them until the
// next source's splits have their own.
type Source[T any] struct {
	connectors.Typed[T]
	stages []stage[T]
}

// stage is one of the sources.
type stage[T any] struct {
	src connectors.SourceOf[T]
	// start returns the source as it begins; nil: as it is.
	start func(ctx context.Context, end End) (connectors.SourceOf[T], error)
	// derived says that there has to be a start.
	derived bool
}

var (
	_ connectors.SourceOf[int] = (*Source[int])(nil)
	_ connectors.SplitOwner    = (*Source[int])(nil)
	_ connectors.Checker       = (*Source[int])(nil)
)

// New returns a source of first and then those of rest, in order, each from
// the start that it has of its own.
func New[T any](first connectors.SourceOf[T], rest ...connectors.SourceOf[T]) *Source[T] {
	s := &Source[T]{stages: []stage[T]{{src: first}}}
	for _, src := range rest {
		s.stages = append(s.stages, stage[T]{src: src})
	}
	return s
}

// Then adds a source whose start depends on where the one before has ended:
// start returns next with another start, a FromTime or FromOffsets of Kafka,
// say. It may ask the outside and is called again when it fails, until its
// result is in the state; from then on next stands for it. So the two may
// differ in their start only. start runs in the job's coordinator, not in
// parallel.
func (s *Source[T]) Then(next connectors.SourceOf[T], start func(ctx context.Context, end End) (connectors.SourceOf[T], error)) *Source[T] {
	all := append(append([]stage[T](nil), s.stages...), stage[T]{src: next, start: start, derived: true})
	return &Source[T]{stages: all}
}

// End is where a source has ended.
type End struct {
	// Splits are all that it had, at their last positions, by id. Ids and
	// positions are as the source itself makes them.
	Splits []connectors.EndedSplit
}

// Earliest returns the least time up to which a split was read, by its
// watermark; ok false: none has one. What is read from there on overlaps with
// those splits that got further, but leaves no gap.
func (e End) Earliest() (t time.Time, ok bool) {
	return e.fold(func(a, b int64) int64 { return min(a, b) })
}

// Latest returns the greatest time up to which a split was read, by its
// watermark; ok false: none has one.
func (e End) Latest() (t time.Time, ok bool) {
	return e.fold(func(a, b int64) int64 { return max(a, b) })
}

func (e End) fold(pick func(a, b int64) int64) (t time.Time, ok bool) {
	var millis int64
	for _, s := range e.Splits {
		switch {
		case s.Watermark == dataflow.TimeMin:
		case !ok:
			millis, ok = s.Watermark, true
		default:
			millis = pick(millis, s.Watermark)
		}
	}
	if !ok {
		return time.Time{}, false
	}
	return time.UnixMilli(millis), true
}

// Fault returns what is wrong with the sources, nil if nothing; stream.From
// asks it when the program is built.
func (s *Source[T]) Fault() error {
	var errs []error
	if len(s.stages) < 2 {
		errs = append(errs, errors.New("it has one source only: give New or Then the one that follows"))
	}
	for i, st := range s.stages {
		if isNil(st.src) {
			errs = append(errs, fmt.Errorf("source %d of %d is nil: look at the error of what made it", i+1, len(s.stages)))
			continue
		}
		if i < len(s.stages)-1 && !st.src.Bounded() {
			errs = append(errs, fmt.Errorf("source %d of %d, %s, never ends, so nothing after it would be read: bound it or put it last", i+1, len(s.stages), st.src.Name()))
		}
		if f, ok := st.src.(interface{ Fault() error }); ok {
			if err := f.Fault(); err != nil {
				errs = append(errs, fmt.Errorf("source %d of %d, %s: %w", i+1, len(s.stages), strings.TrimSpace(st.src.Name()), err))
			}
		}
		if st.derived && st.start == nil {
			errs = append(errs, fmt.Errorf("source %d of %d, %s: the function that gives its start is nil: a source with a start of its own is given to New", i+1, len(s.stages), st.src.Name()))
		}
	}
	return errors.Join(errs...)
}

// isNil also finds the nil pointer of a constructor whose error was dropped.
func isNil[T any](src connectors.SourceOf[T]) bool {
	if src == nil {
		return true
	}
	v := reflect.ValueOf(src)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// last is the source that decides what the whole looks like, nil without one.
func (s *Source[T]) last() connectors.SourceOf[T] {
	if src := s.stages[len(s.stages)-1].src; !isNil(src) {
		return src
	}
	return nil
}

// Name implements connectors.Source.
func (s *Source[T]) Name() string {
	return s.describe(func(src connectors.SourceOf[T]) string { return src.Name() })
}

// Detail implements connectors.Source.
func (s *Source[T]) Detail() string {
	return s.describe(func(src connectors.SourceOf[T]) string { return src.Detail() })
}

func (s *Source[T]) describe(of func(connectors.SourceOf[T]) string) string {
	parts := make([]string, len(s.stages))
	for i, st := range s.stages {
		parts[i] = "nil"
		if !isNil(st.src) {
			parts[i] = strings.TrimSpace(of(st.src))
		}
	}
	return strings.Join(parts, ", then ")
}

// Bounded implements connectors.Source.
func (s *Source[T]) Bounded() bool { return s.last() != nil && s.last().Bounded() }

// RowType implements connectors.Source.
func (s *Source[T]) RowType() columnar.RowType {
	for _, st := range s.stages {
		if !isNil(st.src) {
			return st.src.RowType()
		}
	}
	typ, err := columnar.TypeOf[T]()
	if err != nil {
		return nil
	}
	return typ
}

// Owner implements connectors.SplitOwner by the owners of the sources.
func (s *Source[T]) Owner(splitID string, parallelism int) int {
	i, id, err := parseID(splitID, len(s.stages))
	if err != nil {
		return 0
	}
	if o, ok := s.stages[i].src.(connectors.SplitOwner); ok {
		return o.Owner(id, parallelism)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash.Hash never returns an error
	return int(h.Sum64() % uint64(parallelism))
}

// Check implements connectors.Checker by that of the last source: those before
// it may be gone when the job starts again after them. What is wrong with them
// shows when they are read.
func (s *Source[T]) Check(ctx context.Context, info connectors.CheckInfo) error {
	if c, ok := s.last().(connectors.Checker); ok {
		return c.Check(ctx, info)
	}
	return nil
}

// NewEnumerator implements connectors.Source.
func (s *Source[T]) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	if err := s.Fault(); err != nil {
		return nil, err
	}
	return newEnumerator(s, ctx)
}

// NewReader implements connectors.Source.
func (s *Source[T]) NewReader(ctx *connectors.ReaderContext) (connectors.Reader, error) {
	if err := s.Fault(); err != nil {
		return nil, err
	}
	return &reader[T]{src: s, ctx: ctx, inner: make([]connectors.Reader, len(s.stages)), ended: make(map[string][]byte), over: make(map[string]bool)}, nil
}
