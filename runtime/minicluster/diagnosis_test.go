package minicluster_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/diagnosis"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/stream"
)

// diagnose looks at a running job again and again until a rule finds something.
func diagnose(t *testing.T, c *minicluster.Cluster, id dataflow.JobID, rule string) diagnosis.Problem {
	t.Helper()
	var before diagnosis.Sample
	var found []diagnosis.Problem
	await(t, c, id, func(v jobview.Job) bool {
		now := diagnosis.Sample{Job: v, At: time.Now()}
		if before.At.IsZero() || v.Attempt != before.Job.Attempt {
			before = now
			return false
		}
		if now.At.Sub(before.At) < 1200*time.Millisecond && v.State == jobview.JobRunning {
			return false
		}
		found = diagnosis.Find(before, now)
		before = now
		return len(found) > 0 && found[0].Rule == rule
	})
	return found[0]
}

// guestsAt gives each guest's rows to one of so many subtasks, most of them to
// one guest when they are skewed.
func guestsAt(skewed bool) func([]string, map[string]string) (*graph.JobGraph, error) {
	return func(_ []string, properties map[string]string) (*graph.JobGraph, error) {
		env := stream.NewEnv(stream.Properties(properties), stream.JobName("guests"))
		made := stream.From(env, datagen.New(datagen.Config{Count: 1 << 40, Splits: 1}, func(n int64, _ *rand.Rand) guest {
			if skewed && n%10 > 0 {
				return guest{N: n}
			}
			return guest{N: n, Guest: n}
		}), stream.UID("guests"))
		slowly := stream.Process(stream.KeyBy(made, func(v guest) int64 { return v.Guest }), &slowRow{}, stream.UID("slow"))
		slowly.Rebalance().To(collection.NewCollector(""), stream.UID("out"))
		return env.Graph()
	}
}

// slowRow takes its time for each row.
type slowRow struct{}

func (*slowRow) Open(*stream.ProcessContext[int64, string]) error { return nil }

func (*slowRow) Process(_ *stream.ProcessContext[int64, string], _ guest) error {
	for end := time.Now().Add(100 * time.Microsecond); time.Now().Before(end); { //nolint:revive // it is to be busy
	}
	return nil
}

// TestWhatHoldsAJobUp: jobs with one fault each, which is named.
func TestWhatHoldsAJobUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		skewed      bool
		parallelism int
		rule, says  string
	}{
		"saturated": {false, 2, "bottleneck", "slow"},
		"skewed":    {true, 4, "skew", "times as many rows as the mean"},
		"no slots":  {false, 9, "no-slots", "LEAT2101"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := startCluster(t, minicluster.Config{TaskManagers: 1, Slots: 4})
			control, err := cl.Control(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: cl.AddProgram("guests", guestsAt(c.skewed)), Parallelism: c.parallelism})
			if err != nil {
				t.Fatal(err)
			}
			p := diagnose(t, cl, id, c.rule)
			if !strings.Contains(p.What+p.Where+p.Why, c.says) {
				t.Errorf("%q is not in %+v", c.says, p)
			}
			if err := control.Cancel(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			await(t, cl, id, func(v jobview.Job) bool { return v.State == jobview.JobCanceled })
		})
	}
}
