package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/leatstream/leat/checkpoint/store"
)

// List implements store.Store. Objects that come or go meanwhile may or may
// not be seen.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		// Only the directory that holds the prefix's last segment is read.
		base := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			base = prefix[:i+1]
			if err := store.CheckKey(strings.TrimSuffix(base, "/")); err != nil {
				yield(store.Info{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
		}
		s.walk(ctx, base, prefix, yield)
	}
}

// walk yields the objects under dir ("" or with a final slash) that match
// prefix, in order of keys: a directory sorts as its name and a slash.
func (s *Store) walk(ctx context.Context, dir, prefix string, yield func(store.Info, error) bool) bool {
	entries, err := os.ReadDir(s.path(dir))
	if absent(err) {
		return true
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		yield(store.Info{}, fmt.Errorf("list %q in %s: %w", prefix, s.dir, err))
		return false
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(sortName(a), sortName(b)) })
	for _, e := range entries {
		key := dir + e.Name()
		switch {
		case dir == "" && e.Name() == tempDir:
		case e.IsDir():
			if matches(key+"/", prefix) && !s.walk(ctx, key+"/", prefix, yield) {
				return false
			}
		case strings.HasPrefix(key, prefix):
			info, err := e.Info()
			if absent(err) {
				continue
			}
			if err != nil {
				yield(store.Info{}, fmt.Errorf("list %q in %s: %w", prefix, s.dir, err))
				return false
			}
			if !yield(store.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil) {
				return false
			}
		}
	}
	return true
}

func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

// matches reports whether a directory may hold keys with the prefix.
func matches(dir, prefix string) bool {
	return strings.HasPrefix(dir, prefix) || strings.HasPrefix(prefix, dir)
}

// mkdirs makes path and, with durability, syncs each directory that got a new
// entry.
func (s *Store) mkdirs(path string) error {
	err := os.Mkdir(path, 0o755)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrExist):
		if info, statErr := os.Stat(path); statErr == nil && !info.IsDir() {
			return fmt.Errorf("%s is an object, so no object can lie under it", path)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path:
		if err := s.mkdirs(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	default:
		return err
	}
	if s.sync {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeOldTemps removes temporary files that are a day older than a file
// made now: the file system's own clock decides, which a shared mount needs.
func (s *Store) removeOldTemps() error {
	dir := filepath.Join(s.dir, tempDir)
	probe, err := os.CreateTemp(dir, "now-*")
	if err != nil {
		return err
	}
	info, err := probe.Stat()
	err = errors.Join(err, probe.Close(), os.Remove(probe.Name()))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		old, err := e.Info()
		if err != nil || info.ModTime().Sub(old.ModTime()) < tempAge {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !absent(err) {
			return err
		}
	}
	return nil
}

// absent reports whether the error says that there is no such object: also
// when a part of its path is a file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// contextReader ends when ctx does.
type contextReader struct {
	ctx context.Context //nolint:containedctx // of the one call that this reader serves
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// reader reads exactly left bytes, or fails.
type reader struct {
	ctx  context.Context //nolint:containedctx // of the Get call, as the contract says
	file *os.File
	key  string
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("get %q: %w", r.key, err)
	}
	n, err := r.file.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left > 0 {
		err = fmt.Errorf("get %q: %d bytes are missing: %w", r.key, r.left, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (r *reader) Close() error { return r.file.Close() }
