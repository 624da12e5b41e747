package minicluster_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

const (
	guestIDs  = 300
	guestRows = 40_000
)

// guest is the Nth row of all, and its visitor's Count-th.
type guest struct{ N, Guest, Count int64 }

// numbering counts the guests of a visitor.
type numbering struct{ count state.Value[int64] }

func (p *numbering) Open(ctx *stream.ProcessContext[int64, guest]) error {
	return p.count.Open(ctx.State(), "count")
}

func (p *numbering) Process(ctx *stream.ProcessContext[int64, guest], v guest) error {
	n, _ := p.count.Get()
	v.Count = n + 1
	p.count.Set(v.Count)
	ctx.Emit(v)
	return nil
}

// slow takes its time for each row, and says when a visitor's rows come in
// another order than they were made.
type slow struct {
	last  state.Value[int64]
	pause time.Duration
}

func (p *slow) Open(ctx *stream.ProcessContext[int64, string]) error {
	return p.last.Open(ctx.State(), "last")
}

func (p *slow) Process(ctx *stream.ProcessContext[int64, string], v guest) error {
	<-time.After(p.pause)
	if last, _ := p.last.Get(); last >= v.N+1 {
		return fmt.Errorf("visitor %d: row %d comes after row %d", v.Guest, v.N, last-1)
	}
	p.last.Set(v.N + 1)
	ctx.Emit(fmt.Sprint(v.Guest, " ", v.Count, " ", v.N))
	return nil
}

func guests() map[string]int {
	out := make(map[string]int)
	for n := range int64(guestRows) {
		out[fmt.Sprint(n%guestIDs, " ", n/guestIDs+1, " ", n)]++
	}
	return out
}

type guestsJob struct {
	out     *collection.Collector[string]
	pause   time.Duration
	aligned time.Duration
}

func (j guestsJob) graph(_ []string, properties map[string]string) (*graph.JobGraph, error) {
	env := stream.NewEnv(stream.Properties(properties), stream.JobName("guests"), stream.CheckpointInterval(100*time.Millisecond), stream.AlignedTimeout(j.aligned))
	made := stream.From(env, datagen.New(datagen.Config{Count: guestRows, Splits: 1}, func(n int64, _ *rand.Rand) guest {
		return guest{N: n, Guest: n % guestIDs}
	}), stream.UID("guests"))
	numbered := stream.Process(stream.KeyBy(made, func(v guest) int64 { return v.Guest }), &numbering{}, stream.UID("numbering"))
	slowly := stream.Process(stream.KeyBy(numbered, func(v guest) int64 { return v.Guest }), &slow{pause: j.pause}, stream.UID("slow"))
	slowly.Rebalance().To(j.out, stream.UID("out"))
	return env.Graph()
}

// TestBarriersOvertake: an operator is slow, so that nearly all rows of the job
// are on their way to it; checkpoints complete all the same, with these rows.
// Workers that are killed, and a start at another parallelism, replay them.
func TestBarriersOvertake(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{TaskManagers: 2, Slots: 4})
	j := guestsJob{out: collection.NewCollector(""), pause: 700 * time.Microsecond, aligned: 50 * time.Millisecond}
	sha := c.AddProgram("guests", j.graph)
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: sha, Parallelism: 3})
	if err != nil {
		t.Fatal(err)
	}
	// inFlight waits for checkpoints with rows on their way, of this attempt.
	inFlight := func(many int) (v jobview.Job) {
		attempt, seen := -1, make(map[int64]bool)
		return await(t, c, id, func(v jobview.Job) bool {
			if int(v.Attempt) != attempt {
				attempt, seen = int(v.Attempt), make(map[int64]bool)
			}
			if l := v.Checkpoints.Latest; v.State == jobview.JobRunning && l != nil && l.InFlightBytes > 0 && l.ID > v.RestoredFrom {
				seen[int64(l.ID)] = true
			}
			return len(seen) >= many || v.State.Terminal()
		})
	}
	for n := range 3 {
		if v := inFlight(2); v.State.Terminal() {
			t.Fatal("the job ended before checkpoints held rows on their way")
		}
		if ws := c.Workers(); len(ws) > 0 {
			_ = c.KillWorker(ws[n%len(ws)])
		}
	}
	inFlight(2)
	if control, err = c.Control(t.Context()); err == nil {
		err = control.Cancel(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	v := await(t, c, id, func(v jobview.Job) bool { return v.State == jobview.JobCanceled })
	t.Logf("the last checkpoint: %+v", *v.Checkpoints.Latest)
	if v.Checkpoints.Latest.InFlightBytes == 0 {
		t.Fatal("the last checkpoint holds no rows on their way")
	}
	if id, err = control.Submit(t.Context(), jobview.Submission{BundleSHA: sha, Parallelism: 5, FromSavepoint: v.Checkpoints.Latest.Path}); err != nil {
		t.Fatal(err)
	}
	await(t, c, id, finished)
	got := make(map[string]int)
	for _, r := range j.out.Rows() {
		got[r]++
	}
	if want := guests(); !maps.Equal(got, want) {
		report(t, got, want)
	}
}

func report(t *testing.T, got, want map[string]int) {
	t.Helper()
	var wrong []string
	for r, n := range want {
		if got[r] != n {
			wrong = append(wrong, fmt.Sprintf("%s: %d times", r, got[r]))
		}
	}
	t.Errorf("%d results, want %d; %d are missing or not there once, as %s", len(got), len(want), len(wrong), strings.Join(wrong[:min(5, len(wrong))], ", "))
}
