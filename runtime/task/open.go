package task

import (
	"context"
	"fmt"

	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Open restores and opens the operators, last to first, so that an operator's
// output is open when it is. It may block on I/O until ctx ends; ctx is the
// task's life. The error is also the task's failure. Close follows in any case.
func (t *Task) Open(ctx context.Context) (err error) {
	t.ctx = ctx
	t.epoch = t.cfg.Clock.Now()
	defer func() {
		if r := recover(); r != nil {
			t.panicked(r)
		}
		err = t.err
	}()
	bound, err := t.restoreTask(ctx)
	if err != nil {
		t.fail(nil, err)
		return t.err
	}
	t.figures.watermark.Store(bound)
	for i := len(t.nodes) - 1; i >= 0 && t.err == nil; i-- {
		n := t.nodes[i]
		t.current = n
		if err := t.openNode(ctx, n); err != nil {
			t.fail(n, err)
		}
	}
	t.current = nil
	if t.err == nil {
		if err := t.restoreChannels(ctx); err != nil {
			t.fail(nil, err)
		}
	}
	return t.err
}

// Begin is called once before the first Step: what the checkpoint says of
// watermark and end is told to the operators and downstream.
func (t *Task) Begin() {
	if t.err != nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			t.panicked(r)
		}
	}()
	switch {
	case t.finished: // as in the checkpoint
		if t.gate != nil {
			for i := range t.gate.Len() {
				t.ends = append(t.ends, i)
			}
		}
		t.reEnd()
		t.tellRestoredEnd()
	case t.merger.out > dataflow.TimeMin:
		t.advance()
	}
}

// tellRestoredEnd tells a source that it is not polled any more.
func (t *Task) tellRestoredEnd() {
	if t.source == nil {
		return
	}
	if r, ok := t.source.op.(operators.EndRestorer); ok {
		t.current = t.source.node
		if err := r.RestoredEnd(); err != nil {
			t.fail(t.source.node, err)
		}
		t.current = nil
	}
}

// restoreTask reads the task's own state: the watermark is the minimum over
// the old subtasks, and the task had finished if all of them had, or if the
// same subtask had at the same parallelism.
func (t *Task) restoreTask(ctx context.Context) (bound int64, err error) {
	if t.cfg.Restored == nil {
		return dataflow.TimeMin, nil
	}
	old, err := t.cfg.Restored.Task(ctx, t.cfg.Vertex.ID)
	if err != nil || len(old) == 0 {
		return dataflow.TimeMin, err
	}
	bound = dataflow.TimeMax
	finished := true
	for i, b := range old {
		s, err := decodeTaskState(b)
		if err != nil {
			return 0, fmt.Errorf("vertex %q, old subtask %d: %w", t.cfg.Vertex.Name, i, err)
		}
		bound = min(bound, s.watermark)
		finished = finished && s.finished
		if s.finished && i == t.cfg.Subtask && len(old) == t.cfg.Vertex.Parallelism {
			t.finished = !t.cfg.FromSavepoint
		}
	}
	for _, n := range t.nodes {
		finished = finished || t.cfg.Restored.Finished(n.spec.ID)
	}
	t.finished = t.finished || (finished && !t.cfg.FromSavepoint)
	if t.cfg.FromSavepoint && bound == dataflow.TimeMax {
		bound = dataflow.TimeMin // drained: time starts anew, as the user asked
	}
	t.merger.restore(bound)
	return bound, nil
}

func (t *Task) openNode(ctx context.Context, n *node) error {
	c := t.operatorContext(ctx, n)
	if n.spec.Keyed {
		b, err := t.cfg.NewBackend(c.KeyGroups, c.Info.MaxParallelism)
		if err != nil {
			return fmt.Errorf("opening keyed state: %w", err)
		}
		n.state, c.State = b, b
		n.failer, _ = b.(state.Failer)
		if n.incremental, _ = b.(state.Incremental); n.incremental != nil {
			n.chain = chain.New(c.KeyGroups)
		}
		t.measureState(n)
	}
	if r := t.cfg.Restored; r != nil {
		if n.state != nil {
			if err := r.Keyed(ctx, n.spec.ID, c.KeyGroups, n.state.Restore); err != nil {
				return fmt.Errorf("restoring keyed state: %w", err)
			}
			if n.chain != nil {
				n.chain.Resume(r.Chain(n.spec.ID, c.KeyGroups))
			}
			if n.failer != nil {
				if err := n.failer.Err(); err != nil {
					return fmt.Errorf("restoring keyed state: %w", err)
				}
			}
		}
		old, err := r.Operator(ctx, n.spec.ID)
		if err != nil {
			return fmt.Errorf("restoring operator state: %w", err)
		}
		c.Restored = old
	}
	if n.state != nil && n.spec.KeySchema != "" {
		if err := state.NameOperator(state.BindKey(n.state, n.spec.KeySchema), n.spec.UID); err != nil {
			return err
		}
	}
	n.opened = true
	if err := state.NameOperator(n.op.Open(c), n.spec.UID); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	n.commits.opened(n.committer)
	return nil
}

func (t *Task) operatorContext(ctx context.Context, n *node) *operators.Context {
	v, g := t.cfg.Vertex, t.cfg.Plan.Graph
	wake := t.cfg.Mailbox.Wake
	if t.source != nil && n == t.source.node {
		wake = func() {
			t.source.wanted.set()
			t.cfg.Mailbox.Wake()
		}
	}
	return &operators.Context{
		Info: dataflow.TaskInfo{
			Job: t.cfg.Job, JobName: t.cfg.JobName, Operator: n.spec.ID, UID: n.spec.UID, Name: n.spec.Name,
			Subtask: t.cfg.Subtask, Parallelism: v.Parallelism, MaxParallelism: g.MaxParallelism, Attempt: t.cfg.Attempt,
		},
		KeyGroups: dataflow.KeyGroupsOf(t.cfg.Subtask, g.MaxParallelism, v.Parallelism),
		Out:       n.out, Clock: t.cfg.Clock, Attempt: ctx,
		Log:  t.cfg.Log.With("operator", n.spec.Name, "subtask", t.cfg.Subtask),
		Mail: func(fn func() error) { t.operatorMail(n, fn) },
		At: func(millis int64, fn func() error) func() {
			cancel, ok := t.timers.at(n, millis, fn)
			if !ok {
				t.operatorMail(n, func() error { return fmt.Errorf("more than %d timers are set", TimersMax) })
			}
			return cancel
		},
		Wake:          wake,
		SendEvent:     func(payload []byte) { t.cfg.Reporter.Event(n.spec.ID, payload) },
		FromSavepoint: t.cfg.FromSavepoint, CheckpointsOff: t.cfg.CheckpointsOff,
		Incarnation: t.cfg.Incarnation, TxnPool: t.cfg.Pools[n.spec.ID],
		OnError: operators.ErrorPolicy(n.spec.OnError),
		Metrics: newOperatorMetrics(&t.metrics, n.spec.ID),
		Trouble: func(err error) {
			if t.cfg.Trouble != nil {
				t.cfg.Trouble(n.spec, t.cfg.Subtask, err)
			}
		},
	}
}

// operatorMail queues mail of an operator; a mailbox that is full ends the
// task, since what was mailed is lost.
func (t *Task) operatorMail(n *node, fn func() error) {
	err := t.cfg.Mailbox.Put(func() error {
		t.current = n
		return fn()
	})
	if err != nil && !isClosed(err) {
		t.mailLost.CompareAndSwap(nil, &err)
		t.cfg.Mailbox.Wake()
	}
}

// event hands a message of the coordinator to the source.
func (t *Task) event(payload []byte) error {
	if t.source == nil {
		return fmt.Errorf("vertex %q has no source to take an event of %d bytes", t.cfg.Vertex.Name, len(payload))
	}
	t.current = t.source.node
	if err := t.source.op.HandleEvent(payload); err != nil {
		return fmt.Errorf("event of the coordinator: %w", err)
	}
	t.source.wanted.set()
	return nil
}

// Close closes the operators, first to last, on the task's goroutine; what
// they return is logged when the task has not failed already.
func (t *Task) Close() {
	t.cfg.Mailbox.Close()
	t.stopRecording()
	for _, n := range t.nodes {
		if n.opened {
			t.closeNode(n)
		}
	}
}

func (t *Task) closeNode(n *node) {
	defer func() {
		if r := recover(); r != nil {
			t.cfg.Log.Error("panic while an operator was closed", "operator", n.spec.Name, "panic", r)
		}
	}()
	if err := n.op.Close(); err != nil && t.err == nil {
		t.cfg.Log.Warn("closing an operator", "operator", n.spec.Name, "err", err)
	}
	if n.state != nil {
		if err := n.state.Close(); err != nil && t.err == nil {
			t.cfg.Log.Warn("closing keyed state", "operator", n.spec.Name, "err", err)
		}
	}
}
