package rest_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/rest"
	"github.com/leatstream/leat/runtime/restapi"
)

// willing is a control that grants what is asked of it: what the handler lets
// through arrives here.
type willing struct {
	jobview.Control
	parallelism int
}

const (
	willingJob    = "0123456789abcdef0123456789abcdef"
	willingBundle = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

func (*willing) Job(dataflow.JobID) (jobview.Job, error) {
	return jobview.Job{ID: willingJob, State: jobview.JobRunning, Parallelism: 2}, nil
}

func (*willing) Jobs() []jobview.Job                                                  { return []jobview.Job{{ID: willingJob, Name: "job"}} }
func (*willing) Cancel(context.Context, dataflow.JobID) error                         { return nil }
func (*willing) DeleteSavepoint(context.Context, string) (f jobview.Freed, err error) { return f, nil }
func (*willing) DeleteBundle(context.Context, string) error                           { return nil }
func (*willing) Bundle(context.Context, string) (b jobview.Bundle, err error) {
	return jobview.Bundle{SHA256: willingBundle}, nil
}

func (w *willing) Submit(_ context.Context, s jobview.Submission) (dataflow.JobID, error) {
	w.parallelism = s.Parallelism
	return willingJob, nil
}

func (*willing) PlanBundle(context.Context, jobview.Submission) (*graph.Plan, error) {
	return &graph.Plan{Graph: &graph.JobGraph{}}, nil
}

func (*willing) Stop(context.Context, dataflow.JobID, jobview.StopRequest) (string, error) {
	return "op", nil
}
func (*willing) Checkpoint(context.Context, dataflow.JobID) (string, error) { return "op", nil }

func (w *willing) Rescale(_ context.Context, _ dataflow.JobID, r jobview.RescaleRequest) (string, error) {
	w.parallelism = r.Parallelism
	return "op", nil
}

// bodies are the requests that have one.
func bodies() []string {
	return []string{
		"POST /jobs/" + willingJob + "/checkpoints", "POST /jobs/" + willingJob + "/savepoints", "POST /jobs/" + willingJob + "/stop",
		"PATCH /jobs/" + willingJob + "/rescaling", "PUT /jobs/" + willingJob + "/resource-requirements",
		"POST /savepoint-disposal", "POST /jars/" + willingBundle + "/run", "POST /jars/" + willingBundle + "/plan",
	}
}

// FuzzBodies sends bodies and queries to each request that takes one. Whatever
// is sent, the answer is JSON, a refusal says why with a code, and what is no
// one's fault but the client's is never the server's.
func FuzzBodies(f *testing.F) {
	for i, body := range []string{
		`{}`, `{"target-directory":"s3://b/p","cancel-job":false}`, `{"targetDirectory":"file:///x","drain":true}`,
		`{"parallelism":3,"vertices":{"a":2}}`, `{"v":{"parallelism":{"lowerBound":1,"upperBound":4}}}`,
		`{"savepoint-path":"s3://b/p"}`, `{"parallelism":2,"programArgsList":["--a"],"savepointPath":"x"}`, `{"programArgsList":["a"]}`,
		``, `null`, `[]`, `"x"`, `{"parallelism":1e400}`, `{"parallelism":-1}`, `{"a":{"a":{"a":{}}}}`, "\xff", `{} {`, `{"drain":true}}`,
	} {
		f.Add(uint8(i), body, "parallelism=2&mode=cancel")
		f.Add(uint8(i+1), body, "")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, which uint8, body, query string) {
		control := &willing{}
		h := rest.NewHandler(rest.Config{
			Control: func() (jobview.Control, string) { return control, "" }, TempDir: dir, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler),
		})
		method, path, _ := strings.Cut(bodies()[int(which)%len(bodies())], " ")
		r := httptest.NewRequest(method, "/v1"+path, strings.NewReader(body))
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %s: the answer is no JSON: %q", method, path, w.Body)
		}
		if w.Code < 300 {
			if control.parallelism < 0 {
				t.Fatalf("%s %s: parallelism %d was let through", method, path, control.parallelism)
			}
			if strings.TrimSpace(body) != "" && !json.Valid([]byte(body)) {
				t.Fatalf("%s %s: let through %q", method, path, body)
			}
			return
		}
		var refusal restapi.ErrorBody
		if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil || refusal.Error == nil || !strings.HasPrefix(refusal.Error.Code, "LEAT") || refusal.Error.What == "" {
			t.Fatalf("%s %s: refused without a reason: %s", method, path, w.Body)
		}
		if w.Code < http.StatusBadRequest || w.Code >= http.StatusInternalServerError {
			t.Fatalf("%s %s is answered with %d: %s", method, path, w.Code, w.Body)
		}
	})
}
