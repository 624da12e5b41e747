package jobmaster

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
)

// CoreConfig is what a Core starts from: a job just accepted, or what a new
// leader has read back of one.
type CoreConfig struct {
	Record Record
	// Graph is the stored job graph when Record.Graph is set.
	Graph []byte
	// Recovered is the checkpoint pointer and what its manifests hold.
	Recovered checkpoint.Recovered
	Epoch     dataflow.Epoch
	// Version is the engine's, for manifests.
	Version string
	// Random is the source of jitter.
	Random *rand.Rand
	// NewToken returns a fresh secret for the exchange of an attempt.
	NewToken func() string
	// URI names the place of an object key for people.
	URI func(key string) string
	// Times overrides the scheduler's waiting times where set; only its
	// durations are used.
	Times scheduler.Config
}

// Core is the pure state machine of one job. It is not safe for concurrent
// use.
//
// Invariants: at most one attempt is live; attempt numbers and pools only
// grow and are stored before they are used; an attempt is prepared only while
// no commit is under way, and from the latest committed checkpoint; the end of
// a job is told only when it is recorded.
type Core struct {
	cfg         CoreConfig
	now         time.Time
	rec         Record
	graph       *graph.JobGraph
	fingerprint string
	plan        *graph.Plan
	sched       *scheduler.Scheduler
	coord       *checkpoint.Coordinator // nil before the job is planned

	recVersion int64 // of rec
	recSent    int64 // last one commanded
	recStored  int64
	delayed    string // why the coordination service is waited for

	graphBytes  []byte // until stored
	planReason  string
	prep        preparation
	attempt     liveAttempt
	restored    dataflow.CheckpointID
	manifests   manifestCache
	effects     effects
	history     history
	operations  operations
	rescale     rescale
	auto        auto
	figures     figures
	hosts       map[string]string // taskmanager -> host, for the view
	fenced      bool
	ending      bool // the scheduler has ended; the record follows
	endVersion  int64
	ended       bool // Ended was commanded
	faults      int  // events that coordinator or core found impossible
	lastFault   string
	restoredCnt int
	queue       []any // scheduler.Event or checkpoint.Body
	out         []Command
}

// liveAttempt is what the core keeps of the attempt that runs.
type liveAttempt struct {
	number  dataflow.Attempt
	token   string
	coord   bool // the coordinator knows it
	closing bool // no further checkpoint: the job is being cancelled
}

// manifestCache keeps the manifest of the latest committed checkpoint, so that
// a restart need not read it.
type manifestCache struct {
	pending, latest *checkpointv1.Manifest
}

// NewCore returns the core of a job at now.
func NewCore(cfg CoreConfig, now time.Time) (*Core, error) {
	c := &Core{cfg: cfg, now: now, rec: cfg.Record, hosts: make(map[string]string)}
	c.operations.init()
	if cfg.Graph != nil {
		if err := c.setGraph(cfg.Graph); err != nil {
			return nil, err
		}
	}
	sc := cfg.Times
	sc.Job, sc.Name, sc.Random = c.rec.ID, c.rec.Name, cfg.Random
	sc.LastAttempt, sc.Recovered, sc.Goal = c.rec.Attempt, c.rec.Workers, c.rec.Goal.goal()
	sc.Restarts = c.rec.Restarts
	if c.plan != nil {
		sc.Restart = c.graph.Config.Restart
		c.effects.unconfirmed = c.effects.transactional && cfg.Recovered.Pointer.Latest != nil
		sc.Effects = c.effects.unconfirmed
	}
	c.effects.told = sc.Effects
	c.sched = scheduler.New(sc, now)
	c.recoverAttempt()
	return c, nil
}

// setGraph takes the stored form of the job graph and plans it.
func (c *Core) setGraph(b []byte) error {
	g, err := graph.Unmarshal(b)
	if err != nil {
		return err
	}
	c.fingerprint = g.Fingerprint() // of the graph as it was built, without defaults
	g.Config.EnsureDefaults()
	if c.rec.Auto && c.rec.Parallelism == 0 {
		c.rec.Parallelism = mostParallel(g, c.auto.slots)
	}
	plan, err := c.parallelism(g).plan(g)
	if err != nil {
		return err
	}
	if !c.rec.Named && g.Name != "" {
		c.rec.Name = g.Name
	}
	coord, err := checkpoint.New(c.checkpointConfig(g), c.cfg.Recovered)
	if err != nil {
		return err
	}
	c.graph, c.plan, c.coord = g, plan, coord
	for _, n := range g.Nodes {
		c.effects.transactional = c.effects.transactional || n.Transactional
	}
	c.figures.init(plan)
	c.history.recover(c.cfg.Recovered.Pointer, c.cfg.URI)
	return nil
}

// parallelismOf is the job's actual default parallelism: the submitter's wish
// goes before the program's.
func (c *Core) parallelismOf(g *graph.JobGraph) int {
	if c.rec.Parallelism > 0 {
		return c.rec.Parallelism
	}
	return max(1, g.Config.Parallelism)
}

func (c *Core) checkpointConfig(g *graph.JobGraph) checkpoint.Config {
	return checkpoint.Config{
		Job: c.rec.ID, JobName: c.rec.Name, Incarnation: c.rec.Incarnation, Prefix: ObjectPrefix(c.rec.ID),
		Fingerprint: c.fingerprint, MaxParallelism: g.MaxParallelism, EngineVersion: c.cfg.Version,
		Interval: max(0, g.Config.CheckpointInterval), Timeout: g.Config.CheckpointTimeout,
		Retain: min(max(1, g.Config.CheckpointsRetained), checkpoint.RetainMax),
	}
}

// Step applies one event and returns what to do, in order.
func (c *Core) Step(now time.Time, ev Event) []Command {
	if c.fenced {
		return nil
	}
	c.now, c.out = now, nil
	c.apply(ev)
	c.run()
	c.advance()
	return c.out
}

func (c *Core) apply(ev Event) {
	switch ev := ev.(type) {
	case Begin:
		c.begin()
	case Tick:
		c.push(scheduler.Tick{})
		c.push(checkpoint.Tick{})
	case SlotsGranted:
		c.push(scheduler.SlotsGranted{Shares: ev.Shares})
	case SlotsShort:
		c.push(scheduler.SlotsShort{Reason: ev.Reason})
	case TaskManagerJoined:
		c.hosts[ev.TaskManager] = ev.Host
		c.push(scheduler.TaskManagerJoined{TaskManager: ev.TaskManager, Workers: ev.Workers})
	case TaskManagerLost:
		c.push(scheduler.TaskManagerLost{TaskManager: ev.TaskManager, Reason: ev.Reason})
	case TaskManagerDrains:
		c.move(ev.TaskManager)
	case FromTaskManager:
		c.fromTaskManager(ev)
	case CancelJob:
		c.push(scheduler.Cancel{})
	case AutoSlots:
		c.autoSlots(ev.N)
	case SlotsReserved:
		c.slotsReserved()
	case ReserveShort:
		c.reserveShort(ev.Reason)
	case RescaleJob:
		c.rescaleJob(ev)
	case TakeCheckpoint:
		c.takeCheckpoint(ev)
	case Answer:
		c.push(ev.Body)
	case Fenced:
		c.fenced = true
	default:
		c.applyPlanning(ev)
	}
}

// applyPlanning handles what happens before an attempt starts.
func (c *Core) applyPlanning(ev Event) {
	switch ev := ev.(type) {
	case PlanReady:
		c.planReady(ev.Graph)
	case PlanFailed:
		c.push(scheduler.Fail{Failure: scheduler.Failure{Error: ev.Error, Fatal: true, Unstartable: true}})
	case PlanWaits:
		c.planReason = ev.Reason
	case GraphStored:
		c.graphStored()
	case GraphDelayed:
		c.planReason = ev.Reason
	case RecordWritten:
		c.recStored, c.delayed = max(c.recStored, ev.Version), ""
	case WriteDelayed:
		c.delayed = ev.Reason
	case ManifestLoaded:
		c.manifestLoaded(ev)
	case ManifestBad:
		c.manifestBad(ev)
	case ManifestDelayed:
		if c.prep.is(ev.Attempt) {
			c.prep.reason = ev.Reason
		}
	case StateMissing:
		c.stateMissing(ev)
	case StateCopied:
		c.stateCopied(ev)
	case SavepointCopied:
		c.savepointCopied(ev)
	default:
		panic(fmt.Sprintf("jobmaster: unknown event %T", ev))
	}
}

// begin asks for the plan, or goes on with the one that is stored.
func (c *Core) begin() {
	switch {
	case c.plan != nil:
		c.resumeRescale()
		c.push(scheduler.Planned{Name: c.rec.Name, Plan: c.plan, Fingerprint: c.rec.Fingerprint})
	case c.sched.Goal() == scheduler.GoalCancel:
		c.push(scheduler.Cancel{})
	default:
		c.emit(RequestPlan{})
	}
}

func (c *Core) push(ev any)       { c.queue = append(c.queue, ev) }
func (c *Core) emit(cmd Command)  { c.out = append(c.out, cmd) }
func (c *Core) fault(text string) { c.faults++; c.lastFault = text }

// run feeds scheduler and coordinator until neither has anything to say to
// the other.
func (c *Core) run() {
	for len(c.queue) > 0 {
		ev := c.queue[0]
		c.queue = c.queue[1:]
		switch ev := ev.(type) {
		case scheduler.Event:
			for _, cmd := range c.sched.Step(c.now, ev) {
				c.schedulerCommand(cmd)
			}
		case checkpoint.Body:
			c.stepCoordinator(ev)
		}
		c.tellEffects()
	}
}

func (c *Core) stepCoordinator(body checkpoint.Body) {
	if c.coord == nil {
		return
	}
	cmds, err := c.coord.Step(checkpoint.Event{Now: c.now, Body: body})
	if err != nil {
		c.fault(err.Error())
		return
	}
	for _, cmd := range cmds {
		c.coordinatorCommand(cmd)
	}
}

// advance does what has become possible: each condition is looked at after
// every event, so that the order of answers does not matter.
func (c *Core) advance() {
	c.advancePreparation()
	c.advanceAuto()
	c.advanceRescale()
	if c.attempt.closing && c.attempt.coord && c.coord.Settled() {
		c.endCoordinatorAttempt("the job is being cancelled")
	}
	c.run()
	c.advanceRecord()
	if c.ending && !c.ended && c.recStored >= c.endVersion && (c.coord == nil || c.coord.Settled()) {
		c.ended = true
		c.emit(Ended{State: c.rec.State})
	}
}

// advanceRecord commands the record's write when it has changed; one write is
// under way at a time and carries all changes made meanwhile.
func (c *Core) advanceRecord() {
	goal := goals[c.sched.Goal()]
	restarts := c.sched.Restarts()
	if (goal != c.rec.Goal || restarts != c.rec.Restarts) && !c.ending {
		c.rec.Goal, c.rec.Restarts = goal, restarts
		c.touch()
	}
	if c.recVersion > c.recSent && c.recSent == c.recStored {
		c.recSent = c.recVersion
		c.emit(WriteRecord{Version: c.recVersion, Record: c.rec.clone()})
	}
}

// touch marks the record as changed and returns its new version.
func (c *Core) touch() int64 {
	c.recVersion++
	return c.recVersion
}

// Next returns when Tick is due, or the zero time.
func (c *Core) Next() time.Time {
	next := c.sched.Next()
	if c.coord != nil {
		if at, ok := c.coord.Wake(); ok && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	// One that is past waits for another event: advance looks after each.
	if at := c.auto.due; at.After(c.now) && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return next
}

// Done reports whether the job has ended and everything is stored.
func (c *Core) Done() bool { return c.ended }

// Record returns a copy of the job's record as the core wants it stored.
func (c *Core) Record() Record { return c.rec.clone() }

// Faults returns the number of impossible events and the last of them.
func (c *Core) Faults() (int, string) { return c.faults, c.lastFault }

// planReady takes the graph and has it stored.
func (c *Core) planReady(b []byte) {
	if c.plan != nil || c.graphBytes != nil {
		return
	}
	if err := c.setGraph(b); err != nil {
		c.push(scheduler.Fail{Failure: scheduler.Failure{Fatal: true, Unstartable: true, Error: jobview.Error{
			Code: "LEAT1209", Kind: jobview.KindInvalid, What: fmt.Sprintf("the graph of job %q cannot run", c.rec.Name), Why: err.Error(),
		}}})
		return
	}
	c.graphBytes = b
	c.rec.Fingerprint = c.fingerprint
	c.emit(StoreGraph{Key: ObjectPrefix(c.rec.ID) + "graph.json", Graph: b})
}

func (c *Core) graphStored() {
	c.graphBytes, c.planReason = nil, ""
	c.rec.Graph = ObjectPrefix(c.rec.ID) + "graph.json"
	c.touch()
	c.push(scheduler.Planned{Name: c.rec.Name, Plan: c.plan, Fingerprint: c.rec.Fingerprint})
}
