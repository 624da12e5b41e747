package scheduler

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/slots"
)

// Limits.
const (
	// ExceptionsMax bounds the history of failures of a job.
	ExceptionsMax = 50
	// settleTriesMax bounds the attempts made only to settle effects.
	settleTriesMax = 3
)

// Config is what a Scheduler needs to know.
type Config struct {
	Job  dataflow.JobID
	Name string
	// Restart is the strategy after a failure, with defaults filled in.
	Restart graph.Restart
	// Random is the source of jitter; it must be given.
	Random *rand.Rand
	// LastAttempt is the highest attempt number ever recorded, 0 for none.
	LastAttempt dataflow.Attempt
	// Restarts is the recorded number of restarts after failures.
	Restarts int
	// Recovered are the workers recorded for LastAttempt. While the goal is to
	// run they are attached; else, and when that does not succeed, they are
	// ended before the first attempt of this scheduler.
	Recovered []Worker
	// Goal is the recorded goal.
	Goal Goal
	// Effects says that side effects may be unconfirmed (see Effects).
	Effects bool

	// StartTimeout bounds the time until a started worker is ready.
	StartTimeout time.Duration // default 60 s
	// DeployTimeout bounds the time until a worker has opened and restored its
	// tasks. While it says what outside it waits for, the time starts anew.
	DeployTimeout time.Duration // default 10 min
	// StopGrace is how long a worker may take to end by itself when the job
	// ends; after a failure it has FailureGrace.
	StopGrace    time.Duration // default 10 s
	FailureGrace time.Duration // default 500 ms
	// StopTimeout is the time after which a taskmanager that does not report
	// the exit of a worker is cut off.
	StopTimeout time.Duration // default 30 s
	// StopRepeat is the time between two orders to stop.
	StopRepeat time.Duration // default 5 s
	// TakeoverGrace is how long recovered workers of a taskmanager that does
	// not register are taken to be alive, and how long those that are asked
	// where they stand may take to answer.
	TakeoverGrace time.Duration // default 10 s
	// SettleTimeout bounds the time a cancelled or failed job waits for side
	// effects to be confirmed.
	SettleTimeout time.Duration // default 60 s
}

// EnsureDefaults fills what is not set.
func (c *Config) EnsureDefaults() {
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{
		{&c.StartTimeout, time.Minute},
		{&c.DeployTimeout, 10 * time.Minute},
		{&c.StopGrace, 10 * time.Second},
		{&c.FailureGrace, 500 * time.Millisecond},
		{&c.StopTimeout, 30 * time.Second},
		{&c.StopRepeat, 5 * time.Second},
		{&c.TakeoverGrace, 10 * time.Second},
		{&c.SettleTimeout, time.Minute},
	} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
}

// Scheduler is the state machine of one job. It is not safe for concurrent
// use. Times given to Step come from one clock and carry its monotonic
// reading.
type Scheduler struct {
	cfg         Config
	state       State
	since       time.Time
	stateSince  map[jobview.JobState]time.Time
	goal        Goal
	plan        *graph.Plan
	next        *graph.Plan // of the next attempt, when it is another
	ran         bool        // an attempt has run
	fingerprint string
	restart     restarter
	attempt     attempt          // live, or the one that is being ended
	last        dataflow.Attempt // highest number used
	restarts    int
	reason      string
	cause       string              // why the goal is to fail
	exceptions  []jobview.Exception // newest first
	stale       int

	effects     bool      // unconfirmed side effects
	litter      bool      // an attempt has run whose sinks may have left open what no checkpoint holds
	settleBy    time.Time // zero: no limit now
	settleTries int
	giveUp      bool // end without settling

	delay     time.Duration // before the next attempt
	wakeAt    time.Time     // Backoff: when the next attempt begins
	stopAgain time.Time     // Stopping: when to repeat the order
	stopBy    time.Time     // Stopping: when to cut taskmanagers off
	takeover  time.Time     // when unseen workers are taken for lost
	attachBy  time.Time     // Attaching: when all must have answered
	out       []Command
}

// New returns the scheduler of a job that is new, or recovered at now.
func New(cfg Config, now time.Time) *Scheduler {
	cfg.EnsureDefaults()
	s := &Scheduler{
		cfg: cfg, since: now, goal: cfg.Goal, last: cfg.LastAttempt, restarts: cfg.Restarts,
		effects: cfg.Effects, restart: restarter{cfg: cfg.Restart, rng: cfg.Random},
		reason: "waits for its plan", stateSince: make(map[jobview.JobState]time.Time),
	}
	if s.goal != GoalRun && s.goal != GoalFinish {
		s.settleBy = now.Add(cfg.SettleTimeout)
	}
	if len(cfg.Recovered) > 0 {
		s.attempt = recovered(cfg.LastAttempt, cfg.Recovered)
		s.takeover = now.Add(cfg.TakeoverGrace)
		s.state, s.reason = Stopping, fmt.Sprintf("a new leader ends the workers of attempt %d", cfg.LastAttempt)
		if s.goal == GoalRun {
			s.state, s.reason = Attaching, fmt.Sprintf("a new leader looks for the workers of attempt %d", cfg.LastAttempt)
		}
	}
	s.stateSince[s.View()] = now
	return s
}

// Step applies one event and returns what to do, in order.
func (s *Scheduler) Step(now time.Time, ev Event) []Command {
	s.out = nil
	if s.state.Terminal() {
		return nil
	}
	before := s.View()
	s.apply(now, ev)
	if v := s.View(); v != before {
		s.stateSince[v] = now
	}
	return s.out
}

func (s *Scheduler) apply(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case Planned:
		s.planned(now, ev)
	case Replan:
		s.replan(now, ev)
	case Tick:
		s.tick(now)
	case SlotsGranted:
		s.granted(now, ev.Shares)
	case SlotsShort:
		if s.state == Waiting {
			s.reason = fmt.Sprintf("LEAT2101: job %q waits for slots: %s", s.cfg.Name, ev.Reason)
		}
	case Prepared:
		s.prepared(now, ev.Attempt)
	case PrepareFailed:
		if s.state == Preparing && ev.Attempt == s.attempt.number {
			s.attemptFailed(now, ev.Failure)
		}
	case Cancel:
		s.cancel(now)
	case Fail:
		s.fail(now, ev.Failure)
	case Finish:
		s.finish(now)
	case Effects:
		s.effectsChanged(now, ev.Pending)
	default:
		s.applyCluster(now, ev)
	}
}

// move goes to another state; an illegal transition is a broken invariant.
func (s *Scheduler) move(now time.Time, to State, reason string) {
	if !mayFollow(s.state, to) {
		panic(fmt.Sprintf("scheduler: job %s: transition %s to %s is not allowed", s.cfg.Job, s.state, to))
	}
	s.state, s.since, s.reason = to, now, reason
}

func (s *Scheduler) emit(c Command) { s.out = append(s.out, c) }

// planned notes the plan and asks for slots.
func (s *Scheduler) planned(now time.Time, ev Planned) {
	if s.plan != nil {
		return
	}
	s.plan, s.fingerprint, s.cfg.Name = ev.Plan, ev.Fingerprint, cmp.Or(ev.Name, s.cfg.Name)
	s.restart.cfg = ev.Plan.Graph.Config.Restart
	switch s.state {
	case Created:
		s.proceed(now)
	case Attaching:
		s.attach(now)
	}
}

// proceed goes on from a state in which no worker lives, by the goal.
func (s *Scheduler) proceed(now time.Time) {
	if s.goal != GoalRun && !s.mustSettle() {
		s.end(now)
		return
	}
	if s.plan == nil {
		if s.state != Created {
			s.move(now, Created, "waits for its plan")
		}
		return
	}
	if s.delay > 0 {
		s.wakeAt = now.Add(s.delay)
		s.move(now, Backoff, s.backoffReason())
		return
	}
	s.awaitSlots(now)
}

func (s *Scheduler) awaitSlots(now time.Time) {
	if s.next != nil {
		s.plan, s.next = s.next, nil
	}
	s.move(now, Waiting, "waits for slots")
	s.emit(AcquireSlots{N: s.plan.Slots()})
}

// granted begins an attempt on the slots. An answer for another number is one
// for a plan that has been replaced meanwhile; that for this one is to come.
func (s *Scheduler) granted(now time.Time, shares []slots.Share) {
	n := 0
	for _, sh := range shares {
		n += sh.Slots
	}
	if s.state != Waiting || n != s.plan.Slots() {
		return
	}
	s.last++
	s.attempt = newAttempt(s.cfg.Job, s.last, s.plan, shares)
	s.attempt.settling = s.goal != GoalRun
	s.move(now, Preparing, fmt.Sprintf("prepares attempt %d", s.last))
	s.emit(Prepare{Attempt: s.last})
}

// replan ends the attempt and starts the next one with another plan. It is no
// failure, and no delay comes before it.
func (s *Scheduler) replan(now time.Time, ev Replan) {
	if s.goal != GoalRun || s.plan == nil {
		return
	}
	s.next = ev.Plan
	switch s.state {
	case Waiting:
		s.plan, s.next = s.next, nil
		s.emit(AcquireSlots{N: s.plan.Slots()})
	case Preparing:
		s.attempt.abandon()
		s.awaitSlots(now)
	case Starting, Deploying, Running, Attaching:
		s.attempt.replaced = ev.Reason
		s.stop(now, s.cfg.FailureGrace)
	}
}

func (s *Scheduler) prepared(now time.Time, n dataflow.Attempt) {
	if s.state != Preparing || n != s.attempt.number {
		return
	}
	s.move(now, Starting, s.progress("starts %d workers, %d ready", workerNew))
	for _, w := range s.attempt.workers {
		s.emit(StartWorker{Worker: w.Worker})
	}
}

// cancel sets the goal and leads there from every state.
func (s *Scheduler) cancel(now time.Time) {
	again := s.goal == GoalCancel
	s.goal = GoalCancel
	if again {
		s.giveUp = true
	} else {
		s.settleBy = now.Add(s.cfg.SettleTimeout)
	}
	s.towardsEnd(now)
}

// finish sets the goal once the job's last checkpoint is committed.
func (s *Scheduler) finish(now time.Time) {
	if s.goal != GoalRun {
		return
	}
	s.goal = GoalFinish
	s.towardsEnd(now)
}

// fail makes the attempt fail; without one, a fatal failure ends the job.
func (s *Scheduler) fail(now time.Time, f Failure) {
	switch {
	case s.state == Preparing || s.live():
		s.attemptFailed(now, f)
	case f.Fatal && s.goal == GoalRun:
		s.note(now, f, false)
		s.goalFail(now, f)
		s.towardsEnd(now)
	}
}

func (s *Scheduler) goalFail(now time.Time, f Failure) {
	s.goal, s.delay = GoalFail, 0
	s.settleBy = now.Add(s.cfg.SettleTimeout)
	s.giveUp = s.giveUp || f.Unstartable
	s.cause = f.Error.Error()
}

// towardsEnd acts on a goal other than to run, or on a change of what must
// still be settled.
func (s *Scheduler) towardsEnd(now time.Time) {
	switch s.state {
	case Created, Waiting, Preparing, Backoff:
		if !s.mustSettle() {
			s.end(now)
		} else if s.state == Backoff {
			s.wakeAt = now
		} else if s.state == Preparing {
			s.attempt.settling = true
		}
	case Starting, Deploying:
		if !s.mustSettle() {
			s.stop(now, s.cfg.StopGrace)
		}
		s.attempt.settling = true
	case Attaching:
		if !s.mustSettle() {
			s.stop(now, s.cfg.StopGrace)
		}
	case Running:
		if !s.mustConfirm() {
			s.stop(now, s.cfg.StopGrace)
			return
		}
		s.reason = "waits until the side effects of the last checkpoint are confirmed"
		s.emit(Settle{})
	}
}

// mustConfirm reports whether effects must be confirmed before the end.
func (s *Scheduler) mustConfirm() bool { return s.effects && !s.giveUp && s.plan != nil }

// mustSettle reports whether an attempt must settle before the end: commit
// what the last checkpoint holds, or abort what else was prepared, as for a
// checkpoint that was never committed. Left alone it would hold back readers
// of committed records until its time-out. A job that finishes has committed
// everything.
func (s *Scheduler) mustSettle() bool {
	return s.mustConfirm() || s.litter && s.goal != GoalFinish && !s.giveUp && s.plan != nil
}

// transactional reports whether sinks of the plan take part in two-phase commit.
func (s *Scheduler) transactional() bool {
	return slices.ContainsFunc(s.plan.Graph.Nodes, func(n *graph.Node) bool { return n.Transactional })
}

func (s *Scheduler) effectsChanged(now time.Time, pending bool) {
	s.effects = pending
	if !pending && s.goal != GoalRun {
		s.towardsEnd(now)
	}
}

// end moves to the terminal state of the goal.
func (s *Scheduler) end(now time.Time) {
	to := s.goal.terminal()
	var reasons []string
	if s.effects && s.goal == GoalFinish {
		to = Failed
	}
	switch {
	case to != Failed:
	case s.cause != "":
		reasons = append(reasons, s.cause)
	case len(s.exceptions) > 0:
		reasons = append(reasons, s.exceptions[0].Error.Error())
	}
	if s.effects {
		reasons = append(reasons, "side effects of the last checkpoint may be unconfirmed")
	}
	if s.litter && s.goal != GoalFinish {
		reasons = append(reasons, "transactions that no checkpoint holds may stay open until their time-out")
	}
	s.move(now, to, strings.Join(reasons, "; "))
	s.emit(ReleaseSlots{})
	s.emit(Ended{State: to})
}

// tick acts on the times that have passed.
func (s *Scheduler) tick(now time.Time) {
	if s.mustSettle() && !s.settleBy.IsZero() && !now.Before(s.settleBy) && s.goal != GoalFinish && s.goal != GoalRun {
		s.giveUp = true
		s.towardsEnd(now)
	}
	switch s.state {
	case Backoff:
		if !now.Before(s.wakeAt) {
			s.awaitSlots(now)
		}
	case Starting:
		if now.Sub(s.since) >= s.cfg.StartTimeout {
			s.startTimedOut(now)
		}
	case Deploying:
		if w := s.slowest(); !now.Before(s.deployBy(w)) {
			s.deployTimedOut(now, w)
		}
	case Attaching:
		s.attachTick(now)
	case Stopping:
		s.stopTick(now)
	}
}

// Next returns when Tick is due, or the zero time.
func (s *Scheduler) Next() time.Time {
	var next time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if s.mustSettle() && s.goal != GoalFinish && s.goal != GoalRun {
		at(s.settleBy)
	}
	switch s.state {
	case Backoff:
		at(s.wakeAt)
	case Starting:
		at(s.since.Add(s.cfg.StartTimeout))
	case Deploying:
		at(s.deployBy(s.slowest()))
	case Attaching:
		at(s.takeover)
		at(s.attachBy)
	case Stopping:
		at(s.takeover)
		at(s.stopAgain)
		at(s.stopBy)
	}
	return next
}

// State returns where the job stands.
func (s *Scheduler) State() State { return s.state }

// Goal returns what it is heading for.
func (s *Scheduler) Goal() Goal { return s.goal }

// Reason tells people why the job is not running well, or what it waits for.
func (s *Scheduler) Reason() string {
	switch s.state {
	case Starting:
		return s.progress("starts %d workers, %d ready", workerReady)
	case Deploying:
		return s.progress("deploys to %d workers, %d done", workerDeployed)
	default:
		return s.reason
	}
}

// StateSince returns when each state that people see was entered last.
func (s *Scheduler) StateSince() map[jobview.JobState]time.Time { return s.stateSince }

// Restarts is the number of restarts after failures, over all leaders. A
// restart because the leader has changed does not count.
func (s *Scheduler) Restarts() int { return s.restarts }

// Stale is the number of events dropped because their attempt is over.
func (s *Scheduler) Stale() int { return s.stale }

// Plan returns the plan, nil before it is known.
func (s *Scheduler) Plan() *graph.Plan { return s.plan }

// Exceptions returns the failures, newest first; a copy.
func (s *Scheduler) Exceptions() []jobview.Exception { return slices.Clone(s.exceptions) }

func (s *Scheduler) backoffReason() string {
	cause := "failed"
	if len(s.exceptions) > 0 {
		cause = s.exceptions[0].Error.What
	}
	return fmt.Sprintf("%s; attempt %d follows in %s", cause, s.last+1, s.delay.Round(time.Millisecond))
}
