package jobmaster

import (
	"time"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/scheduler"
)

const (
	// autoSettle is how long the slots must have been as they are before a job
	// follows them: taskmanagers come and go several at a time, and one that is
	// started again is back by then.
	autoSettle = 2 * time.Second
	// autoRetry is the time before a change that failed is tried again.
	autoRetry = 30 * time.Second
)

// auto lets the parallelism follow the slots that the job may have.
type auto struct {
	slots int       // 0: not told yet
	due   time.Time // when it is to be followed; zero: it is
}

func (a *auto) retry(now time.Time) { a.due = now.Add(autoRetry) }

// follow turns it on or off.
func (c *Core) follow(on bool) {
	if c.rec.Auto == on {
		return
	}
	c.rec.Auto, c.auto = on, auto{}
	c.touch()
	c.emit(FollowSlots{On: on})
}

// autoSlots notes how many slots there are for the job.
func (c *Core) autoSlots(n int) {
	if n == c.auto.slots {
		return
	}
	c.auto.slots, c.auto.due = n, c.now.Add(autoSettle)
}

// advanceAuto changes the parallelism once the slots have settled. A change
// under way is not interrupted, unless it waits for slots, nor does one begin
// while an attempt starts.
func (c *Core) advanceAuto() {
	if !c.rec.Auto || c.plan == nil || c.auto.slots < 1 || c.auto.due.IsZero() || c.now.Before(c.auto.due) {
		return
	}
	switch s := c.sched.State(); {
	case c.sched.Goal() != scheduler.GoalRun || c.ending:
		c.auto.due = time.Time{}
		return
	case c.rescaleBusy() || c.rescale.operation != "":
		return
	case s != scheduler.Running && s != scheduler.Waiting && s != scheduler.Backoff:
		return
	}
	c.auto.due = time.Time{}
	target := Parallelism{Default: mostParallel(c.graph, c.auto.slots), Operators: c.rec.Operators}
	if c.rescale.stage != rescaleNone && target.equal(c.rescale.target) {
		return
	}
	if plan, err := target.plan(c.graph); err == nil {
		c.beginRescale(rescale{target: target, plan: plan})
	}
}

// mostParallel is the largest default parallelism that fits into so many
// slots, at least 1.
func mostParallel(g *graph.JobGraph, slots int) int {
	for p := min(slots, g.MaxParallelism); p > 1; p-- {
		if plan, err := graph.Build(g, p); err == nil && plan.Slots() <= slots {
			return p
		}
	}
	return 1
}
