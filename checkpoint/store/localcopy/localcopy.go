// Package localcopy keeps copies of objects on local disk as they are written
// to a store, so that those who wrote them read them without the network. A
// copy that is lost or damaged costs a read of the store, nothing else.
package localcopy

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/leatstream/leat/checkpoint/store"
)

// Config says where the copies lie.
type Config struct {
	// Dir is made, and emptied: copies do not outlive the process.
	Dir string
	// BytesMax bounds the copies; the oldest give way. What is larger alone is
	// not kept; with 0 nothing is.
	BytesMax int64
	// Keep says whether an object is worth a copy; nil: each is.
	Keep func(key string) bool
	Log  *slog.Logger
}

// Store is a store.Store that reads what was put through it from its copies.
// Nobody else may put objects under the same keys.
type Store struct {
	store.Store
	cfg Config

	mu struct {
		sync.Mutex
		copies map[string]*list.Element // of *kept
		order  *list.List               // oldest first
		bytes  int64
		made   int // files so far
		failed bool
	}
}

// kept is one copy. It does not change.
type kept struct {
	key, path string
	size      int64
	sums      []uint32 // CRC-32C of each block
}

const blockBytes = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// New returns a store over inner. An error is that of the folder.
func New(inner store.Store, cfg Config) (*Store, error) {
	if err := errors.Join(os.RemoveAll(cfg.Dir), os.MkdirAll(cfg.Dir, 0o755)); err != nil {
		return nil, fmt.Errorf("folder for local copies: %w", err)
	}
	s := &Store{Store: inner, cfg: cfg}
	s.mu.copies, s.mu.order = make(map[string]*list.Element), list.New()
	return s, nil
}

// Put implements store.Store. That a copy cannot be made is no error.
func (s *Store) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	s.drop(key)
	worth := size <= s.cfg.BytesMax && (s.cfg.Keep == nil || s.cfg.Keep(key))
	var from int64
	if worth {
		var err error
		if from, err = r.Seek(0, io.SeekCurrent); err != nil {
			return fmt.Errorf("put %q: %w", key, err)
		}
	}
	if err := s.Store.Put(ctx, key, r, size); err != nil || !worth {
		return err
	}
	_, err := r.Seek(from, io.SeekStart)
	if err == nil {
		err = s.keep(key, io.LimitReader(r, size), size)
	}
	s.tell(key, err)
	return nil
}

// tell logs that copies cannot be made, once until one could.
func (s *Store) tell(key string, err error) {
	s.mu.Lock()
	first := err != nil && !s.mu.failed
	s.mu.failed = err != nil
	s.mu.Unlock()
	if first {
		s.cfg.Log.Warn("no local copy of state could be made; a restore will read the object store", "object", key, "folder", s.cfg.Dir, "error", err)
	}
}

func (s *Store) keep(key string, r io.Reader, size int64) error {
	s.mu.Lock()
	s.mu.made++
	k := &kept{key: key, path: filepath.Join(s.cfg.Dir, strconv.Itoa(s.mu.made)), size: size}
	for s.mu.bytes+size > s.cfg.BytesMax && s.mu.order.Len() > 0 {
		s.remove(s.mu.order.Front())
	}
	s.mu.Unlock()
	if err := k.write(r); err != nil {
		return errors.Join(err, removeIfThere(k.path))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.mu.copies[key]; old != nil {
		s.remove(old)
	}
	s.mu.copies[key] = s.mu.order.PushBack(k)
	s.mu.bytes += size
	return nil
}

func (k *kept) write(r io.Reader) (err error) {
	f, err := os.OpenFile(k.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := make([]byte, min(k.size, blockBytes))
	for left := k.size; left > 0; left -= int64(len(block)) {
		block = block[:min(left, int64(len(block)))]
		if _, err := io.ReadFull(r, block); err != nil {
			return err
		}
		if _, err := f.Write(block); err != nil {
			return err
		}
		k.sums = append(k.sums, crc32.Checksum(block, castagnoli))
	}
	return nil
}

// remove gives up a copy; s.mu is held. Who reads it goes on.
func (s *Store) remove(e *list.Element) {
	k := s.mu.order.Remove(e).(*kept)
	delete(s.mu.copies, k.key)
	s.mu.bytes -= k.size
	_ = removeIfThere(k.path) // the folder is emptied at the next start
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Store) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.mu.copies[key]; e != nil {
		s.remove(e)
	}
}

// Forget gives up the copies of objects under a prefix.
func (s *Store) Forget(prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.mu.copies {
		if strings.HasPrefix(key, prefix) {
			s.remove(e)
		}
	}
}

// Bytes is the size of all copies.
func (s *Store) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.bytes
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		s.drop(key)
	}
	return s.Store.Delete(ctx, keys...)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if r := s.open(ctx, key, offset, length); r != nil {
		return r, nil
	}
	return s.Store.Get(ctx, key, offset, length)
}

// open returns a reader of the copy, nil when there is none that has the range.
func (s *Store) open(ctx context.Context, key string, offset, length int64) io.ReadCloser {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.mu.copies[key]
	if e == nil || ctx.Err() != nil {
		return nil
	}
	k := e.Value.(*kept)
	if length < 0 {
		length = k.size - offset
	}
	if offset < 0 || length < 0 || offset+length > k.size {
		return nil
	}
	f, err := os.Open(k.path)
	if err != nil {
		s.remove(e)
		return nil
	}
	return &reader{s: s, ctx: ctx, k: k, f: f, at: offset, end: offset + length}
}

// reader reads a copy, each block of which is checked before it is given out.
// When one is not as it was written the rest is read from the store.
type reader struct {
	s       *Store
	ctx     context.Context //nolint:containedctx // of the Get
	k       *kept
	f       *os.File
	buf     []byte
	rest    []byte        // of buf, not yet given out
	at, end int64         // of what rest does not hold yet
	inner   io.ReadCloser // of the store, once the copy is given up
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.inner != nil {
		return r.inner.Read(p)
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(r.rest) == 0 {
		switch err := r.block(); {
		case errors.Is(err, io.EOF):
			return 0, io.EOF
		case err != nil:
			return r.giveUp(p, err)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// block reads and checks the next block.
func (r *reader) block() error {
	if r.at == r.end {
		return io.EOF
	}
	i := r.at / blockBytes
	from := i * blockBytes
	if r.buf == nil {
		r.buf = make([]byte, min(r.k.size, blockBytes))
	}
	block := r.buf[:min(blockBytes, r.k.size-from)]
	if n, err := r.f.ReadAt(block, from); n < len(block) {
		return fmt.Errorf("%d bytes at %d are missing: %w", len(block)-n, from, errors.Join(io.ErrUnexpectedEOF, noEOF(err)))
	}
	if crc32.Checksum(block, castagnoli) != r.k.sums[i] {
		return fmt.Errorf("%d bytes at %d are not as they were written", len(block), from)
	}
	to := min(r.end, from+int64(len(block)))
	r.rest = block[r.at-from : to-from]
	r.at = to
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (r *reader) giveUp(p []byte, why error) (int, error) {
	r.s.cfg.Log.Warn("a local copy of state is damaged; the object store is read instead", "object", r.k.key, "file", r.k.path, "error", why)
	r.s.drop(r.k.key)
	inner, err := r.s.Store.Get(r.ctx, r.k.key, r.at, r.end-r.at)
	if err != nil {
		return 0, err
	}
	r.inner = inner
	return inner.Read(p)
}

// Close implements io.Closer.
func (r *reader) Close() error {
	err := r.f.Close()
	if r.inner != nil {
		err = errors.Join(err, r.inner.Close())
	}
	return err
}
