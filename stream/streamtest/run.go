// Package streamtest runs a job's graph in one goroutine, for tests and
// examples: no network and the same order every time. Run runs a whole job, as
// it is, on a clock that moves by 100 ms with each poll of the sources, so
// that each batch may end in a watermark; with crashes and restores between
// any two steps it shows that results do not depend on failures or
// parallelism. Check does this in a matrix of ways with scripted inputs. A
// Driver runs a job step by step: a test pushes rows, watermarks and time into
// it and looks at what comes out and what it keeps. None of them is the
// engine: there is no back-pressure, and speed is of no concern.
package streamtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// Options say how a job is run. The zero value runs it at parallelism 1 with
// one checkpoint, at the end.
type Options struct {
	// Parallelism of the operators that have none of their own. After each
	// crash the next one is used, from the first again after the last.
	Parallelism []int
	// CheckpointEvery is the number of polls of sources between checkpoints;
	// 0: only at the end.
	CheckpointEvery int
	// CrashEvery is the number of polls after which the job loses everything
	// and goes on from its last checkpoint; 0: never. It should not divide
	// CheckpointEvery, or no progress is made between.
	CrashEvery int
	// PollsMax bounds a run; default a million. A run that reaches it is an
	// error, or ends well when StopIdle is set and the sources wait.
	PollsMax int
	// StopIdle ends the run when all sources have nothing to deliver, as for
	// sources without an end. What was not committed is committed first.
	StopIdle bool
	// Backend keeps keyed state; default: memory.
	Backend Backend
	// Log takes what operators log; default: dropped.
	Log *slog.Logger
}

const pollsMaxDefault = 1_000_000

// pollTime passes with each poll of the sources: enough for a watermark after
// each batch.
const pollTime = 100 * time.Millisecond

// Figures tell of a run that ended.
type Figures struct {
	// Polls, Checkpoints and Crashes count those of the run.
	Polls, Checkpoints, Crashes int
	// Counters are the sums over all subtasks of the last life, by the
	// operator's UID, a slash and the counter's name.
	Counters map[string]int64
}

// Run runs the job that was built in env to its end.
func Run(ctx context.Context, env *stream.Env, opt Options) (*Figures, error) {
	g, err := env.Graph()
	if err != nil {
		return nil, err
	}
	r := newRunner(ctx, g, opt)
	err = r.run()
	r.figures.Counters = r.counters()
	return &r.figures, errors.Join(err, r.end())
}

// newRunner prepares a run of g.
func newRunner(ctx context.Context, g *graph.JobGraph, opt Options) *runner {
	if len(opt.Parallelism) == 0 {
		opt.Parallelism = []int{1}
	}
	if opt.PollsMax == 0 {
		opt.PollsMax = pollsMaxDefault
	}
	if opt.Backend.Open == nil {
		opt.Backend = Memory()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	return &runner{
		ctx: ctx, graph: g, opt: opt,
		clock: clock.NewManual(time.UnixMilli(1_767_225_600_000)), // 2026-01-01
	}
}

// runner is one run. It is driven on one goroutine.
type runner struct {
	ctx     context.Context //nolint:containedctx // the run's, for waiting
	graph   *graph.JobGraph
	opt     Options
	clock   *clock.Manual
	life    *life
	saved   *saved // the last committed checkpoint
	lastID  dataflow.CheckpointID
	figures Figures

	// replace holds operators that stand in for those of the graph, by UID.
	replace  map[string]operators.Operator
	feeds    []*feed
	captures map[port][]capture
	// exactlyOnce forgets at a restart what was captured since the checkpoint.
	exactlyOnce bool
	// wire makes rows that are partitioned pass through their wire form.
	wire bool
	// waitMax bounds the real time that is waited for others' goroutines; 0:
	// as long as the context lasts.
	waitMax  time.Duration
	notReady int          // each such question for room is answered with no; 0: none
	store    BackendStore // nil before the first backend
}

// newOperator makes a node's operator, or what stands in for it.
func (r *runner) newOperator(n *graph.Node, f operators.Factory) operators.Operator {
	if op := r.replace[n.UID]; op != nil {
		return op
	}
	return f.New()
}

// newBackend makes the keyed state of one subtask.
func (r *runner) newBackend(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error) {
	if r.store == nil {
		store, err := r.opt.Backend.Open()
		if err != nil {
			return nil, err
		}
		r.store = store
	}
	return r.store.New(groups, maxParallelism)
}

func (r *runner) run() error {
	if err := r.start(); err != nil {
		return err
	}
	for {
		var busy, done bool
		err := r.life.protect(func() (err error) {
			busy, done, err = r.life.step()
			return err
		})
		switch {
		case err != nil:
			return err
		case r.life.wanted && !done:
			r.life.wanted = false
			if err := r.checkpoint(false); err != nil {
				return err
			}
		case done, !busy && r.opt.StopIdle:
			return r.checkpoint(done)
		case r.ctx.Err() != nil:
			return r.ctx.Err()
		}
		r.clock.Advance(pollTime)
		r.figures.Polls++
		if r.figures.Polls >= r.opt.PollsMax {
			return fmt.Errorf("the job has not ended after %d polls", r.figures.Polls)
		}
		if err := r.disturb(); err != nil {
			return err
		}
	}
}

// disturb takes the checkpoints and crashes that are due.
func (r *runner) disturb() error {
	if n := r.opt.CheckpointEvery; n > 0 && r.figures.Polls%n == 0 {
		if err := r.checkpoint(false); err != nil {
			return err
		}
	}
	if n := r.opt.CrashEvery; n > 0 && r.figures.Polls%n == 0 {
		r.figures.Crashes++
		if err := r.close(); err != nil {
			return err
		}
		return r.start()
	}
	return nil
}

func (r *runner) start() error {
	return r.startAt(r.opt.Parallelism[r.figures.Crashes%len(r.opt.Parallelism)])
}

// startAt begins a life from the last checkpoint, if there is one.
func (r *runner) startAt(parallelism int) error {
	for _, f := range r.feeds {
		f.restore(r.saved)
	}
	if r.exactlyOnce {
		r.truncate()
	}
	l, err := newLife(r, min(parallelism, r.graph.MaxParallelism))
	r.life = l
	if err != nil {
		return err
	}
	return l.protect(func() error {
		if err := l.open(r.saved); err != nil {
			return err
		}
		return l.tellAll()
	})
}

// truncate forgets what was captured after the last checkpoint.
func (r *runner) truncate() {
	for at, all := range r.captures {
		for i, c := range all {
			if r.saved == nil {
				c.truncate(0)
				continue
			}
			c.truncate(r.saved.taken[at][i])
		}
	}
}

// end closes the job and its state.
func (r *runner) end() error {
	err := r.close()
	if r.store != nil {
		err = errors.Join(err, r.store.Close())
		r.store = nil
	}
	return err
}

func (r *runner) close() error {
	if r.life == nil {
		return nil
	}
	l := r.life
	r.life = nil
	l.current = nil
	err := l.protect(l.close)
	return err
}

func (r *runner) counters() map[string]int64 {
	out := make(map[string]int64)
	if r.life == nil {
		return out
	}
	for _, s := range r.life.all {
		for name, v := range s.metrics.values() {
			out[s.node.UID+"/"+name] += v
		}
	}
	return out
}
