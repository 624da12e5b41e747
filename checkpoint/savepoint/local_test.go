package savepoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store/filestore"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
)

// A checkpoint on the disk is read by its path alone, with the files of older
// ones that it needs, wherever the folder of the store is.
func TestOpenLocal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	objects, err := filestore.New(filestore.Config{Dir: dir, Durability: filestore.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	m, want := job(t, backends(t)["memory"], objects, 5)
	listed := make(map[string]bool)
	for _, h := range m.GetHandles() {
		if !listed[h.GetObject()] {
			listed[h.GetObject()] = true
			m.Objects = append(m.Objects, &checkpointv1.Object{Key: h.GetObject(), Size: h.GetOffset() + h.GetLength()})
		}
	}
	if _, err := manifest.Write(t.Context(), objects, "chk-5/manifest", m); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(t.TempDir(), "deep", "down")
	if err := os.MkdirAll(filepath.Dir(moved), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(moved, "chk-5"), filepath.Join(moved, "chk-5", "manifest")} {
		s, err := OpenLocal(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := export(t, s, Query{}); !slices.Equal(got, want) {
			t.Errorf("%s: %d entries, want %d", path, len(got), len(want))
		}
	}
	for _, path := range []string{moved, filepath.Join(moved, "nowhere")} {
		if _, err := OpenLocal(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
