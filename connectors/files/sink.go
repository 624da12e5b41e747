package files

import (
	"context"
	"errors"
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
	"github.com/leatstream/leat/formats"
)

// Sink writes lines to files of a folder, or below a prefix of a bucket of S3.
// A file appears under its name when its checkpoint is committed. Each subtask
// ends its files with each checkpoint, and where they are large enough.
type Sink[T any] struct {
	connectors.Typed[T]
	dir    string
	enc    func() (formats.Encoder[T], error)
	bucket func(T) string
	cfg    SinkConfig
	typ    columnar.RowType
	faults []error
}

var (
	_ connectors.SinkOf[int] = (*Sink[int])(nil)
	_ connectors.Checker     = (*Sink[int])(nil)
)

// NewSink returns a sink that writes to dir, a path of the file system or
// s3://bucket/prefix; enc makes one encoder for each writer. A folder is made
// if need be, a bucket is not. Faults are reported when the program is built,
// see Fault.
func NewSink[T any](dir string, enc func() (formats.Encoder[T], error)) *Sink[T] {
	s := &Sink[T]{dir: dir, enc: enc}
	s.cfg.EnsureDefaults()
	var err error
	if s.typ, err = columnar.TypeOf[T](); err != nil {
		s.faults = append(s.faults, err)
	}
	if dir == "" {
		s.faults = append(s.faults, errors.New("the sink's folder has no name"))
	}
	if enc == nil {
		s.faults = append(s.faults, errors.New("the sink has no encoder: nil was given"))
	}
	return s
}

// Bucket puts each row into the folder that path names for it, below the
// sink's: "date=2026-01-01/hour=05". It is called on the task's goroutine for
// each row and depends on the row alone. "" is the sink's folder itself. A
// path that leads elsewhere rejects the row, by the sink's error policy. It
// returns the sink.
func (s *Sink[T]) Bucket(path func(row T) string) *Sink[T] {
	if path == nil {
		s.faults = append(s.faults, errors.New("the function of the sink's buckets is nil"))
	}
	s.bucket = path
	return s
}

// With sets the sink's configuration and returns the sink.
func (s *Sink[T]) With(cfg SinkConfig) *Sink[T] {
	cfg.EnsureDefaults()
	s.cfg = cfg
	return s
}

// Fault returns what is wrong with the sink's configuration and its encoder,
// which it makes one of, nil if nothing.
func (s *Sink[T]) Fault() error {
	err := s.fault()
	if s.enc == nil {
		return err
	}
	if _, e := s.enc(); e != nil {
		err = errors.Join(err, fmt.Errorf("encoder: %w", e))
	}
	return err
}

// fault is Fault without the encoder.
func (s *Sink[T]) fault() error {
	return errors.Join(append(s.faults[:len(s.faults):len(s.faults)], s.cfg.Validate(), place(s.dir, s.cfg.S3))...)
}

// Name implements connectors.Sink.
func (s *Sink[T]) Name() string { return "files " + s.dir }

// Detail implements connectors.Sink.
func (s *Sink[T]) Detail() string {
	how := "rename"
	if depot.OnS3(s.dir) {
		how = "multipart upload"
	}
	detail := fmt.Sprintf("exactly-once by %s, rolled at %d bytes", how, s.cfg.RollBytes)
	if s.cfg.Compression == Gzip {
		detail += ", gzip"
	}
	if s.bucket != nil {
		detail += ", in buckets"
	}
	return detail
}

// Transactional implements connectors.Sink.
func (s *Sink[T]) Transactional() bool { return true }

// RowType implements connectors.Sink.
func (s *Sink[T]) RowType() columnar.RowType { return s.typ }

// Check implements connectors.Checker: the bucket exists.
func (s *Sink[T]) Check(ctx context.Context, _ connectors.CheckInfo) error {
	d, err := depotOf(s.dir, s.cfg.S3, nil)
	if err != nil {
		return err
	}
	return errors.Join(d.Check(ctx, s.dir), d.Close())
}

// NewWriter implements connectors.Sink.
func (s *Sink[T]) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	enc, err := s.enc()
	if err != nil {
		return nil, fmt.Errorf("encoder: %w", err)
	}
	d, err := depotOf(s.dir, s.cfg.S3, ctx.Clock)
	if err != nil {
		return nil, err
	}
	w := &writer[T]{sink: s, ctx: ctx, enc: enc, depot: d, extension: ".txt", open: make(map[string]*output)}
	if f, ok := enc.(formats.FileEncoder); ok {
		w.extension, w.header = f.Extension(), f.AppendHeader(nil)
	}
	if len(w.header) > 0 {
		w.header = append(w.header, '\n')
	}
	if s.cfg.Compression == Gzip {
		w.extension += gzipExtension
	}
	life, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.folder = d.Folder(s.dir, depot.Service{Life: life, Wake: ctx.Wake, Trouble: ctx.Trouble})
	w.behind, _ = w.folder.(depot.Behind)
	return w, nil
}
