package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

// jobOf finds the job named in the path.
func (h *Handler) jobOf(r *http.Request, c jobview.Control) (jobview.Job, error) {
	id := r.PathValue("job")
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return jobview.Job{}, invalid("job id %q is not 32 hexadecimal digits", id)
	}
	return c.Job(dataflow.JobID(id))
}

func (h *Handler) overview(_ http.ResponseWriter, _ *http.Request, c jobview.Control) (any, error) {
	v := c.Cluster()
	return restapi.Overview{
		TaskManagers: v.TaskManagers, SlotsTotal: v.Slots, SlotsAvailable: v.SlotsFree,
		JobsRunning: v.Running, JobsFinished: v.Finished, JobsCancelled: v.Canceled, JobsFailed: v.Failed,
		Version: v.Version, Commit: release.Version, Leader: v.Leader, Epoch: int64(v.Epoch),
		Control: v.ControlAddress, StartTime: v.Started.UnixMilli(),
	}, nil
}

func (h *Handler) config(http.ResponseWriter, *http.Request, jobview.Control) (any, error) {
	return map[string]any{
		"refresh-interval": 3000, "timezone-name": "UTC", "timezone-offset": 0,
		"flink-version": release.Version, "flink-revision": release.Version,
		"features": map[string]bool{"web-submit": true, "web-cancel": true, "web-rescale": false, "web-history": false},
	}, nil
}

func (h *Handler) jobIDs(_ http.ResponseWriter, _ *http.Request, c jobview.Control) (any, error) {
	out := restapi.JobIDs{Jobs: []restapi.JobIDStatus{}}
	for _, j := range c.Jobs() {
		out.Jobs = append(out.Jobs, restapi.JobIDStatus{ID: string(j.ID), Status: string(j.State)})
	}
	return out, nil
}

func (h *Handler) jobsOverview(_ http.ResponseWriter, _ *http.Request, c jobview.Control) (any, error) {
	out := restapi.JobsOverview{Jobs: []restapi.JobOverview{}}
	now := clock.Millis(h.cfg.Clock)
	for _, j := range c.Jobs() {
		out.Jobs = append(out.Jobs, jobOverview(j, now))
	}
	return out, nil
}

func jobOverview(j jobview.Job, now int64) restapi.JobOverview {
	start, end, duration := span(j.Started, j.Ended, now)
	o := restapi.JobOverview{
		ID: string(j.ID), Name: j.Name, JobType: "STREAMING", SchedulerType: "Default",
		StartTime: start, EndTime: end, Duration: duration, State: string(j.State),
		LastModification: lastModification(j), Tasks: map[string]int{},
		StateReason: j.StateReason, Parallelism: j.Parallelism, Restarts: j.Restarts, CheckpointAge: -1,
	}
	for state, n := range jobCounts(j) {
		o.Tasks[strings.ToLower(state)] = n
		o.Tasks["total"] += n
	}
	if l := j.Checkpoints.Latest; l != nil {
		o.LastCheckpoint, o.CheckpointAge = int64(l.ID), now-l.Completed.UnixMilli()
	}
	return o
}

// span returns the start, the end (-1 while it runs) and the duration.
func span(started, ended time.Time, now int64) (start, end, duration int64) {
	if started.IsZero() {
		return -1, -1, 0
	}
	start, end = started.UnixMilli(), -1
	if !ended.IsZero() {
		end, now = ended.UnixMilli(), ended.UnixMilli()
	}
	return start, end, max(0, now-start)
}

func lastModification(j jobview.Job) int64 {
	var last time.Time
	for _, at := range j.StateSince {
		if at.After(last) {
			last = at
		}
	}
	if last.IsZero() {
		last = j.Started
	}
	return last.UnixMilli()
}

// taskStates are the execution states that Flink counts.
func taskStates() []string {
	return []string{"CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING", "RUNNING", "FINISHED", "CANCELING", "CANCELED", "FAILED", "RECONCILING"}
}

func zeroCounts() map[string]int {
	m := make(map[string]int)
	for _, s := range taskStates() {
		m[s] = 0
	}
	return m
}

func vertexCounts(v jobview.Vertex) map[string]int {
	m := zeroCounts()
	for _, s := range v.Subtasks {
		m[s.State]++
	}
	return m
}

func jobCounts(j jobview.Job) map[string]int {
	m := zeroCounts()
	for _, v := range j.Vertices {
		for state, n := range vertexCounts(v) {
			m[state] += n
		}
	}
	return m
}

func (h *Handler) job(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	now := clock.Millis(h.cfg.Clock)
	start, end, duration := span(j.Started, j.Ended, now)
	out := restapi.Job{
		ID: string(j.ID), Name: j.Name, IsStoppable: !j.State.Terminal(), State: string(j.State),
		JobType: "STREAMING", SchedulerType: "Default", StartTime: start, EndTime: end, Duration: duration,
		MaxParallelism: maxParallelism(j), Now: now, Timestamps: timestamps(j), Vertices: []restapi.Vertex{},
		StatusCounts: zeroCounts(), Plan: planOf(j), StateReason: j.StateReason, Parallelism: j.Parallelism, Auto: j.Auto,
		Attempt: int64(j.Attempt), Restarts: j.Restarts, Bundle: j.BundleSHA, Args: j.Args, RestoredFrom: int64(j.RestoredFrom),
	}
	for _, v := range j.Vertices {
		out.StatusCounts[vertexStatus(v)]++
		out.Vertices = append(out.Vertices, vertexOf(j, v, now))
	}
	if j.State == jobview.JobFailed && len(j.Exceptions) > 0 {
		out.Failure = apiError(&j.Exceptions[0].Error)
	}
	return out, nil
}

func maxParallelism(j jobview.Job) int {
	if j.Plan == nil {
		return -1
	}
	return j.Plan.Graph.MaxParallelism
}

func timestamps(j jobview.Job) map[string]int64 {
	m := make(map[string]int64)
	for _, s := range []jobview.JobState{
		jobview.JobCreated, jobview.JobRunning, jobview.JobRestarting, jobview.JobFailing,
		jobview.JobReconciling, jobview.JobCancelling, jobview.JobFinished, jobview.JobFailed, jobview.JobCanceled,
	} {
		m[string(s)] = 0
		if at, ok := j.StateSince[s]; ok {
			m[string(s)] = at.UnixMilli()
		}
	}
	m["INITIALIZING"], m["SUSPENDED"] = j.Started.UnixMilli(), 0
	return m
}

// vertexStatus sums up the states of the subtasks as Flink does: the first
// that any subtask is in decides.
func vertexStatus(v jobview.Vertex) string {
	counts := vertexCounts(v)
	for _, s := range []string{"FAILED", "CANCELING", "CANCELED", "CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING", "RECONCILING", "RUNNING", "FINISHED"} {
		if counts[s] > 0 {
			return s
		}
	}
	return "CREATED"
}

func vertexOf(j jobview.Job, v jobview.Vertex, now int64) restapi.Vertex {
	out := restapi.Vertex{
		ID: string(v.ID), SlotSharing: string(j.ID), Name: v.Name, MaxParallelism: maxParallelism(j), Parallelism: v.Parallelism,
		Status: vertexStatus(v), Tasks: vertexCounts(v), StartTime: -1, EndTime: -1,
	}
	for _, s := range v.Subtasks {
		if !s.Started.IsZero() && (out.StartTime < 0 || s.Started.UnixMilli() < out.StartTime) {
			out.StartTime = s.Started.UnixMilli()
		}
		addMetrics(&out.Metrics, ioMetrics(s))
	}
	if out.StartTime >= 0 {
		out.Duration = now - out.StartTime
		if !j.Ended.IsZero() {
			out.EndTime = j.Ended.UnixMilli()
			out.Duration = out.EndTime - out.StartTime
		}
	}
	complete(&out.Metrics)
	return out
}

func ioMetrics(s jobview.Subtask) restapi.IOMetrics {
	m := restapi.IOMetrics{
		ReadBytes: s.BytesIn, WriteBytes: s.BytesOut, ReadRecords: s.RecordsIn, WriteRecords: s.RecordsOut,
		BackPressured: s.BackPressuredMillis, Idle: s.IdleMillis, Busy: s.BusyMillis,
	}
	complete(&m)
	return m
}

func complete(m *restapi.IOMetrics) {
	m.ReadBytesComplete, m.WriteBytesComplete, m.ReadRecordsComplete, m.WriteRecordsComplete = true, true, true, true
}

func addMetrics(to *restapi.IOMetrics, m restapi.IOMetrics) {
	to.ReadBytes += m.ReadBytes
	to.WriteBytes += m.WriteBytes
	to.ReadRecords += m.ReadRecords
	to.WriteRecords += m.WriteRecords
	to.BackPressured += m.BackPressured
	to.Idle += m.Idle
	to.Busy += m.Busy
}

func (h *Handler) cancel(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	if mode := r.URL.Query().Get("mode"); mode != "" && mode != "cancel" {
		return nil, invalid("mode %q of PATCH is not known: only cancel is", mode)
	}
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	return accepted{map[string]any{}}, c.Cancel(r.Context(), j.ID)
}

func (h *Handler) jobStatus(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	return map[string]string{"status": string(j.State)}, err
}

func (h *Handler) jobPlan(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	return restapi.PlanBody{Plan: planOf(j)}, err
}

func planOf(j jobview.Job) restapi.Plan {
	p := restapi.Plan{JobID: string(j.ID), Name: j.Name, Type: "STREAMING", Nodes: []restapi.PlanNode{}}
	if j.Plan != nil {
		p.Nodes = planNodes(j.Plan)
	}
	return p
}

// planNodes lists the vertices, last first as Flink does.
func planNodes(p *graph.Plan) []restapi.PlanNode {
	var out []restapi.PlanNode
	for i := len(p.Vertices) - 1; i >= 0; i-- {
		v := p.Vertices[i]
		n := restapi.PlanNode{ID: string(v.ID), Parallelism: v.Parallelism, OptimizerProperties: map[string]any{}}
		for k, op := range v.Nodes {
			if k > 0 {
				n.Description += "+- "
			}
			n.Description += op.Name + "<br/>"
		}
		for k, s := range v.Inputs {
			st := p.Streams[s]
			n.Inputs = append(n.Inputs, restapi.PlanInput{
				ID: string(p.Vertices[st.From].ID), Num: k, Exchange: "pipelined_bounded",
				ShipStrategy: strings.ToUpper(string(st.Edge.Partitioning)),
			})
		}
		out = append(out, n)
	}
	return out
}

func (h *Handler) jobConfig(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"jid": j.ID, "name": j.Name,
		"execution-config": map[string]any{
			"restart-strategy": string(j.Config.Restart.Kind), "job-parallelism": j.Parallelism,
			"object-reuse-mode": true, "user-config": map[string]string{},
		},
	}, nil
}

func (h *Handler) accumulators(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	var all []jobview.Subtask
	for _, v := range j.Vertices {
		all = append(all, v.Subtasks...)
	}
	return map[string]any{"job-accumulators": []any{}, "user-task-accumulators": accumulated(all), "serialized-user-task-accumulators": map[string]any{}}, err
}

func (h *Handler) exceptions(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	limit := 20
	if s := r.URL.Query().Get("maxExceptions"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 {
			return nil, invalid("maxExceptions %q is not a positive number", s)
		}
	}
	out := restapi.Exceptions{History: restapi.ExceptionHistory{Entries: []restapi.Exception{}, Truncated: len(j.Exceptions) > limit}}
	for _, e := range j.Exceptions[:min(limit, len(j.Exceptions))] {
		out.History.Entries = append(out.History.Entries, exceptionOf(e))
	}
	return out, nil
}

func exceptionOf(e jobview.Exception) restapi.Exception {
	stack := e.Error.Error()
	if e.Stack != "" {
		stack += "\n" + e.Stack
	}
	return restapi.Exception{
		Name: e.Error.Code, Stacktrace: stack, Timestamp: e.Time.UnixMilli(), FailureLabels: map[string]string{},
		TaskName: e.Task, TaskManagerID: e.TaskManager, Endpoint: e.TaskManager, Concurrent: []restapi.Exception{},
		Error: apiError(&e.Error), Operator: e.Operator, Record: e.Record, Attempt: int64(e.Attempt), Restarted: e.Restarted,
	}
}

func (h *Handler) executionResult(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	if !j.State.Terminal() {
		return restapi.ExecutionResult{Status: restapi.StatusID{ID: "IN_PROGRESS"}}, nil
	}
	status := map[jobview.JobState]string{jobview.JobFinished: "SUCCEEDED", jobview.JobFailed: "FAILED", jobview.JobCanceled: "CANCELED"}[j.State]
	var cause *restapi.FailureCause
	if j.State == jobview.JobFailed && len(j.Exceptions) > 0 {
		e := exceptionOf(j.Exceptions[0])
		cause = &restapi.FailureCause{Class: e.Name, StackTrace: e.Stacktrace}
	}
	return restapi.ExecutionResult{
		Status: restapi.StatusID{ID: "COMPLETED"},
		Result: &restapi.ExecutionOutput{
			ID: string(j.ID), Name: j.Name, ApplicationStatus: status, AccumulatorResult: map[string]any{}, FailureCause: cause,
			NetRuntime: j.Ended.Sub(j.Started).Milliseconds(), StartTime: j.Started.UnixMilli(), EndTime: j.Ended.UnixMilli(),
		},
	}, nil
}

func (h *Handler) vertexIn(r *http.Request, c jobview.Control) (jobview.Job, jobview.Vertex, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return j, jobview.Vertex{}, err
	}
	id := r.PathValue("vertex")
	for _, v := range j.Vertices {
		if string(v.ID) == id {
			return j, v, nil
		}
	}
	return j, jobview.Vertex{}, notFound("job %q has no vertex %s", j.Name, id)
}

func (h *Handler) vertex(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, v, err := h.vertexIn(r, c)
	if err != nil {
		return nil, err
	}
	now := clock.Millis(h.cfg.Clock)
	out := restapi.VertexDetails{ID: string(v.ID), Name: v.Name, Parallelism: v.Parallelism, MaxParallelism: maxParallelism(j), Now: now, Subtasks: []restapi.Subtask{}}
	for i, s := range v.Subtasks {
		out.Subtasks = append(out.Subtasks, subtaskOf(i, s, j, now))
	}
	out.Aggregated = aggregatedIO(out.Subtasks)
	return out, nil
}

func subtaskOf(i int, s jobview.Subtask, j jobview.Job, now int64) restapi.Subtask {
	start, end, duration := span(s.Started, j.Ended, now)
	out := restapi.Subtask{
		Subtask: i, Status: s.State, Attempt: int64(s.Attempt), Endpoint: s.Host, TaskManagerID: s.TaskManager,
		StartTime: start, EndTime: end, Duration: duration, Metrics: ioMetrics(s), StateBytes: s.StateBytes,
		Worker: s.Worker, Operators: s.Operators, StartTimeOld: start, StatusDuration: statusDuration(s.State, duration),
	}
	if s.Watermark != dataflow.TimeMin {
		out.Watermark = &s.Watermark
	}
	return out
}

// statusDuration is the time in each state; only that of the present one is
// kept.
func statusDuration(state string, duration int64) map[string]int64 {
	m := map[string]int64{"CREATED": 0, "SCHEDULED": 0, "DEPLOYING": 0, "INITIALIZING": 0, "RUNNING": 0}
	m[state] = duration
	return m
}

func (h *Handler) subtask(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, v, i, err := h.subtaskIn(r, c)
	if err != nil {
		return nil, err
	}
	return subtaskOf(i, v.Subtasks[i], j, clock.Millis(h.cfg.Clock)), nil
}

func (h *Handler) watermarks(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, err := h.vertexIn(r, c)
	if err != nil {
		return nil, err
	}
	out := []restapi.Watermark{}
	for i, s := range v.Subtasks {
		if s.Watermark != dataflow.TimeMin {
			out = append(out, restapi.Watermark{ID: fmt.Sprintf("%d.currentInputWatermark", i), Value: strconv.FormatInt(s.Watermark, 10)})
		}
	}
	return out, nil
}

func (h *Handler) backPressure(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, err := h.vertexIn(r, c)
	if err != nil {
		return nil, err
	}
	subtasks := []map[string]any{}
	worst := 0.0
	for i, s := range v.Subtasks {
		total := float64(max(1, s.BusyMillis+s.IdleMillis+s.BackPressuredMillis))
		ratio := float64(s.BackPressuredMillis) / total
		worst = max(worst, ratio)
		subtasks = append(subtasks, map[string]any{
			"subtask": i, "attempt-number": s.Attempt, "backpressure-level": level(ratio), "backpressureLevel": level(ratio),
			"ratio": ratio, "idleRatio": float64(s.IdleMillis) / total, "busyRatio": float64(s.BusyMillis) / total,
		})
	}
	return map[string]any{
		"status": "ok", "backpressure-level": level(worst), "backpressureLevel": level(worst),
		"end-timestamp": clock.Millis(h.cfg.Clock), "subtasks": subtasks,
	}, nil
}

func level(ratio float64) string {
	switch {
	case ratio <= 0.1:
		return "ok"
	case ratio <= 0.5:
		return "low"
	}
	return "high"
}
