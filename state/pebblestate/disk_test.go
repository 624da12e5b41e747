package pebblestate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// quota is a disk with room for so many bytes.
type quota struct {
	vfs.FS
	left atomic.Int64
}

func (q *quota) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if q.left.Load() <= 0 {
		return nil, &os.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
	}
	f, err := q.FS.Create(name, c)
	return &quotaFile{f, q}, err
}

type quotaFile struct {
	vfs.File
	q *quota
}

func (f *quotaFile) Write(b []byte) (int, error) {
	if f.q.left.Add(-int64(len(b))) < 0 {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(b)
}

// fillDisk writes until the backend says that its storage has failed. Values
// differ, so that compression does not make them small.
func fillDisk(t *testing.T, b state.Backend, valuesMax int) error {
	t.Helper()
	tab, err := b.Table(state.Descriptor{Name: "values", Schema: "bytes"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Table(state.Descriptor{Name: "maps", Schema: "map", Sub: true})
	if err != nil {
		t.Fatal(err)
	}
	val := make([]byte, 1000)
	x := uint64(1)
	for i := range valuesMax {
		for j := range val {
			x = x*6364136223846793005 + 1
			val[j] = byte(x >> 56)
		}
		tab.Put(int64(i%3), key(i), val)
		m.(state.SubTable).PutSub(0, key(i%100), val[:8], val[:100])
		if err := b.(state.Failer).Err(); err != nil {
			return err
		}
	}
	return nil
}

func key(i int) state.Key { return state.KeyOf(fmt.Append(nil, i)) }

// useAll calls every method; state is lost, but nothing may panic or hang.
func useAll(t *testing.T, b state.Backend) {
	t.Helper()
	fixed, err := b.Table(state.Descriptor{Name: "fixed", Schema: "int64", Fixed: 8})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 {
		v, _ := fixed.Upsert(int64(i%7), key(i))
		v[0]++
	}
	_ = fillDisk(t, b, 5_000) // it has failed before
	for _, name := range []string{"values", "maps"} {
		tab, err := b.Table(state.Descriptor{Name: name, Schema: map[string]string{"values": "bytes", "maps": "map"}[name], Sub: name == "maps"})
		if err != nil {
			t.Fatal(err)
		}
		for _, ns := range tab.Namespaces() {
			tab.Scan(ns, func(_, _ []byte) bool { return true })
			tab.Get(ns, key(1))
			tab.Delete(ns, key(2))
			tab.DropNamespace(ns)
		}
		tab.(state.Sweeper).Sweep(100, func(v []byte) ([]byte, bool) { return v, true })
	}
	if _, err := b.Snapshot(9); err == nil {
		t.Error("a snapshot was taken of lost state")
	}
}

func wantStorageError(t *testing.T, err error, path string, cause error) {
	t.Helper()
	var storage *state.StorageError
	if !errors.As(err, &storage) || !errors.Is(err, cause) || !strings.HasPrefix(storage.Path, path) {
		t.Errorf("the error is %v; want a storage error below %s because of %v", err, path, cause)
	}
}

// A disk that is full at any moment, from the manifest's first byte to a
// compaction, gives an error that names the file, and neither ends the process
// nor blocks the task.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, room := range []int64{0, 10, 300, 1000, 2000, 50_000, 64_000, 200_000, 777_777, 2_000_000} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			t.Parallel()
			q := &quota{FS: vfs.NewMem()}
			q.left.Store(room)
			s, err := Open(Config{Dir: "/scratch", MemoryBytes: MemoryMin, fs: q})
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.New(dataflow.KeyGroupsOf(0, 128, 1), 128)
			if err != nil {
				wantStorageError(t, err, "/scratch", syscall.ENOSPC)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			wantStorageError(t, fillDisk(t, b, 50_000), "/scratch", syscall.ENOSPC)
			useAll(t, b)
			if err := errors.Join(b.Close(), s.Close()); err != nil {
				t.Errorf("closing after the failure: %v", err)
			}
		})
	}
}

// The same on a file system that is full in earnest.
func TestTmpfsFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root; TestDiskFull does the same on a simulated disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no tmpfs can be mounted here (%v); TestDiskFull does the same on a simulated disk", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(Config{Dir: filepath.Join(dir, "state"), MemoryBytes: MemoryMin})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.New(dataflow.KeyGroupsOf(0, 128, 1), 128)
	if err != nil {
		t.Fatal(err)
	}
	wantStorageError(t, fillDisk(t, b, 50_000), dir, syscall.ENOSPC)
	useAll(t, b)
	if err := errors.Join(b.Close(), s.Close()); err != nil {
		t.Errorf("closing after the failure: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// broken is a disk whose tables cannot be read.
type broken struct {
	vfs.FS
	on atomic.Bool
}

func (q *broken) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := q.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	return &brokenFile{f, q}, nil
}

type brokenFile struct {
	vfs.File
	q *broken
}

func (f *brokenFile) ReadAt(b []byte, at int64) (int, error) {
	if f.q.on.Load() {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(b, at)
}

// Bytes that cannot be read are an error, also of a snapshot being written.
func TestDiskUnreadable(t *testing.T) {
	t.Parallel()
	q := &broken{FS: vfs.NewMem()}
	s, err := Open(Config{Dir: "/scratch", MemoryBytes: MemoryMin, fs: q})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.New(dataflow.KeyGroupsOf(0, 128, 1), 128)
	if err != nil {
		t.Fatal(err)
	}
	if err := fillDisk(t, b, 5_000); err != nil {
		t.Fatal(err)
	}
	snap, err := b.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	q.on.Store(true)
	if _, err := snap.WriteTo(new(bytes.Buffer)); !errors.Is(err, syscall.EIO) {
		t.Errorf("the snapshot was written from what cannot be read: %v", err)
	}
	snap.Release()
	tab, err := b.Table(state.Descriptor{Name: "values", Schema: "bytes"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5_000 {
		tab.Get(int64(i%3), key(i))
	}
	wantStorageError(t, b.(state.Failer).Err(), "/scratch", syscall.EIO)
	useAll(t, b)
	if err := errors.Join(b.Close(), s.Close()); err != nil {
		t.Errorf("closing after the failure: %v", err)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(filepath.Join(dir, "0", "leftover"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("at start the folder holds %v, %v", left, err)
	}
	b, err := s.New(dataflow.KeyGroupsOf(0, 128, 1), 128)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil {
		t.Error("the store was closed under a backend")
	}
	snap, err := b.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := snap.WriteTo(new(bytes.Buffer)); err != nil {
		t.Errorf("a snapshot is not readable after Close: %v", err)
	}
	snap.Release()
	if err := errors.Join(b.Close(), s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if _, err := s.New(dataflow.KeyGroupsOf(0, 128, 1), 128); err == nil {
		t.Error("a closed store made a backend")
	}
	for _, cfg := range []Config{{}, {Dir: dir, MemoryBytes: -1}, {Dir: "/proc/none/x"}} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("configuration %+v was accepted", cfg)
		}
	}
}
