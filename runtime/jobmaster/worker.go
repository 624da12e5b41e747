package jobmaster

import (
	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/scheduler"
)

// fromTaskManager routes a message about a worker. A taskmanager speaks only
// for the workers that were started on it.
func (c *Core) fromTaskManager(ev FromTaskManager) {
	switch b := ev.Message.GetBody().(type) {
	case *controlv1.TaskManagerMessage_WorkerExited:
		x := b.WorkerExited
		if c.placedOn(ev.TaskManager, x.GetWorkerId()) {
			c.push(scheduler.WorkerExited{Attempt: dataflow.Attempt(x.GetAttempt()), Worker: x.GetWorkerId(), Exit: x})
		}
	case *controlv1.TaskManagerMessage_StartWorkerFailed:
		x := b.StartWorkerFailed
		if c.placedOn(ev.TaskManager, x.GetWorkerId()) {
			c.push(scheduler.WorkerNotStarted{Attempt: dataflow.Attempt(x.GetAttempt()), Worker: x.GetWorkerId(), Error: x.GetError()})
		}
	case *controlv1.TaskManagerMessage_WorkerEvent:
		x := b.WorkerEvent
		if c.placedOn(ev.TaskManager, x.GetWorkerId()) {
			c.fromWorker(dataflow.Attempt(x.GetAttempt()), x.GetWorkerId(), x.GetEvent())
		}
	}
}

func (c *Core) placedOn(tm, worker string) bool {
	for _, w := range c.sched.Workers() {
		if w.ID == worker {
			return w.TaskManager == tm
		}
	}
	return false
}

func (c *Core) fromWorker(n dataflow.Attempt, worker string, ev *controlv1.WorkerEvent) {
	switch b := ev.GetBody().(type) {
	case *controlv1.WorkerEvent_Ready:
		c.push(scheduler.WorkerReady{Attempt: n, Worker: worker, Ready: b.Ready})
	case *controlv1.WorkerEvent_Deployed:
		c.push(scheduler.WorkerDeployed{Attempt: n, Worker: worker})
	case *controlv1.WorkerEvent_TaskStatus:
		c.push(scheduler.TaskChanged{Attempt: n, Worker: worker, Status: b.TaskStatus})
	case *controlv1.WorkerEvent_Standing:
		if b.Standing.GetEpoch() == int64(c.cfg.Epoch) { // else it answers another leader
			c.push(scheduler.WorkerStanding{Attempt: n, Worker: worker, Standing: b.Standing})
		}
	case *controlv1.WorkerEvent_Failed:
		c.push(scheduler.WorkerFailed{Attempt: n, Worker: worker, Failure: b.Failed.GetFailure()})
	case *controlv1.WorkerEvent_OperatorEvent:
		if n == c.attempt.number {
			c.relay(b.OperatorEvent)
		}
	case *controlv1.WorkerEvent_Metrics:
		if n == c.attempt.number {
			c.figures.report(c.sched, worker, b.Metrics)
			if len(b.Metrics.GetTroubles()) > 0 {
				c.push(scheduler.WorkerWaits{Attempt: n, Worker: worker})
			}
		}
	default:
		c.checkpointEvent(n, worker, ev)
	}
}

func (c *Core) checkpointEvent(n dataflow.Attempt, worker string, ev *controlv1.WorkerEvent) {
	live := n == c.attempt.number
	switch b := ev.GetBody().(type) {
	case *controlv1.WorkerEvent_CheckpointAck:
		if live {
			c.effects.acked(dataflow.CheckpointID(b.CheckpointAck.GetId()), committables(b.CheckpointAck))
		}
		c.push(checkpoint.Ack{Attempt: n, Worker: worker, Ack: b.CheckpointAck})
	case *controlv1.WorkerEvent_CheckpointDecline:
		c.push(checkpoint.Decline{Attempt: n, Worker: worker, Decline: b.CheckpointDecline})
	case *controlv1.WorkerEvent_CheckpointWanted:
		c.push(checkpoint.Hasten{Attempt: n})
	case *controlv1.WorkerEvent_CoordinatorSnapshot:
		c.push(checkpoint.Snapshot{Attempt: n, Worker: worker, Snapshot: b.CoordinatorSnapshot})
	case *controlv1.WorkerEvent_CommitDone:
		id := dataflow.CheckpointID(b.CommitDone.GetId())
		if live {
			c.effects.confirmed(worker, id)
		}
		c.push(checkpoint.CommitDone{Attempt: n, Worker: worker, ID: id})
	}
}

func committables(a *controlv1.CheckpointAck) int64 {
	var n int64
	for _, s := range a.GetSubtasks() {
		n += s.GetCommittables()
	}
	return n
}

// relay passes a message between a source's coordinator and its subtasks.
func (c *Core) relay(ev *controlv1.OperatorEvent) {
	cmd := &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_OperatorEvent{OperatorEvent: ev}}
	for i, w := range c.sched.Workers() {
		if ev.GetToCoordinator() {
			if w.Coordinator {
				c.toWorker(w, cmd)
			}
			continue
		}
		v := c.plan.VertexOf(dataflow.OperatorID(ev.GetOperatorId()))
		s := int(ev.GetSubtask())
		if v != nil && s >= 0 && s < v.Parallelism && c.sched.Subtasks()[v.Index][s].Worker == i {
			c.toWorker(w, cmd)
		}
	}
}
