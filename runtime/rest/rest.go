// Package rest serves the REST API of the jobmanager: it shows what
// jobview.Control knows in the bodies of package restapi. It decides nothing
// about jobs.
package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

const (
	// bodyBytesMax bounds a JSON request body.
	bodyBytesMax = 4 << 20
	// uploadBytesMaxDefault bounds an uploaded bundle.
	uploadBytesMaxDefault = 1 << 30
)

// Config says what to serve.
type Config struct {
	// Control returns the leader's control, or nil with the leader's REST
	// address ("" when nobody leads) while this process is a standby.
	Control func() (c jobview.Control, leader string)
	// TempDir holds uploads until they are stored.
	TempDir string
	// UploadBytesMax bounds a bundle; 0: 1 GiB.
	UploadBytesMax int64
	Clock          clock.Clock
	Log            *slog.Logger
}

// Handler serves /v1/… and /overview. It is safe for concurrent use.
type Handler struct {
	cfg      Config
	mux      *http.ServeMux
	toLeader http.RoundTripper
	exports  chan struct{} // holds one for each under way
}

var _ http.Handler = (*Handler)(nil)

// NewHandler returns the handler of the API.
func NewHandler(cfg Config) *Handler {
	if cfg.UploadBytesMax == 0 {
		cfg.UploadBytesMax = uploadBytesMaxDefault
	}
	h := &Handler{cfg: cfg, mux: http.NewServeMux(), toLeader: leaderTransport(), exports: make(chan struct{}, exportsMax)}
	for pattern, serve := range h.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		h.mux.HandleFunc(method+" /v1"+path, h.wrap(serve))
	}
	h.mux.HandleFunc("GET /overview", h.wrap(h.overview))
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, &jobview.Error{Code: "LEAT0404", Kind: jobview.KindNotFound, What: fmt.Sprintf("no %s %s", r.Method, r.URL.Path), Fix: []string{"the paths are those of Flink's REST API under /v1"}})
	})
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// serveFunc answers a request with a value to be sent as JSON. A nil value
// means that the function has written the answer itself.
type serveFunc func(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error)

// accepted marks a value that is answered with 202.
type accepted struct{ body any }

func (h *Handler) routes() map[string]serveFunc {
	return map[string]serveFunc{
		"GET /overview":                     h.overview,
		"GET /config":                       h.config,
		"GET /jobs":                         h.jobIDs,
		"GET /jobs/overview":                h.jobsOverview,
		"GET /jobs/{job}":                   h.job,
		"PATCH /jobs/{job}":                 h.cancel,
		"GET /jobs/{job}/status":            h.jobStatus,
		"GET /jobs/{job}/plan":              h.jobPlan,
		"GET /jobs/{job}/config":            h.jobConfig,
		"GET /jobs/{job}/exceptions":        h.exceptions,
		"GET /jobs/{job}/execution-result":  h.executionResult,
		"GET /jobs/{job}/metrics":           h.jobMetrics,
		"GET /jobs/{job}/accumulators":      h.accumulators,
		"GET /jobs/{job}/vertices/{vertex}": h.vertex,
		"GET /jobs/{job}/vertices/{vertex}/subtasks/{subtask}":                                 h.subtask,
		"GET /jobs/{job}/vertices/{vertex}/watermarks":                                         h.watermarks,
		"GET /jobs/{job}/vertices/{vertex}/metrics":                                            h.vertexMetrics,
		"GET /jobs/{job}/vertices/{vertex}/backpressure":                                       h.backPressure,
		"GET /jobs/{job}/checkpoints":                                                          h.checkpoints,
		"GET /jobs/{job}/checkpoints/config":                                                   h.checkpointConfig,
		"GET /jobs/{job}/checkpoints/details/{checkpoint}":                                     h.checkpointDetails,
		"POST /jobs/{job}/checkpoints":                                                         h.triggerCheckpoint,
		"GET /jobs/{job}/checkpoints/{trigger}":                                                h.checkpointOperation,
		"GET /jobs/{job}/savepoints":                                                           h.savepoints,
		"POST /jobs/{job}/savepoints":                                                          h.triggerSavepoint,
		"GET /jobs/{job}/savepoints/{trigger}":                                                 h.savepointOperation,
		"GET /jobs/{job}/problems":                                                             h.problems,
		"PATCH /jobs/{job}/rescaling":                                                          h.rescale,
		"GET /jobs/{job}/rescaling/{trigger}":                                                  h.rescaleOperation,
		"GET /jobs/{job}/resource-requirements":                                                h.resourceRequirements,
		"PUT /jobs/{job}/resource-requirements":                                                h.setResourceRequirements,
		"GET /jobs/{job}/state":                                                                h.states,
		"GET /jobs/{job}/state/{operator}":                                                     h.state,
		"POST /jobs/{job}/stop":                                                                h.stop,
		"GET /jobs/metrics":                                                                    h.jobsMetrics,
		"GET /jobs/{job}/vertices/{vertex}/accumulators":                                       h.vertexAccumulators,
		"GET /jobs/{job}/vertices/{vertex}/subtasktimes":                                       h.subtaskTimes,
		"GET /jobs/{job}/vertices/{vertex}/taskmanagers":                                       h.vertexTaskManagers,
		"GET /jobs/{job}/vertices/{vertex}/subtasks/metrics":                                   h.subtasksMetrics,
		"GET /jobs/{job}/vertices/{vertex}/subtasks/accumulators":                              h.subtasksAccumulators,
		"GET /jobs/{job}/vertices/{vertex}/subtasks/{subtask}/metrics":                         h.subtaskMetrics,
		"GET /jobs/{job}/vertices/{vertex}/subtasks/{subtask}/attempts/{attempt}":              h.attempt,
		"GET /jobs/{job}/vertices/{vertex}/subtasks/{subtask}/attempts/{attempt}/accumulators": h.attemptAccumulators,
		"GET /jobmanager/metrics":                                                              h.jobManagerMetrics,
		"GET /taskmanagers/metrics":                                                            h.taskManagersMetrics,
		"GET /taskmanagers/{tm}/metrics":                                                       h.taskManagerMetrics,
		"GET /datasets":                                                                        h.datasets,
		"GET /savepoints":                                                                      h.savepointContents,
		"GET /savepoints/export":                                                               h.exportSavepoint,
		"POST /savepoint-disposal":                                                             h.disposeSavepoint,
		"GET /taskmanagers":                                                                    h.taskManagers,
		"GET /taskmanagers/{tm}":                                                               h.taskManager,
		"GET /taskmanagers/{tm}/logs":                                                          h.logFiles,
		"GET /taskmanagers/{tm}/log":                                                           h.log,
		"GET /jars":                                                                            h.bundles,
		"POST /jars/upload":                                                                    h.upload,
		"DELETE /jars/{jar}":                                                                   h.deleteBundle,
		"POST /jars/{jar}/run":                                                                 h.run,
		"GET /jars/{jar}/plan":                                                                 h.bundlePlan,
		"POST /jars/{jar}/plan":                                                                h.bundlePlan,
		"POST /jars/{jar}/savepoint-check":                                                     h.checkSavepoint,
	}
}

// wrap finds the leader's control, turns values and errors into answers, and
// passes on to the leader what a standby is asked.
func (h *Handler) wrap(serve serveFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, leader := h.cfg.Control()
		if c == nil {
			h.standby(w, r, leader)
			return
		}
		v, err := serve(w, r, c)
		switch {
		case err != nil:
			h.fail(w, err)
		case v != nil:
			h.answer(w, v)
		}
	}
}

func (h *Handler) standby(w http.ResponseWriter, r *http.Request, leader string) {
	if leader != "" && r.Header.Get(forwardedHeader) == "" {
		h.forward(w, r, leader)
		return
	}
	h.fail(w, &jobview.Error{
		Code: "LEAT0501", Kind: jobview.KindUnavailable, What: "no jobmanager leads at the moment; jobs keep running without it",
		Why: "this jobmanager is a standby, or starting, and knows no leader", Fix: []string{"try again; if it lasts, look at etcd"},
	})
}

func (h *Handler) answer(w http.ResponseWriter, v any) {
	status := http.StatusOK
	if a, ok := v.(accepted); ok {
		status, v = http.StatusAccepted, a.body
	}
	body, err := json.Marshal(v)
	if err != nil {
		h.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		h.cfg.Log.Debug("client went away", "error", err)
	}
}

func (h *Handler) fail(w http.ResponseWriter, err error) {
	e := &jobview.Error{}
	if !errors.As(err, &e) {
		e = &jobview.Error{Code: "LEAT0500", What: err.Error()}
		h.cfg.Log.Error("request failed", "error", err)
	}
	body, _ := json.Marshal(restapi.ErrorBody{ // plain strings always marshal
		Errors: []string{e.Error()},
		Error:  apiError(e),
	})
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(statusOf(e.Kind))
	if _, err := w.Write(body); err != nil {
		h.cfg.Log.Debug("client went away", "error", err)
	}
}

func apiError(e *jobview.Error) *restapi.Error {
	return &restapi.Error{Code: e.Code, What: e.What, Where: e.Where, Why: e.Why, Fix: e.Fix}
}

func statusOf(k jobview.ErrorKind) int {
	switch k {
	case jobview.KindInvalid:
		return http.StatusBadRequest
	case jobview.KindNotFound:
		return http.StatusNotFound
	case jobview.KindConflict:
		return http.StatusConflict
	case jobview.KindUnavailable:
		return http.StatusServiceUnavailable
	case jobview.KindFailed:
	}
	return http.StatusInternalServerError
}

// readBody decodes a JSON body strictly; an empty body leaves v alone.
func readBody(w http.ResponseWriter, r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return invalid("the request body is not what %s takes: %v", r.URL.Path, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("the request body goes on after the value that %s takes", r.URL.Path)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &jobview.Error{Code: "LEAT0400", Kind: jobview.KindInvalid, What: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &jobview.Error{Code: "LEAT0404", Kind: jobview.KindNotFound, What: fmt.Sprintf(format, args...)}
}
