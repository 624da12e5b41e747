package launch_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/leatstream/leat/runtime/jobview"
)

// TestRealWorkersWithStateOnDisk runs the job with the backend that it is
// submitted with: a worker that is killed with -9 loses its folder of state
// and nothing else.
func TestRealWorkersWithStateOnDisk(t *testing.T) {
	t.Parallel()
	const rows = 40_000
	c := startCluster(t, 1)
	c.properties = map[string]string{"state.backend": "pebble", "state.memory": "1MiB"}
	out := t.TempDir()
	id, err := c.submit(2, "-rows", fmt.Sprint(rows), "-rate", "10000", "-out", out)
	if err != nil {
		t.Fatal(err)
	}
	seen := -1
	c.await(id, "progress", func(j jobview.Job) bool {
		if seen < 0 {
			seen = j.Checkpoints.Completed
		}
		return j.State == jobview.JobRunning && j.Checkpoints.Completed >= seen+3
	})
	all := c.workers()
	folder, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", all[0]))
	if err != nil {
		t.Skipf("the worker's folder is not known here: %v", err)
	}
	if found, err := filepath.Glob(filepath.Join(folder, "state", "*", "MANIFEST-*")); err != nil || len(found) == 0 {
		t.Errorf("no state lies in %s: %v", folder, err)
	}
	if err := syscall.Kill(int(all[0]), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.await(id, "the end", finished)
	if got, want := written(t, out), expected(rows); !maps.Equal(got, want) {
		t.Errorf("%d distinct rows, want %d", len(got), len(want))
	}
	c.until("the folders' end", func() bool {
		_, err := os.Stat(folder)
		return os.IsNotExist(err) && len(c.workers()) == 0
	})
}
