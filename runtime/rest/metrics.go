package rest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

// figures returns the metrics named in ?get=, or the names alone.
func figures(r *http.Request, all map[string]float64) []restapi.Metric {
	out := []restapi.Metric{}
	if get := r.URL.Query().Get("get"); get != "" {
		for name := range strings.SplitSeq(get, ",") {
			if v, ok := all[name]; ok {
				out = append(out, restapi.Metric{ID: name, Value: strconv.FormatFloat(v, 'f', -1, 64)})
			}
		}
		return out
	}
	for name := range all {
		out = append(out, restapi.Metric{ID: name})
	}
	slices.SortFunc(out, func(a, b restapi.Metric) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (h *Handler) jobMetrics(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	var e *jobview.Error
	if errors.As(err, &e) && e.Kind == jobview.KindNotFound {
		return []restapi.Metric{}, nil // as Flink answers: dashboards ask for jobs that are gone
	}
	if err != nil {
		return nil, err
	}
	return figures(r, JobFigures(j, clock.Millis(h.cfg.Clock))), nil
}

// JobFigures returns a job's metrics by Flink's names; times in milliseconds.
func JobFigures(j jobview.Job, now int64) map[string]float64 {
	_, _, duration := span(j.Started, j.Ended, now)
	m := map[string]float64{
		"uptime": float64(duration), "numRestarts": float64(j.Restarts),
		"numberOfCompletedCheckpoints":  float64(j.Checkpoints.Completed),
		"numberOfFailedCheckpoints":     float64(j.Checkpoints.Failed),
		"numberOfInProgressCheckpoints": float64(j.Checkpoints.InProgress),
		"totalNumberOfCheckpoints":      float64(j.Checkpoints.Completed + j.Checkpoints.Failed + j.Checkpoints.InProgress),
	}
	if l := j.Checkpoints.Latest; l != nil {
		m["lastCheckpointDuration"] = float64(l.Completed.Sub(l.Triggered).Milliseconds())
		m["lastCheckpointSize"] = float64(l.Bytes)
		m["lastCheckpointFullSize"] = float64(l.Bytes)
		m["lastCheckpointCompletedTimestamp"] = float64(l.Completed.UnixMilli())
	}
	return m
}

func (h *Handler) vertexMetrics(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	_, v, err := h.vertexIn(r, c)
	if err != nil {
		return nil, err
	}
	all := make(map[string]float64)
	for i, s := range v.Subtasks {
		for name, value := range SubtaskFigures(s) {
			all[fmt.Sprintf("%d.%s", i, name)] = value
		}
	}
	return figures(r, all), nil
}

// SubtaskFigures returns a subtask's metrics by Flink's names, accumulated.
func SubtaskFigures(s jobview.Subtask) map[string]float64 {
	m := map[string]float64{
		"numRecordsIn": float64(s.RecordsIn), "numRecordsOut": float64(s.RecordsOut),
		"numBytesIn": float64(s.BytesIn), "numBytesOut": float64(s.BytesOut),
		"accumulateBusyTimeMs": float64(s.BusyMillis), "accumulateIdleTimeMs": float64(s.IdleMillis),
		"accumulateBackPressuredTimeMs": float64(s.BackPressuredMillis),
		"currentInputWatermark":         float64(s.Watermark), "stateBytes": float64(s.StateBytes),
	}
	for name, v := range s.Operators {
		m[name] = v
	}
	return m
}
