package sourceop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	// searching says that a discovery is under way, and searchAgain that
	// another one is to follow at once.
	searching, searchAgain bool
	stage                  stage
}

// stage is what is known of a connectors.StagedEnumerator's current stage.
type stage struct {
	enum      connectors.StagedEnumerator // nil: the source has none
	more      bool                        // another one follows
	advancing bool                        // the next discovery begins it
	ended     map[int]bool                // subtasks whose splits have all ended
	ends      []connectors.EndedSplit
	held      map[int][]string // what subtasks hold, of any stage
	handover  handover
}

// handover is what follows the beginning of a stage: what subtasks hold back
// for the stage before is released when all who read the source have heard
// which outputs are active. A checkpoint that began after they said so has gone
// the same way behind it.
type handover struct {
	begins  bool // the next assignments begin a stage
	waiting bool // for subtasks to take their assignments
	took    map[int]bool
	heard   bool // all have taken them
	// after is a checkpoint that may have begun before that: one behind it has
	// surely not. 0: none yet.
	after dataflow.CheckpointID
}

var (
	_ operators.Coordinator        = (*coordinator)(nil)
	_ operators.CheckpointListener = (*coordinator)(nil)
)

// hold keeps back all splits until a checkpoint with their start positions is
// committed (connectors.Momentary, and each later stage).
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
	c.stage = stage{ended: make(map[int]bool), held: make(map[int][]string)}
	c.stage.enum, _ = enum.(connectors.StagedEnumerator)
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
	if c.searching {
		c.searchAgain = true
		return
	}
	c.searching = true
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
		c.searching = false
		if life.Err() != nil {
			return nil
		}
		if err != nil {
			return c.discoveryFailed(err)
		}
		c.discovered(splits, state)
		return nil
	})
}

// discovered takes what a discovery found.
func (c *coordinator) discovered(splits []connectors.Split, state []byte) {
	c.failures = 0
	c.trouble(nil)
	first := !c.foundOnce
	c.found, c.state, c.foundOnce = splits, state, true
	c.stage.more = c.stage.enum != nil && c.stage.enum.More()
	if c.stage.advancing {
		c.stage.advancing = false
		c.hold = hold{on: c.ctx.WantCheckpoint != nil}
		c.greeted = false
		c.stage.handover = handover{begins: true, took: make(map[int]bool)}
		first = true
	}
	if first {
		c.want()
	}
	if c.searchAgain {
		c.searchAgain = false
		c.discover()
	} else if d := c.enum.Interval(); d > 0 {
		c.ctx.After(d.Milliseconds(), c.again)
	}
	c.assign()
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
	c.searchAgain = false
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
	if e.Ended != nil {
		c.subtaskEnded(subtask, *e.Ended)
		return nil
	}
	if e.Took {
		c.tookOver(subtask)
		return nil
	}
	if e.Held == nil {
		return fmt.Errorf("source %q: subtask %d sent an event that is none of a reader's", c.src.Name(), subtask)
	}
	c.SubtaskRestored(subtask, *e.Held)
	c.registered[subtask] = true
	if c.stage.enum != nil {
		c.stage.held[subtask] = *e.Held
	}
	c.assign()
	return nil
}

// subtaskEnded books that a subtask has read all of the current stage. After
// the last of them the next stage is looked for.
func (c *coordinator) subtaskEnded(subtask int, ends []connectors.EndedSplit) {
	if !c.stage.more || c.stage.advancing || c.stage.ended[subtask] {
		return
	}
	c.stage.ended[subtask] = true
	c.stage.ends = append(c.stage.ends, ends...)
	if len(c.stage.ended) < c.ctx.Parallelism {
		return
	}
	current := c.current()
	ends = slices.DeleteFunc(c.stage.ends, func(s connectors.EndedSplit) bool { return !current[s.ID] })
	slices.SortFunc(ends, func(a, b connectors.EndedSplit) int { return strings.Compare(a.ID, b.ID) })
	c.stage.ends, c.stage.advancing = nil, true
	clear(c.stage.ended)
	c.stage.enum.Advance(ends)
	c.discover()
}

// tookOver books that a subtask acts on the first assignment of a stage.
func (c *coordinator) tookOver(subtask int) {
	h := &c.stage.handover
	if !h.waiting {
		return
	}
	h.took[subtask] = true
	if len(h.took) < c.ctx.Parallelism {
		return
	}
	h.waiting = false
	if c.ctx.WantCheckpoint == nil {
		c.release(false)
		return
	}
	h.heard = true
	c.wantHandover()
}

// wantHandover asks for the checkpoints that end the handover, until they have.
func (c *coordinator) wantHandover() {
	if !c.stage.handover.heard {
		return
	}
	c.ctx.WantCheckpoint()
	c.ctx.After(wantAgainMillis, func() error {
		c.wantHandover()
		return nil
	})
}

func (c *coordinator) release(heard bool) {
	c.stage.handover = handover{}
	for to := range c.ctx.Parallelism {
		c.ctx.Send(to, event{Release: &release{Heard: heard}}.encode())
	}
}

// current are the splits of the current stage.
func (c *coordinator) current() map[string]bool {
	ids := make(map[string]bool, len(c.found))
	for _, s := range c.found {
		ids[s.ID] = true
	}
	return ids
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
	noMore := c.src.Bounded() && c.enum.Interval() == 0 && !c.stage.more
	for to, splits := range perSubtask {
		if len(splits) == 0 && c.greeted {
			continue
		}
		c.ctx.Send(to, event{Assign: &assignment{
			Splits: splits, NoMore: noMore, More: c.stage.more, Passed: c.passed(to, splits),
			Begins: c.stage.handover.begins,
		}}.encode())
	}
	c.greeted = true
	if h := &c.stage.handover; h.begins {
		h.begins, h.waiting = false, true
	}
}

// passed returns what a subtask holds of stages before the current one, and
// books what it is about to hold.
func (c *coordinator) passed(subtask int, more []connectors.Split) []string {
	if !c.stage.more {
		return nil // nothing is held back by ended splits any more
	}
	current := c.current()
	held := c.stage.held[subtask]
	old := slices.DeleteFunc(slices.Clone(held), func(id string) bool { return current[id] })
	held = slices.DeleteFunc(held, func(id string) bool { return !current[id] })
	for _, s := range more {
		held = append(held, s.ID)
	}
	c.stage.held[subtask] = held
	return old
}

// Snapshot implements operators.Coordinator.
func (c *coordinator) Snapshot(cp dataflow.CheckpointID) ([]byte, error) {
	if c.hold.on && c.foundOnce && c.hold.in == 0 {
		c.hold.in = cp
	}
	if h := &c.stage.handover; h.heard && h.after == 0 {
		h.after = cp
	}
	return c.state, nil
}

// CheckpointCommitted implements operators.CheckpointListener.
func (c *coordinator) CheckpointCommitted(cp dataflow.CheckpointID) error {
	if c.hold.on && c.hold.in != 0 && cp >= c.hold.in {
		c.hold.on = false
		c.assign()
	}
	switch h := &c.stage.handover; {
	case !h.heard || h.after == 0:
	case cp > h.after:
		c.release(true)
	default:
		c.ctx.WantCheckpoint()
	}
	return nil
}

// Close implements operators.Coordinator.
func (c *coordinator) Close() error {
	c.cancel()
	return c.enum.Close()
}
