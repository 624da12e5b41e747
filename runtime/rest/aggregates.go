package rest

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

// aggregate sums up values of one metric.
func aggregate(v []float64) restapi.Aggregate {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return restapi.Aggregate{}
	}
	at := func(q float64) float64 { return v[min(len(v)-1, int(q*float64(len(v))))] }
	a := restapi.Aggregate{Min: v[0], Max: v[len(v)-1], Median: at(0.5), P25: at(0.25), P75: at(0.75), P95: at(0.95)}
	for _, x := range v {
		a.Sum += x
	}
	a.Avg = a.Sum / float64(len(v))
	return a
}

// aggregatedIO sums up the figures of subtasks, by Flink's names.
func aggregatedIO(subtasks []restapi.Subtask) restapi.Aggregated {
	values := make(map[string][]float64)
	durations := make(map[string][]float64)
	for _, s := range subtasks {
		for name, v := range map[string]int64{
			"read-bytes": s.Metrics.ReadBytes, "write-bytes": s.Metrics.WriteBytes, "read-records": s.Metrics.ReadRecords,
			"write-records": s.Metrics.WriteRecords, "accumulated-backpressured-time": s.Metrics.BackPressured,
			"accumulated-idle-time": s.Metrics.Idle, "accumulated-busy-time": s.Metrics.Busy,
		} {
			values[name] = append(values[name], float64(v))
		}
		for state, d := range s.StatusDuration {
			durations[state] = append(durations[state], float64(d))
		}
	}
	out := restapi.Aggregated{Metrics: make(map[string]restapi.Aggregate), StatusDuration: make(map[string]restapi.Aggregate)}
	for name, v := range values {
		out.Metrics[name] = aggregate(v)
	}
	for state, v := range durations {
		out.StatusDuration[state] = aggregate(v)
	}
	return out
}

// aggregations are what ?agg= takes.
func aggregations() []string { return []string{"min", "max", "avg", "sum", "skew"} }

// aggregated answers a metrics path over several things: the names alone, or
// with ?get= the aggregations of ?agg= (all of them without it).
func aggregated(r *http.Request, each []map[string]float64) (any, error) {
	wanted := aggregations()
	if agg := r.URL.Query().Get("agg"); agg != "" {
		wanted = strings.Split(agg, ",")
		for _, a := range wanted {
			if !slices.Contains(aggregations(), a) {
				return nil, invalid("agg %q is not one of %s", a, strings.Join(aggregations(), ", "))
			}
		}
	}
	all := make(map[string][]float64)
	for _, m := range each {
		for name, v := range m {
			all[name] = append(all[name], v)
		}
	}
	out := []map[string]any{}
	get := r.URL.Query().Get("get")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if get == "" {
			out = append(out, map[string]any{"id": name})
		} else if slices.Contains(strings.Split(get, ","), name) {
			out = append(out, aggregatedMetric(name, all[name], wanted))
		}
	}
	return out, nil
}

func aggregatedMetric(name string, values []float64, wanted []string) map[string]any {
	a := aggregate(values)
	m := map[string]any{"id": name}
	for _, w := range wanted {
		m[w] = map[string]float64{"min": a.Min, "max": a.Max, "avg": a.Avg, "sum": a.Sum, "skew": skew(values, a.Avg)}[w]
	}
	return m
}

// skew is Flink's: the mean distance from the average, in percent of it.
func skew(values []float64, avg float64) float64 {
	if avg == 0 || len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += max(v-avg, avg-v)
	}
	return min(100, 100*sum/float64(len(values))/avg)
}

func (h *Handler) jobsMetrics(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	ids := strings.FieldsFunc(r.URL.Query().Get("jobs"), func(x rune) bool { return x == ',' })
	var each []map[string]float64
	for _, j := range c.Jobs() {
		if len(ids) == 0 || slices.Contains(ids, string(j.ID)) {
			each = append(each, JobFigures(j, clock.Millis(h.cfg.Clock)))
		}
	}
	return aggregated(r, each)
}

func (h *Handler) subtasksMetrics(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, err := h.vertexIn(r, c)
	if err != nil {
		return nil, err
	}
	var each []map[string]float64
	for _, s := range v.Subtasks {
		each = append(each, SubtaskFigures(s))
	}
	return aggregated(r, each)
}

func (h *Handler) subtaskMetrics(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, i, err := h.subtaskIn(r, c)
	if err != nil {
		return nil, err
	}
	return figures(r, SubtaskFigures(v.Subtasks[i])), nil
}

func (h *Handler) subtaskIn(r *http.Request, c jobview.Control) (jobview.Job, jobview.Vertex, int, error) {
	j, v, err := h.vertexIn(r, c)
	if err != nil {
		return j, v, 0, err
	}
	i, err := strconv.Atoi(r.PathValue("subtask"))
	if err != nil || i < 0 || i >= len(v.Subtasks) {
		return j, v, 0, notFound("vertex %q has no subtask %s: it has %d", v.Name, r.PathValue("subtask"), len(v.Subtasks))
	}
	return j, v, i, nil
}

// attempt shows a subtask; only its present attempt is kept. Flink's clients
// count attempts of a subtask from 0.
func (h *Handler) attempt(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, i, err := h.subtaskIn(r, c)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(r.PathValue("attempt"), 10, 64)
	if now := int64(v.Subtasks[i].Attempt); err != nil || n != now && n != now-1 {
		return nil, notFound("subtask %d of %q is in attempt %d; attempt %s is not kept", i, v.Name, now, r.PathValue("attempt"))
	}
	return h.subtask(w, r, c)
}

func (h *Handler) vertexAccumulators(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, err := h.vertexIn(r, c)
	return map[string]any{"id": v.ID, "user-accumulators": accumulated(v.Subtasks)}, err
}

func (h *Handler) subtasksAccumulators(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, err := h.vertexIn(r, c)
	subtasks := []map[string]any{}
	for i, s := range v.Subtasks {
		subtasks = append(subtasks, map[string]any{"subtask": i, "attempt": s.Attempt, "endpoint": s.Host, "user-accumulators": accumulated([]jobview.Subtask{s})})
	}
	return map[string]any{"id": v.ID, "parallelism": v.Parallelism, "subtasks": subtasks}, err
}

func (h *Handler) attemptAccumulators(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, i, err := h.subtaskIn(r, c)
	if err != nil {
		return nil, err
	}
	return map[string]any{"subtask": i, "attempt": v.Subtasks[i].Attempt, "id": v.Subtasks[i].Worker, "user-accumulators": accumulated(v.Subtasks[i : i+1])}, nil
}

func (h *Handler) subtaskTimes(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, v, err := h.vertexIn(r, c)
	if err != nil {
		return nil, err
	}
	now := clock.Millis(h.cfg.Clock)
	out := restapi.SubtaskTimes{ID: string(v.ID), Name: v.Name, Now: now, Subtasks: []restapi.SubtaskTime{}}
	for i, s := range v.Subtasks {
		start, _, duration := span(s.Started, j.Ended, now)
		t := restapi.SubtaskTime{Subtask: i, Endpoint: s.Host, Duration: duration, Timestamps: make(map[string]int64)}
		for _, state := range taskStates() {
			t.Timestamps[state] = 0
		}
		if start > 0 { // the only time that is kept is that of the start
			t.Timestamps["RUNNING"] = start
		}
		out.Subtasks = append(out.Subtasks, t)
	}
	return out, nil
}

// vertexTaskManagers sums up a vertex by taskmanager.
func (h *Handler) vertexTaskManagers(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, v, err := h.vertexIn(r, c)
	if err != nil {
		return nil, err
	}
	now := clock.Millis(h.cfg.Clock)
	by := make(map[string][]restapi.Subtask)
	for i, s := range v.Subtasks {
		by[s.TaskManager] = append(by[s.TaskManager], subtaskOf(i, s, j, now))
	}
	out := restapi.VertexTaskManagers{ID: string(v.ID), Name: v.Name, Now: now, TaskManagers: []restapi.VertexTaskManager{}}
	for _, tm := range slices.Sorted(maps.Keys(by)) {
		out.TaskManagers = append(out.TaskManagers, vertexTaskManager(tm, by[tm]))
	}
	return out, nil
}

func vertexTaskManager(id string, subtasks []restapi.Subtask) restapi.VertexTaskManager {
	first := slices.MinFunc(subtasks, func(a, b restapi.Subtask) int { return cmp.Compare(a.StartTime, b.StartTime) })
	t := restapi.VertexTaskManager{
		Endpoint: first.Endpoint, TaskManagerID: id, Status: first.Status, StartTime: first.StartTime, EndTime: first.EndTime,
		Duration: first.Duration, StatusCounts: zeroCounts(), Aggregated: aggregatedIO(subtasks),
	}
	for _, s := range subtasks {
		t.StatusCounts[s.Status]++
		addMetrics(&t.Metrics, s.Metrics)
	}
	complete(&t.Metrics)
	return t
}

func (h *Handler) jobManagerMetrics(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	return figures(r, ClusterFigures(c.Cluster())), nil
}

// ClusterFigures returns the cluster's metrics by Flink's names.
func ClusterFigures(v jobview.Cluster) map[string]float64 {
	return map[string]float64{
		"taskSlotsTotal": float64(v.Slots), "taskSlotsAvailable": float64(v.SlotsFree),
		"numRegisteredTaskManagers": float64(v.TaskManagers), "numRunningJobs": float64(v.Running),
	}
}

// taskManagerFigures are a taskmanager's metrics; memory and processor time
// include those of its workers.
func taskManagerFigures(t jobview.TaskManager) map[string]float64 {
	return map[string]float64{
		"memoryUsed": float64(t.MemoryUsedBytes), "memoryTotal": float64(t.MemoryBytes), "cpuSeconds": t.CPUSeconds,
		"taskSlotsTotal": float64(t.Slots), "taskSlotsAvailable": float64(t.SlotsFree), "numWorkers": float64(len(t.Workers)),
	}
}

func (h *Handler) taskManagerMetrics(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	t, err := h.taskManagerIn(r, c)
	if err != nil {
		return nil, err
	}
	return figures(r, taskManagerFigures(t)), nil
}

func (h *Handler) taskManagersMetrics(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	var each []map[string]float64
	for _, t := range c.TaskManagers() {
		each = append(each, taskManagerFigures(t))
	}
	return aggregated(r, each)
}

// datasets are Flink's cached results of batch jobs: there are none.
func (h *Handler) datasets(http.ResponseWriter, *http.Request, jobview.Control) (any, error) {
	return map[string]any{"dataSets": []any{}}, nil
}
