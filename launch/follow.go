package launch

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/jobview"
)

// progressEvery is the time between two lines of a job that runs.
const progressEvery = 5 * time.Second

// follower prints a job's changes until its end.
type follower struct {
	control jobview.Control
	id      dataflow.JobID
	out     io.Writer
	clock   clock.Clock

	state   jobview.JobState
	reason  string
	failed  dataflow.Attempt // the last attempt whose failure was printed
	printed time.Time
}

// follow returns nil when the job has finished, its failure otherwise.
func (f *follower) follow(ctx context.Context) error {
	f.printed = f.clock.Now()
	for {
		j, err := f.control.Job(f.id)
		if err != nil {
			return err
		}
		f.show(j)
		if j.State.Terminal() {
			return outcome(j)
		}
		if err := f.pause(ctx); err != nil {
			return err
		}
	}
}

func (f *follower) pause(ctx context.Context) error {
	timer := f.clock.NewTimer(followEvery)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// show prints changes at once and figures now and then.
func (f *follower) show(j jobview.Job) {
	if j.State != f.state || j.StateReason != f.reason {
		f.state, f.reason = j.State, j.StateReason
		line := fmt.Sprintf("%s %s", j.Name, j.State)
		if j.StateReason != "" {
			line += ": " + j.StateReason
		}
		f.print(line)
	}
	// Exceptions are newest first, one for each attempt that failed.
	for _, x := range slices.Backward(j.Exceptions) {
		if x.Attempt <= f.failed {
			continue
		}
		f.failed = x.Attempt
		where := ""
		if x.Task != "" {
			where = " in " + x.Task
		}
		f.print(fmt.Sprintf("  attempt %d failed%s: %s", x.Attempt, where, x.Error.Error()))
	}
	if !j.State.Terminal() && f.clock.Since(f.printed) >= progressEvery {
		f.print("  " + figures(j))
	}
}

func (f *follower) print(line string) {
	f.printed = f.clock.Now()
	_, _ = fmt.Fprintln(f.out, line) // stderr may be closed
}

// figures sums what went into the sources' vertices and into the last ones.
func figures(j jobview.Job) string {
	var first, last int64
	for i, v := range j.Vertices {
		for _, s := range v.Subtasks {
			if i == 0 {
				first += s.RecordsOut
			}
			if i == len(j.Vertices)-1 {
				last += s.RecordsIn
			}
		}
	}
	return fmt.Sprintf("%d records read, %d reached the last step, %d checkpoints", first, last, j.Checkpoints.Completed)
}

func outcome(j jobview.Job) error {
	switch {
	case j.State == jobview.JobFinished:
		return nil
	case len(j.Exceptions) > 0:
		e := j.Exceptions[0].Error
		if e.Where == "" {
			e.Where = j.Exceptions[0].Task
		}
		return &e
	default:
		return &jobview.Error{Code: "LEAT3100", What: fmt.Sprintf("the job ended %s", j.State), Why: j.StateReason}
	}
}

// cancel ends the job when the person does not want it any more.
func (f *follower) cancel(ctx context.Context) error {
	ctx, done := context.WithTimeout(ctx, cancelTimeout)
	defer done()
	if err := f.control.Cancel(ctx, f.id); err != nil {
		return err
	}
	return f.follow(ctx)
}
