package savepoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

const (
	// windowBytes is what is asked of the store at a time: enough that a file
	// is read in few requests, little enough that what is skipped is not read.
	windowBytes = 4 << 20
	// readOnBytes is how far a seek reads on where a request is open: as much as
	// arrives in the time of another one.
	readOnBytes = 64 << 10
)

// file is the part of an object that a handle names, read in windows. Seeking
// forward skips bytes without reading them. It is used by one goroutine.
type file struct {
	ctx     context.Context //nolint:containedctx // of the export that reads it
	objects Objects
	h       *controlv1.StateHandle
	length  int64
	pos     int64
	body    io.ReadCloser // nil: none is open
	left    int64         // of the body
}

var _ io.ReadSeeker = (*file)(nil)

func (s *Snapshot) open(ctx context.Context, h *controlv1.StateHandle) *file {
	f := &file{ctx: ctx, objects: s.objects, h: h, length: h.GetLength()}
	if h.GetObject() == "" {
		f.length = int64(len(h.GetInline()))
		f.body, f.left = io.NopCloser(bytes.NewReader(h.GetInline())), f.length
	}
	return f
}

// Read implements io.Reader.
func (f *file) Read(b []byte) (int, error) {
	if f.pos >= f.length || len(b) == 0 {
		return 0, eofAt(f.pos, f.length)
	}
	if f.left == 0 {
		f.close()
	}
	if f.body == nil {
		n := min(windowBytes, f.length-f.pos)
		body, err := f.objects.Get(f.ctx, f.h.GetObject(), f.h.GetOffset()+f.pos, n)
		if err != nil {
			return 0, err
		}
		f.body, f.left = body, n
	}
	n, err := f.body.Read(b[:min(int64(len(b)), f.left)])
	f.pos += int64(n)
	f.left -= int64(n)
	if errors.Is(err, io.EOF) && f.left > 0 {
		return n, io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.EOF) {
		err = eofAt(f.pos, f.length)
	}
	return n, err
}

func eofAt(pos, length int64) error {
	if pos >= length {
		return io.EOF
	}
	return nil
}

// Seek implements io.Seeker, forward from where it is.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 || f.pos+offset > f.length {
		return f.pos, fmt.Errorf("seek by %d from %d of %d bytes", offset, f.pos, f.length)
	}
	if f.h.GetObject() == "" || offset <= min(f.left, readOnBytes) {
		_, err := io.CopyN(io.Discard, f, offset)
		return f.pos, err
	}
	f.close()
	f.pos += offset
	return f.pos, nil
}

func (f *file) close() {
	if f.body != nil {
		_ = f.body.Close() // only read
	}
	f.body, f.left = nil, 0
}
