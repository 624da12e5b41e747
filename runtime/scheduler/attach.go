package scheduler

import (
	"fmt"
	"time"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// A new leader takes over an attempt that runs: once the taskmanagers of all
// its workers have registered, each worker is asked where it stands. If all
// run, the job runs, and nothing was stopped for it. An attempt that cannot be
// taken over as it is (a worker has ended meanwhile, or had not got as far as
// to run) is ended, and the next one follows at once: that the leader changed
// is no failure of the job.

// unfit notes why the attempt cannot be attached; the first reason stays.
func (s *Scheduler) unfit(reason string) {
	if s.state == Attaching && s.attempt.unfit == "" {
		s.attempt.unfit = reason
	}
}

// attach asks the workers once all are found, or ends what cannot be attached.
func (s *Scheduler) attach(now time.Time) {
	if s.state != Attaching || s.plan == nil {
		return
	}
	if s.attempt.subtasks == nil {
		if have, need := s.attempt.slots(), s.plan.Slots(); have != need {
			s.unfit(fmt.Sprintf("its workers hold %d slots, the job needs %d", have, need))
		} else {
			s.attempt.place(s.plan)
		}
	}
	if s.attempt.unfit != "" {
		s.stop(now, s.cfg.FailureGrace)
		return
	}
	if s.attempt.asked || s.attempt.unseen() > 0 {
		return
	}
	s.attempt.asked = true
	s.takeover, s.attachBy = time.Time{}, now.Add(s.cfg.TakeoverGrace)
	s.reason = fmt.Sprintf("a new leader asks the workers of attempt %d where they stand", s.attempt.number)
	for _, w := range s.attempt.workers {
		s.emit(Attach{Worker: w.Worker})
	}
}

// standing takes a worker's answer.
func (s *Scheduler) standing(now time.Time, w *worker, st *controlv1.Standing) {
	if s.state != Attaching || !s.attempt.asked || w.stands {
		return
	}
	if f := st.GetFailure(); f != nil {
		s.attemptFailed(now, s.failureOf(f, w, ""))
		return
	}
	for _, t := range st.GetTasks() {
		if s.taskChanged(now, w, t); s.state != Attaching {
			return
		}
	}
	w.stands, w.phase = true, workerDeployed
	switch {
	case st.GetEnding():
		s.unfit("its sources were stopped for a savepoint")
	case !st.GetRunning():
		s.unfit(fmt.Sprintf("worker %s had not begun to run", w.ID))
	}
	if s.attempt.unfit != "" {
		s.attach(now)
		return
	}
	for _, w := range s.attempt.workers {
		if !w.stands {
			return
		}
	}
	s.attached(now)
}

// attached goes on with the attempt as if this leader had begun it.
func (s *Scheduler) attached(now time.Time) {
	s.attachBy = time.Time{}
	s.litter = s.litter || s.transactional()
	s.disown()
	s.move(now, Running, "")
	s.tasksProgress(now)
	if s.goal != GoalRun {
		s.towardsEnd(now)
	}
}

// disown tells once that no worker of the former leader is taken over any
// more. It comes as soon as that is decided: a taskmanager that is lost and
// comes back meanwhile may still run one.
func (s *Scheduler) disown() {
	if s.attempt.recovered {
		s.attempt.recovered = false
		s.emit(Disown{})
	}
}

// attachTick gives up an attempt of which a part does not come forward.
func (s *Scheduler) attachTick(now time.Time) {
	s.loseUnseen(now)
	if s.state != Attaching || s.attachBy.IsZero() || now.Before(s.attachBy) {
		return
	}
	for _, w := range s.attempt.workers {
		if !w.stands {
			s.unfit(fmt.Sprintf("worker %s on %s has not said within %s where it stands", w.ID, w.TaskManager, s.cfg.TakeoverGrace))
		}
	}
	s.attach(now)
}

// loseUnseen gives up the workers of taskmanagers that have not registered in
// time: their leases have ended long ago, and they with them.
func (s *Scheduler) loseUnseen(now time.Time) {
	if s.takeover.IsZero() || now.Before(s.takeover) {
		return
	}
	s.takeover = time.Time{}
	for _, w := range s.attempt.workers {
		if w.unseen && w.phase != workerGone {
			w.phase = workerGone
			s.unfit(fmt.Sprintf("taskmanager %s did not register within %s", w.TaskManager, s.cfg.TakeoverGrace))
		}
	}
	s.attach(now)
	s.stopped(now)
}

// unseen returns how many workers of the attempt are still to be found.
func (a *attempt) unseen() int {
	n := 0
	for _, w := range a.workers {
		if w.unseen && w.phase != workerGone {
			n++
		}
	}
	return n
}
