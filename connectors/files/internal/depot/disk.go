package depot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// disk is the file system of this machine.
type disk struct{}

var _ Depot = disk{}

// Find implements Depot.
func (disk) Find(_ context.Context, pattern string) ([]Info, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	var out []Info
	for _, p := range paths {
		if hidden(filepath.Base(p), filepath.Base(pattern)) {
			continue
		}
		info, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			out = append(out, Info{Path: p, Bytes: info.Size()})
		}
	}
	return out, nil
}

// hidden reports whether a name begins with a dot and its pattern does not.
func hidden(name, pattern string) bool {
	return strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".")
}

// Open implements Depot.
func (disk) Open(_ context.Context, f Info, offset int64) (io.ReadCloser, error) {
	in, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err == nil && f.Bytes >= 0 && info.Size() != f.Bytes {
		err = fmt.Errorf("%w: it has %d bytes and had %d", ErrChanged, info.Size(), f.Bytes)
	}
	if err == nil {
		_, err = in.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// Check implements Depot.
func (disk) Check(context.Context, string) error { return nil }

// Close implements Depot.
func (disk) Close() error { return nil }

// Folder implements Depot.
func (disk) Folder(root string, _ Service) Folder {
	return diskFolder{filepath.Clean(root)}
}

// diskFolder keeps files that are not published under names with a dot,
// directly in root, and renames them.
type diskFolder struct{ root string }

var _ Folder = diskFolder{}

// bufferBytes is the memory of an open file.
const bufferBytes = 64 << 10

// Create implements Folder.
func (d diskFolder) Create(name string) (File, error) {
	if err := os.MkdirAll(d.root, 0o777); err != nil {
		return nil, err
	}
	f := &diskFile{root: d.root, name: name, handle: "." + path.Base(name)}
	var err error
	f.file, err = os.OpenFile(filepath.Join(d.root, f.handle), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, err
	}
	f.out = bufio.NewWriterSize(f.file, bufferBytes)
	return f, nil
}

// diskFile is a File. It is durable with Finish, so that files that wait for
// their checkpoint are not open.
type diskFile struct {
	root, name, handle string
	file               *os.File // nil once finished
	out                *bufio.Writer
	bytes              int64
}

func (f *diskFile) Write(p []byte) (int, error) {
	f.bytes += int64(len(p))
	return f.out.Write(p)
}

func (f *diskFile) Finish() error {
	err := errors.Join(f.out.Flush(), f.file.Sync(), f.file.Close(), syncDir(f.root))
	f.file, f.out = nil, nil
	return err
}

func (f *diskFile) Seal(context.Context) (Sealed, error) {
	return Sealed{Name: f.name, Bytes: f.bytes, Handle: f.handle}, nil
}

func (f *diskFile) Discard() {
	if f.file != nil {
		_ = f.file.Close() // nobody will read it
		f.file = nil
	}
}

// Publish implements Folder: renames, which may have been done.
func (d diskFolder) Publish(_ context.Context, files []Sealed) error {
	if len(files) == 0 {
		return nil
	}
	dirs := map[string]bool{d.root: true}
	for _, s := range files {
		if !filepath.IsLocal(filepath.FromSlash(s.Name)) || filepath.Base(s.Handle) != s.Handle {
			return fmt.Errorf("file %.80q (%.80q) leads out of %s", s.Name, s.Handle, d.root)
		}
		final := filepath.Join(d.root, filepath.FromSlash(s.Name))
		for dir := filepath.Dir(final); dir != d.root && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			dirs[dir] = true // also of a rename that was done before: it may not have been synced
		}
		if _, err := os.Stat(final); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(final), 0o777); err != nil {
			return err
		}
		err := os.Rename(filepath.Join(d.root, s.Handle), final)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s, and %s is not there", ErrGone, s.Handle, s.Name)
		}
		if err != nil {
			return err
		}
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sweep implements Folder.
func (d diskFolder) Sweep(_ context.Context, doomed func(base, handle string) bool) error {
	all, err := os.ReadDir(d.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range all {
		base, dotted := strings.CutPrefix(e.Name(), ".")
		if !dotted || !doomed(base, e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(d.root, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
