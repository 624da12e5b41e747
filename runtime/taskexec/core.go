package taskexec

import (
	"fmt"
	"maps"
	"slices"
	"time"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Limits of a taskmanager.
const (
	// plansMax bounds the plan children at a time, plansWaitingMax those that
	// wait for one to end.
	plansMax        = 2
	plansWaitingMax = 64
	// pendingMax bounds the commands for a worker that is not attached yet.
	pendingMax = 1024
)

// coreConfig is what the core's decisions depend on.
type coreConfig struct {
	slots       int
	memoryBytes int64
	cpus        int
	// helloMax is how long a started worker may take to attach.
	helloMax time.Duration
	// awayMax is how long workers go on without any jobmanager.
	awayMax time.Duration
	// planTimeoutMax bounds what a jobmanager may ask for.
	planTimeoutMax time.Duration
	// detachGrace is how long a worker may live on without its session.
	detachGrace time.Duration
	// drainMax is how long a taskmanager that ends waits for its workers to be
	// replaced; 0: not at all.
	drainMax time.Duration
	// jobIdleMax is how long a job's local leftovers are kept after its last
	// worker here has gone: until it has surely restarted, if it does.
	jobIdleMax time.Duration
	relay      relayLimits
}

// core decides what a taskmanager does. Step does no I/O, starts no goroutine
// and reads no clock; commands come out in an order that depends on the
// events alone.
//
// A worker's life:
//
//	STARTING ──▶ RUNNING ──▶ STOPPING ──▶ gone
//	    │            └── exit ──────────▶ gone
//	    └── failed or cancelled ────────▶ gone
type core struct {
	cfg     coreConfig
	now     time.Time
	out     []command
	workers map[string]*workerState
	plans   planTable
	leader  leaderState
	relay   relay
	ending  bool // all workers are being ended
	// drainBy is when a taskmanager that drains ends what is left; zero: it
	// does not drain.
	drainBy time.Time
	exits   map[string]int64
	left    map[string]time.Time // jobs without a worker here, since when

	ownMemory  int64
	cpuSeconds float64
}

func newCore(cfg coreConfig, now time.Time) *core {
	return &core{
		cfg: cfg, now: now,
		workers: make(map[string]*workerState), exits: make(map[string]int64), left: make(map[string]time.Time),
		plans:  planTable{running: make(map[string]bool)},
		leader: leaderState{awaySince: now},
		relay:  relay{limits: cfg.relay},
	}
}

// step applies one event and returns the commands that the driver carries
// out, in order.
func (c *core) step(now time.Time, ev event) []command {
	c.now, c.out = now, nil
	switch e := ev.(type) {
	case evConnected:
		c.connected(e.registered)
	case evDisconnected:
		c.disconnected()
	case evMessage:
		c.message(e.m)
	case evPlanned:
		c.planned(e.result)
	case evSample:
		c.sampled(e)
	case evTick:
		c.tick()
	case evShutdown:
		c.drain()
	default:
		c.workerEvent(ev)
	}
	return c.out
}

func (c *core) workerEvent(ev event) {
	switch e := ev.(type) {
	case evStarted:
		c.started(e)
	case evStartFailed:
		c.startFailed(e)
	case evExited:
		c.exited(e)
	case evAttached:
		c.attached(e.worker)
	case evDetached:
		c.detached(e.worker)
	case evWorker:
		c.workerSaid(e)
	case evWorkerStuck:
		if w := c.workers[e.worker]; w != nil {
			c.kill(w, reasonLinkLost)
		}
	default:
		panic(fmt.Sprintf("taskexec: event %T has no handler", ev))
	}
}

func (c *core) do(cmd command) { c.out = append(c.out, cmd) }

// message carries out what the leader says. A session that is being dropped
// is not listened to.
func (c *core) message(m *controlv1.JobManagerMessage) {
	if !c.leader.up {
		return
	}
	switch b := m.GetBody().(type) {
	case *controlv1.JobManagerMessage_HeartbeatAck:
		c.heartbeatAcked(b.HeartbeatAck.GetSequence())
	case *controlv1.JobManagerMessage_Plan:
		c.plan(b.Plan)
	case *controlv1.JobManagerMessage_StartWorker:
		c.start(b.StartWorker)
	case *controlv1.JobManagerMessage_StopWorker:
		c.stop(b.StopWorker)
	case *controlv1.JobManagerMessage_WorkerCommand:
		c.deliver(b.WorkerCommand)
	case *controlv1.JobManagerMessage_ReadLog:
		c.do(cmdReadLog{req: b.ReadLog})
	case *controlv1.JobManagerMessage_Drained:
		if c.draining() {
			c.shutdown()
		}
	}
}

func (c *core) tick() {
	c.heartbeat()
	c.awayCheck()
	if c.draining() && (len(c.workers) == 0 || !c.now.Before(c.drainBy)) {
		c.shutdown()
	}
	for _, id := range c.workerIDs() {
		c.overdue(c.workers[id])
	}
	c.forgetJobs()
}

// leave notes that a worker of the job is no more.
func (c *core) leave(job string) {
	for _, w := range c.workers {
		if w.start.GetJobId() == job {
			return
		}
	}
	c.left[job] = c.now
}

func (c *core) forgetJobs() {
	for _, job := range slices.Sorted(maps.Keys(c.left)) {
		if c.now.Sub(c.left[job]) >= c.cfg.jobIdleMax {
			delete(c.left, job)
			c.do(cmdForgetJob{job: job})
		}
	}
}

// sampled ends workers that hold more memory than their share.
func (c *core) sampled(e evSample) {
	c.ownMemory, c.cpuSeconds = e.ownMemory, e.cpuSeconds
	for _, id := range c.workerIDs() {
		w := c.workers[id]
		rss, ok := e.memory[id]
		if !ok {
			continue
		}
		w.memory = rss
		if w.phase != phaseStarting && !w.killed && rss > w.share {
			w.note = fmt.Sprintf("it held %d MiB, its share is %d MiB", rss>>20, w.share>>20)
			c.kill(w, ReasonOOM)
		}
	}
}

// drain asks the leader to replace the workers elsewhere. Without a leader, or
// time for it, they end at once, as when it is asked again.
func (c *core) drain() {
	if c.draining() || c.ending || !c.leader.up || len(c.workers) == 0 || c.cfg.drainMax <= 0 {
		c.shutdown()
		return
	}
	c.drainBy = c.now.Add(c.cfg.drainMax)
	c.report(&controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_Drain{Drain: &controlv1.Drain{}}})
}

func (c *core) draining() bool { return !c.drainBy.IsZero() && !c.ending }

func (c *core) shutdown() {
	c.ending = true
	for _, id := range c.workerIDs() {
		c.terminate(c.workers[id], ReasonTaskManager, c.cfg.detachGrace)
	}
	c.cancelPlans()
}

// idle reports whether nothing is left to wait for at shutdown.
func (c *core) idle() bool {
	return c.ending && len(c.workers) == 0 && len(c.plans.running) == 0
}

// workerIDs are sorted: no decision depends on the order of a map.
func (c *core) workerIDs() []string {
	ids := make([]string, 0, len(c.workers))
	for id := range c.workers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// running lists the workers for a registration.
func (c *core) running() []*controlv1.RunningWorker {
	var out []*controlv1.RunningWorker
	for _, id := range c.workerIDs() {
		w := c.workers[id]
		out = append(out, &controlv1.RunningWorker{
			JobId: w.start.GetJobId(), Attempt: w.start.GetAttempt(), WorkerId: id, Pid: w.pid,
		})
	}
	return out
}

func (c *core) slotsUsed() int {
	n := 0
	for _, w := range c.workers {
		n += int(w.start.GetSlots())
	}
	return n
}

func (c *core) memoryUsed() int64 {
	n := c.ownMemory
	for _, w := range c.workers {
		n += w.memory
	}
	return n
}
