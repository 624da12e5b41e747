// Package datagen is a source of made-up rows: row i of a seed is always the
// same, so that a restored job goes on exactly where it was. It is for demos,
// tests and load, and reads nothing from outside.
package datagen

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
)

// positionVersion is the first byte of a split's position, which goes on with
// the number of rows made as an unsigned varint.
const positionVersion = 1

// Config configures a source. The zero value makes rows as fast as they are
// taken, without end.
type Config struct {
	// Count is the number of rows in all; 0: without end.
	Count int64
	// PerSecond bounds the rows made each second, over all splits; 0: no bound.
	PerSecond float64
	// Seed tells runs apart.
	Seed uint64
	// Splits is the number of parts that rows are dealt to in turn; default 1.
	Splits int
}

// EnsureDefaults fills what is not set.
func (c *Config) EnsureDefaults() {
	if c.Splits == 0 {
		c.Splits = 1
	}
}

// Validate returns all faults of the configuration in one error.
func (c *Config) Validate() error {
	var errs []error
	if c.Count < 0 {
		errs = append(errs, fmt.Errorf("count %d is negative", c.Count))
	}
	if c.PerSecond < 0 {
		errs = append(errs, fmt.Errorf("rate %v is negative", c.PerSecond))
	}
	if c.Splits < 1 {
		errs = append(errs, fmt.Errorf("number of splits %d is less than 1", c.Splits))
	}
	return errors.Join(errs...)
}

// Source makes rows.
type Source[T any] struct {
	connectors.Typed[T]
	cfg  Config
	make func(i int64, rng *rand.Rand) T
	typ  columnar.RowType
	err  error
	// With Of: what is wrong with the fields, and what they are.
	fault  error
	schema string
}

var (
	_ connectors.SourceOf[int] = (*Source[int])(nil)
	_ connectors.SplitOwner    = (*Source[int])(nil)
)

// New returns a source of the rows make(0), make(1), … of which split s of n
// has those with i mod n = s. make depends on nothing but i and rng, which
// yields the same numbers for the same i and seed.
func New[T any](cfg Config, make func(i int64, rng *rand.Rand) T) *Source[T] {
	cfg.EnsureDefaults()
	s := &Source[T]{cfg: cfg, make: make}
	typ, err := columnar.TypeOf[T]()
	s.typ, s.err = typ, errors.Join(err, cfg.Validate())
	return s
}

// Fault returns what is wrong with the source's configuration, nil if nothing.
func (s *Source[T]) Fault() error { return errors.Join(s.cfg.Validate(), s.fault) }

// Name implements connectors.Source.
func (s *Source[T]) Name() string { return "datagen" }

// Detail implements connectors.Source.
func (s *Source[T]) Detail() string {
	text := fmt.Sprintf("count %d rate %v seed %d splits %d", s.cfg.Count, s.cfg.PerSecond, s.cfg.Seed, s.cfg.Splits)
	if s.schema != "" {
		text += " fields " + s.schema
	}
	return text
}

// Timeless implements connectors.Timeless.
func (s *Source[T]) Timeless() bool { return true }

// Bounded implements connectors.Source.
func (s *Source[T]) Bounded() bool { return s.cfg.Count > 0 }

// RowType implements connectors.Source.
func (s *Source[T]) RowType() columnar.RowType { return s.typ }

// Owner implements connectors.SplitOwner.
func (s *Source[T]) Owner(splitID string, parallelism int) int {
	i, err := s.index(splitID)
	if err != nil {
		return 0
	}
	return i % parallelism
}

func (s *Source[T]) index(splitID string) (int, error) {
	i, err := strconv.Atoi(strings.TrimPrefix(splitID, "gen-"))
	if err != nil || i < 0 || i >= s.cfg.Splits {
		return 0, fmt.Errorf("datagen has no split %q, only gen-0 to gen-%d", splitID, s.cfg.Splits-1)
	}
	return i, nil
}

// rows returns the number of rows of a split, -1 without end.
func (s *Source[T]) rows(split int) int64 {
	if s.cfg.Count == 0 {
		return -1
	}
	n := int64(s.cfg.Splits)
	return (s.cfg.Count + n - 1 - int64(split)) / n
}

// NewEnumerator implements connectors.Source.
func (s *Source[T]) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	if s.err != nil {
		return nil, s.err
	}
	if r := ctx.Restored; r != nil && (len(r) != 1 || r[0] != positionVersion) {
		return nil, fmt.Errorf("state %.40x of generated rows is not of version %d", r, positionVersion)
	}
	return enumerator{splits: s.cfg.Splits}, nil
}

type enumerator struct{ splits int }

// Discover implements connectors.Enumerator.
func (e enumerator) Discover(context.Context) ([]connectors.Split, error) {
	out := make([]connectors.Split, e.splits)
	for i := range out {
		out[i] = connectors.Split{ID: "gen-" + strconv.Itoa(i), Position: position(0)}
	}
	return out, nil
}

// Interval implements connectors.Enumerator.
func (enumerator) Interval() time.Duration { return 0 }

// Snapshot implements connectors.Enumerator: all follows from the program.
func (enumerator) Snapshot() ([]byte, error) { return []byte{positionVersion}, nil }

// Close implements connectors.Enumerator.
func (enumerator) Close() error { return nil }

func position(made int64) []byte {
	return binary.AppendUvarint([]byte{positionVersion}, uint64(made))
}

func parsePosition(b []byte) (int64, error) {
	if len(b) < 2 || b[0] != positionVersion {
		return 0, fmt.Errorf("position %x of generated rows is not of version %d", b, positionVersion)
	}
	n, used := binary.Uvarint(b[1:])
	if used != len(b)-1 {
		return 0, fmt.Errorf("position %x of generated rows is damaged", b)
	}
	return int64(n), nil
}
