package jobmaster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
)

type checkpointID = dataflow.CheckpointID

// files does the object store's part of a job.
type files struct{ store store.Store }

func (f files) put(ctx context.Context, key string, b []byte) error {
	return f.store.Put(ctx, key, bytes.NewReader(b), int64(len(b)))
}

// copyAll copies objects that are not there yet in full.
func (f files) copyAll(ctx context.Context, objects []ObjectCopy) error {
	for _, o := range objects {
		if err := f.copy(ctx, o.From, o.To); err != nil {
			return err
		}
	}
	return nil
}

func (f files) copy(ctx context.Context, from, to string) error {
	src, err := f.store.Stat(ctx, from)
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	if dst, err := f.store.Stat(ctx, to); err == nil && dst.Size == src.Size {
		return nil // objects are immutable and writes are whole
	}
	r := &objectReader{ctx: ctx, store: f.store, key: from, size: src.Size}
	defer r.close()
	if err := f.store.Put(ctx, to, r, src.Size); err != nil {
		return fmt.Errorf("copying %s to %s: %w", from, to, err)
	}
	return nil
}

// copySavepoint copies a savepoint, which is self-contained, into another
// directory; the manifest goes last, so that a part of a copy is never taken
// for a savepoint.
func (f files) copySavepoint(ctx context.Context, key, target string) (string, error) {
	m, err := manifest.Read(ctx, f.store, key)
	if err != nil {
		return "", err
	}
	dir := path.Dir(key) + "/"
	for _, o := range m.GetObjects() {
		if len(o.GetKey()) <= len(dir) || o.GetKey()[:len(dir)] != dir {
			return "", fmt.Errorf("savepoint %s needs %s, which is outside its directory", key, o.GetKey())
		}
		if err := f.copy(ctx, o.GetKey(), target+o.GetKey()[len(dir):]); err != nil {
			return "", err
		}
	}
	to := target + checkpoint.ManifestName
	return to, f.copy(ctx, key, to)
}

// discard deletes a checkpoint's directory except what others need, the
// manifest first: what is left is then garbage for everybody.
func (f files) discard(ctx context.Context, d checkpoint.Discard) error {
	return checkpoint.DiscardObjects(ctx, f.store, d)
}

func (f files) sweep(ctx context.Context, s checkpoint.Sweep) error {
	_, err := checkpoint.SweepObjects(ctx, f.store, s)
	return err
}

// objectReader reads an object as an io.ReadSeeker, so that a copy needs no
// memory for the whole: seeking opens the object anew at that offset.
type objectReader struct {
	ctx   context.Context //nolint:containedctx // of the copy; the reader lives no longer
	store store.Store
	key   string
	size  int64
	at    int64
	body  io.ReadCloser
}

// Read implements io.Reader.
func (r *objectReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.body == nil {
		body, err := r.store.Get(r.ctx, r.key, r.at, -1)
		if err != nil {
			return 0, err
		}
		r.body = body
	}
	n, err := r.body.Read(p)
	r.at += int64(n)
	if errors.Is(err, io.EOF) && r.at < r.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Seek implements io.Seeker.
func (r *objectReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d in %s", offset, r.key)
	}
	if offset != r.at {
		r.close()
		r.at = offset
	}
	return r.at, nil
}

func (r *objectReader) close() {
	if r.body != nil {
		_ = r.body.Close() // only read from
		r.body = nil
	}
}
