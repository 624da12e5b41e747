package dispatcher_test

import (
	"testing"
	"testing/synctest"

	"github.com/leatstream/leat/runtime/jobview"
)

func TestBoundedJobFinishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		id := c.submit(jobview.Submission{Parallelism: 2})
		synctest.Wait()
		if j := c.job(id); j.State != jobview.JobCreated || j.StateReason == "" {
			t.Fatalf("without a taskmanager the job is %s, reason %q", j.State, j.StateReason)
		}
		for _, name := range []string{"tm-1", "tm-2"} {
			tm := c.join(name, 1)
			tm.bounded = true
		}
		j := c.until(id, jobview.JobFinished)
		if j.Checkpoints.Completed != 1 || j.Attempt != 1 || j.Name != "wordcount" {
			t.Fatalf("%d checkpoints, attempt %d, name %q; want 1, 1, wordcount", j.Checkpoints.Completed, j.Attempt, j.Name)
		}
		if cl := c.d.Cluster(); cl.SlotsFree != 2 || cl.Finished != 1 {
			t.Fatalf("%d slots free, %d finished; want 2, 1", cl.SlotsFree, cl.Finished)
		}
		for _, tm := range c.tms {
			if w := tm.running(id); len(w) > 0 {
				t.Fatalf("worker %s is left on %s", w[0].start.WorkerId, tm.id)
			}
		}
	})
}
