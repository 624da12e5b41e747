package jobmaster

import (
	"fmt"
	"maps"
	"slices"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
)

// schedulerCommand carries a command of the scheduler on.
func (c *Core) schedulerCommand(cmd scheduler.Command) {
	switch cmd := cmd.(type) {
	case scheduler.AcquireSlots:
		c.emit(AcquireSlots{N: cmd.N})
	case scheduler.ReleaseSlots:
		c.emit(ReleaseSlots{})
	case scheduler.Prepare:
		c.prepare(cmd.Attempt)
	case scheduler.StartWorker:
		c.startWorker(cmd.Worker)
	case scheduler.Deploy:
		c.deploy(cmd.Worker)
	case scheduler.Start:
		c.toWorker(cmd.Worker, &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Start{Start: &controlv1.Start{}}})
	case scheduler.Attach:
		c.adopt(cmd.Worker)
	case scheduler.Disown:
		c.emit(Disown{})
	case scheduler.StopWorker:
		c.stopWorker(cmd)
	case scheduler.DropTaskManager:
		c.emit(DropTaskManager{TaskManager: cmd.TaskManager, Reason: cmd.Reason})
	case scheduler.TasksRunning:
		c.tasksRunning()
	case scheduler.TasksFinished:
		c.push(checkpoint.Request{Operation: fmt.Sprintf("final-%d", cmd.Attempt), Kind: checkpoint.KindFinal})
	case scheduler.Settle:
		c.attempt.closing = c.sched.Goal() == scheduler.GoalCancel
	case scheduler.AttemptEnding:
		c.rescaleAttemptEnds()
		c.endCoordinatorAttempt("its workers are being ended")
	case scheduler.Ended:
		c.jobEnded(cmd.State)
	}
}

func (c *Core) startWorker(w scheduler.Worker) {
	c.figures.reset()
	c.send(w.TaskManager, &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_StartWorker{StartWorker: &controlv1.StartWorker{
		JobId: string(c.rec.ID), Attempt: int64(w.Attempt), WorkerId: w.ID, JobName: c.rec.Name, Epoch: int64(c.cfg.Epoch),
		Slots: int32(w.Slots), Bundle: c.rec.BundleRef(), Inputs: c.rec.ProgramInputs(),
	}}})
}

// BundleRef is the wire form of the record's bundle.
func (r *Record) BundleRef() *controlv1.BundleRef {
	return &controlv1.BundleRef{Sha256: r.Bundle.SHA256, Key: r.Bundle.Key, Size: r.Bundle.Size}
}

// ProgramInputs is the wire form of the record's inputs.
func (r *Record) ProgramInputs() *controlv1.ProgramInputs {
	return &controlv1.ProgramInputs{Args: r.Inputs.Args, Properties: r.Inputs.Properties, Environment: r.Inputs.Environment}
}

func (c *Core) deploy(w scheduler.Worker) {
	d := &controlv1.Deploy{
		Parallelism: int32(c.parallelismOf(c.graph)), Placements: c.sched.Placements(), Peers: c.sched.Peers(),
		Incarnation: string(c.rec.Incarnation), Restore: c.prep.restore, Coordinator: w.Coordinator,
		Fingerprint: c.rec.Fingerprint, ExchangeToken: c.attempt.token,
		CheckpointIntervalMillis: c.graph.Config.CheckpointInterval.Milliseconds(),
	}
	for id, p := range c.rec.Operators {
		if d.OperatorParallelism == nil {
			d.OperatorParallelism = make(map[string]int32)
		}
		d.OperatorParallelism[string(id)] = int32(p)
	}
	if c.graph.Config.CheckpointInterval < 0 {
		d.CheckpointIntervalMillis = -1
	}
	for _, id := range slices.Sorted(maps.Keys(c.rec.Pools)) {
		d.Pools = append(d.Pools, &controlv1.TxnPool{OperatorId: string(id), Size: int32(c.rec.Pools[id])})
	}
	c.toWorker(w, &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Deploy{Deploy: d}})
}

// adopt asks a worker of a former leader's attempt where it stands. Whatever
// checkpoint that leader had under way is void: what it committed is known,
// since nobody else writes the pointer any more.
func (c *Core) adopt(w scheduler.Worker) {
	a := &controlv1.Adopt{Epoch: int64(c.cfg.Epoch), Committed: int64(c.prep.own), VoidThrough: int64(c.cfg.Recovered.Pointer.Reserved)}
	c.toWorker(w, &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Adopt{Adopt: a}})
}

// recoverAttempt keeps what is known of the attempt that a former leader left,
// in case that it can be taken over.
func (c *Core) recoverAttempt() {
	if c.coord == nil || len(c.rec.Workers) == 0 {
		return
	}
	c.attempt = liveAttempt{number: c.rec.Attempt}
	c.prep = preparation{stage: prepDone, attempt: c.rec.Attempt}
	if l := c.coord.Latest(); l != nil {
		c.prep.own, c.effects.latest = l.ID, l.ID
	}
}

// stopWorker lets the worker of a job that ends close in order; after a
// failure there is nothing to save, since recovery does not rely on it.
func (c *Core) stopWorker(cmd scheduler.StopWorker) {
	if c.sched.Goal() != scheduler.GoalRun {
		c.toWorker(cmd.Worker, &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Cancel{Cancel: &controlv1.Cancel{Reason: cmd.Reason}}})
	}
	c.send(cmd.Worker.TaskManager, &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_StopWorker{StopWorker: &controlv1.StopWorker{
		JobId: string(c.rec.ID), Attempt: int64(cmd.Worker.Attempt), WorkerId: cmd.Worker.ID, GraceMillis: cmd.Grace.Milliseconds(),
	}}})
}

func (c *Core) send(tm string, m *controlv1.JobManagerMessage) {
	c.emit(Send{TaskManager: tm, Message: m})
}

func (c *Core) toWorker(w scheduler.Worker, cmd *controlv1.WorkerCommand) {
	c.send(w.TaskManager, &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_WorkerCommand{WorkerCommand: &controlv1.WorkerCommandEnvelope{
		JobId: string(c.rec.ID), Attempt: int64(w.Attempt), WorkerId: w.ID, Command: cmd,
	}}})
}

// toWorkers sends a command to the named workers of the live attempt.
func (c *Core) toWorkers(n dataflow.Attempt, ids []string, cmd *controlv1.WorkerCommand) {
	if n != c.attempt.number {
		return
	}
	for _, w := range c.sched.LiveWorkers() {
		if slices.Contains(ids, w.ID) {
			c.toWorker(w, cmd)
		}
	}
}

// tasksRunning hands the attempt to the coordinator.
func (c *Core) tasksRunning() {
	workers := c.sched.Workers()
	started := checkpoint.AttemptStarted{Attempt: c.attempt.number, Restored: c.prep.own}
	for _, w := range workers {
		started.Workers = append(started.Workers, checkpoint.Worker{ID: w.ID})
		if w.Coordinator {
			started.CoordinatorWorker = w.ID
		}
	}
	for v, subs := range c.sched.Subtasks() {
		for i, s := range subs {
			w := &started.Workers[s.Worker]
			w.Subtasks = append(w.Subtasks, checkpoint.Subtask{Vertex: v, Index: i})
		}
	}
	for _, v := range c.plan.Vertices {
		for _, n := range v.Nodes {
			started.Operators = append(started.Operators, checkpoint.Operator{
				ID: n.ID, UID: n.UID, Name: n.Name, Vertex: v.Index, Parallelism: v.Parallelism,
			})
		}
	}
	c.attempt.coord = true
	c.rescaled()
	c.effects.attemptStarted(workers)
	c.push(started)
}

func (c *Core) endCoordinatorAttempt(reason string) {
	if !c.attempt.coord {
		return
	}
	c.attempt.coord = false
	if reasons := c.sched.Exceptions(); len(reasons) > 0 && reasons[0].Attempt == c.attempt.number {
		reason = reasons[0].Error.What
	}
	c.push(checkpoint.AttemptEnded{Attempt: c.attempt.number, Reason: reason})
}

// jobEnded records the end; it is told once the record is stored.
func (c *Core) jobEnded(s scheduler.State) {
	c.ending = true
	c.rec.State = c.sched.View()
	c.rec.Goal = goals[c.sched.Goal()]
	c.rec.Reason, c.rec.Restarts = c.sched.Reason(), c.sched.Restarts()
	c.rec.Ended, c.rec.Workers = c.now.UnixMilli(), nil
	c.endVersion = c.touch()
	c.operations.jobEnded(s == scheduler.Finished, c.rec.Name, c.rec.Reason)
}

// coordinatorCommand carries a command of the checkpoint coordinator on.
func (c *Core) coordinatorCommand(cmd checkpoint.Command) {
	switch cmd := cmd.(type) {
	case checkpoint.ReserveIDs:
		c.emit(ReserveIDs{cmd})
	case checkpoint.Trigger:
		c.effects.triggered(cmd.Summary.ID)
		c.history.triggered(cmd.Summary)
		c.operations.triggered(cmd.Summary)
		c.toWorkers(cmd.Attempt, cmd.To, &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_TriggerCheckpoint{TriggerCheckpoint: cmd.Message}})
	case checkpoint.Abort:
		c.aborted(cmd)
	case checkpoint.WriteManifest:
		c.manifests.pending = cloneManifest(cmd.Manifest)
		c.emit(WriteManifest{cmd})
	case checkpoint.MovePointer:
		c.movePointer(cmd)
	case checkpoint.ReadPointer:
		c.emit(ReadPointer{cmd})
	case checkpoint.NotifyCommitted:
		c.toWorkers(cmd.Attempt, cmd.To, &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_CheckpointCommitted{
			CheckpointCommitted: &controlv1.CheckpointCommitted{Id: int64(cmd.ID)}}})
	case checkpoint.Committed:
		c.committed(cmd)
	case checkpoint.Discard:
		c.history.discarded(cmd.ID)
		c.emit(Discard{cmd})
	case checkpoint.Sweep:
		c.emit(Sweep{cmd})
	case checkpoint.OperationDone:
		c.operationDone(cmd)
	}
}

// movePointer commits the goal to finish together with the pointer to the
// checkpoint after which the job ends: a new leader then knows both.
func (c *Core) movePointer(cmd checkpoint.MovePointer) {
	out := MovePointer{MovePointer: cmd}
	if s, ok := c.coord.Active(); ok && s.Kind.Ending() && c.sched.Goal() == scheduler.GoalRun {
		r := c.rec.clone()
		r.Goal = goals[scheduler.GoalFinish]
		out.Record = &r
	}
	c.emit(out)
}

func (c *Core) committed(cmd checkpoint.Committed) {
	c.history.committed(cmd, c.cfg.URI)
	if m := c.manifests.pending; m != nil && m.GetCheckpointId() == int64(cmd.Entry.ID) {
		c.manifests.latest, c.manifests.pending = m, nil
	}
	c.effects.committed(cmd.Entry.ID, cmd.Summary.Kind.Ending())
	c.tellEffects()
	if cmd.Summary.Kind.Ending() {
		c.push(scheduler.Finish{})
	}
}

// aborted tells the workers. When sources have stopped for a checkpoint that
// did not come about, or there were too many of those, the attempt cannot go
// on as if nothing had happened: it goes back to the last one.
func (c *Core) aborted(cmd checkpoint.Abort) {
	c.history.aborted(cmd)
	c.toWorkers(cmd.Attempt, cmd.To, &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_CheckpointAborted{
		CheckpointAborted: &controlv1.CheckpointAborted{Id: int64(cmd.ID), Reason: cmd.Reason}}})
	if cmd.Cause == checkpoint.CauseAttemptEnded || !c.attempt.coord {
		return
	}
	limit := c.graph.Config.CheckpointFailureMax
	switch {
	case cmd.Summary.Kind == checkpoint.KindStop || cmd.Summary.Kind == checkpoint.KindDrain:
		c.push(scheduler.Fail{Failure: scheduler.Failure{Error: jobview.Error{
			Code: "LEAT4104", What: fmt.Sprintf("the savepoint %d to stop with did not succeed; the job goes on from its last checkpoint", cmd.ID), Why: cmd.Reason,
		}}})
	case limit > 0 && c.coord.Failures() > limit:
		c.push(scheduler.Fail{Failure: scheduler.Failure{Error: jobview.Error{
			Code: "LEAT4103", What: fmt.Sprintf("%d checkpoints in a row failed, %d are allowed", c.coord.Failures(), limit), Why: cmd.Reason,
		}}})
	}
}
