package sourceop

import (
	"context"
	"errors"
	"fmt"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
)

// Bounds of the delay between failed discoveries.
const (
	retryMillis    = 200
	retryMillisMax = 10_000
)

// coordinator assigns splits: once all subtasks have told what they hold,
// each split that nobody holds goes to its owner. Only what readers report
// counts, never what an earlier life of the coordinator had sent.
type coordinator struct {
	ctx        *operators.CoordinatorContext
	src        connectors.Source
	enum       connectors.Enumerator
	cancel     context.CancelFunc
	discover   func() // starts a discovery
	state      []byte // the enumerator's, as of the last discovery
	registered map[int]bool
	taken      map[string]bool // held by a reader or sent to one
	found      []connectors.Split
	foundOnce  bool
	greeted    bool // each subtask got its first assignment
	failures   int
	hold       hold
}

var (
	_ operators.Coordinator        = (*coordinator)(nil)
	_ operators.CheckpointListener = (*coordinator)(nil)
)

// hold keeps back all splits until a checkpoint with their start positions is
// committed (connectors.Momentary).
type hold struct {
	on bool
	// in is the first checkpoint that has the positions, 0: none yet.
	in dataflow.CheckpointID
}

// wantAgainMillis is the time between two wishes for that checkpoint.
const wantAgainMillis = 2000

func newCoordinator(src connectors.Source, ctx *operators.CoordinatorContext) (*coordinator, error) {
	enum, err := src.NewEnumerator(&connectors.EnumeratorContext{
		Info: ctx.Info, Restored: ctx.Restored, Clock: ctx.Clock, Log: ctx.Log, Trouble: ctx.Trouble,
	})
	if err != nil {
		return nil, fmt.Errorf("source %q: %w", src.Name(), err)
	}
	c := &coordinator{
		ctx: ctx, src: src, enum: enum, state: ctx.Restored,
		registered: make(map[int]bool), taken: make(map[string]bool),
	}
	m, ok := enum.(connectors.Momentary)
	c.hold.on = ok && m.Momentary() && ctx.Restored == nil && ctx.WantCheckpoint != nil
	// The context ends with the coordinator, not with the caller of this
	// function: discoveries run for the whole attempt.
	life, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.discover = func() { c.startDiscovery(life) }
	return c, nil
}

// Start implements operators.Coordinator.
func (c *coordinator) Start() error {
	c.discover()
	return nil
}

func (c *coordinator) startDiscovery(life context.Context) {
	var splits []connectors.Split
	var state []byte
	c.ctx.Async(func() error {
		var err error
		if splits, err = c.enum.Discover(life); err != nil {
			return err
		}
		// Snapshot must not run beside Discover, so it is taken here.
		state, err = c.enum.Snapshot()
		return err
	}, func(err error) error {
		if life.Err() != nil {
			return nil
		}
		if err != nil {
			return c.discoveryFailed(err)
		}
		c.failures = 0
		c.trouble(nil)
		first := !c.foundOnce
		c.found, c.state, c.foundOnce = splits, state, true
		if first {
			c.want()
		}
		if d := c.enum.Interval(); d > 0 {
			c.ctx.After(d.Milliseconds(), c.again)
		}
		c.assign()
		return nil
	})
}

func (c *coordinator) trouble(err error) {
	if c.ctx.Trouble != nil {
		c.ctx.Trouble(err)
	}
}

func (c *coordinator) again() error {
	c.discover()
	return nil
}

func (c *coordinator) discoveryFailed(err error) error {
	if fatal := (*connectors.FatalError)(nil); errors.As(err, &fatal) {
		return fmt.Errorf("source %q: %w", c.src.Name(), err)
	}
	c.trouble(fmt.Errorf("source %q cannot find its splits: %w", c.src.Name(), err))
	delay := min(int64(retryMillis)<<min(c.failures, 10), retryMillisMax)
	c.failures++
	c.ctx.Log.Warn("finding splits failed, trying again", "source", c.src.Name(), "failures", c.failures, "delayMillis", delay, "error", err)
	c.ctx.After(delay, c.again)
	return nil
}

// SubtaskRestored implements operators.Coordinator. It only adds knowledge:
// a subtask counts as registered by its own event.
func (c *coordinator) SubtaskRestored(_ int, splits []string) {
	for _, id := range splits {
		c.taken[id] = true
	}
}

// HandleEvent implements operators.Coordinator.
func (c *coordinator) HandleEvent(subtask int, payload []byte) error {
	e, err := decodeEvent(payload)
	if err != nil {
		return err
	}
	if e.Held == nil {
		return fmt.Errorf("source %q: subtask %d sent an event that is none of a reader's", c.src.Name(), subtask)
	}
	c.SubtaskRestored(subtask, *e.Held)
	c.registered[subtask] = true
	c.assign()
	return nil
}

// want asks for the checkpoint that ends the hold, until there is one.
func (c *coordinator) want() {
	if !c.hold.on {
		return
	}
	c.ctx.WantCheckpoint()
	c.ctx.After(wantAgainMillis, func() error {
		c.want()
		return nil
	})
}

func (c *coordinator) assign() {
	if c.hold.on || !c.foundOnce || len(c.registered) < c.ctx.Parallelism {
		return
	}
	perSubtask := make([][]connectors.Split, c.ctx.Parallelism)
	for _, s := range c.found {
		if c.taken[s.ID] {
			continue
		}
		c.taken[s.ID] = true
		to := Owner(c.src, s.ID, c.ctx.Parallelism)
		perSubtask[to] = append(perSubtask[to], s)
	}
	noMore := c.src.Bounded() && c.enum.Interval() == 0
	for to, splits := range perSubtask {
		if len(splits) == 0 && c.greeted {
			continue
		}
		c.ctx.Send(to, event{Assign: &assignment{Splits: splits, NoMore: noMore}}.encode())
	}
	c.greeted = true
}

// Snapshot implements operators.Coordinator.
func (c *coordinator) Snapshot(cp dataflow.CheckpointID) ([]byte, error) {
	if c.foundOnce && c.hold.in == 0 {
		c.hold.in = cp
	}
	return c.state, nil
}

// CheckpointCommitted implements operators.CheckpointListener.
func (c *coordinator) CheckpointCommitted(cp dataflow.CheckpointID) error {
	if c.hold.on && c.hold.in != 0 && cp >= c.hold.in {
		c.hold.on = false
		c.assign()
	}
	return nil
}

// Close implements operators.Coordinator.
func (c *coordinator) Close() error {
	c.cancel()
	return c.enum.Close()
}
