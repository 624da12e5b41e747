package s3store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/internal/retry"
)

// tokenKey names the metadata by which a writer knows its own object.
const tokenKey = "Leat-Token"

// errSource marks faults of the caller's data, which no retry helps.
var errSource = errors.New("source of the object")

// putOptions: an empty object is sent without signed chunks, since some
// servers take the end mark of an empty body for the next request.
func (s *Store) putOptions(token string, size int64) minio.PutObjectOptions {
	return minio.PutObjectOptions{UserMetadata: map[string]string{tokenKey: token}, ContentType: "application/octet-stream",
		PartSize: s.cfg.PartBytes, NumThreads: 1, DisableContentSha256: size == 0}
}

func (s *Store) uploader(size int64) *minio.Client {
	if size == 0 {
		return s.plain
	}
	return s.client
}

// Put implements store.Store. Large objects go up in parts; they appear when
// the last one is there.
func (s *Store) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if err := store.CheckKey(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if size < 0 {
		return fmt.Errorf("put %q: size %d is negative", key, size)
	}
	start, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return s.fault("put", key, fmt.Errorf("%w: %w", errSource, err))
	}
	if err := ctx.Err(); err != nil {
		return s.fault("put", key, err)
	}
	token := rand.Text()
	err = retry.Do(ctx, s.clock, s.cfg.Retry, func(ctx context.Context, _ int) error {
		return s.classify(s.putOnce(ctx, key, r, start, size, token))
	})
	return s.fault("put", key, err)
}

func (s *Store) putOnce(ctx context.Context, key string, r io.ReadSeeker, start, size int64, token string) error {
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("%w: %w", errSource, err)
	}
	src := &source{r: r, start: start, size: size}
	_, err := s.uploader(size).PutObject(ctx, s.cfg.Bucket, s.prefix+key, src, size, s.putOptions(token, size))
	switch {
	case src.err != nil:
		return fmt.Errorf("%w: %w", errSource, src.err)
	case err == nil:
		return nil
	case minio.ToErrorResponse(err).Code == "NoSuchUpload":
		// An earlier try of the completion may have worked.
		if mine, statErr := s.isMine(ctx, key, token); statErr == nil && mine {
			return nil
		}
	}
	return err
}

// PutIfAbsent implements store.Store.
func (s *Store) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := store.CheckKey(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	opts := s.putOptions(rand.Text(), int64(len(data)))
	opts.SetMatchETagExcept("*")
	opts.DisableMultipart = true
	err := s.do(ctx, func(ctx context.Context) error {
		_, err := s.uploader(int64(len(data))).PutObject(ctx, s.cfg.Bucket, s.prefix+key, bytes.NewReader(data), int64(len(data)), opts)
		if err == nil || minio.ToErrorResponse(err).Code != "PreconditionFailed" {
			return err
		}
		// The answer of an earlier try may have been lost.
		mine, statErr := s.isMine(ctx, key, opts.UserMetadata[tokenKey])
		switch {
		case errors.Is(statErr, store.ErrNotFound):
			return fmt.Errorf("the object was there and is gone: %w", io.ErrUnexpectedEOF) // once more
		case statErr != nil:
			return statErr
		case !mine:
			return store.ErrExists
		}
		return nil
	})
	return s.fault("put", key, err)
}

// isMine reports whether the object was written with token.
func (s *Store) isMine(ctx context.Context, key, token string) (bool, error) {
	o, err := s.client.StatObject(ctx, s.cfg.Bucket, s.prefix+key, minio.StatObjectOptions{})
	if err := s.confirmMissing(ctx, err); err != nil {
		return false, err
	}
	for name, value := range o.UserMetadata {
		if strings.EqualFold(name, tokenKey) {
			return value == token, nil
		}
	}
	return false, nil
}

// source is the part of the caller's reader that is the object, from its own
// offset 0, so that the client can seek back for another try. It hides any
// ReadAt of the reader, which would not know where the object starts, and
// remembers the reader's own errors.
type source struct {
	r           io.ReadSeeker
	start, size int64
	at          int64
	err         error
}

func (s *source) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.size-s.at)])
	s.at += int64(n)
	switch {
	case errors.Is(err, io.EOF) && s.at < s.size:
		s.err = fmt.Errorf("it ended after %d of %d bytes: %w", s.at, s.size, io.ErrUnexpectedEOF)
		err = s.err
	case err != nil && !errors.Is(err, io.EOF):
		s.err = err
	}
	return n, err
}

func (s *source) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if _, err := s.r.Seek(s.start+offset, io.SeekStart); err != nil {
		s.err = err
		return 0, err
	}
	s.at = offset
	return offset, nil
}
