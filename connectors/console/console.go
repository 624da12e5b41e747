// Package console prints rows as lines of text. What was printed before a
// failure is printed again after it; it is for looking, not for keeping.
package console

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/formats"
)

// Sink prints the value that an encoder makes of each row.
type Sink[T any] struct {
	connectors.Typed[T]
	out     io.Writer
	prefix  string
	encoder func() (formats.Encoder[T], error)
	typ     columnar.RowType
	err     error
	// mu keeps lines of several subtasks apart; it is held while writing.
	mu sync.Mutex
}

var _ connectors.SinkOf[int] = (*Sink[int])(nil)

// Of returns a sink of rows like like, of which only the type matters, that
// prints them to standard output as fmt does with %+v.
func Of[T any](like T) *Sink[T] { return New[T](nil) }

// New returns a sink that prints to standard output what an encoder makes of
// the rows; encoder makes that of each subtask, nil is as of Of.
func New[T any](encoder func() (formats.Encoder[T], error)) *Sink[T] {
	s := &Sink[T]{out: os.Stdout, encoder: encoder}
	s.typ, s.err = columnar.TypeOf[T]()
	return s
}

// Into makes the sink print to w.
func (s *Sink[T]) Into(w io.Writer) *Sink[T] {
	s.out = w
	return s
}

// Prefix begins each line with text.
func (s *Sink[T]) Prefix(text string) *Sink[T] {
	s.prefix = text
	return s
}

// Fault returns why there is no encoder, which it makes one of, nil if there
// is.
func (s *Sink[T]) Fault() error {
	if s.encoder == nil {
		return nil
	}
	_, err := s.encoder()
	if err != nil {
		return fmt.Errorf("encoder: %w", err)
	}
	return nil
}

// Name implements connectors.Sink.
func (s *Sink[T]) Name() string { return "console" }

// Detail implements connectors.Sink.
func (s *Sink[T]) Detail() string { return s.prefix }

// Transactional implements connectors.Sink.
func (s *Sink[T]) Transactional() bool { return false }

// RowType implements connectors.Sink.
func (s *Sink[T]) RowType() columnar.RowType { return s.typ }

// NewWriter implements connectors.Sink.
func (s *Sink[T]) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	w := &writer[T]{sink: s, reject: ctx.Reject}
	if s.err != nil || s.encoder == nil {
		return w, s.err
	}
	var err error
	w.enc, err = s.encoder()
	return w, err
}

type writer[T any] struct {
	sink *Sink[T]
	enc  formats.Encoder[T]
	buf  []byte
	rec  formats.Out
	// reject takes rows that do not encode; nil: they are errors.
	reject func(b *columnar.Batch, i int, err error)
}

// Recover implements connectors.Writer.
func (w *writer[T]) Recover(context.Context, []connectors.Committable) error { return nil }

// Write implements connectors.Writer.
func (w *writer[T]) Write(b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	w.buf = w.buf[:0]
	for i := range rows {
		from := len(w.buf)
		w.buf = append(w.buf, w.sink.prefix...)
		if w.enc == nil {
			w.buf = fmt.Appendf(w.buf, "%+v\n", rows[i])
			continue
		}
		w.rec = formats.Out{Key: w.rec.Key[:0], Value: w.rec.Value[:0], Headers: w.rec.Headers[:0], Timestamp: dataflow.TimeNone}
		if err := w.enc.Encode(&rows[i], &w.rec); err != nil {
			if w.reject == nil {
				return err
			}
			w.buf = w.buf[:from]
			w.reject(b, i, err)
			continue
		}
		w.buf = append(append(w.buf, w.rec.Value...), '\n')
	}
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	if _, err := w.sink.out.Write(w.buf); err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

// Ready implements connectors.Writer.
func (w *writer[T]) Ready() bool { return true }

// Flush implements connectors.Writer.
func (w *writer[T]) Flush(context.Context) error { return nil }

// Prepare implements connectors.Writer.
func (w *writer[T]) Prepare(context.Context, dataflow.CheckpointID, bool) ([]connectors.Committable, error) {
	return nil, nil
}

// Commit implements connectors.Writer.
func (w *writer[T]) Commit(context.Context, []connectors.Committable) error { return nil }

// SealedMax implements connectors.Writer.
func (w *writer[T]) SealedMax() int { return 0 }

// Close implements connectors.Writer.
func (w *writer[T]) Close() error { return nil }
