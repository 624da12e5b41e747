package scheduler

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/runtime/jobview"
)

// attemptFailed notes a failure of the attempt, decides what follows, and
// ends its workers. Of the failures of an attempt the first is noted, and
// crashes of other workers (followUp): the rest are consequences.
func (s *Scheduler) attemptFailed(now time.Time, f Failure) {
	if s.state != Preparing && !s.live() {
		return
	}
	s.attempt.culprit = f.Worker
	again := s.decide(now, f)
	s.note(now, f, again)
	if s.state == Preparing {
		s.attempt.abandon()
		s.proceed(now)
		s.delay = 0
		return
	}
	s.stop(now, s.cfg.FailureGrace)
}

// startTimedOut fails an attempt whose workers do not get ready.
func (s *Scheduler) startTimedOut(now time.Time) {
	for _, w := range s.attempt.workers {
		if w.phase == workerNew {
			s.attemptFailed(now, Failure{TaskManager: w.TaskManager, Error: jobview.Error{
				Code: "LEAT2105", What: fmt.Sprintf("worker %s on %s was not ready within %s", w.ID, w.TaskManager, s.cfg.StartTimeout),
				Why: "likely its main does not return from building the graph", Fix: []string{"read the worker's log: flinkctl logs"},
			}})
			return
		}
	}
}

// slowest returns the worker whose deployment is to end first of those that
// have not ended. In Deploying there is one.
func (s *Scheduler) slowest() *worker {
	var slowest *worker
	for _, w := range s.attempt.workers {
		if w.phase == workerReady && (slowest == nil || s.deployBy(w).Before(s.deployBy(slowest))) {
			slowest = w
		}
	}
	return slowest
}

func (s *Scheduler) deployBy(w *worker) time.Time {
	since := s.since
	if w.waits.After(since) {
		since = w.waits
	}
	return since.Add(s.cfg.DeployTimeout)
}

// deployTimedOut fails an attempt of which a worker does not answer Deploy.
func (s *Scheduler) deployTimedOut(now time.Time, w *worker) {
	s.attemptFailed(now, Failure{TaskManager: w.TaskManager, Worker: w.ID, Error: jobview.Error{
		Code: "LEAT2106", What: fmt.Sprintf("worker %s on %s has not opened its tasks within %s", w.ID, w.TaskManager, s.cfg.DeployTimeout),
		Why: "it neither answered nor said what it waits for: the process hangs, or the taskmanager does not pass on what it says",
		Fix: []string{"read the worker's log: flinkctl logs", "look at that machine: flinkctl taskmanager get " + w.TaskManager},
	}})
}

// decide sets goal and delay after a failure; it reports whether another
// attempt to run follows.
func (s *Scheduler) decide(now time.Time, f Failure) bool {
	var ran time.Duration
	if s.attempt.running {
		ran = now.Sub(s.attempt.since)
	}
	if s.goal != GoalRun {
		s.decideSettling(now, f, ran)
		return false
	}
	if f.Fatal {
		s.goalFail(now, f)
		return false
	}
	delay, ok := s.restart.next(now, ran)
	if !ok {
		s.goalFail(now, f)
		return false
	}
	s.delay = delay
	s.restarts++
	return true
}

// decideSettling bounds the attempts to settle: a finishing job follows its
// restart strategy, one that is cancelled or failed has a few tries.
func (s *Scheduler) decideSettling(now time.Time, f Failure, ran time.Duration) {
	if f.Fatal {
		s.giveUp = true
		return
	}
	if s.goal == GoalFinish {
		delay, ok := s.restart.next(now, ran)
		s.delay, s.giveUp = delay, s.giveUp || !ok
		s.restarts++
		return
	}
	if s.attempt.settling {
		s.settleTries++
	}
	s.delay = time.Second
	s.giveUp = s.giveUp || s.settleTries >= settleTriesMax
}

// note adds to the history of failures.
func (s *Scheduler) note(now time.Time, f Failure, restarted bool) {
	e := jobview.Exception{
		Time: now, Error: f.Error, Stack: cut(f.Stack), Operator: f.Operator, Task: f.Task,
		TaskManager: f.TaskManager, Record: f.Record, Attempt: s.last, Restarted: restarted,
	}
	s.exceptions = append([]jobview.Exception{e}, s.exceptions...)
	s.exceptions = s.exceptions[:min(len(s.exceptions), ExceptionsMax)]
}

// stackMax bounds the stack kept with an exception.
const stackMax = 32 << 10

func cut(stack string) string {
	if len(stack) <= stackMax {
		return stack
	}
	return stack[:stackMax] + "\n… (cut)"
}

// stop ends all workers of the attempt.
func (s *Scheduler) stop(now time.Time, grace time.Duration) {
	s.disown()
	s.emit(AttemptEnding{Attempt: s.attempt.number})
	s.move(now, Stopping, s.stoppingReason())
	s.orderStop(now, grace)
	s.stopBy = now.Add(s.cfg.StopTimeout + grace)
	s.stopped(now)
}

func (s *Scheduler) stoppingReason() string {
	if s.attempt.replaced != "" {
		return s.attempt.replaced + "; its workers are being ended"
	}
	if s.attempt.unfit != "" {
		return fmt.Sprintf("attempt %d cannot be taken over from the former leader (%s); its workers are being ended", s.attempt.number, s.attempt.unfit)
	}
	if s.goal == GoalRun && len(s.exceptions) > 0 {
		return s.exceptions[0].Error.What + "; its workers are being ended"
	}
	return "its workers are being ended"
}

func (s *Scheduler) orderStop(now time.Time, grace time.Duration) {
	s.stopAgain = now.Add(s.cfg.StopRepeat + grace)
	for _, w := range s.attempt.workers {
		if w.phase != workerGone && !w.unseen {
			s.emit(StopWorker{Worker: w.Worker, Grace: grace, Reason: s.reason})
		}
	}
}

// stopTick repeats the order to stop, and in the end cuts off those
// taskmanagers that do not obey: with the session gone they count as lost,
// and register again without the slots of workers that still live.
func (s *Scheduler) stopTick(now time.Time) {
	s.loseUnseen(now)
	if s.state != Stopping {
		return
	}
	if !s.stopBy.IsZero() && !now.Before(s.stopBy) {
		for _, w := range s.attempt.workers {
			if w.phase == workerGone {
				continue
			}
			if !w.unseen {
				w.phase = workerGone
				s.emit(DropTaskManager{TaskManager: w.TaskManager, Reason: fmt.Sprintf("worker %s did not end within %s", w.ID, s.cfg.StopTimeout)})
			}
		}
		s.stopBy = time.Time{}
		s.stopped(now)
		return
	}
	if !s.stopAgain.IsZero() && !now.Before(s.stopAgain) {
		s.orderStop(now, 0)
	}
}

// stopped goes on once no worker of the attempt lives.
func (s *Scheduler) stopped(now time.Time) {
	if s.state != Stopping || !s.attempt.gone() {
		return
	}
	s.stopAgain, s.stopBy = time.Time{}, time.Time{}
	s.disown()
	s.proceed(now)
	s.delay = 0
}
