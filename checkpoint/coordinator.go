package checkpoint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/checkpoint/retention"
	"github.com/leatstream/leat/dataflow"
)

// Coordinator coordinates the checkpoints of one job over all its attempts,
// for as long as one jobmanager leads. At most one checkpoint is under way:
//
//	           all acknowledged        ManifestWritten       PointerMoved
//	collecting ────────────────▶ writing ───────────▶ moving ───────────▶ committed
//	    │                           │                 │ ▲ │
//	    │ decline, time-out,        │ ManifestFailed  │ │ │ PointerUnknown
//	    │ attempt ended,            │  PointerFailed  │ │ ▼
//	    │ invalid ack               │        ┌────────┘ │ reading ──▶ committed (read back)
//	    ▼                           ▼        ▼          │  │   ▲ │
//	  aborted ◀──────────────────────── move retry ─────┘  ▼   │ │ not there: move again
//	               (given up, and never     ▲            read  │ │
//	                after an unknown move)  └── retry ── retry ┘ │
//	                                                    moving ◀─┘
//
// The end of an attempt aborts a checkpoint that is collecting. One that is
// fully acknowledged goes on, since everything it needs is stored: the next
// attempt must wait until Settled, and starts from Latest.
//
// After the commit the workers' side effects are confirmed by CommitDone.
// Savepoints, stops and the final checkpoint are done only then.
//
// Invariants: ids only grow, also over coordinators, because an id is used
// only when Pointer.Reserved >= id is stored; nothing that Pointer.Retained or
// Latest needs is named in a Discard or Sweep; a checkpoint whose pointer move
// has an unknown result is neither aborted nor called committed; an event of
// another attempt than the current one changes nothing.
//
// It is not safe for concurrent use.
type Coordinator struct {
	cfg       Config
	now       time.Time
	pointer   Pointer // as stored
	completed []retention.Checkpoint
	next      dataflow.CheckpointID
	attempt   *attempt
	active    *pending
	queue     []operation // at most OperationsMax
	confirm   []confirming
	reserve   reservation
	leftovers []Discard // of aborted checkpoints, at most leftoversMax

	hastened    dataflow.Attempt // its next periodic checkpoint is due at once
	lastTrigger time.Time
	lastEnd     time.Time
	failures    int
	stale       int
	ended       bool // a stop, drain or final checkpoint has completed
	fenced      bool
	swept       bool
	commands    []Command
}

// leftoversMax bounds the aborted directories that are discarded once more
// after the next commit, when late uploads have arrived; the sweep of the
// next coordinator finds any others.
const leftoversMax = 32

type attempt struct {
	AttemptStarted
	placed    map[Subtask]string
	confirmed map[string]dataflow.CheckpointID // by worker
}

type operation struct {
	Request
	deadline  time.Time // for its turn; zero: none
	notBefore time.Time
}

// confirming is a committed operation that waits for the side effects.
type confirming struct {
	operation
	entry Entry
}

type reservation struct {
	inFlight bool
	retryAt  time.Time
}

// New returns the coordinator of a job. The configuration must be valid.
func New(cfg Config, rec Recovered) (*Coordinator, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Coordinator{cfg: cfg, pointer: rec.Pointer.clone()}
	c.next = c.pointer.Reserved + 1
	for _, e := range c.pointer.Retained {
		c.completed = append(c.completed, c.recovered(e, rec.Completed))
		c.next = max(c.next, e.ID+1)
	}
	c.completed = c.withGone(c.completed)
	if l := c.pointer.Latest; l != nil {
		c.next = max(c.next, l.ID+1)
	}
	return c, nil
}

func (c *Coordinator) recovered(e Entry, known []Completed) retention.Checkpoint {
	r := retention.Checkpoint{ID: e.ID, Dir: c.cfg.Prefix + ObjectDir(e.Savepoint, e.ID), Unknown: true}
	for _, k := range known {
		if k.ID == e.ID {
			r.Objects, r.Unknown = k.Objects, false
		}
	}
	return r
}

// withGone adds, in ascending order, the checkpoints that an earlier
// coordinator removed except for objects that the retained ones need: once
// these do not need them any more, they may go.
func (c *Coordinator) withGone(retained []retention.Checkpoint) []retention.Checkpoint {
	whole := map[dataflow.CheckpointID]bool{}
	left := map[dataflow.CheckpointID][]string{}
	for _, r := range retained {
		whole[r.ID] = true
		for _, key := range r.Objects {
			base := c.cfg.Prefix + checkpointDir
			_, id, ok := ownerOf(base, key)
			if ok && strings.HasPrefix(key, base) && !slices.Contains(left[id], key) {
				left[id] = append(left[id], key)
			}
		}
	}
	all := slices.Clone(retained)
	for id, keys := range left {
		if !whole[id] {
			slices.Sort(keys)
			all = append(all, retention.Checkpoint{ID: id, Dir: c.cfg.Prefix + ObjectDir(false, id), Objects: keys, Gone: true})
		}
	}
	slices.SortStableFunc(all, func(a, b retention.Checkpoint) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Step applies one event and returns the commands the driver must carry out,
// in order. Step does no I/O, starts no goroutine and never reads a clock. An
// error says that the event cannot happen here: nothing was changed.
func (c *Coordinator) Step(ev Event) ([]Command, error) {
	if c.fenced {
		return nil, nil
	}
	c.now, c.commands = ev.Now, nil
	if err := c.apply(ev.Body); err != nil {
		return nil, fmt.Errorf("checkpoints of job %s: %w", c.cfg.Job, err)
	}
	if c.fenced {
		return nil, nil
	}
	c.passTime()
	c.maybeTrigger()
	return c.commands, nil
}

func (c *Coordinator) apply(body Body) error {
	switch e := body.(type) {
	case Tick:
		return nil
	case AttemptStarted:
		return c.onAttemptStarted(e)
	case AttemptEnded:
		return c.onAttemptEnded(e)
	case Hasten:
		c.hastened = max(c.hastened, e.Attempt)
		return nil
	case Request:
		return c.onRequest(e)
	case Ack:
		return c.onAck(e)
	case Snapshot:
		return c.onSnapshot(e)
	case Decline:
		return c.onDecline(e)
	case CommitDone:
		return c.onCommitDone(e)
	case Fenced:
		c.fenced = true
		return nil
	case IDsReserved:
		return c.onReserved(e)
	case ReserveFailed:
		c.reserve = reservation{retryAt: c.now.Add(c.cfg.RetryPause)}
		return nil
	default:
		return c.applyAnswer(body)
	}
}

// Latest returns where a recovery starts: the committed checkpoint with the
// largest id, or nil. It is final for the current attempt's end once Settled.
func (c *Coordinator) Latest() *Entry { return c.pointer.clone().Latest }

// Pointer returns the stored pointer.
func (c *Coordinator) Pointer() Pointer { return c.pointer.clone() }

// Settled reports whether no commit is under way, so that Latest cannot move
// while no attempt runs. An attempt may be restored only then.
func (c *Coordinator) Settled() bool { return c.active == nil || c.active.phase == phaseCollecting }

// Ending reports whether a stop, drain or final checkpoint is wanted, under
// way or done: no other checkpoint is then triggered.
func (c *Coordinator) Ending() bool {
	if c.ended || c.active != nil && c.active.kind.Ending() {
		return true
	}
	for _, op := range c.queue {
		if op.Kind.Ending() {
			return true
		}
	}
	for _, w := range c.confirm {
		if w.Kind.Ending() {
			return true
		}
	}
	return false
}

// Failures returns how many checkpoints in a row were aborted for a cause
// that counts.
func (c *Coordinator) Failures() int { return c.failures }

// Stale returns how many events of other attempts were dropped.
func (c *Coordinator) Stale() int { return c.stale }

// Active returns the summary of the checkpoint under way.
func (c *Coordinator) Active() (Summary, bool) {
	if c.active == nil {
		return Summary{}, false
	}
	return c.active.summary(), true
}

// Wake returns when a Tick is due next; false: not without another event.
func (c *Coordinator) Wake() (time.Time, bool) {
	var at time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if c.fenced {
		return at, false
	}
	if c.active != nil {
		earlier(c.active.deadline)
	}
	for _, op := range c.queue {
		earlier(op.deadline)
	}
	if c.canTrigger() && !c.reserve.inFlight {
		earlier(c.triggerDue())
	}
	return at, !at.IsZero()
}

func (c *Coordinator) command(x Command) { c.commands = append(c.commands, x) }

func (c *Coordinator) workers() []string {
	if c.attempt == nil {
		return nil
	}
	ids := make([]string, 0, len(c.attempt.Workers))
	for _, w := range c.attempt.Workers {
		ids = append(ids, w.ID)
	}
	return ids
}
