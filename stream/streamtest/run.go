// Package streamtest runs a job's graph in one goroutine, for tests and
// examples: no network, the same order every time, and a clock that moves by
// 100 ms with each poll of the sources, so that each batch may end in a
// watermark. With crashes and restores between any two steps it shows that a
// job's results do not depend on failures or parallelism. It is not the engine:
// it has no back-pressure and its speed is of no concern.
package streamtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
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
	// Log takes what operators log; default: dropped.
	Log *slog.Logger
}

const pollsMaxDefault = 1_000_000

// pollTime passes with each poll of the sources: enough for a watermark after
// each batch.
const pollTime = 100 * time.Millisecond

// Figures tell of a run that ended.
type Figures struct {
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
	if len(opt.Parallelism) == 0 {
		opt.Parallelism = []int{1}
	}
	if opt.PollsMax == 0 {
		opt.PollsMax = pollsMaxDefault
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	r := &runner{
		ctx: ctx, graph: g, opt: opt,
		clock: clock.NewManual(time.UnixMilli(1_767_225_600_000)), // 2026-01-01
	}
	err = r.run()
	r.figures.Counters = r.counters()
	return &r.figures, errors.Join(err, r.close())
}

// runner is one run. It is driven by Run on the caller's goroutine.
type runner struct {
	ctx     context.Context //nolint:containedctx // the run's, for waiting
	graph   *graph.JobGraph
	opt     Options
	clock   *clock.Manual
	life    *life
	saved   *saved // the last committed checkpoint
	lastID  dataflow.CheckpointID
	figures Figures
}

func (r *runner) run() error {
	if err := r.start(); err != nil {
		return err
	}
	for {
		busy, done, err := r.life.step()
		switch {
		case err != nil:
			return err
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
	p := r.opt.Parallelism[r.figures.Crashes%len(r.opt.Parallelism)]
	l, err := newLife(r, p)
	r.life = l
	if err != nil {
		return err
	}
	return l.open(r.saved)
}

func (r *runner) close() error {
	if r.life == nil {
		return nil
	}
	err := r.life.close()
	r.life = nil
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
