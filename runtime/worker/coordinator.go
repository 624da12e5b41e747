package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/mailbox"
)

const (
	// checkRetryMin and checkRetryMax bound the pause between two checks of
	// the outside world.
	checkRetryMin = time.Second
	checkRetryMax = 30 * time.Second
	// asyncMax bounds the goroutines of the coordinators.
	asyncMax = 64
)

// coordinator is the job's coordinator task: one goroutine that hosts the
// coordinators of all sources, and one that checks sources and sinks at the
// start. What comes before run waits as mail.
type coordinator struct {
	d     *deployment
	box   *mailbox.Mailbox
	ids   []dataflow.OperatorID
	hosts map[dataflow.OperatorID]operators.Coordinator
	log   *slog.Logger
	slots chan struct{} // of async
	after []alarm       // belongs to run's goroutine
}

// alarm is a mail for later.
type alarm struct {
	at time.Time
	fn func() error
}

// newCoordinator makes the coordinators of all sources that have one.
func newCoordinator(d *deployment) (*coordinator, error) {
	c := &coordinator{
		d: d, box: mailbox.New(), hosts: make(map[dataflow.OperatorID]operators.Coordinator),
		log: d.w.cfg.Log.With("task", "coordinator"), slots: make(chan struct{}, asyncMax),
	}
	restored := make(map[string][]byte)
	for _, s := range d.cmd.GetRestore().GetCoordinators() {
		restored[s.GetOperatorId()] = s.GetState()
	}
	for _, n := range d.plan.Graph.Nodes {
		f, ok := n.Factory.(operators.CoordinatorFactory)
		if !ok {
			continue
		}
		host, err := f.NewCoordinator(c.context(n, restored[string(n.ID)]))
		if err != nil {
			return nil, fmt.Errorf("coordinator of %q: %w", n.Name, err)
		}
		c.ids = append(c.ids, n.ID)
		c.hosts[n.ID] = host
	}
	return c, nil
}

func (c *coordinator) context(n *graph.Node, restored []byte) *operators.CoordinatorContext {
	v, w := c.d.plan.VertexOf(n.ID), c.d.w.cfg
	var want func()
	if c.d.cmd.GetCheckpointIntervalMillis() >= 0 {
		want = c.wantCheckpoint
	}
	return &operators.CoordinatorContext{
		Info: dataflow.TaskInfo{
			Job: dataflow.JobID(w.Welcome.GetJobId()), JobName: w.Welcome.GetJobName(), Operator: n.ID, UID: n.UID, Name: n.Name,
			Parallelism: v.Parallelism, MaxParallelism: c.d.plan.Graph.MaxParallelism, Attempt: dataflow.Attempt(w.Welcome.GetAttempt()),
		},
		Parallelism: v.Parallelism, Restored: restored, Clock: w.Clock,
		Log:  c.log.With("operator", n.Name),
		Send: func(subtask int, payload []byte) { c.d.toSubtask(n.ID, subtask, payload) },
		Mail: c.mail, Async: c.async, WantCheckpoint: want, Trouble: func(err error) { c.d.w.troubles.set(n, ofCoordinator, err) },
		After: func(millis int64, fn func() error) {
			at := w.Clock.Now().Add(time.Duration(millis) * time.Millisecond)
			c.mail(func() error {
				c.after = append(c.after, alarm{at: at, fn: fn})
				return nil
			})
		},
	}
}

// mail runs fn on the coordinator's goroutine; safe from any goroutine.
func (c *coordinator) mail(fn func() error) {
	if err := c.box.Put(fn); err != nil && !errors.Is(err, mailbox.ErrClosed) {
		c.fail(err)
	}
}

// async runs fn on a goroutine of its own, then done as mail.
func (c *coordinator) async(fn func() error, done func(error) error) {
	c.d.w.goDo(func() {
		select {
		case c.slots <- struct{}{}:
		case <-c.d.ctx.Done():
			return
		}
		defer func() { <-c.slots }()
		err := fn()
		c.mail(func() error { return done(err) })
	})
}

// event hands a subtask's message to a source's coordinator; safe from any
// goroutine.
func (c *coordinator) event(op dataflow.OperatorID, subtask int, payload []byte) {
	c.mail(func() error {
		host := c.hosts[op]
		if host == nil {
			return fmt.Errorf("event of subtask %d for operator %s, which has no coordinator", subtask, op)
		}
		return host.HandleEvent(subtask, payload)
	})
}

// snapshot reports the state of all coordinators; safe from any goroutine.
func (c *coordinator) snapshot(id dataflow.CheckpointID) {
	c.mail(func() error {
		s := &controlv1.CoordinatorSnapshot{Id: int64(id)}
		for _, op := range c.ids {
			b, err := c.hosts[op].Snapshot(id)
			if err != nil {
				return fmt.Errorf("snapshot of the coordinator of operator %s: %w", op, err)
			}
			s.Coordinators = append(s.Coordinators, &controlv1.CoordinatorState{OperatorId: string(op), State: b})
		}
		// A link that is gone is seen by the receiver.
		_ = c.d.w.cfg.Link.Send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CoordinatorSnapshot{CoordinatorSnapshot: s}})
		return nil
	})
}

func (c *coordinator) wantCheckpoint() {
	// A link that is gone is seen by the receiver.
	_ = c.d.w.cfg.Link.Send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CheckpointWanted{CheckpointWanted: &controlv1.CheckpointWanted{}}})
}

// committed tells the coordinators of a commit; safe from any goroutine.
func (c *coordinator) committed(id dataflow.CheckpointID) {
	c.mail(func() error {
		for _, op := range c.ids {
			l, ok := c.hosts[op].(operators.CheckpointListener)
			if !ok {
				continue
			}
			if err := l.CheckpointCommitted(id); err != nil {
				return fmt.Errorf("coordinator of operator %s, checkpoint %d committed: %w", op, id, err)
			}
		}
		return nil
	})
}

// run is the coordinator's goroutine, until the deployment is cancelled or a
// coordinator fails.
func (c *coordinator) run() {
	defer c.box.Close()
	c.d.w.goDo(c.check)
	err := c.guard(c.startAll)
	if err == nil {
		err = c.loop()
	}
	if err != nil && c.d.ctx.Err() == nil {
		c.fail(err)
	}
	for _, op := range c.ids {
		if err := c.guard(c.hosts[op].Close); err != nil {
			c.log.Warn("closing a coordinator", "operator", op, "err", err)
		}
	}
}

func (c *coordinator) startAll() error {
	for _, op := range c.ids {
		if err := c.hosts[op].Start(); err != nil {
			return fmt.Errorf("starting the coordinator of operator %s: %w", op, err)
		}
	}
	return nil
}

func (c *coordinator) loop() error {
	clk := c.d.w.cfg.Clock
	timer := clk.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.box.Arm()
		did, err := c.step(clk.Now())
		if err != nil {
			return err
		}
		if did {
			continue
		}
		timer.Reset(c.pause(clk.Now()))
		select {
		case <-c.d.ctx.Done():
			return nil
		case <-c.box.C():
		case <-timer.C():
		}
	}
}

// step runs what waits and what is due.
func (c *coordinator) step(now time.Time) (did bool, err error) {
	for _, m := range c.box.Take(nil) {
		if err := c.guard(m); err != nil {
			return true, err
		}
		did = true
	}
	due := slices.IndexFunc(c.after, func(a alarm) bool { return !a.at.After(now) })
	if due < 0 {
		return did, nil
	}
	fn := c.after[due].fn
	c.after = slices.Delete(c.after, due, due+1)
	return true, c.guard(fn)
}

func (c *coordinator) pause(now time.Time) time.Duration {
	d := time.Hour
	for _, a := range c.after {
		d = min(d, a.at.Sub(now))
	}
	return d
}

// guard turns a panic of user code into an error.
func (c *coordinator) guard(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{value: r, stack: debug.Stack()}
		}
	}()
	return fn()
}

type panicError struct {
	value any
	stack []byte
}

// Error implements error.
func (p *panicError) Error() string { return fmt.Sprintf("panic in the coordinator: %v", p.value) }

func (c *coordinator) fail(err error) {
	var fatal *connectors.FatalError
	f := plainFailure(err, errors.As(err, &fatal))
	var p *panicError
	if errors.As(err, &p) {
		f.Panic, f.Stack = true, string(p.stack[:min(len(p.stack), stackMax)])
	}
	// Not here: the worker's loop itself may have come this way.
	c.d.w.goDo(func() { c.d.w.post(event{failed: f}) })
}

// stackMax bounds the stack trace that is reported.
const stackMax = 8 << 10

// check asks sources and sinks whether the outside world is as they need it.
func (c *coordinator) check() {
	interval := time.Duration(c.d.cmd.GetCheckpointIntervalMillis()) * time.Millisecond
	info := connectors.CheckInfo{JobName: c.d.w.cfg.Welcome.GetJobName(), CheckpointInterval: interval}
	for _, n := range c.d.plan.Graph.Nodes {
		if checker := checkerOf(n.Factory); checker != nil && !c.checkUntil(n, checker, info) {
			return
		}
	}
}

// checkerOf finds the check of a factory: its own, or one that it makes.
func checkerOf(factory any) connectors.Checker {
	switch f := factory.(type) {
	case connectors.Checker:
		return f
	case interface{ Checker() connectors.Checker }:
		return f.Checker()
	}
	return nil
}

// checkUntil repeats a check until it passes, fails for good or the
// deployment ends.
func (c *coordinator) checkUntil(n *graph.Node, checker connectors.Checker, info connectors.CheckInfo) (passed bool) {
	pause := checkRetryMin
	for {
		err := c.guard(func() error { return checker.Check(c.d.ctx, info) })
		var fatal *connectors.FatalError
		switch {
		case c.d.ctx.Err() != nil:
			return false
		case err == nil:
			c.d.w.troubles.set(n, ofCheck, nil)
			return true
		case errors.As(err, &fatal):
			c.fail(fmt.Errorf("check of %q: %w", n.Name, err))
			return false
		}
		c.d.w.troubles.set(n, ofCheck, err)
		c.log.Warn("a check of the outside world did not pass and is repeated", "operator", n.Name, "err", err, "pause", pause)
		if !sleep(c.d.ctx, c.d.w.cfg.Clock, pause) {
			return false
		}
		pause = min(2*pause, checkRetryMax)
	}
}

func sleep(ctx context.Context, clk clock.Clock, d time.Duration) bool {
	t := clk.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
		return false
	}
}
