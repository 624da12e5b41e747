package files

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/leatstream/leat/connectors/files/internal/depot"
	"github.com/leatstream/leat/formats"
)

// errEnd says that the next record belongs to another split.
var errEnd = errors.New("end of split")

// byteOrderMark may be the first bytes of a file. It is no part of a record.
var byteOrderMark = []byte("\ufeff")

// lines reads the records that begin within a range of a file: lines, or as
// many of them as the format says.
type lines struct {
	from   depot.Depot
	file   depot.Info
	at     position
	most   int
	joiner formats.LineJoiner // nil: a record is a line

	raw io.ReadCloser
	in  *bufio.Reader
	buf []byte // a record that goes beyond in's buffer
}

// readBufferBytes is the memory of an open file.
const readBufferBytes = 64 << 10

// open begins to read at the position.
func (l *lines) open(ctx context.Context) error {
	if l.at.packed {
		return l.openAt(ctx, 0, l.at.next)
	}
	if l.at.aligned {
		return l.openAt(ctx, l.at.next, 0)
	}
	// The byte before tells whether the position is the start of a line.
	l.at.next--
	if err := l.openAt(ctx, l.at.next, 0); err != nil {
		return err
	}
	l.at.aligned = true
	if l.at.next >= l.at.end {
		return nil
	}
	_, err := l.line()
	return err
}

// openAt opens the file at an offset and passes over skip unpacked bytes.
func (l *lines) openAt(ctx context.Context, offset, skip int64) error {
	raw, err := l.from.Open(ctx, l.file, offset)
	if err != nil {
		return err
	}
	l.raw, l.in = raw, bufio.NewReaderSize(raw, readBufferBytes)
	if !l.at.packed {
		return nil
	}
	unpacked, err := gzip.NewReader(l.in)
	if err != nil {
		return fmt.Errorf("%s is no gzip file: %w", l.file.Path, err)
	}
	l.in = bufio.NewReaderSize(unpacked, readBufferBytes)
	if _, err := io.CopyN(io.Discard, l.in, skip); err != nil {
		return fmt.Errorf("%s: passing over %d unpacked bytes: %w", l.file.Path, skip, err)
	}
	return nil
}

// header reads the first line of the file that is not empty. At the beginning
// of the file it goes on after it; elsewhere it reads the file by another
// stream, since the first line is far away.
func (l *lines) header(ctx context.Context) ([]byte, error) {
	if l.at.next > 0 {
		first := &lines{from: l.from, file: l.file, at: position{end: l.at.end, aligned: true, packed: l.at.packed}, most: l.most}
		if err := first.open(ctx); err != nil {
			return nil, err
		}
		defer first.close()
		return first.header(ctx)
	}
	for {
		line, _, err := l.next()
		if errors.Is(err, errEnd) {
			return nil, nil // an empty file, or a range that is shorter than the header's line
		}
		if err != nil || len(line) > 0 {
			return bytes.Clone(line), err
		}
	}
}

// next returns the next record, without the line end after it, and where it
// begins. It is valid until the next call.
func (l *lines) next() ([]byte, int64, error) {
	if l.at.next >= l.at.end {
		return nil, 0, errEnd
	}
	from := l.at.next
	rec, err := l.line()
	if err != nil {
		return nil, from, err
	}
	if l.at.next == from {
		if !l.at.packed {
			return nil, from, fmt.Errorf("%w: it ends at byte %d of %d", depot.ErrChanged, from, l.at.end)
		}
		l.at.end = from // a packed file tells its end only here
		return nil, from, errEnd
	}
	if from == 0 {
		rec = bytes.TrimPrefix(rec, byteOrderMark)
	}
	if l.joiner != nil && l.joiner.GoesOn(chomp(rec), false) {
		if rec, err = l.join(rec); err != nil {
			return nil, from, err
		}
	}
	return chomp(rec), from, nil
}

// join adds the lines that belong to the record.
func (l *lines) join(rec []byte) ([]byte, error) {
	all := bytes.Clone(rec)
	for {
		before := l.at.next
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		if all = append(all, line...); l.at.next == before || !l.joiner.GoesOn(chomp(line), true) {
			return all, nil
		}
		if len(all) > l.most {
			return nil, l.tooLong()
		}
	}
}

// chomp drops the line end.
func chomp(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// line reads through the next line feed or to the end of the file.
func (l *lines) line() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		l.at.next += int64(len(part))
		if err == nil && len(l.buf) == 0 {
			return part, nil
		}
		l.buf = append(l.buf, part...)
		switch {
		case len(l.buf) > l.most:
			return nil, l.tooLong()
		case err == nil, errors.Is(err, io.EOF):
			return l.buf, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

func (l *lines) tooLong() error {
	return fmt.Errorf("%s: the record before byte %d is longer than %d bytes: raise LineBytesMax", l.file.Path, l.at.next, l.most)
}

func (l *lines) position() position { return l.at }

func (l *lines) close() {
	if l.raw != nil {
		_ = l.raw.Close() // only read from
	}
}
