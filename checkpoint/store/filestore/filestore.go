// Package filestore keeps objects as files under a directory, on a local disk
// or a shared mount. It is not for directories that something else writes to.
package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
)

// Durability says what a finished write survives.
type Durability int

// Levels of durability.
const (
	// SyncAlways: a loss of power. File and directories are synced.
	SyncAlways Durability = iota
	// SyncNever: the end of the process. For development and tests.
	SyncNever
)

// Config says where the objects are.
type Config struct {
	// Dir is made if it does not exist.
	Dir        string
	Durability Durability
}

// Store is a store.Store of files. An object becomes visible by a rename or
// link of a finished temporary file, so it is whole or absent.
type Store struct {
	dir  string // absolute
	sync bool
}

var _ store.Store = (*Store)(nil)

const (
	// tempDir lies beside the objects so that renames stay on one file system.
	tempDir = ".leat-tmp"
	// tempAge is the age after which a temporary file is a crash's leftover:
	// no upload takes as long.
	tempAge = 24 * time.Hour
	// placeAttemptsMax bounds the races lost against Delete, which removes
	// directories as they become empty.
	placeAttemptsMax = 20
)

// New opens the store and removes temporary files that crashes left behind.
func New(cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return nil, errors.New("file store: the directory is not set")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("file store %q: %w", cfg.Dir, err)
	}
	s := &Store{dir: dir, sync: cfg.Durability == SyncAlways}
	if err := s.mkdirs(filepath.Join(dir, tempDir)); err != nil {
		return nil, fmt.Errorf("file store: %w", err)
	}
	if err := s.removeOldTemps(); err != nil {
		return nil, fmt.Errorf("file store: remove leftovers: %w", err)
	}
	return s, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	temp, err := s.writeTemp(ctx, r, size)
	if err != nil {
		return fmt.Errorf("put %q (%d bytes) in %s: %w", key, size, s.dir, err)
	}
	if err := s.place(key, func(path string) error { return os.Rename(temp, path) }); err != nil {
		return errors.Join(fmt.Errorf("put %q in %s: %w", key, s.dir, err), os.Remove(temp))
	}
	return nil
}

// PutIfAbsent implements store.Store.
func (s *Store) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	temp, err := s.writeTemp(ctx, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("put %q (%d bytes) in %s: %w", key, len(data), s.dir, err)
	}
	err = s.place(key, func(path string) error { return os.Link(temp, path) })
	if rmErr := os.Remove(temp); rmErr != nil && err == nil {
		err = rmErr
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("put %q in %s: %w", key, s.dir, store.ErrExists)
	case err != nil:
		return fmt.Errorf("put %q in %s: %w", key, s.dir, err)
	}
	return nil
}

// writeTemp writes a temporary file of exactly size bytes and returns its
// path. On an error, a full disk among them, nothing is left.
func (s *Store) writeTemp(ctx context.Context, r io.Reader, size int64) (_ string, err error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, tempDir), "put-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()), os.Remove(f.Name()))
		}
	}()
	n, err := io.Copy(f, io.LimitReader(contextReader{ctx, r}, size))
	if err != nil {
		return "", err
	}
	if n != size {
		return "", fmt.Errorf("the source ended after %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	if s.sync {
		if err := f.Sync(); err != nil {
			return "", err
		}
	}
	return f.Name(), f.Close()
}

// place makes the directories of key, has put make the file, and syncs the
// directory. A directory may vanish in between, since Delete removes empty ones.
func (s *Store) place(key string, put func(path string) error) error {
	path := s.path(key)
	parent := filepath.Dir(path)
	for attempt := 1; ; attempt++ {
		err := s.mkdirs(parent)
		if err == nil {
			err = put(path)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || attempt == placeAttemptsMax {
			return err
		}
	}
	if s.sync {
		return syncDir(parent)
	}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, s.fault("get", key, err)
	}
	n, err := rangeOf(f, key, offset, length)
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(s.fault("get", key, err), f.Close())
	}
	return &reader{ctx: ctx, file: f, key: key, left: n}, nil
}

func rangeOf(f *os.File, key string, offset, length int64) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.IsDir() {
		return 0, fs.ErrNotExist
	}
	return store.CheckRange(key, info.Size(), offset, length)
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	if err := check(ctx, "stat", key); err != nil {
		return store.Info{}, err
	}
	info, err := os.Stat(s.path(key))
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return store.Info{}, s.fault("stat", key, err)
	}
	return store.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete implements store.Store. Directories that become empty go as well.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := check(ctx, "delete", key); err != nil {
			return err
		}
		path := s.path(key)
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			continue // the prefix of other objects is not an object
		}
		if err := os.Remove(path); err != nil && !absent(err) {
			return s.fault("delete", key, err)
		}
		s.pruneDirs(filepath.Dir(path))
	}
	return nil
}

// pruneDirs removes empty directories upwards; one that is not empty, or that
// vanished meanwhile, ends it.
func (s *Store) pruneDirs(dir string) {
	for dir != s.dir && strings.HasPrefix(dir, s.dir) {
		if os.Remove(dir) != nil {
			return
		}
		dir = filepath.Dir(dir)
	}
}

// URI implements store.Store.
func (s *Store) URI(key string) string { return "file://" + filepath.ToSlash(s.path(key)) }

func (s *Store) path(key string) string { return filepath.Join(s.dir, filepath.FromSlash(key)) }

func (s *Store) fault(op, key string, err error) error {
	if absent(err) {
		return fmt.Errorf("%s %q in %s: %w", op, key, s.dir, store.ErrNotFound)
	}
	return fmt.Errorf("%s %q in %s: %w", op, key, s.dir, err)
}

func check(ctx context.Context, op, key string) error {
	if err := store.CheckKey(key); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if strings.HasPrefix(key, tempDir+"/") || key == tempDir {
		return fmt.Errorf("%s: object key %q is reserved", op, key)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %q: %w", op, key, err)
	}
	return nil
}
