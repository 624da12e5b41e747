package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/mailbox"
	"github.com/leatstream/leat/runtime/task"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// rig runs all subtasks of a program in this process, each a real task on a
// goroutine of its own, with real channels between them: what a worker does,
// without control plane and checkpoints.
type rig struct {
	plan  *graph.Plan
	locks sync.WaitGroup
	tasks map[place]*running
}

type place struct{ vertex, subtask int }

type running struct {
	place place
	box   *mailbox.Mailbox
	gate  *exchange.Gate
	task  *task.Task
	done  chan struct{} // closed when the end has left the task
	once  sync.Once
}

// newRig plans a program and builds its tasks. feeds take the place of the
// sources with their UIDs.
func newRig(g *graph.JobGraph, parallelism int, feeds map[string]operators.Factory) (*rig, error) {
	for _, n := range g.Nodes {
		if f, ok := feeds[n.UID]; ok {
			n.Factory = f
		}
	}
	plan, err := graph.Build(g, parallelism)
	if err != nil {
		return nil, err
	}
	r := &rig{plan: plan, tasks: map[place]*running{}}
	for _, v := range plan.Vertices {
		for s := range v.Parallelism {
			t := &running{place: place{v.Index, s}, box: mailbox.New(), done: make(chan struct{})}
			t.gate = r.gate(v, t)
			r.tasks[t.place] = t
		}
	}
	for _, v := range plan.Vertices {
		for s := range v.Parallelism {
			if err := r.build(v, r.tasks[place{v.Index, s}]); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// gate makes the input of a subtask; nil for a source.
func (r *rig) gate(v *graph.Vertex, t *running) *exchange.Gate {
	if len(v.Inputs) == 0 {
		return nil
	}
	var specs []exchange.ChannelSpec
	for _, si := range v.Inputs {
		s := r.plan.Streams[si]
		rt, _ := s.Edge.Type.(columnar.RowType) // checked where the output is made
		from := r.plan.Vertices[s.From].Parallelism
		for f := range from {
			for _, to := range graph.ChannelTargets(s.Edge.Partitioning, f, from, v.Parallelism) {
				if to == t.place.subtask {
					specs = append(specs, exchange.ChannelSpec{ID: exchange.ChannelID{Stream: si, From: f, To: to}, Input: s.Edge.Input, Type: rt})
				}
			}
		}
	}
	return exchange.NewGate(specs, t.box.Wake)
}

func (r *rig) build(v *graph.Vertex, t *running) (err error) {
	var outs []*exchange.Output
	for _, si := range v.Outputs {
		s := r.plan.Streams[si]
		to := r.plan.Vertices[s.To].Parallelism
		var targets []exchange.Sender
		for _, n := range graph.ChannelTargets(s.Edge.Partitioning, t.place.subtask, v.Parallelism, to) {
			ch := r.tasks[place{s.To, n}].gate.Find(exchange.ChannelID{Stream: si, From: t.place.subtask, To: n})
			ch.SetProducer(t.box.Wake)
			targets = append(targets, ch)
		}
		o, err := exchange.NewOutput(exchange.OutputConfig{
			Edge: s.Edge, MaxParallelism: r.plan.Graph.MaxParallelism, ToParallelism: to, From: t.place.subtask, Targets: targets,
		})
		if err != nil {
			return err
		}
		outs = append(outs, o)
	}
	t.task, err = task.New(task.Config{
		Job: "bench", JobName: "bench", Attempt: 1, Plan: r.plan, Vertex: v, Subtask: t.place.subtask,
		Mailbox: t.box, Gate: t.gate, Outputs: outs, CheckpointsOff: true, Incarnation: "bench",
		NewBackend: func(groups dataflow.KeyGroupRange, maxP int) (state.Backend, error) {
			return memstate.New(groups, maxP), nil
		},
		Clock: clock.Real{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Async: func(fn func()) { fn() }, Reporter: t,
	})
	return err
}

// run lets all tasks work until the end of input has passed each.
func (r *rig) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, t := range r.tasks {
		if err := t.task.Open(ctx); err != nil {
			return fmt.Errorf("open: %w", err)
		}
	}
	failed := make(chan error, len(r.tasks))
	for _, t := range r.tasks {
		r.locks.Go(func() {
			t.task.Begin()
			task.Drive(ctx.Done(), t.task, clock.Real{})
			t.task.Close()
			if f := t.task.Failure(); f != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("task %d.%d: %s", t.place.vertex, t.place.subtask, f.GetError().GetWhat())
			}
		})
	}
	err := r.await(ctx, failed)
	cancel()
	r.locks.Wait()
	return err
}

func (r *rig) await(ctx context.Context, failed chan error) error {
	for _, t := range r.tasks {
		select {
		case <-t.done:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// running is its task's Reporter.
var _ task.Reporter = (*running)(nil)

// Snapshot implements task.Reporter.
func (*running) Snapshot(*task.Snapshot) {}

// Declined implements task.Reporter.
func (*running) Declined(dataflow.CheckpointID, string) {}

// Committed implements task.Reporter.
func (*running) Committed(dataflow.CheckpointID) {}

// Finished implements task.Reporter.
func (t *running) Finished() { t.once.Do(func() { close(t.done) }) }

// Event implements task.Reporter.
func (*running) Event(dataflow.OperatorID, []byte) {}
