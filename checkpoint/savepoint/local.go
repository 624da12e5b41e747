package savepoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store"
)

// OpenLocal reads a savepoint or checkpoint that lies on this machine's disk:
// path is its folder or its manifest. Errors about what is not there wrap
// fs.ErrNotExist; those of manifest.Decode come as they are.
func OpenLocal(path string) (*Snapshot, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		found, _ := filepath.Glob(filepath.Join(path, "*manifest*")) // the pattern is well-formed
		if len(found) != 1 {
			return nil, fmt.Errorf("%s holds %d manifests, not one: %w", path, len(found), fs.ErrNotExist)
		}
		path = found[0]
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Decode(strings.TrimPrefix(filepath.ToSlash(path), "/"), data)
	if err != nil {
		return nil, err
	}
	return New(m, &disk{dir: filepath.Dir(path)}), nil
}

// disk is the Objects of a snapshot whose manifest lies in dir. Keys within dir
// begin at the root of the disk; others, of a chain's older files, at the root
// of a store that is not known: a folder above dir.
type disk struct{ dir string }

// Get implements Objects.
func (d *disk) Get(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	f, err := d.find(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("object %q: %w", key, store.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		length, err = store.CheckRange(key, info.Size(), offset, length)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, offset, length), f}, nil
}

func (d *disk) find(key string) (*os.File, error) {
	f, err := os.Open(filepath.FromSlash("/" + key))
	for root := d.dir; errors.Is(err, fs.ErrNotExist) && root != filepath.Dir(root); {
		root = filepath.Dir(root)
		f, err = os.Open(filepath.Join(root, filepath.FromSlash(key)))
	}
	return f, err
}
