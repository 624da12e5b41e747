package badinput_test

import (
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/launch/bundled"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/stream"
)

// TestClockJump lets an hour pass at once, as after a machine was suspended:
// every lease, time-out and interval is over at the same moment. The job may
// restart, and its output is complete.
func TestClockJump(t *testing.T) {
	t.Parallel()
	const n = 6000
	out := t.TempDir()
	clk := clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	drive(t, clk)
	mini, err := minicluster.Start(minicluster.Config{
		TaskManagers: 2, Slots: 2, NewBackend: bundled.NewBackend, Clock: clk,
		Dir: filepath.Join(t.TempDir(), "mini"), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mini.Close(); err != nil {
			t.Error(err)
		}
	})
	control, err := mini.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sha := mini.AddProgram("sums", func([]string, map[string]string) (*graph.JobGraph, error) { return sumsOf(n, out) })
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: sha, Parallelism: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, control: func() jobview.Control { return control }}
	c.await(id, "checkpoints", checkpoints(3))
	clk.Advance(time.Hour)
	j := c.await(id, "end", finished)
	t.Logf("%d restarts", j.Restarts)
	wantSums(t, out, n, 5)
}

// drive lets the clock go ten times as fast as the machine's.
func drive(t *testing.T, clk *clock.Manual) {
	stop, done := make(chan struct{}), sync.WaitGroup{}
	done.Go(func() {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				clk.Advance(10 * time.Millisecond)
			case <-stop:
				return
			}
		}
	})
	// Registered first, so that the cluster still has time to close.
	t.Cleanup(func() {
		close(stop)
		done.Wait()
	})
}

func sumsOf(n int64, out string) (*graph.JobGraph, error) {
	env := stream.NewEnv(stream.JobName("sums"), stream.CheckpointInterval(100*time.Millisecond))
	rows := stream.From(env, datagen.New(datagen.Config{Count: n, PerSecond: 1000, Splits: 2}, func(i int64, _ *rand.Rand) row {
		return row{N: i, Key: i % 5, Sum: i}
	}), stream.UID("rows"))
	byKey := stream.KeyBy(rows, func(r row) int64 { return r.Key })
	stream.Reduce(byKey, func(a, b row) row { return row{N: b.N, Key: a.Key, Sum: a.Sum + b.Sum} }, stream.UID("sums")).
		To(files.NewSink(out, func() (formats.Encoder[row], error) { return jsonfmt.NewEncoder(row{}) }), stream.UID("out"))
	return env.Graph()
}
