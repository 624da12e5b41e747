package jobmaster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
)

// figures are the last reported ones of each subtask of the live attempt.
type figures struct {
	bySubtask [][]*controlv1.SubtaskMetrics // by vertex and subtask
	// troubles is what the workers try again, by worker.
	troubles map[string][]*controlv1.Trouble
}

func (f *figures) init(p *graph.Plan) {
	f.bySubtask = make([][]*controlv1.SubtaskMetrics, len(p.Vertices))
	for i, v := range p.Vertices {
		f.bySubtask[i] = make([]*controlv1.SubtaskMetrics, v.Parallelism)
	}
}

func (f *figures) reset() {
	for _, v := range f.bySubtask {
		clear(v)
	}
	clear(f.troubles)
}

// oldestTrouble returns what has been tried again for the longest time, or
// nil.
func (f *figures) oldestTrouble() *controlv1.Trouble {
	var oldest *controlv1.Trouble
	for _, worker := range slices.Sorted(maps.Keys(f.troubles)) {
		for _, t := range f.troubles[worker] {
			if oldest == nil || t.GetSinceMillis() < oldest.GetSinceMillis() {
				oldest = t
			}
		}
	}
	return oldest
}

// troubleReason says what does not work, where, and since when.
func troubleReason(t *controlv1.Trouble) string {
	e := jobview.Error{Code: t.GetError().GetCode(), What: t.GetError().GetWhat(), Why: t.GetError().GetWhy()}
	text := e.What
	if e.Code != "" {
		text = e.Error()
	}
	return fmt.Sprintf("%s (operator %q tries again since %s)", text, t.GetOperator(), time.UnixMilli(t.GetSinceMillis()).UTC().Format(time.TimeOnly))
}

// report takes a worker's report; it speaks only for its own subtasks.
func (f *figures) report(s *scheduler.Scheduler, worker string, m *controlv1.MetricsReport) {
	workers, subs := s.Workers(), s.Subtasks()
	if f.troubles == nil {
		f.troubles = make(map[string][]*controlv1.Trouble)
	}
	if slices.ContainsFunc(workers, func(w scheduler.Worker) bool { return w.ID == worker }) {
		f.troubles[worker] = m.GetTroubles()
	}
	for _, x := range m.GetSubtasks() {
		v, i := int(x.GetSubtask().GetVertex()), int(x.GetSubtask().GetSubtask())
		if v < 0 || v >= len(subs) || i < 0 || i >= len(subs[v]) || workers[subs[v][i].Worker].ID != worker {
			continue
		}
		f.bySubtask[v][i] = x
	}
}

// State is the job's state as people see it: its end is shown when recorded.
func (c *Core) State() jobview.JobState {
	s := c.sched.View()
	if !s.Terminal() || c.ended {
		return s
	}
	switch s {
	case jobview.JobFailed:
		return jobview.JobFailing
	case jobview.JobCanceled:
		return jobview.JobCancelling
	default:
		return jobview.JobRunning
	}
}

// Reason tells people why the job does not run well, empty when it does.
func (c *Core) Reason() string {
	if c.delayed != "" {
		return c.delayed
	}
	switch c.sched.State() {
	case scheduler.Created:
		return cmp.Or(c.planReason, c.sched.Reason())
	case scheduler.Preparing:
		return cmp.Or(c.prep.reason, c.sched.Reason())
	default:
		if tm := c.rescale.moves; tm != "" && c.rescale.waits != "" {
			return fmt.Sprintf("it is to move off taskmanager %s, which waits for slots: %s", tm, c.rescale.waits)
		}
		if c.rescale.stage == rescaleSlots && c.rescale.waits != "" {
			return fmt.Sprintf("it is to be rescaled to %s, which waits for slots: %s", c.rescale.target, c.rescale.waits)
		}
		if t := c.figures.oldestTrouble(); t != nil && !c.sched.State().Terminal() && c.sched.Goal() == scheduler.GoalRun {
			return troubleReason(t)
		}
		reason := c.sched.Reason()
		if past := c.sched.Exceptions(); reason != "" && c.sched.View() == jobview.JobRestarting && len(past) > 0 && !strings.Contains(reason, past[0].Error.What) {
			reason += "; it failed: " + past[0].Error.Error()
		}
		return reason
	}
}

// View returns what people see of the job; a copy.
func (c *Core) View() jobview.Job {
	j := c.Summary()
	if c.plan != nil {
		for _, v := range c.plan.Vertices {
			j.Vertices = append(j.Vertices, c.viewVertex(v))
		}
	}
	j.Exceptions = c.sched.Exceptions()
	return j
}

// Summary is View without vertices and exceptions.
func (c *Core) Summary() jobview.Job {
	j := ViewRecord(&c.rec)
	j.State, j.StateReason = c.State(), c.Reason()
	j.Attempt, j.Restarts = c.sched.Attempt(), c.sched.Restarts()
	j.StateSince = maps.Clone(c.sched.StateSince())
	j.RestoredFrom = c.restored
	if !j.State.Terminal() {
		j.Ended = Time(0)
	}
	if c.plan != nil {
		j.Plan, j.Config, j.Parallelism = c.plan, c.graph.Config, c.parallelismOf(c.graph)
	}
	if c.coord != nil {
		if s, ok := c.coord.Active(); ok {
			j.Checkpoints = c.history.view(&s, c.restoredCnt)
		} else {
			j.Checkpoints = c.history.view(nil, c.restoredCnt)
		}
	}
	return j
}

// ViewRecord is what a record alone tells of a job.
func ViewRecord(r *Record) jobview.Job {
	return jobview.Job{
		ID: r.ID, Name: r.Name, State: r.State, StateReason: r.Reason, BundleSHA: r.Bundle.SHA256, Parallelism: r.Parallelism, Auto: r.Auto,
		Attempt: r.Attempt, Restarts: r.Restarts, Started: Time(r.Submitted), Ended: Time(r.Ended), Args: r.Inputs.Args,
	}
}

func (c *Core) viewVertex(v *graph.Vertex) jobview.Vertex {
	out := jobview.Vertex{Index: v.Index, ID: v.ID, Name: v.Name, Parallelism: v.Parallelism, Subtasks: make([]jobview.Subtask, v.Parallelism)}
	workers, subs := c.sched.Workers(), c.sched.Subtasks()
	for i := range out.Subtasks {
		s := &out.Subtasks[i]
		s.State = "CREATED"
		if v.Index >= len(subs) || i >= len(subs[v.Index]) {
			continue
		}
		sub := subs[v.Index][i]
		w := workers[sub.Worker]
		s.TaskManager, s.Worker, s.Host = w.TaskManager, w.ID, c.hosts[w.TaskManager]
		s.Attempt, s.Started = w.Attempt, sub.Started
		s.State = c.subtaskState(sub.State)
		fillFigures(s, c.figures.bySubtask[v.Index][i])
	}
	return out
}

// subtaskState joins what the task reported with where its attempt stands.
func (c *Core) subtaskState(t controlv1.TaskState) string {
	switch t {
	case controlv1.TaskState_TASK_STATE_FAILED:
		return "FAILED"
	case controlv1.TaskState_TASK_STATE_FINISHED:
		return "FINISHED"
	}
	switch c.sched.State() {
	case scheduler.Created, scheduler.Waiting:
		return "CREATED"
	case scheduler.Preparing:
		return "SCHEDULED"
	case scheduler.Starting:
		return "DEPLOYING"
	case scheduler.Deploying:
		return "INITIALIZING"
	case scheduler.Running:
		if t == controlv1.TaskState_TASK_STATE_RUNNING {
			return "RUNNING"
		}
		return "INITIALIZING"
	default:
		return "CANCELED"
	}
}

func fillFigures(s *jobview.Subtask, m *controlv1.SubtaskMetrics) {
	if m == nil {
		s.Watermark = dataflow.TimeMin
		return
	}
	s.Watermark = m.GetWatermark()
	s.RecordsIn, s.RecordsOut = m.GetRecordsIn(), m.GetRecordsOut()
	s.BytesIn, s.BytesOut = m.GetBytesIn(), m.GetBytesOut()
	s.BusyMillis, s.IdleMillis, s.BackPressuredMillis = m.GetBusyMillis(), m.GetIdleMillis(), m.GetBackPressuredMillis()
	s.StateBytes = m.GetStateBytes()
	s.Operators = maps.Clone(m.GetOperatorMetrics())
}
