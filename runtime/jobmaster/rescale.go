package jobmaster

import (
	"fmt"
	"maps"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
)

// Parallelism is how parallel a job runs: its default, and the operators that
// were given another one.
type Parallelism struct {
	Default   int                         `json:"default"`
	Operators map[dataflow.OperatorID]int `json:"operators,omitempty"`
}

func (p Parallelism) clone() Parallelism {
	p.Operators = maps.Clone(p.Operators)
	return p
}

func (p Parallelism) equal(o Parallelism) bool {
	return p.Default == o.Default && maps.Equal(p.Operators, o.Operators)
}

// String says it for people.
func (p Parallelism) String() string {
	if len(p.Operators) == 0 {
		return fmt.Sprint(p.Default)
	}
	return fmt.Sprintf("%d, with another one for %d operators", p.Default, len(p.Operators))
}

// plan plans g so.
func (p Parallelism) plan(g *graph.JobGraph) (*graph.Plan, error) {
	return graph.Build(g.WithParallelism(p.Operators), p.Default)
}

// rescaleStage is how far a change of the parallelism is. The job runs as it
// is until there are slots for what is wanted and a checkpoint to go on from;
// then the attempt is replaced. An attempt that ends before is replaced at
// once: the next one has to start anyhow.
//
//	slots ──▶ checkpoint ──▶ switching ──▶ none (tasks run)
//	  └──────────┴── the attempt ends ──▶ switching
type rescaleStage int

const (
	rescaleNone       rescaleStage = iota
	rescaleSlots                   // waits for slots, or for the job to run
	rescaleCheckpoint              // a checkpoint is being taken
	rescaleSwitching               // the next attempt is on its way
)

type rescale struct {
	stage     rescaleStage
	operation string // of the person that asked, empty: of a former leader's
	target    Parallelism
	plan      *graph.Plan
	moves     string // off this taskmanager, with the plan it has
	asked     bool   // slots were asked for
	waits     string // what for
	serial    int    // of checkpoints
}

// parallelism is what the job runs with.
func (c *Core) parallelism(g *graph.JobGraph) Parallelism {
	return Parallelism{Default: c.parallelismOf(g), Operators: c.rec.Operators}
}

// rescaleJob begins to change the parallelism.
func (c *Core) rescaleJob(ev RescaleJob) {
	if !c.operations.add(ev.Operation, checkpoint.KindManual) {
		return
	}
	refuse := func(kind jobview.ErrorKind, code, why string, fix ...string) {
		c.operations.fail(ev.Operation, jobview.Error{
			Code: code, Kind: kind, What: fmt.Sprintf("job %q is not rescaled to %s", c.rec.Name, ev.Target), Why: why, Fix: fix,
		})
	}
	if c.plan == nil || c.ending || c.sched.Goal() != scheduler.GoalRun || c.coord.Ending() {
		refuse(jobview.KindConflict, "LEAT4107", "it does not run: "+c.Reason())
		return
	}
	if ev.Auto {
		c.follow(true)
		c.operations.succeed(ev.Operation, "")
		return
	}
	if c.rescaleBusy() {
		refuse(jobview.KindConflict, "LEAT4301", fmt.Sprintf("it is just being rescaled to %s", c.rescale.target), "ask again when that is done")
		return
	}
	plan, err := ev.Target.plan(c.graph)
	if err != nil {
		refuse(jobview.KindInvalid, "LEAT4302", err.Error())
		return
	}
	if old := c.rescale.operation; old != "" {
		c.operations.fail(old, jobview.Error{Code: "LEAT4303", Kind: jobview.KindConflict, What: fmt.Sprintf("job %q is rescaled to %s instead", c.rec.Name, ev.Target)})
	}
	c.follow(false)
	c.beginRescale(rescale{operation: ev.Operation, target: ev.Target, plan: plan})
}

// rescaleBusy reports whether a change cannot be replaced by another: it takes
// its checkpoint, or its attempt starts. One whose attempt waits can: there may
// be fewer slots than when it began.
func (c *Core) rescaleBusy() bool {
	switch c.rescale.stage {
	case rescaleCheckpoint:
		return true
	case rescaleSwitching:
		s := c.sched.State()
		return s != scheduler.Waiting && s != scheduler.Backoff
	}
	return false
}

// beginRescale records the wish, so that it outlives the leader.
func (c *Core) beginRescale(r rescale) {
	r.stage = rescaleSlots
	waited, switching := c.rescale.asked, c.rescale.stage == rescaleSwitching
	r.serial = c.rescale.serial
	c.rescale = r
	if r.target.equal(c.parallelism(c.graph)) && !switching {
		c.endRescale(nil)
		if waited {
			c.emit(KeepSlots{Shares: c.sched.Shares()})
		}
		return
	}
	target := r.target.clone()
	c.rec.Rescale = &target
	c.touch()
}

// move begins to replace the attempt by one without a taskmanager that is to
// end: as it is if there are slots elsewhere, or as large as there are slots for
// when the job follows them. A change under way takes no slot of it anyhow.
func (c *Core) move(taskManager string) {
	used := false
	for _, w := range c.sched.LiveWorkers() {
		used = used || w.TaskManager == taskManager
	}
	if !used || c.plan == nil || c.ending || c.sched.Goal() != scheduler.GoalRun || c.coord.Ending() || c.rescale.stage != rescaleNone {
		return
	}
	if c.rec.Auto && c.auto.slots > 0 {
		if target := (Parallelism{Default: mostParallel(c.graph, c.auto.slots), Operators: c.rec.Operators}); !target.equal(c.parallelism(c.graph)) {
			c.auto.due = c.now
			return
		}
	}
	c.rescale = rescale{stage: rescaleSlots, moves: taskManager, target: c.parallelism(c.graph).clone(), plan: c.plan, serial: c.rescale.serial}
}

// endRescale ends it, with the reason why it did not come about.
func (c *Core) endRescale(err *jobview.Error) {
	op := c.rescale.operation
	if err != nil && op == "" && c.rec.Auto {
		c.auto.retry(c.now)
	}
	c.rescale = rescale{serial: c.rescale.serial}
	if c.rec.Rescale != nil {
		c.rec.Rescale = nil
		c.touch()
	}
	if err != nil {
		c.operations.fail(op, *err)
		return
	}
	c.operations.succeed(op, "")
}

// advanceRescale takes the steps that need no answer.
func (c *Core) advanceRescale() {
	if c.rescale.stage != rescaleSlots {
		return
	}
	if c.sched.Goal() != scheduler.GoalRun || c.ending {
		c.endRescale(&jobview.Error{Code: "LEAT4106", Kind: jobview.KindConflict, What: fmt.Sprintf("job %q ends", c.rec.Name)})
		return
	}
	switch c.sched.State() {
	case scheduler.Running:
		switch {
		case !c.attempt.coord: // not all tasks run yet
		case c.rescale.plan.Slots() <= c.sched.Slots() && c.rescale.moves == "":
			c.rescaleReady()
		case !c.rescale.asked:
			c.rescale.asked = true
			c.emit(ReserveSlots{N: c.rescale.plan.Slots()})
		}
	case scheduler.Waiting, scheduler.Backoff, scheduler.Stopping:
		c.switchPlan()
	}
}

// slotsReserved answers ReserveSlots.
func (c *Core) slotsReserved() {
	if c.rescale.stage == rescaleSlots && c.rescale.asked && c.sched.State() == scheduler.Running && c.attempt.coord {
		c.rescaleReady()
	}
}

func (c *Core) reserveShort(reason string) {
	if c.rescale.stage == rescaleSlots {
		c.rescale.waits = reason
	}
}

// rescaleReady takes the checkpoint from which the next attempt goes on; sources
// read nothing after it, so nothing is computed twice.
func (c *Core) rescaleReady() {
	c.rescale.stage, c.rescale.waits = rescaleCheckpoint, ""
	c.rescale.serial++
	c.push(checkpoint.Request{Operation: c.rescaleOperation(), Kind: checkpoint.KindHandover})
}

func (c *Core) rescaleOperation() string { return fmt.Sprintf("rescale-%d", c.rescale.serial) }

// rescaleCheckpointed takes the outcome of that checkpoint.
func (c *Core) rescaleCheckpointed(done checkpoint.OperationDone) {
	if c.rescale.stage != rescaleCheckpoint {
		return
	}
	if done.Outcome == checkpoint.OutcomeFailed {
		if c.rescale.asked {
			c.emit(KeepSlots{Shares: c.sched.Shares()})
		}
		c.endRescale(&jobview.Error{
			Code: "LEAT4304", What: fmt.Sprintf("job %q runs on as it is: the checkpoint to rescale from failed", c.rec.Name), Why: done.Reason,
			Fix: []string{"flinkctl diagnose " + c.rec.Name},
		})
		return
	}
	c.switchPlan()
}

// switchPlan replaces the attempt.
func (c *Core) switchPlan() {
	c.rescale.stage = rescaleSwitching
	if tm := c.rescale.moves; tm != "" {
		c.push(scheduler.Replan{Plan: c.rescale.plan, Reason: fmt.Sprintf("it moves off taskmanager %s, which is to end", tm)})
		return
	}
	c.push(scheduler.Replan{Plan: c.rescale.plan, Reason: fmt.Sprintf("it is rescaled from %s to %s", c.parallelism(c.graph), c.rescale.target)})
}

// rescaleAttemptEnds replaces an attempt that ends by itself.
func (c *Core) rescaleAttemptEnds() {
	if s := c.rescale.stage; s == rescaleSlots || s == rescaleCheckpoint {
		c.switchPlan()
	}
}

// takePlan goes over to the plan of the attempt that is being prepared. The
// record says so together with the attempt and its workers: a new leader that
// finds them knows how they were placed.
func (c *Core) takePlan() {
	if c.rescale.stage != rescaleSwitching || c.sched.Plan() != c.rescale.plan {
		return // a job that is to end settles as it ran
	}
	c.plan = c.rescale.plan
	c.figures.init(c.plan)
	c.rec.Parallelism, c.rec.Operators, c.rec.Rescale = c.rescale.target.Default, maps.Clone(c.rescale.target.Operators), nil
}

// rescaled tells that the job runs as was wanted.
func (c *Core) rescaled() {
	if c.rescale.stage == rescaleSwitching {
		c.endRescale(nil)
	}
}

// resumeRescale goes on with what a former leader had begun.
func (c *Core) resumeRescale() {
	if c.rec.Rescale == nil || c.plan == nil {
		return
	}
	if plan, err := c.rec.Rescale.plan(c.graph); err == nil {
		c.beginRescale(rescale{target: c.rec.Rescale.clone(), plan: plan})
	}
}
