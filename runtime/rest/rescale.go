package rest

import (
	"net/http"
	"strconv"

	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

// rescale takes what is wanted in the body, or as Flink's parameter.
func (h *Handler) rescale(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	var req restapi.RescaleRequest
	if err := readBody(w, r, &req); err != nil {
		return nil, err
	}
	if p := r.URL.Query().Get("parallelism"); p == "auto" {
		req.Auto = true
	} else if p != "" {
		n, err := strconv.Atoi(p)
		if err != nil {
			return nil, invalid("parallelism %q is neither a number nor auto", p)
		}
		req.Parallelism = n
	}
	if req.Parallelism < 0 || req.Parallelism == 0 && len(req.Vertices) == 0 && !req.Auto {
		return nil, invalid("parallelism %d: give a number from 1, or vertices with theirs", req.Parallelism)
	}
	want := jobview.RescaleRequest{Parallelism: req.Parallelism, Auto: req.Auto, Vertices: make(map[string]jobview.Bounds)}
	for name, p := range req.Vertices {
		want.Vertices[name] = jobview.Bounds{Lower: p, Upper: p}
	}
	t, err := h.askRescale(r, c, want)
	return accepted{t}, err
}

func (h *Handler) askRescale(r *http.Request, c jobview.Control, want jobview.RescaleRequest) (restapi.TriggerResponse, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return restapi.TriggerResponse{}, err
	}
	id, err := c.Rescale(r.Context(), j.ID, want)
	return restapi.TriggerResponse{RequestID: id}, err
}

func (h *Handler) rescaleOperation(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	return h.operation(r, c, false)
}

func (h *Handler) resourceRequirements(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	out := restapi.ResourceRequirements{}
	for _, v := range j.Vertices {
		out[string(v.ID)] = restapi.VertexRequirements{Parallelism: restapi.ParallelismBounds{LowerBound: 1, UpperBound: v.Parallelism}}
	}
	return out, nil
}

// setResourceRequirements answers at once; the returned id, which Flink has
// not, tells how it goes.
func (h *Handler) setResourceRequirements(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	var req restapi.ResourceRequirements
	if err := readBody(w, r, &req); err != nil {
		return nil, err
	}
	if len(req) == 0 {
		return nil, invalid("Request body does not specify resource requirements: give {\"<vertex id>\": {\"parallelism\": {\"lowerBound\": 1, \"upperBound\": 4}}}")
	}
	want := jobview.RescaleRequest{Vertices: make(map[string]jobview.Bounds)}
	for id, v := range req {
		want.Vertices[id] = jobview.Bounds{Lower: v.Parallelism.LowerBound, Upper: v.Parallelism.UpperBound}
	}
	return h.askRescale(r, c, want)
}
