package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/slots"
)

// Worker is a worker process of an attempt.
type Worker struct {
	ID          string           `json:"id"`
	TaskManager string           `json:"taskmanager"`
	Attempt     dataflow.Attempt `json:"attempt"`
	Slots       int              `json:"slots"`
	// Coordinator says that the worker runs the job's coordinator task.
	Coordinator bool `json:"coordinator,omitempty"`
}

// WorkerID names the i-th worker of an attempt: unique, as attempts are.
func WorkerID(job dataflow.JobID, n dataflow.Attempt, i int) string {
	return fmt.Sprintf("%.12s-%d-%d", string(job), n, i)
}

type workerPhase int

const (
	workerNew workerPhase = iota
	workerReady
	workerDeployed
	workerGone
)

type worker struct {
	Worker
	phase workerPhase
	ready *controlv1.Ready
	waits time.Time // when it said last that it waits for something outside
	// unseen workers are recovered ones whose taskmanager has not registered.
	unseen bool
	stands bool // it has answered Attach
}

// Subtask is where and how one subtask runs.
type Subtask struct {
	State   controlv1.TaskState
	Worker  int // index into Workers
	Started time.Time
}

type attempt struct {
	number   dataflow.Attempt
	workers  []*worker
	subtasks [][]Subtask // by vertex
	settling bool        // ends once deployed
	running  bool        // TasksRunning was sent
	finished bool        // TasksFinished was sent
	since    time.Time   // when all tasks ran
	culprit  string      // worker whose failure ended it

	recovered bool   // a former leader's, until it is attached or over
	asked     bool   // Attach was sent to all
	unfit     string // why it cannot be attached
	replaced  string // why another one with another plan follows
}

// newAttempt places the plan: slot i of the k of a slot-sharing group holds, of
// a vertex with parallelism p, the subtask s with s*k/p = i. Slots are numbered along the
// shares, so that a rescale edge stays inside a worker where it can.
func newAttempt(job dataflow.JobID, n dataflow.Attempt, plan *graph.Plan, shares []slots.Share) attempt {
	a := attempt{number: n}
	for i, sh := range shares {
		w := Worker{ID: WorkerID(job, n, i), TaskManager: sh.TaskManager, Attempt: n, Slots: sh.Slots, Coordinator: i == 0}
		a.workers = append(a.workers, &worker{Worker: w})
	}
	a.place(plan)
	return a
}

// slots is the number of slots that its workers hold.
func (a *attempt) slots() int {
	n := 0
	for _, w := range a.workers {
		n += w.Slots
	}
	return n
}

// place gives each subtask its worker; the same plan and workers give the same
// places. The workers hold as many slots as the plan needs.
func (a *attempt) place(plan *graph.Plan) {
	var slotWorker []int
	for i, w := range a.workers {
		for range w.Slots {
			slotWorker = append(slotWorker, i)
		}
	}
	groups := make(map[string]graph.SlotRange)
	for _, r := range plan.SlotRanges() {
		groups[r.Group] = r
	}
	for _, v := range plan.Vertices {
		sub := make([]Subtask, v.Parallelism)
		g := groups[v.SlotGroup]
		for s := range sub {
			sub[s].Worker = slotWorker[g.First+s*g.Slots/v.Parallelism]
		}
		a.subtasks = append(a.subtasks, sub)
	}
}

// recovered is the attempt of a former leader, of which only the workers are
// known.
func recovered(n dataflow.Attempt, workers []Worker) attempt {
	a := attempt{number: n, recovered: true}
	for _, w := range workers {
		a.workers = append(a.workers, &worker{Worker: w, unseen: true})
	}
	return a
}

func (a *attempt) find(id string) *worker {
	for _, w := range a.workers {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// count returns how many workers have reached a phase and are alive.
func (a *attempt) count(p workerPhase) int {
	n := 0
	for _, w := range a.workers {
		if w.phase >= p && w.phase != workerGone {
			n++
		}
	}
	return n
}

// abandon gives up an attempt of which no worker was started.
func (a *attempt) abandon() {
	for _, w := range a.workers {
		w.phase = workerGone
	}
}

func (a *attempt) gone() bool {
	for _, w := range a.workers {
		if w.phase != workerGone {
			return false
		}
	}
	return true
}

// every reports whether all subtasks are in one of the states.
func (a *attempt) every(states ...controlv1.TaskState) bool {
	for _, v := range a.subtasks {
		for _, s := range v {
			if !slices.Contains(states, s.State) {
				return false
			}
		}
	}
	return true
}

// Attempt returns the number of the live or last attempt.
func (s *Scheduler) Attempt() dataflow.Attempt { return s.last }

// Workers returns the workers of the live attempt, or of the one being ended.
func (s *Scheduler) Workers() []Worker {
	out := make([]Worker, len(s.attempt.workers))
	for i, w := range s.attempt.workers {
		out[i] = w.Worker
	}
	return out
}

// Slots is the number of slots of the live attempt.
func (s *Scheduler) Slots() int { return s.attempt.slots() }

// Shares returns the slots that its workers use, by taskmanager.
func (s *Scheduler) Shares() []slots.Share {
	var out []slots.Share
	for _, w := range s.attempt.workers {
		out = append(out, slots.Share{TaskManager: w.TaskManager, Slots: w.Slots})
	}
	return out
}

// LiveWorkers returns those of them that have not ended.
func (s *Scheduler) LiveWorkers() []Worker {
	var out []Worker
	for _, w := range s.attempt.workers {
		if w.phase != workerGone {
			out = append(out, w.Worker)
		}
	}
	return out
}

// Subtasks returns the subtasks of the attempt by vertex; read-only.
func (s *Scheduler) Subtasks() [][]Subtask { return s.attempt.subtasks }

// Placements returns where each subtask runs, for Deploy.
func (s *Scheduler) Placements() []*controlv1.Placement {
	var out []*controlv1.Placement
	for v, subs := range s.attempt.subtasks {
		for i, sub := range subs {
			out = append(out, &controlv1.Placement{
				Subtask:  &controlv1.SubtaskRef{Vertex: int32(v), Subtask: int32(i)},
				WorkerId: s.attempt.workers[sub.Worker].ID,
			})
		}
	}
	return out
}

// Peers returns how workers reach each other, for Deploy; complete once all
// workers are ready.
func (s *Scheduler) Peers() []*controlv1.Peer {
	var out []*controlv1.Peer
	for _, w := range s.attempt.workers {
		out = append(out, &controlv1.Peer{
			WorkerId: w.ID, TaskmanagerId: w.TaskManager,
			TcpAddress: w.ready.GetTcpAddress(), UnixAddress: w.ready.GetUnixAddress(), HostId: w.ready.GetHostId(),
		})
	}
	return out
}
