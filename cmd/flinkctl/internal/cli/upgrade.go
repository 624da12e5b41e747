package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/restapi"
)

const upgradeLong = `Replace the program of a running job: check what the new bundle makes of the
job's state, stop the job with a savepoint, start the bundle from it, and watch
it in its probation. A bundle that does not fit is refused before anything is
stopped. One that fails, restarts again and again, or has taken no checkpoint by
the end of its probation is taken back: the old bundle goes on from the
savepoint, or, where the new one has committed output since, from its last
checkpoint, so that nothing is written twice.

Arguments after "--", and parallelism, properties and environment that are not
given, are those of the job.`

func (a *app) jobUpgrade() *cobra.Command {
	u := &upgrade{app: a}
	var flags startFlags
	c := &cobra.Command{
		Use: "upgrade JOB BUNDLE [-- job args]", Short: "Replace the program of a job; takes it back if it is not healthy", Long: upgradeLong,
		Example: "  flinkctl job upgrade orders orders-v2.bundle\n  flinkctl job upgrade orders orders-v2.bundle --probation 5m -- --brokers k1:9092",
		Args:    exactly(2, "a JOB and a BUNDLE"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if u.probation < 0 {
				return usagef("--probation %s is negative", u.probation)
			}
			if u.req, err = flags.request(args[2:]); err != nil {
				return err
			}
			u.path, u.args = args[1], args[2:]
			return u.run(c.Context(), args[0])
		},
	}
	flags.add(c)
	f := c.Flags()
	f.DurationVar(&u.probation, "probation", time.Minute, "how long the new program is watched; 0: it is not")
	f.StringVar(&u.from, "from", "", "go on with an upgrade that was interrupted: the savepoint that the job was stopped with (a URI)")
	f.StringVar(&u.rollbackTo, "rollback-to", "latest", "where the old program goes on: latest, or savepoint, which writes again what the new one has written")
	return c
}

// upgrade is one under way.
type upgrade struct {
	*app
	req        restapi.RunRequest
	path       string // of the bundle
	args       []string
	probation  time.Duration
	from       string
	rollbackTo string

	bundle string // id of the new one
	old    restapi.Job
	job    restapi.JobOverview // the old one
	next   string              // id of the new job
	onward string              // what to do if this ends here
}

func (u *upgrade) run(ctx context.Context, ref string) (err error) {
	defer func() {
		if err != nil && ctx.Err() != nil && u.onward != "" {
			fmt.Fprintf(u.err, "interrupted: %s\n", u.onward)
		}
	}()
	if u.rollbackTo != "latest" && u.rollbackTo != "savepoint" {
		return usagef("--rollback-to %q is neither latest nor savepoint", u.rollbackTo)
	}
	if err := u.begin(ctx, ref); err != nil {
		return err
	}
	if u.from == "" {
		if err := u.check(ctx); err != nil {
			return err
		}
		if err := u.stop(ctx); err != nil {
			return err
		}
	}
	why, err := u.start(ctx)
	if err == nil && why == "" {
		why, err = u.watch(ctx)
	}
	switch {
	case err != nil:
		return err
	case why != "":
		return u.rollBack(ctx, why)
	}
	u.step("done: job %s runs the new program; its savepoint stays: %s", short(u.next), u.from)
	return u.printState(ctx, u.next)
}

// step tells people where the upgrade is.
func (u *upgrade) step(format string, args ...any) {
	fmt.Fprintf(u.err, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// begin finds the job and stores the bundle.
func (u *upgrade) begin(ctx context.Context, ref string) (err error) {
	find := u.findJob
	if u.from != "" {
		find = u.lookAtJob // it has been stopped
	}
	if u.job, err = find(ctx, ref); err != nil {
		return err
	}
	if u.old, err = u.client().Job(ctx, u.job.ID); err != nil {
		return err
	}
	if u.from == "" && terminal(u.old.State) {
		return exitWith(exitConflict, coded("LEAT4106", fmt.Sprintf("job %q has ended: it is %s", u.old.Name, u.old.State), "flinkctl run "+u.path+" --from-savepoint URI"))
	}
	up, err := u.upload(ctx, u.path)
	if err != nil {
		return err
	}
	u.bundle, u.req.Like = up.ID, u.job.ID
	return nil
}

// check refuses what would not start, by the job's last checkpoint.
func (u *upgrade) check(ctx context.Context) error {
	u.onward = "nothing was stopped"
	at, temporary, err := u.snapshot(ctx)
	if err != nil {
		return err
	}
	req := u.req
	req.SavepointPath = at
	sc, err := u.client().CheckSavepoint(ctx, u.bundle, req)
	if temporary {
		if _, err := u.client().DeleteSavepoint(ctx, at); err != nil {
			u.step("the savepoint that was taken for the check is left: flinkctl savepoint delete %s", at)
		}
	}
	if err != nil {
		u.step("it could not be checked: nothing was stopped")
		return err
	}
	for _, line := range strings.SplitAfter(align(checkTable(sc).rows), "\n") {
		if line != "" {
			fmt.Fprint(u.err, "          ", line)
		}
	}
	if err := checkError(sc); err != nil {
		u.step("refused: nothing was stopped")
		return err
	}
	u.step("checked: the state of job %s fits%s", u.old.Name, unsure(sc))
	return nil
}

// snapshot returns where the job's state is, as of late. A checkpoint with rows
// that were on their way is not what a savepoint will be.
func (u *upgrade) snapshot(ctx context.Context) (at string, temporary bool, err error) {
	s, err := u.client().Checkpoints(ctx, u.job.ID)
	if err != nil {
		return "", false, err
	}
	if c := s.Latest.Completed; c != nil && c.ExternalPath != "" && c.PersistedData == 0 {
		return c.ExternalPath, false, nil
	}
	t, err := u.client().Savepoint(ctx, u.job.ID, restapi.SavepointRequest{})
	if err != nil {
		return "", false, err
	}
	op, err := u.awaitSavepoint(ctx, u.job, t.RequestID)
	if err != nil {
		return "", false, err
	}
	return op.Location, true, nil
}

// stop ends the old job with a savepoint.
func (u *upgrade) stop(ctx context.Context) error {
	u.onward = fmt.Sprintf("job %s is being stopped with a savepoint; once it has FINISHED: flinkctl savepoint list %s, then %s", u.job.ID, u.job.ID, u.resume("URI"))
	t, err := u.client().Stop(ctx, u.job.ID, restapi.StopRequest{})
	if err != nil {
		return err
	}
	op, err := u.awaitSavepoint(ctx, u.job, t.RequestID)
	if err != nil {
		return err
	}
	u.from = op.Location
	if err := u.awaitState(ctx, u.job, "FINISHED"); err != nil {
		return err
	}
	u.onward = fmt.Sprintf("job %s is stopped; %s, or the old program: %s", u.job.ID, u.resume(u.from), u.again(u.from))
	u.step("stopped: job %s, with savepoint %s", short(u.job.ID), u.from)
	u.step("         if this ends here go on with: %s", u.resume(u.from))
	return nil
}

// resume is the command that goes on after the stop.
func (u *upgrade) resume(from string) string {
	c := fmt.Sprintf("flinkctl job upgrade %s %s --from %s", u.job.ID, u.path, from)
	if len(u.args) > 0 {
		c += " -- " + strings.Join(u.args, " ")
	}
	return c
}

// again is the command that starts the old program.
func (u *upgrade) again(from string) string {
	return fmt.Sprintf("flinkctl run %s --like %s --from-savepoint %s", u.old.Bundle, u.job.ID, from)
}

// start submits the new program; why says that it was refused.
func (u *upgrade) start(ctx context.Context) (why string, err error) {
	u.req.SavepointPath = u.from
	started, err := u.submitLike(ctx, u.bundle, u.req)
	var refused *restapi.Error
	if errors.As(err, &refused) && !again(err) && ctx.Err() == nil {
		return "it was refused: " + refused.Error(), nil
	}
	if err != nil {
		return "", err
	}
	u.next = started
	u.onward = fmt.Sprintf("job %s, the new program, goes on unwatched; to take it back: flinkctl job cancel %s --yes, then %s", u.next, u.next, u.again(u.from))
	u.step("started: job %s, the new program, from the savepoint", short(u.next))
	return "", nil
}

// submitLike runs a bundle, asking again while no jobmanager leads.
func (u *upgrade) submitLike(ctx context.Context, bundle string, req restapi.RunRequest) (id string, err error) {
	var key [16]byte
	_, _ = rand.Read(key[:]) // crypto/rand.Read never returns an error
	req.RequestID = hex.EncodeToString(key[:])
	var away patience
	for {
		started, err := u.client().Run(ctx, bundle, req)
		if err == nil || away.ends(err) {
			return started.JobID, err
		}
		if err := pause(ctx); err != nil {
			return "", err
		}
	}
}

// restartsMax is how often the new program may restart in its probation: a
// taskmanager may be lost meanwhile, but a failure that comes again each time
// is the program's.
const restartsMax = 3

// watch returns at the end of the probation, or as soon as it is clear that the
// new program is not healthy, with the reason.
func (u *upgrade) watch(ctx context.Context) (why string, err error) {
	if u.probation == 0 {
		return "", nil
	}
	u.step("watching it for %s", u.probation)
	began := time.Now()
	var away patience
	var v verdict
	asked := false
	for {
		j, err := u.client().Job(ctx, u.next)
		var s restapi.Checkpoints
		if err == nil {
			s, err = u.client().Checkpoints(ctx, u.next)
		}
		if away.ends(err) {
			return "", err
		}
		if err == nil {
			v.see(j, s)
		}
		if why, done := v.judge(time.Since(began) > u.probation); done {
			return why, nil
		}
		if !asked && v.job.State == "RUNNING" && v.completed == v.before && time.Since(began) > u.probation/2 {
			// Its own may be further apart than the probation is long.
			_, err := u.client().Checkpoint(ctx, u.next)
			asked = err == nil
		}
		if err := pause(ctx); err != nil {
			return "", err
		}
	}
}

// verdict is what is known of a job in its probation.
type verdict struct {
	job       restapi.Job
	seen      bool
	completed int // checkpoints, over all attempts
	before    int // of these, those before the present attempt
	attempt   int64
}

func (v *verdict) see(j restapi.Job, s restapi.Checkpoints) {
	if v.seen && j.Attempt != v.attempt {
		v.before = v.completed
	}
	v.job, v.seen, v.attempt, v.completed = j, true, j.Attempt, s.Counts.Completed
}

// judge says whether the probation is over, and what speaks against the job.
func (v *verdict) judge(late bool) (why string, done bool) {
	j := v.job
	switch {
	case !v.seen:
		return "nothing was heard of it", late
	case j.State == "FINISHED":
		return "", true
	case terminal(j.State):
		return fmt.Sprintf("it is %s%s", j.State, failure(j)), true
	case j.Restarts > restartsMax:
		return fmt.Sprintf("it has restarted %d times%s", j.Restarts, failure(j)), true
	case !late, j.State == "RECONCILING": // a new leader is finding its workers
		return "", false
	case j.State != "RUNNING":
		return fmt.Sprintf("it is %s%s", j.State, failure(j)), true
	case v.completed == v.before:
		return fmt.Sprintf("it has taken no checkpoint since it started, or restarted%s", failure(j)), true
	}
	return "", true
}

func failure(j restapi.Job) string {
	if j.Failure != nil {
		return ": " + j.Failure.Error()
	}
	if j.StateReason != "" {
		return ": " + j.StateReason
	}
	return ""
}

// rollBack ends the new program and starts the old one again.
func (u *upgrade) rollBack(ctx context.Context, why string) error {
	u.step("not healthy: %s", why)
	from := u.from
	if u.next != "" {
		u.onward = fmt.Sprintf("job %s, the new program, is being cancelled; then: %s", u.next, u.again(u.from))
		if err := u.cancelNew(ctx); err != nil {
			return err
		}
		var err error
		if from, err = u.since(ctx); err != nil {
			return err
		}
	}
	u.onward = "the old program is not started again: " + u.again(from)
	id, err := u.submitLike(ctx, u.old.Bundle, restapi.RunRequest{Like: u.job.ID, SavepointPath: from})
	if err != nil {
		return u.stranded(err, from)
	}
	u.onward = fmt.Sprintf("job %s, the old program, was started again; flinkctl job get %s", id, id)
	u.step("rolled back: job %s, the old program, from %s", short(id), from)
	if err := u.waitFor(ctx, id, "running", max(u.probation, time.Minute)); err != nil {
		return u.stranded(err, from)
	}
	if err := u.printState(ctx, id); err != nil {
		return err
	}
	e := coded("LEAT3105", fmt.Sprintf("the upgrade of job %q was rolled back: job %s runs the old program", u.old.Name, short(id)))
	e.Why = why
	if u.next != "" {
		e.Fix = append(e.Fix, "flinkctl job exceptions "+short(u.next))
	}
	return exitWith(exitJobFailed, e)
}

func (u *upgrade) stranded(err error, from string) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	e := coded("LEAT3106", fmt.Sprintf("job %q is not back: its old program could not be started again", u.old.Name), u.again(from))
	e.Why = err.Error()
	return exitWith(exitFailed, e)
}

// cancelNew ends the new job. One that ended meanwhile has ended.
func (u *upgrade) cancelNew(ctx context.Context) error {
	var away patience
	asked := false
	for {
		j, err := u.client().Job(ctx, u.next)
		if err == nil && terminal(j.State) {
			return nil
		}
		if err == nil && !asked {
			if err = u.client().Cancel(ctx, u.next); err == nil || exitCode(err) == exitConflict {
				asked, err = true, nil
			}
		}
		if away.ends(err) {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// since returns where the old program goes on. When the new one has committed
// output since the savepoint, that is its last checkpoint, if the old program
// can read it.
func (u *upgrade) since(ctx context.Context) (string, error) {
	s, err := u.client().Checkpoints(ctx, u.next)
	if err != nil {
		return "", err
	}
	last := s.Latest.Completed
	if last == nil || last.ExternalPath == "" {
		u.step("the new program has committed nothing: the old one goes on from the savepoint")
		return u.from, nil
	}
	if u.rollbackTo == "savepoint" {
		u.step("the new program's output up to its checkpoint %d is committed, and is written again: --rollback-to savepoint", last.ID)
		return u.from, nil
	}
	if len(u.req.DropState) > 0 {
		u.step("the new program's checkpoint %d lacks the state that was dropped (%s): the old one goes on from the savepoint, and output since is written a second time",
			last.ID, strings.Join(u.req.DropState, ", "))
		return u.from, nil
	}
	sc, err := u.client().CheckSavepoint(ctx, u.old.Bundle, restapi.RunRequest{Like: u.job.ID, SavepointPath: last.ExternalPath})
	if err == nil && sc.OK {
		u.step("the new program has committed its checkpoint %d: the old one goes on from there", last.ID)
		return last.ExternalPath, nil
	}
	if ctx.Err() != nil {
		return "", context.Canceled
	}
	reason := cmp.Or(err, checkError(sc))
	u.step("the old program cannot go on from the new one's checkpoint %d (%v): output since the savepoint is written a second time", last.ID, reason)
	return u.from, nil
}
