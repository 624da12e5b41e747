package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/restapi"
)

// pollInterval is the time between two looks at something that is awaited.
const pollInterval = 100 * time.Millisecond

func (a *app) jobCommands() *cobra.Command {
	c := &cobra.Command{Use: "job", Short: "List, look at, rescale, stop, cancel and upgrade jobs"}
	c.AddCommand(a.jobList(), a.jobGet(), a.jobGraph(), a.jobStop(), a.jobCancel(), a.jobRescale(), a.jobUpgrade(), a.jobExceptions(), a.jobWait())
	return c
}

func (a *app) jobList() *cobra.Command {
	var running bool
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the jobs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			jobs, err := a.client().Jobs(c.Context())
			if err != nil {
				return err
			}
			if running {
				jobs = slices.DeleteFunc(jobs, func(j restapi.JobOverview) bool { return terminal(j.State) })
			}
			slices.SortStableFunc(jobs, func(x, y restapi.JobOverview) int { return int(y.StartTime - x.StartTime) })
			return a.print(jobs, func() table { return jobTable(jobs) })
		},
	}
	c.Flags().BoolVarP(&running, "running", "r", false, "only jobs that have not ended")
	return c
}

func jobTable(jobs []restapi.JobOverview) table {
	t := table{
		header: []string{"NAME", "ID", "STATE", "PAR", "RESTARTS", "CKPT", "AGE", "REASON"},
		empty:  "No jobs. Submit one: flinkctl run BUNDLE",
	}
	for _, j := range jobs {
		cp := "–"
		if j.LastCheckpoint > 0 {
			cp = fmt.Sprintf("%d (%s)", j.LastCheckpoint, span(j.CheckpointAge))
		}
		t.rows = append(t.rows, []string{j.Name, short(j.ID), j.State, fmt.Sprint(j.Parallelism), fmt.Sprint(j.Restarts), cp, ago(j.StartTime), dash(j.StateReason)})
		t.names = append(t.names, j.ID)
	}
	return t
}

func (a *app) jobGet() *cobra.Command {
	return &cobra.Command{
		Use: "get JOB", Short: "Describe a job", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.lookAtJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			j, err := a.client().Job(c.Context(), o.ID)
			if err != nil {
				return err
			}
			return a.print(j, func() table { return jobDetails(j) })
		},
	}
}

func jobDetails(j restapi.Job) table {
	t := table{header: []string{"FIELD", "VALUE"}, names: []string{j.ID}}
	add := func(k, v string) { t.rows = append(t.rows, []string{k, v}) }
	add("name", j.Name)
	add("id", j.ID)
	add("state", j.State)
	if j.StateReason != "" {
		add("reason", j.StateReason)
	}
	if j.Failure != nil {
		add("failure", j.Failure.Error())
	}
	add("parallelism", fmt.Sprintf("%d (%sat most %d)", j.Parallelism, map[bool]string{true: "auto, "}[j.Auto], j.MaxParallelism))
	add("attempt", fmt.Sprintf("%d, %d restarts", j.Attempt, j.Restarts))
	if j.RestoredFrom > 0 {
		add("restored from", fmt.Sprintf("checkpoint %d", j.RestoredFrom))
	}
	add("bundle", dash(short(j.Bundle)))
	add("age", ago(j.StartTime))
	for _, v := range j.Vertices {
		add("vertex "+v.Name, fmt.Sprintf("%s ×%d  in %d  out %d", v.Status, v.Parallelism, v.Metrics.ReadRecords, v.Metrics.WriteRecords))
	}
	return t
}

func (a *app) jobGraph() *cobra.Command {
	return &cobra.Command{
		Use: "graph JOB", Short: "Show the vertices and streams of a job", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.lookAtJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			j, err := a.client().Job(c.Context(), o.ID)
			if err != nil {
				return err
			}
			return a.print(j.Plan, func() table { return graphTable(j) })
		},
	}
}

func graphTable(j restapi.Job) table {
	t := table{header: []string{"VERTEX", "PAR", "STATUS", "IN", "OUT", "BUSY", "BP", "INPUTS"}, empty: "The job is not planned yet."}
	name := make(map[string]string)
	for _, v := range j.Vertices {
		name[v.ID] = v.Name
	}
	for _, v := range j.Vertices {
		var in []string
		for _, n := range j.Plan.Nodes {
			if n.ID == v.ID {
				for _, i := range n.Inputs {
					in = append(in, strings.ToLower(i.ShipStrategy)+" ← "+name[i.ID])
				}
			}
		}
		total := max(1, v.Metrics.Busy+v.Metrics.Idle+v.Metrics.BackPressured)
		t.rows = append(t.rows, []string{
			v.Name, fmt.Sprint(v.Parallelism), v.Status, fmt.Sprint(v.Metrics.ReadRecords), fmt.Sprint(v.Metrics.WriteRecords),
			fmt.Sprintf("%d%%", v.Metrics.Busy*100/total), fmt.Sprintf("%d%%", v.Metrics.BackPressured*100/total), dash(strings.Join(in, ", ")),
		})
		t.names = append(t.names, v.ID)
	}
	return t
}

func (a *app) jobExceptions() *cobra.Command {
	return &cobra.Command{
		Use: "exceptions JOB", Short: "Show why a job failed or restarted", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.lookAtJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			e, err := a.client().Exceptions(c.Context(), o.ID)
			if err != nil {
				return err
			}
			if a.output == "table" && len(e.History.Entries) > 0 {
				a.printExceptions(e)
				return nil
			}
			return a.print(e.History.Entries, func() table { return exceptionTable(e) })
		},
	}
}

func exceptionTable(e restapi.Exceptions) table {
	t := table{header: []string{"AGE", "CODE", "TASK", "RECORD", "MESSAGE"}, empty: "No failures.", names: []string{}}
	for _, x := range e.History.Entries {
		first, _, _ := strings.Cut(x.Stacktrace, "\n")
		t.rows = append(t.rows, []string{ago(x.Timestamp), x.Name, dash(x.TaskName), dash(x.Record), first})
		t.names = append(t.names, x.Name)
	}
	return t
}

func (a *app) printExceptions(e restapi.Exceptions) {
	for _, x := range e.History.Entries {
		fmt.Fprintf(a.out, "%s ago, attempt %d, %s\n", ago(x.Timestamp), x.Attempt, map[bool]string{true: "restarted", false: "not restarted"}[x.Restarted])
		for _, f := range [][2]string{{"task", x.TaskName}, {"operator", x.Operator}, {"record", x.Record}, {"taskmanager", x.TaskManagerID}} {
			if f[1] != "" {
				fmt.Fprintf(a.out, "  %s: %s\n", f[0], f[1])
			}
		}
		stack := x.Stacktrace
		if first, rest, _ := strings.Cut(stack, "\n"); !a.verbose && strings.Count(rest, "\n") > 12 {
			lines := strings.Split(rest, "\n")
			stack = first + "\n" + strings.Join(lines[:12], "\n") + fmt.Sprintf("\n… %d more lines (-v shows them)", len(lines)-12)
		}
		fmt.Fprintf(a.out, "  %s\n\n", strings.ReplaceAll(stack, "\n", "\n  "))
	}
}

func (a *app) jobCancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel JOB", Short: "End a job without a savepoint; what the last checkpoint holds is committed first", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.findJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			price := "its progress since the last checkpoint"
			if o.CheckpointAge < 0 {
				price = "all its progress: it has no checkpoint"
			}
			if err := a.ask(fmt.Sprintf("Cancel job %s (%s)? It loses %s.", o.Name, short(o.ID), price)); err != nil {
				return err
			}
			if err := a.client().Cancel(c.Context(), o.ID); err != nil {
				return err
			}
			return a.awaitEnd(c.Context(), o, "CANCELED")
		},
	}
}

// ask wants a yes for something that loses progress.
func (a *app) ask(question string) error {
	if a.yes {
		return nil
	}
	if !a.interactive {
		return exitWith(exitUsage, coded("LEAT0003", question, "there is no terminal to ask at: say --yes"))
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(a.in, &answer); err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") && !strings.EqualFold(answer, "yes") {
		return exitWith(exitFailed, coded("LEAT0004", "not confirmed: nothing was done"))
	}
	return nil
}

// awayMax is how long a jobmanager that does not answer is asked again for
// something that goes on without it.
const awayMax = 30 * time.Second

// patience decides when a jobmanager has been away for too long.
type patience struct{ since time.Time }

// ends reports whether err, the result of one more question, is to be given
// up on.
func (p *patience) ends(err error) bool {
	if err == nil {
		p.since = time.Time{}
		return false
	}
	if p.since.IsZero() {
		p.since = time.Now()
	}
	return !again(err) || time.Since(p.since) > awayMax
}

// awaitEnd waits until a job has ended, in the given state, and prints that.
func (a *app) awaitEnd(ctx context.Context, o restapi.JobOverview, want string) error {
	if err := a.awaitState(ctx, o, want); err != nil {
		return err
	}
	return a.print(map[string]string{"job": o.ID, "state": want}, func() table {
		return table{header: []string{"JOB", "STATE"}, rows: [][]string{{o.Name, want}}, names: []string{o.ID}}
	})
}

func (a *app) awaitState(ctx context.Context, o restapi.JobOverview, want string) error {
	var away patience
	for {
		j, err := a.client().Job(ctx, o.ID)
		if away.ends(err) {
			return err
		}
		if err == nil && terminal(j.State) {
			if j.State != want {
				return exitWith(exitFailed, coded("LEAT3104", fmt.Sprintf("job %s ended %s, not %s", o.Name, j.State, want)))
			}
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Canceled
	case <-time.After(pollInterval):
		return nil
	}
}

func (a *app) jobStop() *cobra.Command {
	var req restapi.StopRequest
	c := &cobra.Command{
		Use: "stop JOB", Short: "Stop a job with a savepoint", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.findJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			t, err := a.client().Stop(c.Context(), o.ID, req)
			if err != nil {
				return err
			}
			op, err := a.awaitSavepoint(c.Context(), o, t.RequestID)
			if err != nil {
				return err
			}
			// The savepoint is there a moment before the job's end is recorded.
			if err := a.awaitState(c.Context(), o, "FINISHED"); err != nil {
				return err
			}
			return a.printSavepoint(o, op)
		},
	}
	c.Flags().BoolVar(&req.Drain, "drain", false, "end the input first: all windows fire, and the job cannot be resumed as if nothing happened")
	c.Flags().StringVarP(&req.TargetDirectory, "savepoint-path", "p", "", "where the savepoint goes (a URI); default: the job's folder in the checkpoint storage")
	return c
}

func (a *app) jobWait() *cobra.Command {
	var target string
	var timeout time.Duration
	c := &cobra.Command{
		Use: "wait JOB", Short: "Wait until a job runs, has a checkpoint, or has finished", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains([]string{"running", "checkpoint", "finished"}, target) {
				return usagef("--for %q is not one of running, checkpoint, finished", target)
			}
			o, err := a.lookAtJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.waitFor(c.Context(), o.ID, target, timeout); err != nil {
				return err
			}
			return a.printState(c.Context(), o.ID)
		},
	}
	c.Flags().StringVar(&target, "for", "finished", "running, checkpoint or finished")
	c.Flags().DurationVar(&timeout, "timeout", 0, "give up after this time (0: never)")
	return c
}

// waitFor returns when the job has reached the target. A job that ended
// otherwise is exit code 8, a time-out 4.
func (a *app) waitFor(ctx context.Context, id, target string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errWaited)
		defer cancel()
	}
	last, said := "", ""
	var away patience
	for {
		j, err := a.client().Job(ctx, id)
		if ctx.Err() == nil && away.ends(err) {
			return err
		}
		if err == nil {
			done, err := a.reached(ctx, j, target)
			if done || err != nil {
				return err
			}
			last = j.State
			if j.StateReason != "" {
				last += ": " + j.StateReason
			}
			if last != said {
				fmt.Fprintf(a.err, "waiting for job %s to be %s; it is %s\n", short(id), target, last)
				said = last
			}
		}
		if err := pause(ctx); err != nil {
			if errors.Is(context.Cause(ctx), errWaited) {
				return notReached(fmt.Sprintf("job %s did not reach %q within %s", short(id), target, timeout), last)
			}
			return err
		}
	}
}

// notReached tells in which state the job is, and what helps when that is for
// want of slots (LEAT2101); of a taskmanager there may be none at all.
func notReached(what, state string) error {
	e := coded("LEAT3103", what)
	e.Why = "it is " + state
	if strings.Contains(state, "LEAT2101") {
		e.Fix = append(e.Fix, "submit it with fewer slots (-p), or give the cluster more: start another taskmanager, or flinkctl local up --slots N",
			"it still waits, and starts when there are slots: flinkctl job cancel ends it")
	}
	return exitWith(exitNotReached, e)
}

// errWaited marks the end of a wait's time.
var errWaited = fmt.Errorf("waited long enough")

func (a *app) reached(ctx context.Context, j restapi.Job, target string) (bool, error) {
	switch {
	case target == "finished" && j.State == "FINISHED", target == "running" && (j.State == "RUNNING" || j.State == "FINISHED") && allRunning(j):
		return true, nil
	case terminal(j.State) && j.State != "FINISHED":
		return false, exitWith(exitJobFailed, jobFailure(j))
	case target == "checkpoint":
		s, err := a.client().Checkpoints(ctx, j.ID)
		return err == nil && s.Latest.Completed != nil, err
	}
	return false, nil
}

func allRunning(j restapi.Job) bool {
	for _, v := range j.Vertices {
		if v.Status != "RUNNING" && v.Status != "FINISHED" {
			return false
		}
	}
	return len(j.Vertices) > 0
}

func jobFailure(j restapi.Job) error {
	e := coded("LEAT3100", fmt.Sprintf("job %q is %s", j.Name, j.State), "flinkctl job exceptions "+short(j.ID))
	if j.Failure != nil {
		e.Why = j.Failure.Error()
		e.Where = j.Failure.Where
		e.Fix = append(j.Failure.Fix, e.Fix...)
	}
	return e
}

func (a *app) infoCommand() *cobra.Command {
	var req restapi.RunRequest
	var properties []string
	c := &cobra.Command{
		Use: "info BUNDLE [-- job args]", Short: "Show the plan of a bundle, as the cluster makes it",
		Example: "  flinkctl info orders.bundle --parallelism 4 -- --brokers 127.0.0.1:9092",
		Args: func(c *cobra.Command, args []string) error {
			if n := positional(c, args); n != 1 {
				return usagef("info takes one BUNDLE, then -- and the job's own arguments; it got %d", n)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			req.ProgramArgsList = args[1:]
			var err error
			if req.Configuration, err = pairs("-D", properties); err != nil {
				return err
			}
			up, err := a.upload(c.Context(), args[0])
			if err != nil {
				return err
			}
			var p restapi.PlanBody
			if err := a.client().Post(c.Context(), "/jars/"+up.ID+"/plan", req, &p); err != nil {
				return err
			}
			return a.print(p.Plan, func() table {
				t := table{header: []string{"VERTEX", "PAR", "OPERATORS"}}
				for _, n := range p.Plan.Nodes {
					t.names = append(t.names, n.ID)
					t.rows = append(t.rows, []string{short(n.ID), fmt.Sprint(n.Parallelism), strings.TrimSuffix(strings.ReplaceAll(n.Description, "<br/>", " "), " ")})
				}
				return t
			})
		},
	}
	f := c.Flags()
	f.IntVarP(&req.Parallelism, "parallelism", "p", 0, "parallelism; default: the program's")
	f.StringArrayVarP(&properties, "define", "D", nil, "key=value, read by the job; may be repeated")
	return c
}
