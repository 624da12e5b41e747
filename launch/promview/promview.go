// Package promview shows jobs and taskmanagers to Prometheus: the figures of
// a jobmanager by Flink's names where Flink has them, and those of a
// taskmanager. It keeps no figure itself: a scrape reads what is known now,
// so that what has gone leaves no series behind.
package promview

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/rest"
	"github.com/leatstream/leat/runtime/taskexec"
)

// subtaskSeriesMax bounds the series about subtasks in one scrape.
const subtaskSeriesMax = 50_000

// JobManager collects from the leader's control; standbys show that they are.
type JobManager struct {
	// Control returns nil while the process stands by.
	Control func() jobview.Control
	// NowMillis is the wall clock.
	NowMillis func() int64
}

var _ prometheus.Collector = (*JobManager)(nil)

// Describe implements prometheus.Collector: the series depend on the jobs.
func (*JobManager) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *JobManager) Collect(out chan<- prometheus.Metric) {
	c := m.Control()
	leads := 0.0
	if c != nil {
		leads = 1
	}
	gauge(out, "leat_jobmanager_leader", "1 while this process leads.", leads, nil, nil)
	if c == nil {
		return
	}
	v := c.Cluster()
	gauge(out, "flink_jobmanager_numRegisteredTaskManagers", "Taskmanagers in session.", float64(v.TaskManagers), nil, nil)
	gauge(out, "flink_jobmanager_taskSlotsTotal", "Slots of all taskmanagers.", float64(v.Slots), nil, nil)
	gauge(out, "flink_jobmanager_taskSlotsAvailable", "Slots that are free.", float64(v.SlotsFree), nil, nil)
	gauge(out, "flink_jobmanager_numRunningJobs", "Jobs that run.", float64(v.Running), nil, nil)
	left := subtaskSeriesMax
	dropped := 0
	for _, j := range c.Jobs() {
		m.job(out, j)
		if full, err := c.Job(j.ID); err == nil && !j.State.Terminal() {
			dropped += subtasks(out, full, &left)
		}
	}
	gauge(out, "leat_metrics_series_dropped", "Series about subtasks that were too many for this scrape.", float64(dropped), nil, nil)
}

func (m *JobManager) job(out chan<- prometheus.Metric, j jobview.Job) {
	labels, values := []string{"job_id", "job_name"}, []string{string(j.ID), j.Name}
	gauge(out, "leat_job_state", "1 for the state that the job is in.", 1, append(labels, "state"), append(values, string(j.State)))
	if j.State.Terminal() {
		return
	}
	now := m.NowMillis()
	for name, v := range rest.JobFigures(j, now) {
		gauge(out, "flink_jobmanager_job_"+name, "As Flink's metric of this name.", v, labels, values)
	}
	if l := j.Checkpoints.Latest; l != nil {
		gauge(out, "leat_job_last_good_checkpoint_age_seconds", "Time since the last completed checkpoint.",
			float64(now-l.Completed.UnixMilli())/1000, labels, values)
	}
}

// subtasks returns how many series had no room.
func subtasks(out chan<- prometheus.Metric, j jobview.Job, left *int) (dropped int) {
	labels := []string{"job_id", "job_name", "task_name", "subtask_index", "tm_id", "host"}
	for _, v := range j.Vertices {
		for i, s := range v.Subtasks {
			values := []string{string(j.ID), j.Name, v.Name, strconv.Itoa(i), s.TaskManager, s.Host}
			figures := taskFigures(s)
			if *left < len(figures) {
				dropped += len(figures)
				continue
			}
			*left -= len(figures)
			for name, f := range figures {
				emit(out, prometheus.GaugeValue, name, "As Flink's metric of this name, summed up in the attempt.", f, labels, values)
			}
		}
	}
	return dropped
}

// taskFigures leaves out what operators count themselves: their number has no
// bound.
func taskFigures(s jobview.Subtask) map[string]float64 {
	s.Operators = nil
	out := make(map[string]float64)
	for name, v := range rest.SubtaskFigures(s) {
		out["flink_taskmanager_job_task_"+name] = v
	}
	return out
}

// TaskManager collects from an executor.
type TaskManager struct{ Stats func() taskexec.Stats }

var _ prometheus.Collector = (*TaskManager)(nil)

// Describe implements prometheus.Collector: the series depend on the workers.
func (*TaskManager) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *TaskManager) Collect(out chan<- prometheus.Metric) {
	s := m.Stats()
	connected := 0.0
	if s.Connected {
		connected = 1
	}
	gauge(out, "leat_taskmanager_connected", "1 while in session with a jobmanager.", connected, nil, nil)
	gauge(out, "leat_taskmanager_slots", "Slots.", float64(s.Slots), nil, nil)
	gauge(out, "leat_taskmanager_slots_used", "Slots in use.", float64(s.SlotsUsed), nil, nil)
	for _, w := range s.Workers {
		labels, values := []string{"job_id", "job_name", "worker"}, []string{w.Job, w.JobName, w.ID}
		gauge(out, "leat_worker_memory_bytes", "Memory that the worker holds.", float64(w.MemoryBytes), append(labels, "owner"), append(values, "process"))
		gauge(out, "leat_worker_memory_limit_bytes", "Memory that the worker may hold.", float64(w.ShareBytes), labels, values)
	}
	for reason, n := range s.Exits {
		emit(out, prometheus.CounterValue, "leat_worker_exits_total", "Workers that ended, by reason.", float64(n), []string{"reason"}, []string{reason})
	}
}

func gauge(out chan<- prometheus.Metric, name, help string, v float64, labels, values []string) {
	emit(out, prometheus.GaugeValue, name, help, v, labels, values)
}

func emit(out chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, v float64, labels, values []string) {
	m, err := prometheus.NewConstMetric(prometheus.NewDesc(name, help, labels, nil), kind, v, values...)
	if err != nil {
		m = prometheus.NewInvalidMetric(prometheus.NewDesc(name, help, nil, nil), err)
	}
	out <- m
}
