package jobmaster_test

import (
	"maps"
	"slices"
	"strings"
	"time"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

// join registers a taskmanager with the present leader: it ends what it still
// runs and no job may take over, and offers its slots then, as the dispatcher
// has it do.
func (w *world) join(tm string) {
	if w.tms[tm] {
		return
	}
	w.note("join %s", tm)
	w.tms[tm] = true
	ev := jobmaster.TaskManagerJoined{TaskManager: tm}
	for id, x := range w.workers {
		if x.tm == tm {
			ev.Workers = append(ev.Workers, id)
		}
	}
	slices.Sort(ev.Workers)
	w.step(ev)
	w.pool.Add(tm, 2)
	for _, id := range ev.Workers {
		if n := w.attachable[id]; n > 0 {
			w.pool.Hold(w.record.ID, tm, n)
		} else if x := w.workers[id]; x != nil {
			w.exit(x, "stopped")
		}
	}
	w.grant()
	w.tellSlots()
}

// lose ends a session; crash ends the machine with it.
func (w *world) lose(tm string, crash bool) {
	if !w.tms[tm] {
		return
	}
	w.note("lose %s crash=%v", tm, crash)
	w.tms[tm] = false
	delete(w.toTM, tm)
	delete(w.fromTM, tm)
	w.pool.Remove(tm)
	if crash {
		for id, x := range w.workers {
			if x.tm == tm {
				delete(w.workers, id)
			}
		}
	}
	w.step(jobmaster.TaskManagerLost{TaskManager: tm, Reason: "its session ended"})
	w.grant()
	w.tellSlots()
}

func (w *world) exit(x *simWorker, reason string) {
	delete(w.workers, x.start.WorkerId)
	w.say(x.tm, &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerExited{WorkerExited: &controlv1.WorkerExited{
		JobId: x.start.JobId, Attempt: x.start.Attempt, WorkerId: x.start.WorkerId, Reason: reason,
	}}})
}

func (w *world) say(tm string, m *controlv1.TaskManagerMessage) {
	if w.tms[tm] {
		w.fromTM[tm] = append(w.fromTM[tm], m)
	}
}

func (w *world) deliverFromTM(tm string) {
	if q := w.fromTM[tm]; len(q) > 0 {
		w.fromTM[tm] = q[1:]
		w.step(jobmaster.FromTaskManager{TaskManager: tm, Message: q[0]})
	}
}

func (w *world) deliverToTM(tm string) {
	q := w.toTM[tm]
	if len(q) == 0 {
		return
	}
	w.toTM[tm] = q[1:]
	switch b := q[0].Body.(type) {
	case *controlv1.JobManagerMessage_StartWorker:
		x := &simWorker{start: b.StartWorker, tm: tm}
		w.workers[x.start.WorkerId] = x
		w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Ready{Ready: &controlv1.Ready{Fingerprint: simGraph().Fingerprint()}}})
	case *controlv1.JobManagerMessage_StopWorker:
		if x := w.workers[b.StopWorker.WorkerId]; x != nil {
			w.exit(x, "stopped")
			return
		}
		w.say(tm, &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerExited{WorkerExited: &controlv1.WorkerExited{
			JobId: b.StopWorker.JobId, Attempt: b.StopWorker.Attempt, WorkerId: b.StopWorker.WorkerId, Reason: "unknown",
		}}})
	case *controlv1.JobManagerMessage_WorkerCommand:
		if x := w.workers[b.WorkerCommand.WorkerId]; x != nil {
			w.obey(x, b.WorkerCommand.Command)
		}
	}
}

func (w *world) event(x *simWorker, ev *controlv1.WorkerEvent) {
	w.say(x.tm, &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerEvent{WorkerEvent: &controlv1.WorkerEventEnvelope{
		JobId: x.start.JobId, Attempt: x.start.Attempt, WorkerId: x.start.WorkerId, Event: ev,
	}}})
}

func (w *world) obey(x *simWorker, cmd *controlv1.WorkerCommand) {
	switch b := cmd.Body.(type) {
	case *controlv1.WorkerCommand_Deploy:
		x.deploy = b.Deploy
		w.confirm(x, b.Deploy.GetRestore().GetCheckpointId()) // restoring commits again
		w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Deployed{Deployed: &controlv1.Deployed{}}})
	case *controlv1.WorkerCommand_Adopt:
		w.stand(x, b.Adopt)
	case *controlv1.WorkerCommand_Start:
		x.running = true
		w.tasks(x, controlv1.TaskState_TASK_STATE_RUNNING)
	case *controlv1.WorkerCommand_TriggerCheckpoint:
		w.snapshot(x, b.TriggerCheckpoint)
	case *controlv1.WorkerCommand_CheckpointCommitted:
		if w.faults && w.rng.IntN(5) == 0 {
			x.owed = b.CheckpointCommitted.Id // the outside does not answer now
			return
		}
		w.confirm(x, b.CheckpointCommitted.Id)
		w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CommitDone{CommitDone: &controlv1.CommitDone{Id: b.CheckpointCommitted.Id}}})
	}
}

// confirm notes that a worker has confirmed its effects up to a checkpoint.
func (w *world) confirm(x *simWorker, id int64) {
	if w.confirmed[id] == nil {
		w.confirmed[id] = make(map[string]bool)
	}
	w.confirmed[id][x.start.WorkerId] = true
	n := 0
	for _, p := range x.deploy.Peers {
		if w.confirmed[id][p.WorkerId] {
			n++
		}
	}
	w.settled[id] = w.settled[id] || n == len(x.deploy.Peers)
}

func (w *world) tasks(x *simWorker, s controlv1.TaskState) {
	for _, p := range x.deploy.Placements {
		if p.WorkerId != x.start.WorkerId {
			continue
		}
		st := &controlv1.TaskStatus{Subtask: p.Subtask, State: s}
		if w.faults && w.rng.IntN(40) == 0 {
			st.State, st.Failure = controlv1.TaskState_TASK_STATE_FAILED, &controlv1.Failure{Error: &controlv1.ErrorInfo{What: "boom"}}
		}
		if x.status == nil {
			x.status = make(map[[2]int32]*controlv1.TaskStatus)
		}
		x.status[[2]int32{p.Subtask.GetVertex(), p.Subtask.GetSubtask()}] = st
		w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_TaskStatus{TaskStatus: st}})
	}
}

// stand tells a new leader where a worker stands.
func (w *world) stand(x *simWorker, a *controlv1.Adopt) {
	w.note("adopt %s", x.start.WorkerId)
	x.epoch = a.Epoch
	st := &controlv1.Standing{Epoch: a.Epoch, Running: x.running, Ending: x.ending}
	if x.deploy != nil {
		for _, p := range x.deploy.Placements {
			if t := x.status[[2]int32{p.Subtask.GetVertex(), p.Subtask.GetSubtask()}]; t != nil && p.WorkerId == x.start.WorkerId {
				st.Tasks = append(st.Tasks, t)
			}
		}
	}
	w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Standing{Standing: st}})
}

func (w *world) snapshot(x *simWorker, tr *controlv1.TriggerCheckpoint) {
	if w.faults && w.rng.IntN(10) == 0 {
		w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CheckpointDecline{CheckpointDecline: &controlv1.CheckpointDecline{Id: tr.Id, Reason: "not now"}}})
		return
	}
	x.ending = x.ending || tr.Stop
	if tr.Drain {
		w.tasks(x, controlv1.TaskState_TASK_STATE_FINISHED)
	}
	ack := &controlv1.CheckpointAck{Id: tr.Id}
	for _, p := range x.deploy.Placements {
		if p.WorkerId == x.start.WorkerId {
			op := []string{"src", "out"}[p.Subtask.Vertex]
			ack.Subtasks = append(ack.Subtasks, &controlv1.SubtaskSnapshot{Subtask: p.Subtask, Committables: int64(w.rng.IntN(2)),
				Handles: []*controlv1.StateHandle{{OperatorId: op, Kind: controlv1.StateKind_STATE_KIND_OPERATOR, Subtask: p.Subtask.Subtask,
					Object: tr.ObjectDir + x.start.WorkerId + ".state", Length: 5}}})
		}
	}
	for _, s := range ack.Subtasks {
		w.prepared[tr.Id] += s.Committables
	}
	w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CheckpointAck{CheckpointAck: ack}})
	if x.deploy.Coordinator {
		w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CoordinatorSnapshot{CoordinatorSnapshot: &controlv1.CoordinatorSnapshot{Id: tr.Id}}})
	}
}

// heal ends all faults; the job must run or end by itself, and then end when
// it is cancelled.
func (w *world) heal() {
	w.faults = false
	for _, id := range slices.Sorted(maps.Keys(w.workers)) {
		if x := w.workers[id]; x.owed > 0 {
			w.confirm(x, x.owed)
			w.event(x, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CommitDone{CommitDone: &controlv1.CommitDone{Id: x.owed}}})
		}
	}
	for _, tm := range simTMs {
		w.join(tm)
	}
	w.settle("run", func() bool { return w.ended != "" || w.core.State() == jobview.JobRunning })
	w.healRescale()
	ran := w.ended == "" && !w.cancelled
	if w.ended == "" {
		w.step(jobmaster.CancelJob{})
		w.cancelled = true
	}
	w.settle("end", func() bool { return w.ended != "" })
	if ran && strings.Contains(w.record.Reason, "unconfirmed") {
		w.errorf("the job ended %s without waiting for its effects: %s", w.ended, w.record.Reason)
	}
	if w.ended == jobview.JobCanceled && !w.cancelled {
		w.errorf("the job is canceled, which nobody asked for")
	}
}

// healRescale asks for what there are slots for: it comes about. Whatever was
// asked before has been answered, or replaced.
func (w *world) healRescale() {
	if w.ended != "" || w.cancelled {
		return
	}
	w.rescale(1 + w.rng.IntN(6))
	p := 0
	answered := func() bool {
		p = w.record.Parallelism
		for _, op := range w.rescales {
			if o, known := w.core.Operation(op); known && !o.Done {
				return false
			}
		}
		return true
	}
	w.settle("rescale", func() bool { return w.ended != "" || answered() && w.core.State() == jobview.JobRunning })
	w.healAuto()
	if w.ended != "" {
		return
	}
	last, known := w.core.Operation(w.rescales[len(w.rescales)-1])
	if w.ended == "" && known && last.Failure == nil {
		w.rescaled++
		if w.record.Rescale != nil {
			w.errorf("rescaled to %d, and %v is still wanted", p, w.record.Rescale)
		}
	}
}

// healAuto lets every second job follow the slots: it takes all there are.
func (w *world) healAuto() {
	if w.seed%2 == 0 || w.ended != "" {
		return
	}
	w.rescaleAuto()
	w.settle("take all slots", func() bool {
		return w.ended != "" || w.record.Parallelism == w.pool.Total() && w.core.State() == jobview.JobRunning
	})
}

func (w *world) settle(what string, done func() bool) {
	for range 20_000 {
		if done() {
			return
		}
		for len(w.records) > 0 {
			w.answerRecord()
		}
		for len(w.objects) > 0 {
			w.answerObject()
		}
		for _, tm := range simTMs {
			w.deliverToTM(tm)
			w.deliverFromTM(tm)
		}
		w.now = w.now.Add(10 * time.Millisecond)
		w.step(jobmaster.Tick{})
	}
	w.errorf("the job does not %s: %s (%s)", what, w.core.State(), w.core.Reason())
}
