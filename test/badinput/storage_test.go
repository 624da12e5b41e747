package badinput_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/leatstream/leat/checkpoint/store/filestore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/jobview"
)

func objects(t *testing.T, root, suffix string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			out = append(out, path)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("no %s below %s: %v", suffix, root, err)
	}
	return out
}

func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x40
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedSavepoint: a savepoint that is not whole is refused with the
// name of the object; nothing starts from less.
func TestDamagedSavepoint(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, suffix, code string
		harm               func(t *testing.T, path string)
	}{
		{"state flipped", ".state", "LEAT4211", flip},
		{"state missing", ".state", "LEAT4212", remove},
		{"manifest flipped", "/manifest", "LEAT4205", flip},
		{"manifest missing", "/manifest", "LEAT4208", remove},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, config{})
			args := []string{"-what", "sums", "-keys", "50000", "-rate", "40000", "-out", t.TempDir(), "-retry"}
			id := c.mustSubmit(args...)
			c.await(id, "checkpoints", checkpoints(8))
			from := c.stop(id)
			path := objects(t, filepath.Dir(strings.TrimPrefix(from, "file://")), x.suffix)[0]
			x.harm(t, path)
			id, err := c.submit(jobview.Submission{FromSavepoint: from}, args...)
			if err != nil {
				wantError(t, asError(t, err), x.code, filepath.Base(path))
				return
			}
			f := c.failure(id)
			wantError(t, &f.Error, x.code, filepath.Base(path))
		})
	}
}

func asError(t *testing.T, err error) *jobview.Error {
	t.Helper()
	e, ok := err.(*jobview.Error) //nolint:errorlint // Control's errors are these, unwrapped
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	return e
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedCheckpoint: everything dies, and the latest checkpoint cannot be
// read any more. The job must not go back to an older one, whose output is
// committed already, nor start empty: it fails and names the object.
func TestDamagedCheckpoint(t *testing.T) {
	t.Parallel()
	c := start(t, config{})
	out := t.TempDir()
	id := c.mustSubmit("-what", "sums", "-keys", "50000", "-rate", "40000", "-out", out, "-retry")
	c.await(id, "checkpoints", checkpoints(8))
	c.crash()
	for _, path := range objects(t, c.root, ".state") {
		flip(t, path)
	}
	before := len(rows(t, out))
	c.startJobManager()
	f := c.failure(id)
	wantError(t, &f.Error, "LEAT4211", ".state")
	seen := map[int64]bool{}
	for _, r := range rows(t, out) {
		if seen[r.N] {
			t.Fatalf("row %d was committed twice", r.N)
		}
		seen[r.N] = true
	}
	if len(seen) < before {
		t.Errorf("%d rows are left of %d", len(seen), before)
	}
}

// TestDiskFull: checkpoints that cannot be written fail and say why; the job
// goes on, and so do its checkpoints once there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("NOT TESTED: a full disk needs a small file system, which only root may mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(root, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	objects, err := filestore.New(filestore.Config{Dir: filepath.Join(root, "objects"), Durability: filestore.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, config{objects: objects})
	id := c.mustSubmit("-what", "sums", "-rate", "2000", "-rows", "16000", "-out", t.TempDir(), "-retry")
	before := c.await(id, "checkpoints", checkpoints(2))
	ballast := filepath.Join(root, "ballast")
	fill(t, ballast)
	j := c.await(id, "a failed checkpoint", func(j jobview.Job) bool { return j.Checkpoints.Failed > 0 || j.StateReason != "" })
	text := j.StateReason
	if l := j.Checkpoints.LastFailed; l != nil {
		text += l.Failure
	}
	if !strings.Contains(text, "no space left on device") {
		t.Errorf("the job does not say that the disk is full: %q", text)
	}
	remove(t, ballast)
	n := c.await(id, "the job", func(jobview.Job) bool { return true }).Checkpoints.Completed
	c.await(id, "checkpoints again", func(j jobview.Job) bool { return finished(j) || j.Checkpoints.Completed > n+1 })
	if after := c.await(id, "end", finished); after.RestoredFrom != 0 && after.RestoredFrom < latest(before) {
		t.Errorf("the job went back to checkpoint %d", after.RestoredFrom)
	}
}

func latest(j jobview.Job) dataflow.CheckpointID { return j.Checkpoints.Latest.ID }

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}
