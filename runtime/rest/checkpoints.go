package rest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

func (h *Handler) checkpoints(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	s := j.Checkpoints
	out := restapi.Checkpoints{
		Counts: restapi.CheckpointCounts{
			Restored: s.Restored, Total: s.Completed + s.Failed + s.InProgress,
			InProgress: s.InProgress, Completed: s.Completed, Failed: s.Failed,
		},
		Summary: summary(s.History),
		Latest: restapi.LatestCheckpoints{
			Completed: optional(s.Latest), Savepoint: optional(s.LastSavepoint), Failed: optional(s.LastFailed),
		},
		History: []restapi.Checkpoint{},
	}
	if j.RestoredFrom > 0 {
		out.Latest.Restored = &restapi.RestoredCheckpoint{ID: int64(j.RestoredFrom)}
	}
	for _, cp := range s.History {
		out.History = append(out.History, checkpointOf(cp))
	}
	return out, nil
}

func optional(c *jobview.Checkpoint) *restapi.Checkpoint {
	if c == nil {
		return nil
	}
	v := checkpointOf(*c)
	return &v
}

func checkpointOf(c jobview.Checkpoint) restapi.Checkpoint {
	out := restapi.Checkpoint{
		ClassName: map[string]string{"IN_PROGRESS": "in_progress", "COMPLETED": "completed", "FAILED": "failed"}[c.Status],
		ID:        int64(c.ID), Status: c.Status, IsSavepoint: c.Savepoint, TriggerTimestamp: c.Triggered.UnixMilli(),
		CheckpointedSize: c.Bytes, StateSize: c.StateBytes, PersistedData: c.InFlightBytes, Subtasks: c.Subtasks, Acknowledged: c.Acked,
		Type: "CHECKPOINT", Tasks: map[string]any{}, ExternalPath: c.Path, Discarded: c.Discarded,
		FailureMessage: c.Failure, LatestAck: -1, AlignmentMax: c.AlignmentMax.Milliseconds(),
	}
	if c.InFlightBytes > 0 {
		out.Type = "UNALIGNED_CHECKPOINT"
	}
	if c.Savepoint {
		format := "CANONICAL"
		out.Type, out.SavepointFormat = "SAVEPOINT", &format
	}
	if !c.Completed.IsZero() {
		out.LatestAck = c.Completed.UnixMilli()
		out.Duration = c.Completed.Sub(c.Triggered).Milliseconds()
	}
	if c.Status == "FAILED" {
		out.FailureTimestamp = out.LatestAck
	}
	return out
}

func summary(history []jobview.Checkpoint) restapi.CheckpointsSummary {
	var sizes, states, inFlight, durations []int64
	for _, c := range history {
		if c.Status == "COMPLETED" {
			sizes = append(sizes, c.Bytes)
			states = append(states, c.StateBytes)
			inFlight = append(inFlight, c.InFlightBytes)
			durations = append(durations, c.Completed.Sub(c.Triggered).Milliseconds())
		}
	}
	return restapi.CheckpointsSummary{Size: statsOf(sizes), StateSize: statsOf(states), PersistedData: statsOf(inFlight), Duration: statsOf(durations)}
}

func statsOf(v []int64) restapi.Stats {
	if len(v) == 0 {
		return restapi.Stats{}
	}
	slices.Sort(v)
	var sum int64
	for _, x := range v {
		sum += x
	}
	at := func(q float64) float64 { return float64(v[min(len(v)-1, int(q*float64(len(v))))]) }
	return restapi.Stats{
		Min: v[0], Max: v[len(v)-1], Avg: sum / int64(len(v)),
		P50: at(0.5), P90: at(0.9), P95: at(0.95), P99: at(0.99), P999: at(0.999),
	}
}

func (h *Handler) checkpointConfig(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	return restapi.CheckpointConfig{
		Mode: "exactly_once", Interval: j.Config.CheckpointInterval.Milliseconds(), Timeout: j.Config.CheckpointTimeout.Milliseconds(),
		MaxConcurrent: 1, StateBackend: string(cmp.Or(j.Config.StateBackend, graph.StateInMemory)), TolerableFails: j.Config.CheckpointFailureMax,
		Storage: "the cluster's object store", AfterTasksFinish: true,
		Unaligned: j.Config.AlignedTimeout > 0, AlignedTimeout: max(0, j.Config.AlignedTimeout.Milliseconds()),
	}, nil
}

func (h *Handler) checkpointDetails(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(r.PathValue("checkpoint"), 10, 64)
	if err != nil {
		return nil, invalid("checkpoint %q is not a number", r.PathValue("checkpoint"))
	}
	for _, cp := range j.Checkpoints.History {
		if int64(cp.ID) == id {
			return checkpointOf(cp), nil
		}
	}
	return nil, notFound("job %q has no checkpoint %d in its history", j.Name, id)
}

func (h *Handler) triggerCheckpoint(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	var req restapi.CheckpointRequest
	if err := readBody(w, r, &req); err != nil {
		return nil, err
	}
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	id, err := c.Checkpoint(r.Context(), j.ID)
	return accepted{restapi.TriggerResponse{RequestID: id}}, err
}

func (h *Handler) checkpointOperation(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	return h.operation(r, c, true)
}

func (h *Handler) savepointOperation(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	return h.operation(r, c, false)
}

func (h *Handler) operation(r *http.Request, c jobview.Control, checkpoint bool) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	if id := r.PathValue("trigger"); !strings.ContainsAny(id, "0123456789") {
		return nil, invalid("%q is no operation's id: these have numbers in them", id)
	}
	op, err := c.Operation(j.ID, r.PathValue("trigger"))
	if err != nil {
		return nil, err
	}
	if !op.Done {
		return restapi.OperationStatus{Status: restapi.StatusID{ID: "IN_PROGRESS"}}, nil
	}
	out := restapi.OperationStatus{Status: restapi.StatusID{ID: "COMPLETED"}, Operation: &restapi.Operation{}}
	switch {
	case op.Failure != nil:
		out.Operation.FailureCause = &restapi.FailureCause{Class: op.Failure.Code, StackTrace: op.Failure.Error()}
		out.Operation.Error = apiError(op.Failure)
	case checkpoint:
		out.Operation.CheckpointID = int64(op.Checkpoint)
	default:
		out.Operation.Location = op.Path
	}
	return out, nil
}

func (h *Handler) savepoints(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	list, err := c.Savepoints(r.Context(), j.ID)
	out := restapi.Savepoints{Savepoints: []restapi.Checkpoint{}}
	for _, s := range list {
		out.Savepoints = append(out.Savepoints, checkpointOf(s))
	}
	return out, err
}

func (h *Handler) triggerSavepoint(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	var req restapi.SavepointRequest
	if err := readBody(w, r, &req); err != nil {
		return nil, err
	}
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	id, err := c.Stop(r.Context(), j.ID, jobview.StopRequest{Savepoint: req.TargetDirectory, Stop: req.CancelJob})
	return accepted{restapi.TriggerResponse{RequestID: id}}, err
}

func (h *Handler) stop(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	var req restapi.StopRequest
	if err := readBody(w, r, &req); err != nil {
		return nil, err
	}
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	id, err := c.Stop(r.Context(), j.ID, jobview.StopRequest{Savepoint: req.TargetDirectory, Drain: req.Drain, Stop: true})
	return accepted{restapi.TriggerResponse{RequestID: id}}, err
}

func (h *Handler) disposeSavepoint(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	var req struct {
		Path string `json:"savepoint-path"`
	}
	if err := readBody(w, r, &req); err != nil {
		return nil, err
	}
	if req.Path == "" {
		return nil, invalid("savepoint-path is missing")
	}
	freed, err := c.DeleteSavepoint(r.Context(), req.Path)
	return restapi.SavepointDisposal{Objects: freed.Objects, Bytes: freed.Bytes}, err
}
