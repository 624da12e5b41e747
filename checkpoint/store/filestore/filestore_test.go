package filestore_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/filestore"
	"github.com/leatstream/leat/checkpoint/store/storetest"
	"github.com/leatstream/leat/internal/clock"
)

func open(t *testing.T, cfg filestore.Config) *filestore.Store {
	t.Helper()
	s, err := filestore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]filestore.Durability{"sync": filestore.SyncAlways, "nosync": filestore.SyncNever} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) store.Store {
				return open(t, filestore.Config{Dir: filepath.Join(t.TempDir(), "new", "dir"), Durability: d})
			})
		})
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A full disk is an error that says so, and leaves nothing.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("NOT TESTED: no right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := open(t, filestore.Config{Dir: dir})
	if err := s.Put(t.Context(), "a/small", strings.NewReader("fits"), 4); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 2<<20)
	for name, err := range map[string]error{
		"put": s.Put(t.Context(), "a/big", bytes.NewReader(big), int64(len(big))), "put if absent": s.PutIfAbsent(t.Context(), "a/big", big),
	} {
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "a/big") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left: %v", got)
	}
	if err := s.Put(t.Context(), "a/next", bytes.NewReader(big[:500<<10]), 500<<10); err != nil {
		t.Errorf("after a full disk: %v", err)
	}
}

func TestLeftoversOfCrashesGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, filestore.Config{Dir: dir})
	old, young := filepath.Join(dir, ".leat-tmp", "put-1"), filepath.Join(dir, ".leat-tmp", "put-2")
	for _, path := range []string{old, young} {
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	yesterday := clock.Real{}.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(old, yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	open(t, filestore.Config{Dir: dir})
	if got := files(t, dir); len(got) != 1 || got[0] != young {
		t.Errorf("left: %v", got)
	}
}

func TestTemporaryFilesAreNoObjects(t *testing.T) {
	t.Parallel()
	s := open(t, filestore.Config{Dir: t.TempDir()})
	if err := s.Put(t.Context(), ".leat-tmp/x", strings.NewReader("x"), 1); err == nil {
		t.Error("an object among the temporary files")
	}
}

// A file that shrinks while it is read gives an error, not a short object.
func TestShortFileIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, filestore.Config{Dir: dir})
	if err := s.Put(t.Context(), "k", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(filepath.Join(dir, "k"), 4); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if string(data) != "0123" || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "6 bytes") {
		t.Errorf("%q, %v", data, err)
	}
}

func TestAnObjectCannotBeADirectory(t *testing.T) {
	t.Parallel()
	s := open(t, filestore.Config{Dir: t.TempDir()})
	if err := s.Put(t.Context(), "a", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a/b", strings.NewReader("x"), 1); err == nil {
		t.Error("an object below an object")
	}
	if err := s.Put(t.Context(), "c/d", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "c", strings.NewReader("x"), 1); err == nil {
		t.Error("an object above an object")
	}
}
