package scheduler

import (
	"fmt"

	"github.com/leatstream/leat/runtime/jobview"
)

// State is where a job stands; jobview.JobState is its coarser form.
type State int

// States.
const (
	Created   State = iota // waits for its plan
	Waiting                // waits for slots
	Preparing              // the attempt is being recorded, its restore planned
	Starting               // worker processes start
	Deploying              // tasks open and restore
	Running                // tasks run
	Stopping               // workers of the attempt end
	Backoff                // waits before the next attempt
	Attaching              // tasks run since a former leader; their workers are asked where they stand
	Finished
	Failed
	Canceled
)

var stateNames = [...]string{
	Created: "CREATED", Waiting: "WAITING", Preparing: "PREPARING", Starting: "STARTING",
	Deploying: "DEPLOYING", Running: "RUNNING", Stopping: "STOPPING", Backoff: "BACKOFF",
	Attaching: "ATTACHING",
	Finished:  "FINISHED", Failed: "FAILED", Canceled: "CANCELED",
}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// Terminal reports whether the state is final.
func (s State) Terminal() bool { return s >= Finished }

// transitions lists for each state those that may follow.
var transitions = [...][]State{
	Created:   {Waiting, Stopping, Failed, Canceled},
	Waiting:   {Preparing, Finished, Failed, Canceled},
	Preparing: {Waiting, Starting, Backoff, Finished, Failed, Canceled},
	Starting:  {Deploying, Stopping},
	Deploying: {Running, Stopping},
	Running:   {Stopping},
	Stopping:  {Created, Waiting, Backoff, Finished, Failed, Canceled},
	Backoff:   {Waiting, Finished, Failed, Canceled},
	Attaching: {Running, Stopping},
	Finished:  {},
	Failed:    {},
	Canceled:  {},
}

// mayFollow reports whether the table allows a transition.
func mayFollow(from, to State) bool {
	for _, s := range transitions[from] {
		if s == to {
			return true
		}
	}
	return false
}

// Goal is what the job is heading for.
type Goal int

// Goals. A later one replaces an earlier one only upwards, except that a
// failure never replaces the wish to cancel.
const (
	GoalRun    Goal = iota
	GoalFinish      // its last checkpoint or savepoint is committed
	GoalFail        // no restart will follow
	GoalCancel
)

// terminal is the state in which a goal is reached.
func (g Goal) terminal() State {
	switch g {
	case GoalFinish:
		return Finished
	case GoalFail:
		return Failed
	case GoalCancel:
		return Canceled
	default:
		panic(fmt.Sprintf("scheduler: goal %d has no end", g))
	}
}

// View is the state as people see it.
func (s *Scheduler) View() jobview.JobState {
	switch {
	case s.state == Finished:
		return jobview.JobFinished
	case s.state == Failed:
		return jobview.JobFailed
	case s.state == Canceled:
		return jobview.JobCanceled
	case s.goal == GoalCancel:
		return jobview.JobCancelling
	case s.goal == GoalFail:
		return jobview.JobFailing
	case s.state == Attaching:
		return jobview.JobReconciling
	case s.state == Running, s.state == Stopping && s.goal == GoalFinish:
		return jobview.JobRunning
	case s.cfg.LastAttempt > 0 || s.restarts > 0 || s.ran && s.state != Created:
		return jobview.JobRestarting
	default:
		return jobview.JobCreated
	}
}
