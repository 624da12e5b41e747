// Package files reads files of lines and writes them exactly once, on disks
// and on S3: a source whose splits are ranges of bytes, and a sink whose files
// appear when their checkpoint is committed, by rename or by the completion of
// an upload. Formats say what a line is. It does not watch files that grow.
package files

import (
	"errors"
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/formats"
)

// Source reads lines, each of them one record unless the format joins them;
// empty lines are skipped.
type Source[T any] struct {
	connectors.Typed[T]
	cfg SourceConfig
	dec func() (formats.Decoder[T], error)
	typ columnar.RowType
	err error
}

var _ connectors.SourceOf[int] = (*Source[int])(nil)

// NewSource returns a source; dec makes one decoder for each reader. Faults
// of cfg are reported when the program is built, see Fault.
func NewSource[T any](cfg SourceConfig, dec func() (formats.Decoder[T], error)) *Source[T] {
	cfg.EnsureDefaults()
	s := &Source[T]{cfg: cfg, dec: dec}
	typ, err := columnar.TypeOf[T]()
	s.typ, s.err = typ, errors.Join(err, s.fault())
	return s
}

// Fault returns what is wrong with the source's configuration and its decoder,
// which it makes one of, nil if nothing.
func (s *Source[T]) Fault() error {
	err := s.fault()
	if s.dec == nil {
		return err
	}
	if _, e := s.dec(); e != nil {
		err = errors.Join(err, fmt.Errorf("decoder: %w", e))
	}
	return err
}

// fault is Fault without the decoder.
func (s *Source[T]) fault() error {
	err := s.cfg.Validate()
	if s.dec == nil {
		err = errors.Join(err, errors.New("the source has no decoder: nil was given"))
	}
	return err
}

// Name implements connectors.Source.
func (s *Source[T]) Name() string { return "files " + s.cfg.Pattern }

// Detail implements connectors.Source.
func (s *Source[T]) Detail() string {
	if s.cfg.Interval > 0 {
		return fmt.Sprintf("splits of %d bytes, looks every %v", s.cfg.SplitBytes, s.cfg.Interval)
	}
	return fmt.Sprintf("splits of %d bytes", s.cfg.SplitBytes)
}

// Timeless implements connectors.Timeless.
func (s *Source[T]) Timeless() bool { return true }

// Bounded implements connectors.Source.
func (s *Source[T]) Bounded() bool { return s.cfg.Interval == 0 }

// RowType implements connectors.Source.
func (s *Source[T]) RowType() columnar.RowType { return s.typ }
