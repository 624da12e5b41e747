package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

// applyCluster handles the events of taskmanagers and workers.
func (s *Scheduler) applyCluster(now time.Time, ev Event) {
	switch ev := ev.(type) {
	case TaskManagerJoined:
		s.joined(now, ev)
	case TaskManagerLost:
		s.lost(now, ev)
	case WorkerReady:
		if w := s.worker(ev.Attempt, ev.Worker); w != nil {
			s.ready(now, w, ev.Ready)
		}
	case WorkerWaits:
		if w := s.worker(ev.Attempt, ev.Worker); w != nil {
			w.waits = now
		}
	case WorkerDeployed:
		if w := s.worker(ev.Attempt, ev.Worker); w != nil {
			s.deployed(now, w)
		}
	case WorkerExited:
		if w := s.worker(ev.Attempt, ev.Worker); w != nil {
			s.followUp(now, w, ev.Exit)
			s.exited(now, w, exitFailure(w, ev.Exit))
		}
	case WorkerNotStarted:
		if w := s.worker(ev.Attempt, ev.Worker); w != nil {
			s.exited(now, w, startFailure(w, ev.Error))
		}
	case WorkerFailed:
		if w := s.worker(ev.Attempt, ev.Worker); w != nil && s.live() {
			s.attemptFailed(now, s.failureOf(ev.Failure, w, ""))
		}
	case WorkerStanding:
		if w := s.worker(ev.Attempt, ev.Worker); w != nil {
			s.standing(now, w, ev.Standing)
		}
	case TaskChanged:
		if w := s.worker(ev.Attempt, ev.Worker); w != nil && s.live() {
			s.taskChanged(now, w, ev.Status)
		}
	}
}

// worker finds a worker of the live attempt; messages of other attempts, and
// of workers that have ended, are dropped and counted.
func (s *Scheduler) worker(n dataflow.Attempt, id string) *worker {
	if n == s.attempt.number {
		if w := s.attempt.find(id); w != nil && w.phase != workerGone {
			return w
		}
	}
	s.stale++
	return nil
}

// live reports whether worker processes of the attempt are wanted.
func (s *Scheduler) live() bool {
	return s.state == Starting || s.state == Deploying || s.state == Running || s.state == Attaching
}

func (s *Scheduler) progress(format string, p workerPhase) string {
	return fmt.Sprintf(format, len(s.attempt.workers), s.attempt.count(p))
}

func (s *Scheduler) ready(now time.Time, w *worker, r *controlv1.Ready) {
	if s.state != Starting || w.phase != workerNew {
		return
	}
	if got := r.GetFingerprint(); got != s.fingerprint {
		s.attemptFailed(now, Failure{Fatal: true, Unstartable: true, TaskManager: w.TaskManager, Error: jobview.Error{
			Code:  "LEAT1207",
			What:  fmt.Sprintf("the graph differs on each build of this bundle: planned %.12s, worker built %.12s", s.fingerprint, got),
			Where: fmt.Sprintf("worker %s on %s", w.ID, w.TaskManager),
			Why:   "likely a range over a map, the time, a random number or the environment while building the graph",
			Fix:   []string{"build the graph from arguments and properties alone; sort the keys of maps before ranging over them"},
		}})
		return
	}
	w.phase, w.ready = workerReady, r
	if s.attempt.count(workerReady) < len(s.attempt.workers) {
		return
	}
	s.move(now, Deploying, "")
	for _, w := range s.attempt.workers {
		s.emit(Deploy{Worker: w.Worker})
	}
}

// deployed starts the tasks when all workers are there. An attempt that only
// settles has done its work: restoring committed again what the checkpoint
// holds and aborted the rest.
func (s *Scheduler) deployed(now time.Time, w *worker) {
	if s.state != Deploying || w.phase != workerReady {
		return
	}
	w.phase = workerDeployed
	if s.attempt.count(workerDeployed) < len(s.attempt.workers) {
		return
	}
	if s.attempt.settling {
		s.effects, s.litter = false, false
		s.stop(now, s.cfg.StopGrace)
		return
	}
	s.litter = s.litter || s.transactional()
	s.move(now, Running, "")
	for _, w := range s.attempt.workers {
		s.emit(Start{Worker: w.Worker})
	}
}

func (s *Scheduler) taskChanged(now time.Time, w *worker, st *controlv1.TaskStatus) {
	v, i := int(st.GetSubtask().GetVertex()), int(st.GetSubtask().GetSubtask())
	if v < 0 || v >= len(s.attempt.subtasks) || i < 0 || i >= len(s.attempt.subtasks[v]) {
		s.stale++
		return
	}
	sub := &s.attempt.subtasks[v][i]
	if s.attempt.workers[sub.Worker] != w {
		s.stale++
		return
	}
	if sub.Started.IsZero() {
		sub.Started = now
	}
	sub.State = st.GetState()
	switch sub.State {
	case controlv1.TaskState_TASK_STATE_FAILED:
		s.attemptFailed(now, s.failureOf(st.GetFailure(), w, s.taskName(v, i)))
	case controlv1.TaskState_TASK_STATE_CANCELED:
		s.attemptFailed(now, Failure{Task: s.taskName(v, i), TaskManager: w.TaskManager, Error: jobview.Error{
			Code: "LEAT3102", What: fmt.Sprintf("task %s ended without being asked to", s.taskName(v, i)), Where: "worker " + w.ID,
		}})
	default:
		s.tasksProgress(now)
	}
}

// tasksProgress tells once when all tasks run, and once when all have ended.
func (s *Scheduler) tasksProgress(now time.Time) {
	const running, finished = controlv1.TaskState_TASK_STATE_RUNNING, controlv1.TaskState_TASK_STATE_FINISHED
	if s.state != Running {
		return
	}
	if !s.attempt.running && s.attempt.every(running, finished) {
		s.attempt.running, s.attempt.since, s.ran = true, now, true
		s.emit(TasksRunning{Attempt: s.attempt.number})
	}
	if s.attempt.running && !s.attempt.finished && s.attempt.every(finished) {
		s.attempt.finished = true
		s.emit(TasksFinished{Attempt: s.attempt.number})
	}
}

func (s *Scheduler) taskName(v, i int) string {
	vx := s.plan.Vertices[v]
	return fmt.Sprintf("%s (%d/%d)", vx.Name, i+1, vx.Parallelism)
}

// exited notes the end of a worker: a failure while it was wanted, progress
// while it is being ended.
func (s *Scheduler) exited(now time.Time, w *worker, f Failure) {
	w.phase = workerGone
	if s.live() {
		s.attemptFailed(now, f)
	}
	s.stopped(now)
}

// followUp notes a crash that shows only while the attempt is being ended:
// when a process dies its peers often report the broken channel first, and
// people look for the cause.
func (s *Scheduler) followUp(now time.Time, w *worker, x *controlv1.WorkerExited) {
	crashed := x.GetReason() == "crash" || x.GetReason() == "oom"
	if crashed && s.state == Stopping && s.goal == GoalRun && !w.unseen && s.attempt.culprit != "" && s.attempt.culprit != w.ID {
		s.note(now, exitFailure(w, x), true)
	}
}

func (s *Scheduler) lost(now time.Time, ev TaskManagerLost) {
	hit := false
	for _, w := range s.attempt.workers {
		if w.TaskManager == ev.TaskManager && w.phase != workerGone && !w.unseen {
			hit = true
			if s.state != Preparing {
				w.phase = workerGone
			}
		}
	}
	switch {
	case !hit:
	case s.state == Preparing:
		// Nothing was started: ask again, without counting a failure.
		s.attempt.abandon()
		s.awaitSlots(now)
	case s.live():
		s.attemptFailed(now, Failure{TaskManager: ev.TaskManager, Error: jobview.Error{
			Code: "LEAT2102", What: "taskmanager " + ev.TaskManager + " is gone", Why: ev.Reason,
			Fix: []string{"flinkctl taskmanager list"},
		}})
	}
	s.stopped(now)
}

// joined looks for workers of a former leader's attempt.
func (s *Scheduler) joined(now time.Time, ev TaskManagerJoined) {
	s.endLeftovers(ev)
	if s.state != Stopping && s.state != Attaching {
		return
	}
	for _, w := range s.attempt.workers {
		if w.TaskManager != ev.TaskManager || !w.unseen {
			continue
		}
		w.unseen = false
		if !slices.Contains(ev.Workers, w.ID) {
			w.phase = workerGone
			s.unfit(fmt.Sprintf("worker %s has ended", w.ID))
			continue
		}
		if s.state == Attaching {
			continue
		}
		s.emit(StopWorker{Worker: w.Worker, Grace: s.cfg.FailureGrace, Reason: "the leader has changed"})
		s.stopAgain = now.Add(s.cfg.StopRepeat)
		s.stopBy = now.Add(s.cfg.StopTimeout)
	}
	s.attach(now)
	s.stopped(now)
}

// endLeftovers ends workers that were taken for lost with their taskmanager,
// which is back with them.
func (s *Scheduler) endLeftovers(ev TaskManagerJoined) {
	for _, w := range s.attempt.workers {
		if w.phase == workerGone && slices.Contains(ev.Workers, w.ID) {
			s.emit(StopWorker{Worker: w.Worker, Reason: "its attempt is over"})
		}
	}
}

// exitFailure words the end of a process nobody asked for.
func exitFailure(w *worker, x *controlv1.WorkerExited) Failure {
	how := fmt.Sprintf("exit code %d", x.GetExitCode())
	if x.GetSignal() != "" {
		how = "signal " + x.GetSignal()
	}
	f := Failure{TaskManager: w.TaskManager, Worker: w.ID, Stack: x.GetStderrTail(), Error: jobview.Error{
		Code: "LEAT2103", What: fmt.Sprintf("worker %s on %s ended: %s", w.ID, w.TaskManager, cmp.Or(x.GetReason(), "unexpectedly")),
		Why: how, Fix: []string{"flinkctl logs: its last lines tell why"},
	}}
	if x.GetReason() == "oom" {
		// The taskmanager's note is the first line: what it held, and its share.
		f.Error.Why, _, _ = strings.Cut(x.GetStderrTail(), "\n")
		f.Error.Fix = []string{"give the taskmanager more memory, or bound the state of the job"}
	}
	return f
}

func startFailure(w *worker, e *controlv1.ErrorInfo) Failure {
	f := Failure{TaskManager: w.TaskManager, Worker: w.ID, Error: errorOf(e)}
	f.Error.Code = cmp.Or(f.Error.Code, "LEAT2104")
	f.Error.What = cmp.Or(f.Error.What, fmt.Sprintf("worker %s could not be started on %s", w.ID, w.TaskManager))
	return f
}

func errorOf(e *controlv1.ErrorInfo) jobview.Error {
	return jobview.Error{Code: e.GetCode(), What: e.GetWhat(), Where: e.GetWhere(), Why: e.GetWhy(), Fix: e.GetFix()}
}

// failureOf words what a worker reports.
func (s *Scheduler) failureOf(f *controlv1.Failure, w *worker, task string) Failure {
	out := Failure{
		Error: errorOf(f.GetError()), Fatal: f.GetFatal(), Stack: f.GetStack(), Record: f.GetRecord(),
		Operator: cmp.Or(f.GetOperatorName(), f.GetOperatorId()), Task: task, TaskManager: w.TaskManager, Worker: w.ID,
	}
	out.Error.Code = cmp.Or(out.Error.Code, "LEAT3101")
	out.Error.What = cmp.Or(out.Error.What, fmt.Sprintf("job %q failed without a message", s.cfg.Name))
	out.Error.Where = cmp.Or(out.Error.Where, task)
	if len(out.Error.Fix) == 0 {
		out.Error.Fix = []string{
			fmt.Sprintf("flinkctl job exceptions %s -v shows where in the program", s.cfg.Name),
			fmt.Sprintf("flinkctl logs %s shows what it said before", s.cfg.Name),
		}
	}
	return out
}
