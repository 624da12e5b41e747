package pebblestate

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/leatstream/leat/state"
)

// disk is the file system under one database. It knows two things that the
// database does not: that nothing must survive a crash, so it never syncs;
// and that a write that fails ends the attempt.
//
// The database ends the process when its manifest cannot be written, and
// blocks the writer for as long as tables cannot. So after the first failure
// the disk only pretends: writes are dropped and count as done, and reads
// fail. The task looks at Err after each batch, fails, and throws the
// database away.
type disk struct {
	vfs.FS
	log *slog.Logger
	dir string

	failed atomic.Pointer[state.StorageError]
	mu     sync.Mutex
	lost   map[string]int64 // guarded by mu; sizes of the files that lack bytes
}

func newDisk(fs vfs.FS, dir string, log *slog.Logger) *disk {
	return &disk{FS: fs, dir: dir, log: log, lost: map[string]int64{}}
}

// fail records the first failure; those that follow are its consequences.
func (d *disk) fail(op, path string, err error) {
	if d.failed.CompareAndSwap(nil, &state.StorageError{Op: op, Path: path, Err: err}) {
		d.log.Error("local state is lost", "operation", op, "path", path, "err", err)
	}
}

func (d *disk) err() error {
	if e := d.failed.Load(); e != nil {
		return e
	}
	return nil
}

func (d *disk) lose(path string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost[path] = size
}

func (d *disk) lostSize(path string) (int64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.lost[path]
	return n, ok
}

// create runs a creation; one that fails gives a file without a disk.
func (d *disk) create(path string, fn func() (vfs.File, error)) (vfs.File, error) {
	f, err := fn()
	if err != nil {
		d.fail("create", path, err)
		d.lose(path, 0)
		f = nil
	}
	return &file{File: f, d: d, path: path}, nil
}

// Create implements vfs.FS.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.create(name, func() (vfs.File, error) { return d.FS.Create(name, c) })
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.create(name, func() (vfs.File, error) { return d.FS.ReuseForWrite(old, name, c) })
}

// Open implements vfs.FS.
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if _, ok := d.lostSize(name); ok {
		return &file{d: d, path: name}, nil
	}
	return d.FS.Open(name, opts...)
}

// OpenDir implements vfs.FS.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &file{File: f, d: d, path: name}, nil
}

// Rename implements vfs.FS.
func (d *disk) Rename(from, to string) error { return d.try("rename", from, d.FS.Rename(from, to)) }

// Link implements vfs.FS.
func (d *disk) Link(from, to string) error { return d.try("link", from, d.FS.Link(from, to)) }

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error { return d.try("remove", name, d.FS.Remove(name)) }

// MkdirAll implements vfs.FS.
func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.try("make", dir, d.FS.MkdirAll(dir, perm))
}

// try hides an error from the database, except that something is not there.
func (d *disk) try(op, path string, err error) error {
	if err == nil || os.IsNotExist(err) && d.failed.Load() == nil {
		return err
	}
	d.fail(op, path, err)
	return nil
}

// Stat implements vfs.FS.
func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	info, err := d.FS.Stat(name)
	if n, ok := d.lostSize(name); ok {
		return lostInfo{info, n}, nil
	}
	return info, err
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// lostInfo says of a file what the database believes.
type lostInfo struct {
	vfs.FileInfo
	size int64
}

// Size implements os.FileInfo.
func (i lostInfo) Size() int64 { return i.size }

// file is a file that the database writes. File is nil when it could not be
// made.
type file struct {
	vfs.File
	d    *disk
	path string
	size int64
}

// Write implements vfs.File.
func (f *file) Write(b []byte) (int, error) {
	f.size += int64(len(b))
	f.put(func() error { _, err := f.File.Write(b); return err })
	return len(b), nil
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(b []byte, at int64) (int, error) {
	f.size = max(f.size, at+int64(len(b)))
	f.put(func() error { _, err := f.File.WriteAt(b, at); return err })
	return len(b), nil
}

func (f *file) put(write func() error) {
	if f.File != nil && f.d.failed.Load() == nil {
		err := write()
		if err == nil {
			return
		}
		f.d.fail("write", f.path, err)
	}
	f.d.lose(f.path, f.size)
}

// Sync and the like do nothing: see disk.
func (f *file) Sync() error { return nil }

// SyncData implements vfs.File.
func (f *file) SyncData() error { return nil }

// SyncTo implements vfs.File.
func (f *file) SyncTo(int64) (bool, error) { return false, nil }

// Preallocate implements vfs.File. Room that is not there shows in a write.
func (f *file) Preallocate(int64, int64) error { return nil }

// Prefetch implements vfs.File.
func (f *file) Prefetch(at, n int64) error {
	if f.File == nil {
		return nil
	}
	return f.File.Prefetch(at, n)
}

// Read implements vfs.File.
func (f *file) Read(b []byte) (int, error) {
	if f.File == nil {
		return 0, f.unreadable()
	}
	return f.File.Read(b)
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(b []byte, at int64) (int, error) {
	if f.File == nil {
		return 0, f.unreadable()
	}
	return f.File.ReadAt(b, at)
}

func (f *file) unreadable() error { return fmt.Errorf("%w: %w", f.d.err(), io.ErrUnexpectedEOF) }

// Stat implements vfs.File.
func (f *file) Stat() (vfs.FileInfo, error) { return f.d.Stat(f.path) }

// Fd implements vfs.File. There is none to tune or to sync by.
func (f *file) Fd() uintptr { return vfs.InvalidFd }

// Close implements vfs.File.
func (f *file) Close() error {
	if f.File == nil {
		return nil
	}
	if err := f.File.Close(); err != nil {
		f.d.fail("close", f.path, err)
	}
	return nil
}

// listener hears of what goes wrong behind the task's back.
func (d *disk) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { d.fail("compact", d.dir, err) },
		DataCorruption:  func(info pebble.DataCorruptionInfo) { d.fail("read", info.Path, info.Details) },
	}
}

// Infof implements pebble.Logger.
func (d *disk) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (d *disk) Errorf(format string, args ...any) {
	d.log.Warn("local state", "dir", d.dir, "message", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger: the database says so when it does not know
// how to go on. Since no I/O error reaches it, that is a broken invariant.
func (d *disk) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("pebblestate: %s: %s", d.dir, fmt.Sprintf(format, args...)))
}
