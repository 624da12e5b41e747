package dispatcher

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

// job is a job that the dispatcher knows. Its fields are guarded by
// Dispatcher.mu.
type job struct {
	id     dataflow.JobID
	record jobmaster.Record
	driver *jobmaster.Driver // nil while it is recovered, and for archived ones
	reason string            // why there is no driver yet
	ended  bool
	// follows: its parallelism follows the slots; told is what it was told last.
	follows bool
	told    int
	// attachable are the workers of a former leader's attempt that may go on,
	// with their slots; nil once they are no longer looked for.
	attachable map[string]int
	// archived is what is shown of a job that ended under a former leader.
	archived *jobview.Job
}

// live reports whether the job takes events.
func (j *job) live() bool { return j.driver != nil && !j.ended }

func (j *job) name() string {
	if j.driver != nil {
		return j.driver.Name()
	}
	return cmp.Or(j.record.Name, string(j.id))
}

// liveLocked returns the jobs that take events, in order of id.
func (d *Dispatcher) liveLocked() []*job {
	var out []*job
	for _, j := range d.jobs {
		if j.live() {
			out = append(out, j)
		}
	}
	slices.SortFunc(out, func(a, b *job) int { return cmp.Compare(a.id, b.id) })
	return out
}

// startLocked runs a job's driver until it ends, and closes the gap to the
// taskmanagers that have registered meanwhile.
func (d *Dispatcher) startLocked(j *job, rec checkpoint.Recovered, graph []byte) error {
	driver, err := jobmaster.NewDriver(jobmaster.DriverConfig{
		Core: jobmaster.CoreConfig{
			Record: j.record, Graph: graph, Recovered: rec, Epoch: d.cfg.Leadership.Epoch(), Version: d.cfg.Version,
			Random:   mathrand.New(mathrand.NewPCG(d.cfg.Seed, uint64(len(d.jobs)))),
			NewToken: newToken, URI: d.cfg.Store.URI, Times: d.cfg.Times,
		},
		Cluster: d, Journal: d.journal, Store: d.cfg.Store, Clock: d.cfg.Clock, Log: d.cfg.Log,
	})
	if err != nil {
		return err
	}
	j.driver, j.reason, j.follows = driver, "", j.record.Auto
	d.shareOutLocked()
	for _, tm := range d.tms {
		if tm.judged {
			driver.Post(tm.joined(j.id))
		}
	}
	ctx := d.ctx
	d.wg.Go(func() {
		driver.Run(ctx)
		d.jobStopped(ctx, j)
	})
	return nil
}

// jobStopped looks why a job's driver returned: at its end, or because the
// leadership has.
func (d *Dispatcher) jobStopped(ctx context.Context, j *job) {
	d.mu.Lock()
	ended, stop := j.ended, d.stop
	d.mu.Unlock()
	if !ended {
		stop(errOver)
		return
	}
	d.archive(ctx, j)
}

// newToken returns a secret of 128 bits.
func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error
	return hex.EncodeToString(b[:])
}

// RequestPlan implements jobmaster.Cluster.
func (d *Dispatcher) RequestPlan(id dataflow.JobID, r jobmaster.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.jobs[id]
	if j == nil || j.driver == nil {
		return
	}
	d.planLocked(&planning{
		name: r.Name, bundle: r.BundleRef(), inputs: r.ProgramInputs(),
		waits: func(reason string) { j.driver.Post(jobmaster.PlanWaits{Reason: reason}) },
		done: func(g []byte, err *jobview.Error) {
			switch {
			case d.over:
			case err != nil:
				j.driver.Post(jobmaster.PlanFailed{Error: *err})
			default:
				j.driver.Post(jobmaster.PlanReady{Graph: g})
			}
		},
	})
}

// JobEnded implements jobmaster.Cluster.
func (d *Dispatcher) JobEnded(id dataflow.JobID, _ jobview.JobState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.jobs[id]; j != nil {
		j.ended = true
		j.record = j.driver.Record()
		d.shareOutLocked()
	}
}

// view returns what is shown of a job; full with vertices and exceptions.
func (d *Dispatcher) view(j *job, full bool) jobview.Job {
	d.mu.Lock()
	driver, archived, rec, reason := j.driver, j.archived, j.record, j.reason
	d.mu.Unlock()
	switch {
	case driver != nil && full:
		return driver.View()
	case driver != nil:
		return driver.Summary()
	case archived != nil && full:
		return *archived
	case archived != nil:
		v := *archived
		v.Vertices, v.Exceptions = nil, nil
		return v
	}
	v := jobmaster.ViewRecord(&rec)
	if v.State == "" {
		v.State, v.StateReason = jobview.JobRestarting, reason
		if len(rec.Attachable()) > 0 {
			v.State = jobview.JobReconciling
		}
	}
	return v
}

// Jobs implements jobview.Control: the newest first.
func (d *Dispatcher) Jobs() []jobview.Job {
	d.mu.Lock()
	all := make([]*job, 0, len(d.jobs))
	for _, j := range d.jobs {
		all = append(all, j)
	}
	d.mu.Unlock()
	out := make([]jobview.Job, len(all))
	for i, j := range all {
		out[i] = d.view(j, true)
	}
	slices.SortFunc(out, func(a, b jobview.Job) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Job implements jobview.Control.
func (d *Dispatcher) Job(id dataflow.JobID) (jobview.Job, error) {
	j, err := d.find(id)
	if err != nil {
		return jobview.Job{}, err
	}
	return d.view(j, true), nil
}

func (d *Dispatcher) find(id dataflow.JobID) (*job, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.jobs[id]; j != nil {
		return j, nil
	}
	if !d.isReady() {
		return nil, errUnavailable("the jobs of the former leader are still being read")
	}
	return nil, errNoJob(id)
}

// running returns the driver of a job that has not ended.
func (d *Dispatcher) running(id dataflow.JobID) (*jobmaster.Driver, error) {
	j, err := d.find(id)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	driver, ended, over := j.driver, j.ended, d.over
	d.mu.Unlock()
	switch {
	case ended:
		return nil, errEnded(d.view(j, false))
	case over || driver == nil:
		return nil, errUnavailable("the job is being recovered")
	}
	return driver, nil
}

// Cancel implements jobview.Control. Asked a second time, the job ends
// without waiting until its side effects are confirmed.
func (d *Dispatcher) Cancel(ctx context.Context, id dataflow.JobID) error {
	driver, err := d.running(id)
	if err != nil {
		if j, missing := d.find(id); missing == nil && d.unrecovered(j) {
			return d.cancelUnrecovered(ctx, j)
		}
		return err
	}
	driver.Post(jobmaster.CancelJob{})
	return nil
}

// unrecovered reports whether a job waits for what a new leader cannot read.
func (d *Dispatcher) unrecovered(j *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.over && !j.ended && j.driver == nil
}

// Stop implements jobview.Control.
func (d *Dispatcher) Stop(_ context.Context, id dataflow.JobID, r jobview.StopRequest) (string, error) {
	driver, err := d.running(id)
	if err != nil {
		return "", err
	}
	kind := checkpoint.KindSavepoint
	switch {
	case r.Stop && r.Drain:
		kind = checkpoint.KindDrain
	case r.Stop:
		kind = checkpoint.KindStop
	case r.Drain:
		return "", invalid("LEAT4109", "drain without stop", "a drained job has no more input to go on with", "add stop, or leave drain out")
	}
	target, err := d.targetOf(r.Savepoint)
	if err != nil {
		return "", err
	}
	if target != "" {
		// A savepoint of its own in a directory that may hold several.
		target += fmt.Sprintf("savepoint-%.8s-%s/", id, newToken()[:8])
	}
	return d.request(driver, kind, target), nil
}

// Checkpoint implements jobview.Control.
func (d *Dispatcher) Checkpoint(_ context.Context, id dataflow.JobID) (string, error) {
	driver, err := d.running(id)
	if err != nil {
		return "", err
	}
	return d.request(driver, checkpoint.KindManual, ""), nil
}

func (d *Dispatcher) request(driver *jobmaster.Driver, kind checkpoint.Kind, target string) string {
	op := newToken()
	driver.Request(jobmaster.TakeCheckpoint{Operation: op, Kind: kind, Target: target})
	return op
}

// Operation implements jobview.Control.
func (d *Dispatcher) Operation(id dataflow.JobID, opID string) (jobview.Operation, error) {
	j, err := d.find(id)
	if err != nil {
		return jobview.Operation{}, err
	}
	d.mu.Lock()
	driver := j.driver
	d.mu.Unlock()
	if driver != nil {
		if op, ok := driver.Operation(opID); ok {
			return op, nil
		}
	}
	return jobview.Operation{}, &jobview.Error{
		Code: "LEAT2003", Kind: jobview.KindNotFound, What: fmt.Sprintf("job %s has no operation %s", id, opID),
		Why: "it is unknown, too old, or was asked of a jobmanager that does not lead any more",
		Fix: []string{"look at the job's savepoints: flinkctl savepoint list"},
	}
}

// Cluster implements jobview.Control.
func (d *Dispatcher) Cluster() jobview.Cluster {
	d.mu.Lock()
	c := jobview.Cluster{
		Version: d.cfg.Version, Leader: d.cfg.Leader.ID, ControlAddress: d.cfg.Leader.Control, RESTAddress: d.cfg.Leader.REST,
		Epoch: d.cfg.Leadership.Epoch(), Started: d.started, TaskManagers: len(d.tms), Slots: d.pool.Total(), SlotsFree: d.pool.Free(),
	}
	states := make([]jobview.JobState, 0, len(d.jobs))
	for _, j := range d.jobs {
		if j.driver != nil {
			states = append(states, j.driver.State())
		} else {
			states = append(states, j.record.State)
		}
	}
	d.mu.Unlock()
	for _, s := range states {
		switch s {
		case jobview.JobFinished:
			c.Finished++
		case jobview.JobCanceled:
			c.Canceled++
		case jobview.JobFailed:
			c.Failed++
		default:
			c.Running++
		}
	}
	return c
}

// timeMillis is for records.
func (d *Dispatcher) timeMillis() int64 { return d.cfg.Clock.Now().UnixMilli() }

// endedAt orders the jobs that have ended.
func (j *job) endedAt() time.Time { return jobmaster.Time(j.record.Ended) }
