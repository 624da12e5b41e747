package jobmaster

import (
	"fmt"
	"slices"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/runtime/jobview"
)

// OperationsMax bounds the operations of a job that are remembered; the
// oldest that are done are forgotten first.
const OperationsMax = 100

// operations are the savepoints and checkpoints that people asked for.
type operations struct {
	byID  map[string]*operation
	order []string // oldest first
}

type operation struct {
	view jobview.Operation
	kind checkpoint.Kind
	// committed says that the checkpoint exists, unconfirmed that the job has
	// to settle its effects before the operation is done.
	unconfirmed bool
	path        string
}

func (o *operations) init() { o.byID = make(map[string]*operation) }

// add registers an operation; a known id is left alone.
func (o *operations) add(id string, kind checkpoint.Kind) bool {
	if o.byID[id] != nil {
		return false
	}
	o.byID[id] = &operation{view: jobview.Operation{ID: id}, kind: kind}
	o.order = append(o.order, id)
	if len(o.order) > OperationsMax {
		i := slices.IndexFunc(o.order, func(id string) bool { return o.byID[id].view.Done })
		i = max(i, 0)
		delete(o.byID, o.order[i])
		o.order = slices.Delete(o.order, i, i+1)
	}
	return true
}

func (o *operations) triggered(s checkpoint.Summary) {
	if op := o.byID[s.Operation]; op != nil {
		op.view.Checkpoint = s.ID
	}
}

func (o *operations) succeed(id, path string) {
	if op := o.byID[id]; op != nil && !op.view.Done {
		op.view.Done, op.view.Path = true, path
	}
}

func (o *operations) fail(id string, err jobview.Error) {
	if op := o.byID[id]; op != nil && !op.view.Done {
		op.view.Done, op.view.Failure = true, &err
	}
}

// jobEnded finishes what is open: a stop whose effects were settled has
// succeeded, everything else will never come.
func (o *operations) jobEnded(finished bool, job, reason string) {
	for _, id := range o.order {
		op := o.byID[id]
		switch {
		case op.view.Done:
		case op.unconfirmed && finished:
			o.succeed(id, op.path)
		case op.unconfirmed:
			o.fail(id, jobview.Error{Code: "LEAT4105", What: fmt.Sprintf("savepoint %s is complete, but not all side effects of job %q are confirmed", op.path, job), Why: reason})
		default:
			o.fail(id, jobview.Error{Code: "LEAT4106", Kind: jobview.KindConflict, What: fmt.Sprintf("job %q has ended", job), Why: reason})
		}
	}
}

// takeCheckpoint passes a request on to the coordinator.
func (c *Core) takeCheckpoint(ev TakeCheckpoint) {
	if !c.operations.add(ev.Operation, ev.Kind) {
		return
	}
	if c.coord == nil || c.ending {
		c.operations.fail(ev.Operation, jobview.Error{
			Code: "LEAT4107", Kind: jobview.KindConflict, What: fmt.Sprintf("job %q does not run", c.rec.Name), Why: c.Reason(),
		})
		return
	}
	c.push(checkpoint.Request{Operation: ev.Operation, Kind: ev.Kind, Target: ev.Target})
}

func (c *Core) operationDone(done checkpoint.OperationDone) {
	if c.rescale.stage != rescaleNone && done.Operation == c.rescaleOperation() {
		c.rescaleCheckpointed(done)
		return
	}
	op := c.operations.byID[done.Operation]
	if op == nil {
		return // the final checkpoint's, which nobody asked for
	}
	if done.ID > 0 {
		op.view.Checkpoint = done.ID
		op.path = c.cfg.URI(done.Manifest)
	}
	switch done.Outcome {
	case checkpoint.OutcomeFailed:
		c.operations.fail(done.Operation, jobview.Error{
			Code: "LEAT4102", What: fmt.Sprintf("%s of job %q failed", done.Kind, c.rec.Name), Why: done.Reason,
			Fix: []string{"flinkctl diagnose " + c.rec.Name},
		})
	case checkpoint.OutcomeUnconfirmed:
		op.unconfirmed = true
	case checkpoint.OutcomeCompleted:
		if done.Target != "" {
			c.emit(CopySavepoint{Operation: done.Operation, Manifest: done.Manifest, Target: done.Target})
			return
		}
		c.operations.succeed(done.Operation, op.path)
	}
}

func (c *Core) savepointCopied(ev SavepointCopied) {
	op := c.operations.byID[ev.Operation]
	if op == nil {
		return
	}
	if ev.Failure != "" {
		c.operations.fail(ev.Operation, jobview.Error{
			Code: "LEAT4108", What: "the savepoint is complete at " + op.path + " but was not copied to where it was wanted", Why: ev.Failure,
		})
		return
	}
	c.operations.succeed(ev.Operation, c.cfg.URI(ev.Manifest))
}

// Operation returns the state of an operation.
func (c *Core) Operation(id string) (jobview.Operation, bool) {
	op := c.operations.byID[id]
	if op == nil {
		return jobview.Operation{}, false
	}
	v := op.view
	v.Failure = clonePointer(v.Failure)
	return v, true
}
