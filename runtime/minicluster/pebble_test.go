package minicluster_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/launch/bundled"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// opened counts what workers open, by backend.
type opened struct{ memory, pebble atomic.Int64 }

func (o *opened) open(cfg graph.Config, dir string, log *slog.Logger) (state.Backends, error) {
	if cfg.StateBackend == graph.StatePebble {
		o.pebble.Add(1)
	} else {
		o.memory.Add(1)
	}
	return bundled.OpenState(cfg, dir, log)
}

// A job whose state lies on disk gives the exact result although its workers
// are killed, and leaves no file behind.
func TestPebbleStateSurvivesKills(t *testing.T) {
	t.Parallel()
	var o opened
	dir := t.TempDir()
	c := startCluster(t, minicluster.Config{TaskManagers: 2, Slots: 2, OpenState: o.open, Dir: dir})
	j := job{
		rows: 60_000, perSecond: 20_000, out: collection.NewCollector(total{}),
		options: []stream.EnvOption{stream.StateBackend(stream.Pebble), stream.StateMemory(1 << 20)},
	}
	id := submit(t, c, j, 3)
	for n := range 3 {
		seen := -1
		await(t, c, id, func(v jobview.Job) bool {
			if seen < 0 {
				seen = v.Checkpoints.Completed
			}
			return v.State.Terminal() || v.State == jobview.JobRunning && v.Checkpoints.Completed >= seen+3
		})
		if ws := c.Workers(); len(ws) > 0 {
			_ = c.KillWorker(ws[n%len(ws)]) // it may have ended meanwhile
		}
	}
	await(t, c, id, finished)
	compare(t, counted(j.out.Rows()), j.expected())
	if o.pebble.Load() < 3 || o.memory.Load() != 0 {
		t.Errorf("workers opened %d stores on disk and %d in memory", o.pebble.Load(), o.memory.Load())
	}
	left := 0
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(path, "/state/") {
			left++
		}
		return err
	})
	if err != nil || left > 0 {
		t.Errorf("%d files of state are left, %v", left, err)
	}
}

// What a job is submitted with goes before what its program says.
func TestPropertyChoosesTheBackend(t *testing.T) {
	t.Parallel()
	var o opened
	c := startCluster(t, minicluster.Config{OpenState: o.open})
	j := job{rows: 5_000, out: collection.NewCollector(total{}), options: []stream.EnvOption{stream.StateBackend(stream.MemoryState)}}
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := control.Submit(t.Context(), jobview.Submission{
		BundleSHA: c.AddProgram("totals", j.graph), Properties: map[string]string{"state.backend": "pebble", "state.memory": "2MiB"},
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, id, finished)
	compare(t, counted(j.out.Rows()), j.expected())
	if o.pebble.Load() != 1 || o.memory.Load() != 0 {
		t.Errorf("workers opened %d stores on disk and %d in memory", o.pebble.Load(), o.memory.Load())
	}
}
